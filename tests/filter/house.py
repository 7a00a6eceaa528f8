"""Bus, journal and tape that outlive the filter on them, and what it left in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.filter.days import serving, spec_of
from tests.promises.waiting import until
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessJournal, InProcessTape
from tradingsystem.domain.signals import Cut, Signal
from tradingsystem.filter.deciding import Serving
from tradingsystem.filter.service import FilterService
from tradingsystem.interfaces import Delivery, Entry
from tradingsystem.messages.batch import Batch, encode_batch
from tradingsystem.messages.codec import decode
from tradingsystem.messages.subjects import Subjects

SUBJECTS = Subjects("momentum")


class House:
    """Bus, journal and tape that outlive the filter on them."""

    def __init__(self, folder: Path | None = None, models: dict[int, Serving] | None = None) -> None:
        self.bus = InProcessBus()
        self.journal = InProcessJournal("momentum")
        self.tape = InProcessTape("momentum")
        self.folder = folder
        self.heard: dict[str, list[bytes]] = {}
        self.loaded: list[int] = []
        self.models = models or {}

    async def open(self) -> None:
        await self.tape.attach(self.bus)
        for subject in (SUBJECTS.marks, SUBJECTS.candidates, SUBJECTS.outcomes, SUBJECTS.features, SUBJECTS.state("filter")):
            await self.bus.subscribe(subject, self._hear)

    def _hear(self, delivery: Delivery) -> None:
        self.heard.setdefault(delivery.subject, []).append(delivery.payload)

    def service(self, bundle: Serving | None = None) -> FilterService:
        def load(version: int) -> Serving:
            if version == 99:
                raise ValueError("bundle 99 is not signed")
            self.loaded.append(version)
            return self.models.get(version) or serving(version)

        return FilterService(
            system="momentum",
            spec=spec_of(),
            clock=SystemClock(),
            bus=self.bus,
            journal=self.journal,
            tape=self.tape,
            serving=bundle or serving(),
            load=load,
            folder=self.folder,
        )

    async def run(
        self, service: FilterService, batches: list[Batch], publish: Callable[[Batch], None] | None = None, burst: int = 5
    ) -> None:
        """Run the service over the batches, a few at a time, and stop it when all have been applied."""
        ready, stop = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(service.run(ready.set, stop))
        await asyncio.wait([task, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        for index, batch in enumerate(batches):
            (publish or self.publish)(batch)
            if index % burst == 0:
                await asyncio.sleep(0)
        await until(lambda: task.done() or not batches or service.progress_ns >= batches[-1].sealed_at_ns)
        stop.set()
        await task

    def publish(self, batch: Batch) -> None:
        self.bus.publish(SUBJECTS.tape, encode_batch(batch))

    async def entries(self) -> list[Entry]:
        return [entry async for entry in self.journal.read(SUBJECTS.journal)]

    async def cuts(self) -> list[Cut]:
        return [cut for entry in await self.entries() if entry.subject == SUBJECTS.journal_cut for cut in decode(entry.payload, list[Cut])]

    async def signals(self) -> list[Signal]:
        return [decode(entry.payload, Signal) for entry in await self.entries() if entry.subject == SUBJECTS.journal_signal]


async def opened_house(folder: Path | None = None, models: dict[int, Serving] | None = None) -> House:
    """A house that hears."""
    house = House(folder, models)
    await house.open()
    return house
