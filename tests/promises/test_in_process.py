"""The bus and journal of one process keep the promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.promises.bus import BusPromises
from tests.promises.journal import JournalPromises
from tests.promises.lease import LeasePromises
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessJournal, InProcessLease
from tradingsystem.interfaces import Bus, Journal, Lease


class TestInProcessBus(BusPromises):
    """All services share one."""

    @asynccontextmanager
    async def buses(self) -> AsyncIterator[tuple[Bus, Bus]]:
        """Both sides are the same object."""
        bus = InProcessBus()
        yield bus, bus
        await bus.close()


class TestInProcessJournal(JournalPromises):
    """Kept as long as the object."""

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[Journal]:
        """A new one."""
        yield InProcessJournal("testing")


class TestInProcessLease(LeasePromises):
    """Kept as long as the object."""

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """A new one."""
        yield InProcessLease(life_seconds=1.0)
