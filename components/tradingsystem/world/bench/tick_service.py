"""Ingestion, filter and execution as tick to order runs them: the real services, in one process or, as a program, one of them in a process of its own.

``python -m tradingsystem.world.bench.tick_service SERVICE PLACE``, PLACE being JSON, says when it is ready. SIGUSR1 makes its market time leap over
the minute in which nothing may be entered. The model's answer is computed and then replaced, because this market gives it nothing to believe in.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np

from tradingsystem.domain.rows import F32
from tradingsystem.execution.service import ExecutionService
from tradingsystem.filter.deciding import Serving
from tradingsystem.filter.service import FilterService
from tradingsystem.ingestion.service import IngestionService
from tradingsystem.interfaces import Bus, Inference, Journal, Scores, Tape
from tradingsystem.process import measured
from tradingsystem.process.lifecycle import Service
from tradingsystem.process.serving import in_process_serving
from tradingsystem.telemetry import logs
from tradingsystem.world.bench import desk, programs
from tradingsystem.world.bench.clocks import RunningClock
from tradingsystem.world.bench.tick_market import LEAP_NS, MadeHistory

SERVICES = ("execution", "filter", "ingestion")
"""In the order in which they start: who decides listens before anybody speaks."""

CONVINCED = 0.97


class Place(msgspec.Struct, frozen=True):
    """Where the other sides are, and when the machine's clock showed the market's first moment."""

    folder: str
    nats_port: int
    frames_url: str
    broker_url: str
    begun_ns: int
    ticks: int

    def clock(self) -> RunningClock:
        """Market time, alike in all processes."""
        return RunningClock(desk.begin_ns(), begun_ns=self.begun_ns)


class Convinced:
    """``interfaces.Inference`` that asks the real one, waits for its answer, and then says yes."""

    def __init__(self, inner: Inference) -> None:
        self._inner = inner
        self.runtime, self.version = inner.runtime, inner.version

    async def infer(self, features: F32) -> Scores:
        """See ``interfaces.Inference``."""
        scores = await self._inner.infer(features)
        return Scores(np.full_like(scores.members, CONVINCED), np.full_like(scores.blend, CONVINCED))


class KeptHere:
    """``interfaces.Cache`` of this process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """See ``interfaces.Cache``."""
        return self._values.get(key)

    async def put(self, key: str, value: bytes, ttl_seconds: int) -> None:  # noqa: ARG002  the interface's
        """See ``interfaces.Cache``; nothing expires within a measurement."""
        self._values[key] = value


@contextlib.asynccontextmanager
async def built(name: str, place: Place, clock: RunningClock, shared: tuple[Bus, Tape] | None = None) -> AsyncIterator[Service]:
    """That service; ``shared`` is the bus and the tape of services in one process, else each has its own connection."""
    folder = Path(place.folder)
    async with contextlib.AsyncExitStack() as stack:
        journal, tape = await stack.enter_async_context(measured.journal_of(folder, place.nats_port, name))
        if shared is None:
            shared = (await stack.enter_async_context(measured.bus_of(folder, place.nats_port, name)), tape)
        bus, tape = shared
        if name == "ingestion":
            source = measured.polygon_source(place.frames_url, clock)
            yield IngestionService(
                system=measured.SYSTEM,
                spec=desk.ingestion_settings(),
                chosen=None,
                clock=clock,
                bus=bus,
                journal=journal,
                history=MadeHistory(place.ticks),
                sources=[source],
                cache=KeptHere(),
            )
        elif name == "filter":
            yield _filter(clock, bus, journal, tape)
        else:
            client = measured.order_client(place.broker_url, clock.now)
            stack.push_async_callback(client.close)
            yield ExecutionService(
                system=measured.SYSTEM,
                spec=desk.settings(),
                clock=clock,
                bus=bus,
                journal=journal,
                broker=desk.QuietBroker(client.submit),
                **measured.sole_writer(),
            )


def _filter(clock: RunningClock, bus: Bus, journal: Journal, tape: Tape) -> FilterService:
    spec = desk.filter_settings()
    real = in_process_serving(spec, None)[0]
    serving = Serving(Convinced(real.inference), real.manifest)
    return FilterService(
        system=measured.SYSTEM,
        spec=spec,
        clock=clock,
        bus=bus,
        journal=journal,
        tape=tape,
        serving=serving,
        load=lambda _: serving,
        folder=None,
    )


async def _main(name: str, place: Place) -> None:
    clock, stop = place.clock(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, clock.leap, LEAP_NS)
    async with built(name, place, clock) as service:
        if name == SERVICES[-1]:  # ready when data comes, and data comes when it is known to listen
            _say()
        await service.run(lambda: None if name == SERVICES[-1] else _say(), stop)


def _say() -> None:
    sys.stdout.write("port 0\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logs.configure(service=sys.argv[1], system=measured.SYSTEM, level="warning")
    programs.on_loop(_main(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Place)))
