"""The pin is a live setting: it is taken over while everything runs, survives a restart, and a version that cannot serve changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from tests.models.test_online import outcomes
from tests.models.test_store import OWN, SCHEMA, store
from tests.promises.engine_store import files as engine_files
from tests.promises.engine_store import name as engine_name
from tests.promises.waiting import until
from tests.spec.documents import system
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.engine_folder import FolderEngineStore
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessJournal
from tradingsystem.adapters.model_folder import FolderModelStore
from tradingsystem.adapters.onnxruntime import InProcessModelServer
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.domain.control import ModelsAssigned, ModelsState, SpecApplied, WeightsUpdated
from tradingsystem.ensemble.online import UPDATE_ROWS
from tradingsystem.interfaces import Delivery, Entry
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.models.online import OnlineWeights
from tradingsystem.models.promoting import Promoting, rules_of
from tradingsystem.models.service import ModelsService
from tradingsystem.models.store import choose, read
from tradingsystem.spec.ensemble import FOUNDING_MEMBERS
from tradingsystem.spec.hashing import canonical_json
from tradingsystem.spec.learning import Promotion
from tradingsystem.spec.slices import live_settings

__all__ = ["store"]

SUBJECTS = Subjects("momentum")


def promoting(folder: Path, kept: int = 5) -> Promoting:
    """The founding rules over a folder of bundles, asked in process."""

    def bundle(version: int) -> Bundle:
        return read(folder, version, OWN, SCHEMA)

    return Promoting(
        rules=rules_of(Promotion()),
        better_probability_min_percent=80,
        latency_us_max=1e6,
        present=lambda: version_numbers(folder),
        read=bundle,
        server=functools.cache(lambda: InProcessModelServer(bundle)),
        store=FolderModelStore(folder),
        versions_kept=kept,
        engines=FolderEngineStore(folder / "engines"),
    )


class Life:
    """One models service over a journal that outlives it."""

    def __init__(self, folder: Path, journal: InProcessJournal, *, online: bool, kept: int) -> None:
        self.bus, self.journal = InProcessBus(), journal
        self.states: list[ModelsState] = []
        self.service = ModelsService(
            system="momentum",
            pinned=0,
            choose=lambda pinned: choose(folder, OWN, SCHEMA, pinned or None),
            promoting=promoting(folder, kept),
            online=OnlineWeights(enabled=online, members=FOUNDING_MEMBERS),
            clock=SystemClock(),
            bus=self.bus,
            journal=journal,
        )

    def hear(self, delivery: Delivery) -> None:
        self.states.append(decode(delivery.payload, ModelsState))

    async def pin(self, version: int, generation: int) -> ModelsState:
        """Apply settings that pin that version; what the service says once it has looked at them."""
        live = live_settings(system({"spec.models.pinnedVersion": version}))
        await self.journal.append(SUBJECTS.journal_spec, encode(SpecApplied(generation=generation, spec=canonical_json(live))))
        await until(lambda: bool(self.states) and self.states[-1].generation >= generation)
        return self.states[-1]

    async def switches(self) -> list[int]:
        return [decode(entry.payload, ModelsAssigned).serving async for entry in self.journal.read(SUBJECTS.journal_model)]


@contextlib.asynccontextmanager
async def alive(folder: Path, journal: InProcessJournal, *, online: bool = False, kept: int = 5) -> AsyncIterator[Life]:
    life = Life(folder, journal, online=online, kept=kept)
    ready, stop = asyncio.Event(), asyncio.Event()
    await life.bus.subscribe(SUBJECTS.state("models"), life.hear)
    task = asyncio.create_task(life.service.run(ready.set, stop))
    try:
        await asyncio.wait_for(ready.wait(), 5)
        yield life
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


def test_a_pin_is_taken_over_while_running_and_taken_back(store: Path) -> None:
    """The one-line rollback needs no restart: each change is one entry in the journal, and settings that leave the pin alone are none."""

    async def scenario() -> None:
        async with alive(store, InProcessJournal("momentum")) as life:
            assert (await life.pin(1, generation=1)).serving == 1
            assert (await life.pin(1, generation=2)).generation == 2
            assert (await life.pin(0, generation=3)).serving == 3
            assert await life.switches() == [3, 1, 3]
            assert life.service.live_generation == 3

    asyncio.run(scenario())


def test_a_pin_that_cannot_serve_leaves_what_serves(store: Path) -> None:
    """A damaged version and one that is not there are refused with their reasons; nothing is switched, not even to the newest."""

    async def scenario() -> None:
        (store / "2" / "golden.npz").write_bytes(b"garbage")
        async with alive(store, InProcessJournal("momentum")) as life:
            await life.pin(1, generation=1)
            for generation, version, why in ((2, 2, "golden.npz"), (3, 9, "No such file")):
                said = await life.pin(version, generation)
                assert (said.serving, said.pinned) == (1, version)
                assert why in said.refused[str(version)]
            assert await life.switches() == [3, 1]

    asyncio.run(scenario())


def test_versions_beyond_those_that_are_kept_leave_the_store(store: Path) -> None:
    """The oldest that nobody needs, with its engine and without a person; what went is told, a pin to it is refused, and what serves goes on serving."""

    async def scenario() -> None:
        engines = FolderEngineStore(store / "engines")
        for version in (1, 3):
            await engines.put(engine_name(version), engine_files(version))
        async with alive(store, InProcessJournal("momentum"), kept=2) as life:
            await until(lambda: life.states and "1" in life.states[-1].refused)
            assert version_numbers(store) == [2, 3]
            assert await engines.names() == (engine_name(3),)
            assert life.states[-1].refused == {"1": "Collected: removed to make room"}
            said = await life.pin(1, generation=1)
            assert (said.serving, said.pinned) == (3, 1)
            assert said.refused["1"].startswith("VersionNotFound: ")

    asyncio.run(scenario())


def test_what_is_needed_stays_however_old_it_is(store: Path) -> None:
    """What is pinned and what served before: the way back is never collected. It goes when it is needed no more."""

    async def scenario() -> None:
        journal = InProcessJournal("momentum")
        async with alive(store, journal) as life:
            await life.pin(1, generation=1)
        for version in (4, 5, 6):
            shutil.copytree(store / "3", store / str(version))  # refused, since its manifest says 3: a candidate that never serves
        async with alive(store, journal, kept=2) as life:
            await until(lambda: version_numbers(store) == [1, 3, 5, 6])
            assert life.states[-1].kept == (1, 3, 6)  # pinned, the way back, and what waits for a trial
            await life.pin(0, generation=2)
            await until(lambda: version_numbers(store) == [3, 5, 6])

    asyncio.run(scenario())


def test_a_restart_keeps_the_pin_and_not_the_one_it_was_started_with(store: Path) -> None:
    """The newest settings in the journal speak, whatever the slice on disk says; unreadable and older ones do not."""

    async def scenario() -> None:
        journal = InProcessJournal("momentum")
        async with alive(store, journal) as life:
            await life.pin(1, generation=5)
        stale = live_settings(system({"spec.models.pinnedVersion": 2}))
        await journal.append(SUBJECTS.journal_spec, encode(SpecApplied(generation=4, spec=canonical_json(stale))))
        await journal.append(SUBJECTS.journal_spec, b"\xc1 no settings")
        await journal.append(SUBJECTS.journal_spec, encode(SpecApplied(generation=6, spec=msgspec.json.encode({"risk": 1}))))
        async with alive(store, journal) as life:
            await until(lambda: bool(life.states))
            assert life.states[-1].serving == 1
            assert await life.switches() == [3, 1, 1]

    asyncio.run(scenario())


def test_weights_learned_live_are_journaled_and_taken_back_by_the_field(store: Path) -> None:
    """With ``learning.online`` enough closed predictions are one entry; started again without it, the next entry is the bundle's own, and then none."""

    async def scenario() -> None:
        journal = InProcessJournal("momentum")
        said: list[Entry] = []
        await journal.follow(SUBJECTS.journal_weights, 1, said.append)
        async with alive(store, journal, online=True) as life:
            life.bus.publish(SUBJECTS.outcomes, b"\xc1 no outcomes")
            for seed in range(2):
                life.bus.publish(SUBJECTS.outcomes, encode(outcomes(UPDATE_ROWS // 2, version=3, seed=seed)))
            await until(lambda: bool(said))
            learned = decode(said[0].payload, WeightsUpdated)
            assert (learned.model, learned.update, learned.rows) == (3, 1, UPDATE_ROWS)
        await journal.append(SUBJECTS.journal_weights, b"\xc1 no weights")
        for _ in range(2):
            async with alive(store, journal) as life:
                await until(lambda: bool(life.states))
        assert len(said) == 3
        assert decode(said[-1].payload, WeightsUpdated).weights == ()

    asyncio.run(scenario())
