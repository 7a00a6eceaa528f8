"""Which module assembles which service; ``assembling`` alone, with its side doors, knows adapters, services and the simulator.

Imports are made when a service is built, so that a process loads only what it runs and a part that a build does not have fails by its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.interfaces import Bus, Clock
from tradingsystem.process.assembling import execution, ingestion, models, monitor, recorder, simulator, watcher
from tradingsystem.process.assembling import filter as filtering
from tradingsystem.process.assembling.parts import Parts, connect, mirrored_models
from tradingsystem.process.assignment import Assignment
from tradingsystem.process.connecting import Shared
from tradingsystem.process.lifecycle import Service
from tradingsystem.spec import Slice


@dataclass
class Wired:
    """A service with the parts the process itself uses."""

    service: Service
    clock: Clock
    bus: Bus
    close: Callable[[], Awaitable[None]] = field(repr=False)


Builder = Callable[[Parts], Awaitable[Service]]


async def wire(assignment: Assignment, piece: Slice, shared: Shared | None = None) -> Wired:
    """Connect and build one service. Raises ``InvalidInput`` (a part this build lacks), ``NotAuthorized``, ``TryAgain``."""
    async with contextlib.AsyncExitStack() as stack:
        parts = await connect(assignment, piece, shared, stack)
        builder = BUILDERS.get(assignment.service)
        if builder is None:
            raise InvalidInput(f"there is no service {assignment.service!r}; there are: {', '.join(sorted(BUILDERS))}")
        try:
            if assignment.models_from_nats:
                parts.mirror = await mirrored_models(parts)
            service = await builder(parts)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("tradingsystem."):
                raise
            raise InvalidInput(f"this build has no {error.name}: it cannot run {assignment.service}") from error
        stack.pop_all()
        return Wired(service, parts.clock, parts.bus, parts.later.aclose)
    raise AssertionError("unreachable")


BUILDERS: dict[str, Builder] = {
    "monitor": lambda parts: monitor.assemble(parts, BUILDERS),
    "watcher": watcher.assemble,
    "recorder": recorder.assemble,
    "models": models.assemble,
    "filter": filtering.assemble,
    "execution": execution.assemble,
    "ingestion": ingestion.assemble,
    "simulator": simulator.assemble,
}
