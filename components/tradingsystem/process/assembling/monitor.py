"""The monitor with the stores whose room it watches."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.lifecycle import Service

if TYPE_CHECKING:
    from tradingsystem.monitor.view import Room


async def assemble(parts: Parts, services: Iterable[str]) -> Service:
    """The service; ``services`` are all that a system may have."""
    from tradingsystem.monitor.service import MonitorService

    expected = tuple(name for name in services if name != "simulator" or parts.simulated)
    stores = {"the journal": _journal_room(parts), "the disk of the system's state": _disk_room(parts.assignment.state_folder)}
    return MonitorService(system=parts.slice.system, expected=expected, clock=parts.clock, bus=parts.bus, stores=stores)


def _journal_room(parts: Parts) -> Callable[[], Awaitable[Room]]:
    from tradingsystem.monitor.view import Room

    async def measured() -> Room:
        return Room(*await cast(NatsJournal, parts.journal).room())

    return measured


def _disk_room(folder: Path) -> Callable[[], Awaitable[Room]]:
    from tradingsystem.monitor.view import Room

    async def measured() -> Room:
        usage = shutil.disk_usage(folder)
        return Room(usage.total - usage.free, usage.total)

    return measured
