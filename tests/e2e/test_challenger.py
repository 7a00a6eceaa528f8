"""A real day of many processes in which a bad candidate is scored unheard, heard on a part of the symbols, serves and is taken back, while everything runs.

Its evidence was made too good, so the gate lets it pass: what this shows is the way from the store through promotion and the tape to the cuts, and back.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.planted import publish_overconfident
from tests.e2e.running import Running, manifest
from tests.e2e.test_day import replay
from tests.promises.waiting import run, until
from tradingsystem.adapters.nats import NatsBus, NatsSettings
from tradingsystem.bundles.promotion import Event, Rules, fold
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.control import Beat
from tradingsystem.domain.outcomes import FilterModels, Role
from tradingsystem.domain.signals import Cut, Signal
from tradingsystem.filter.splitting import share_of
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.codec import decode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.serving import SHIPPED_MODELS
from tradingsystem.world.day import read_day
from tradingsystem.world.promotion_told import rows
from tradingsystem.world.replay import journal_of

NAME = "challenger"
SPEED = 300
PERCENT = 50
TRIAL_MINUTES = 20  # of open market, as shadow and as canary
SERVES_SECONDS = 300

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass
class Told:
    """What the system said while it ran."""

    models: list[FilterModels] = field(default_factory=list)
    instances: dict[str, set[str]] = field(default_factory=dict)

    def on_models(self, delivery: Delivery) -> None:
        self.models.append(decode(delivery.payload, FilterModels))

    def on_beat(self, delivery: Delivery) -> None:
        beat: Beat = decode(delivery.payload, Beat)
        self.instances.setdefault(beat.service, set()).add(beat.instance)

    def observed(self, role: Role, seconds: int) -> bool:
        """Whether the candidate was compared for so long in that role."""
        return any(each.role is role and each.open_seconds >= seconds for each in (self.models[-1].agreements if self.models else ()))


def as_person(running: Running) -> NatsSettings:
    """How a person's command line connects."""
    password = Path(running.note["person_password_file"]).read_text().strip()
    return NatsSettings(url=running.note["nats_url"], system=NAME, user=PERSON, password=password)


async def trial(running: Running, told: Told) -> None:
    """Shadow, canary, serving by themselves; then a person takes it back."""
    bus, subjects = NatsBus(as_person(running)), Subjects(NAME)
    await bus.open(timeout_seconds=30.0)
    await bus.subscribe(subjects.state("filter"), told.on_models)
    await bus.subscribe(subjects.beat("*"), told.on_beat)
    await until(lambda: told.observed(Role.SHADOW, 60), 30.0)
    await until(lambda: told.observed(Role.CANARY, 60), 60.0)
    await until(lambda: told.models[-1].serving == 2 and told.observed(Role.SHADOW, SERVES_SECONDS), 60.0)
    words = ("rollback", "--system", NAME, "--by", "ada", "--reason", "it is far too sure")
    said = await asyncio.to_thread(running.say, "models", *words)
    assert "version 1 serves again; version 2 was taken back" in said
    await until(lambda: told.models[-1].serving == 1, 30.0)
    await bus.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the shipped bundle; the candidate is published while the day runs."""
    folder = tmp_path_factory.mktemp("bundles") / "models"
    shutil.copytree(SHIPPED_MODELS, folder)
    return folder


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, models: Path) -> tuple[Running, Told]:
    """The morning of a day, stopped when the candidate was taken back."""
    folder, told = tmp_path_factory.mktemp("day"), Told()
    document = manifest(NAME, seed=11, speed=SPEED, symbols=120)
    document["spec"]["learning"] = {"promotion": {"shadowSessionMinutes": TRIAL_MINUTES, "canaryPercent": PERCENT}}
    running = Running.start(document, folder, "--models", str(models))
    try:
        running.wait_for("all ready")
        assert publish_overconfident(models).version == 2
        run(trial(running, told))
    finally:
        running.stop()
    return running, told


def recorded(running: Running, kind: str) -> Iterator[bytes]:
    """The journal's entries of one kind."""
    return (record.payload for record in journal_of(running.run_folder / "recording") if record.subject.endswith(f".{kind}"))


def test_each_role_begins_and_ends_at_one_cut(day: tuple[Running, Told]) -> None:
    """Alone, canary for half, the candidate, alone again: four stretches of cuts, and no process was started twice for it."""
    running, told = day
    cuts = [cut for payload in recorded(running, "cut") for cut in decode(payload, list[Cut])]
    roles = [roles for roles, _ in itertools.groupby((cut.model, cut.canary, cut.canary_percent) for cut in cuts)]
    assert roles == [(1, 0, 0), (1, 2, PERCENT), (2, 0, 0), (1, 0, 0)]
    assert {service for service, instances in told.instances.items() if len(instances) > 1} == set()
    assert told.models[-1].refused == {}


def test_the_candidate_spoke_for_its_part_alone(day: tuple[Running, Told]) -> None:
    """It is far too sure, so it does signal as a canary: for symbols of its half only. What it said as a shadow was not heard."""
    running, _ = day
    signals = [decode(payload, Signal) for payload in recorded(running, "signal")]
    cuts = [cut for payload in recorded(running, "cut") for cut in decode(payload, list[Cut])]
    serves_ns = next(cut.sealed_at_ns for cut in cuts if cut.model == 2)
    theirs = {signal.symbol for signal in signals if signal.model == 2 and signal.at_ns < serves_ns}
    assert theirs
    assert all(share_of(symbol, 2) < 100 * PERCENT for symbol in theirs)


def test_every_step_is_in_the_journal_with_its_reason(day: tuple[Running, Told]) -> None:
    """The fold of the journal says what serves and why the other one does not."""
    running, _ = day
    events = [decode(payload, Event) for payload in recorded(running, "promotion")]
    state = fold(events, Rules(shadow_minutes=TRIAL_MINUTES, canary_minutes=TRIAL_MINUTES, canary_percent=PERCENT))
    assert (state.serving, state.trial) == (1, None)
    verdict = state.verdict(2)
    assert verdict is not None
    assert (verdict.refusal, verdict.detail) == (Refusal.ROLLED_BACK, "by ada: it is far too sure")
    told = [words for _, _, words in rows(read_day(running.run_folder).promotion)]
    assert [words for words in told if words.startswith("serves")] == [
        "serves",
        "serves; version 2 is scored unheard",
        f"serves; version 2 decides for {PERCENT} % of the symbols",
        "serves; version 1 is scored unheard",
        "serves",
    ]
    assert "the serving version was taken back by ada: it is far too sure" in told


def test_a_day_with_a_canary_replays_to_one_hash(day: tuple[Running, Told], models: Path) -> None:
    """Every cut of both versions and every signal comes out again with the same bytes, here and in processes that share nothing."""
    running, _ = day
    once = replay(running.run_folder, "--models", str(models))
    assert replay(running.run_folder, "--models", str(models), "--processes", "--delays", "5") == once
