"""A real day of many processes in which a bad candidate is scored unheard, heard on a part of the symbols and taken back, while everything runs.

The roles are given by hand, with the models service's own user: what this shows is the way from the journal over the tape to the cuts and back as outcomes.
"""

from __future__ import annotations

import itertools
import math
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
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.domain.control import Beat, ModelsAssigned
from tradingsystem.domain.outcomes import FilterModels, Outcome, Role
from tradingsystem.domain.signals import Cut, Signal
from tradingsystem.filter.splitting import share_of
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.serving import SHIPPED_MODELS
from tradingsystem.world.replay import journal_of

NAME = "challenger"
SPEED = 300
PERCENT = 50
SHADOW_SECONDS = 600  # of open market
CLOSED = 100  # predictions of the candidate

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass
class Told:
    """What the system said while it ran."""

    outcomes: list[Outcome] = field(default_factory=list)
    models: list[FilterModels] = field(default_factory=list)
    instances: dict[str, set[str]] = field(default_factory=dict)

    def on_outcomes(self, delivery: Delivery) -> None:
        self.outcomes += decode(delivery.payload, list[Outcome])

    def on_models(self, delivery: Delivery) -> None:
        self.models.append(decode(delivery.payload, FilterModels))

    def on_beat(self, delivery: Delivery) -> None:
        beat: Beat = decode(delivery.payload, Beat)
        self.instances.setdefault(beat.service, set()).add(beat.instance)

    def observed(self, role: Role, seconds: int) -> bool:
        """Whether the candidate was compared for so long in that role."""
        return any(each.role is role and each.open_seconds >= seconds for each in (self.models[-1].agreements if self.models else ()))


async def trial(running: Running, told: Told) -> None:
    """Shadow, canary, taken back: each step once the one before has been seen at work."""
    (password,) = running.state.rglob("passwords/models")
    settings = NatsSettings(url=running.note["nats_url"], system=NAME, user="models", password=password.read_text().strip())
    bus, journal, subjects = NatsBus(settings), NatsJournal(settings, bytes_max=1 << 28), Subjects(NAME)
    await bus.open(timeout_seconds=30.0)
    await journal.open()
    await bus.subscribe(subjects.outcomes, told.on_outcomes)
    await bus.subscribe(subjects.state("filter"), told.on_models)
    await bus.subscribe(subjects.beat("*"), told.on_beat)
    await journal.append(subjects.journal_model, encode(ModelsAssigned(1, shadow=2)))
    await until(lambda: told.observed(Role.SHADOW, SHADOW_SECONDS))
    await journal.append(subjects.journal_model, encode(ModelsAssigned(1, canary=2, canary_percent=PERCENT)))
    await until(lambda: told.observed(Role.CANARY, 60) and sum(each.model == 2 for each in told.outcomes) >= CLOSED)
    await journal.append(subjects.journal_model, encode(ModelsAssigned(1)))
    await until(lambda: told.models[-1].canary == 0)
    await bus.close()
    await journal.close()


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
    running = Running.start(manifest(NAME, seed=11, speed=SPEED, symbols=120), folder, "--models", str(models))
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
    """Alone, canary for half, alone again: three stretches of cuts, none of them late, and no process was started twice for it."""
    running, told = day
    cuts = [cut for payload in recorded(running, "cut") for cut in decode(payload, list[Cut])]
    roles = [roles for roles, _ in itertools.groupby((cut.model, cut.canary, cut.canary_percent) for cut in cuts)]
    assert roles == [(1, 0, 0), (1, 2, PERCENT), (1, 0, 0)]
    assert {service for service, instances in told.instances.items() if len(instances) > 1} == set()
    assert told.models[-1].refused == {}


def test_the_candidate_spoke_for_its_part_alone(day: tuple[Running, Told]) -> None:
    """It is far too sure, so it does signal as a canary: for symbols of its half only. What it said as a shadow was not heard."""
    running, _ = day
    signals = [decode(payload, Signal) for payload in recorded(running, "signal")]
    theirs = {signal.symbol for signal in signals if signal.model == 2}
    assert theirs
    assert all(share_of(symbol, 2) < 100 * PERCENT for symbol in theirs)


def test_its_predictions_tell_that_it_is_bad(day: tuple[Running, Told]) -> None:
    """On the same rows, with the same labels, it loses more than the version that serves: that is what takes it back."""
    _, told = day
    by_row: dict[tuple[str, int], dict[int, Outcome]] = {}
    for outcome in told.outcomes:
        by_row.setdefault((outcome.symbol, outcome.at_ns), {})[outcome.model] = outcome
    pairs = [row for row in by_row.values() if row.keys() == {1, 2}]
    assert len(pairs) >= CLOSED // 2
    assert all(row[1].label == row[2].label for row in pairs)
    losses = [sum(-math.log(row[model].p if row[model].label else 1 - row[model].p) for row in pairs) for model in (1, 2)]
    assert losses[1] > losses[0]


def test_a_day_with_a_canary_replays_to_one_hash(day: tuple[Running, Told], models: Path) -> None:
    """Every cut of both versions and every signal comes out again with the same bytes, here and in processes that share nothing."""
    running, _ = day
    once = replay(running.run_folder, "--models", str(models))
    assert replay(running.run_folder, "--models", str(models), "--processes", "--delays", "5") == once
