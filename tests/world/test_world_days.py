"""Seeded days of execution with faults: they hold, they repeat, they try enough, and they take no time but their own."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.world.trial import day
from tradingsystem.world.trial.day import play
from tradingsystem.world.trial.many import Many, play_all
from tradingsystem.world.trial.neighbours import CLOCK_LASTS_SECONDS, SILENCE_LASTS_SECONDS
from tradingsystem.world.trial.plan import CELLS, EVERYDAY_CELLS, LASTING, STEPS, Fault, Plan, Planned, Step, between, draw
from tradingsystem.world.trial.virtual_time import MachineClock, Stalled, VirtualLoop, run

ROOT = Path(__file__).parents[2]


def test_a_day_holds() -> None:
    """One seeded day breaks no invariant and had more than one life."""
    verdict = play(3)
    assert verdict.violations == ()
    assert verdict.lives > 1


@pytest.mark.thorough
def test_a_day_whose_first_half_faults_have_eaten_is_a_trial_still() -> None:
    """A broker's clock, a drill and two crashes leave seed 1221 one position in half a day: signals come more often then, and it has its ten."""
    assert Many((play(1221),)).poor() == []


@pytest.mark.thorough
@pytest.mark.parametrize(("seed", "fault"), [(2, Fault.CLOCK_AHEAD), (10, Fault.CLOCK_BEHIND)])
def test_a_clock_that_leaps_by_an_hour_and_back(seed: int, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """For some seconds of the day execution's clock is an hour wrong: every invariant holds, and the account is flat at the true close."""
    monkeypatch.setattr(day, "CLOCK_SECONDS", (3_600.0, 3_600.0))
    verdict = play(seed)
    assert str(fault) in {struck for struck, _ in verdict.struck}
    assert verdict.violations == ()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fault", "step", "known_seconds", "lasts_seconds", "ends_seconds"),
    [
        (Fault.BROKER_AHEAD, Step.SENT, 33.0, CLOCK_LASTS_SECONDS, 33.0),
        (Fault.BROKER_BEHIND, Step.QUESTION, 33.0, CLOCK_LASTS_SECONDS, 33.0),
        (Fault.FEEDS_STALE, Step.FEEDS, 41.5, SILENCE_LASTS_SECONDS, 4.0),
        (Fault.FEEDS_SILENT, Step.FEEDS, 41.5, SILENCE_LASTS_SECONDS, 4.0),
        (Fault.RESOURCE_SILENT, Step.RESOURCE, 41.5, SILENCE_LASTS_SECONDS, 4.0),
    ],
)
def test_who_must_speak_fails_and_comes_back(
    fault: Fault,
    step: Step,
    known_seconds: float,
    lasts_seconds: tuple[float, float],
    ends_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it lasts nothing is bought, and what is held is covered and sold before the close; when it is over, entries leave by themselves."""
    planned = [Planned(fault, step, 60.0, 0.5), Planned(fault, step, 400.0, 1.0)]
    monkeypatch.setattr(day, "draw", lambda *_: list(planned))
    verdict = play(4)
    assert verdict.violations == ()
    first, second = (at for at, what in told(verdict) if what.startswith("FAULT"))
    bought = [at for at, what in told(verdict) if what.startswith("POST") and '"side":"buy"' in what]
    sold = [at for at, what in told(verdict) if what.startswith("PATCH") or (what.startswith("POST") and '"side":"sell"' in what)]
    over = first + between(lasts_seconds, 0.5)
    assert not [at for at in bought if first + known_seconds < at < over]
    assert [at for at in bought if over + ends_seconds < at < 400.0]
    assert [at for at in sold if second + known_seconds < at < second + between(lasts_seconds, 1.0)]


def told(verdict: day.Verdict) -> list[tuple[float, str]]:
    """Its story as (second, what)."""
    lines = (line.split(maxsplit=1) for line in verdict.story)
    return [(float(at), what) for at, what in lines]


@pytest.mark.thorough
def test_a_seed_is_a_story() -> None:
    """The same seed gives the same story in another process, whatever its hash seed, and with execution's log between the lines or without."""
    told = play(7, told=True)
    program = "from tradingsystem.world.trial.day import play; print(play(7).digest)"
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    answer = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == told.digest
    assert any("lease_taken" in line for line in told.story)


def test_every_fault_has_its_steps() -> None:
    """No fault is without a step, and a seed draws the same faults again, in the order of their arming."""
    assert set(STEPS) == set(Fault)
    assert {step for _, step in CELLS} == set(Step)
    planned = draw(random.Random(3), 10.0, 100.0)
    assert planned == draw(random.Random(3), 10.0, 100.0)
    assert [one.armed_seconds for one in planned] == sorted(one.armed_seconds for one in planned)


def test_every_day_meets_three_faults_early() -> None:
    """Whatever is drawn: three wait at steps of every day before a quarter of the time is over, and at most one forbids to open for long."""
    for seed in range(300):
        planned = draw(random.Random(seed), 20.0, 440.0)
        assert sum(1 for one in planned if (one.fault, one.step) in EVERYDAY_CELLS and one.armed_seconds < 125.0) >= 3
        assert sum(1 for one in planned if one.fault in LASTING) <= 1


def test_a_fault_waits_for_its_moment_and_its_step() -> None:
    """Armed faults strike once, at their own step, never before their time."""
    plan = Plan([Planned(Fault.CRASH, Step.SENT, 5.0, 0.5)])
    assert plan.strike(Step.SENT, 4.9) is None
    assert plan.strike(Step.FILL, 6.0) is None
    assert plan.strike(Step.SENT, 6.0) is not None
    assert plan.strike(Step.SENT, 7.0) is None
    assert plan.struck == [(Fault.CRASH, Step.SENT)]


def test_time_jumps_to_the_next_timer() -> None:
    """An hour costs nothing; timers come in their order; a clock that was set back stands still and then goes on."""

    async def main(loop: VirtualLoop) -> list[str]:
        heard: list[str] = []
        clock = MachineClock(loop, 1_000)
        loop.call_later(7.0, heard.append, "seven")
        loop.call_later(3.0, heard.append, "three")
        await clock.sleep_until(clock.now() + 3_600 * NS_PER_SECOND)
        before = clock.now()
        clock.wrong_by_ns = -10 * NS_PER_SECOND
        assert clock.now() == before
        await clock.sleep_until(before + NS_PER_SECOND)
        heard.append(f"{loop.time():.0f}")
        return heard

    assert run(main) == ["three", "seven", "3611"]


def test_a_day_that_cannot_go_on_says_so() -> None:
    """Nothing ready and no timer: an error, not a wait for ever."""

    async def main(_: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run(main)


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_many_days_hold() -> None:
    """Forty seeded days break no invariant, and each is a trial: decisions, positions and faults enough. `make world` plays two thousand."""
    many = Many(tuple(play_all(range(1, 41), 2)))
    assert many.violations() == []
    assert many.poor() == []
    assert all(day.slowest_cover_seconds <= 3.001 for day in many.days)
