"""What benchmarks time, built from the real parts: frames read by the Polygon adapter, a journal on a real message server, the order client.

Beside ``wiring`` one of the few doors to the adapters. It starts what it measures on loopback, in a folder that the caller gives, and ends it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypedDict

from tradingsystem.adapters.alpaca.client import AlpacaClient, Credentials
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessLease, InProcessTape
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.adapters.nats_journal import NatsJournal, NatsTape
from tradingsystem.adapters.onnxruntime import open_session, run
from tradingsystem.adapters.polygon import samples
from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource
from tradingsystem.adapters.polygon.parse import FrameParser
from tradingsystem.domain.rows import F32, Rows
from tradingsystem.execution.writer import Owner
from tradingsystem.interfaces import Bus, Clock, Journal, Lease, Scores, Source, Tape
from tradingsystem.process.connecting import prepare_server, server_settings
from tradingsystem.process.nats_server import NatsServer, NatsServerSettings, free_port
from tradingsystem.process.venues import SIMULATED_KEY

SYSTEM = "bench"
SYMBOLS = 2_000
JOURNAL_BYTES = 1024**3
START_NS = samples.START_MS * 1_000_000
CHANNELS = frozenset({"Trades", "Quotes", "SecondBars"})


def symbols() -> tuple[str, ...]:
    """Tickers of the made-up frames."""
    return samples.symbols(SYMBOLS)


def frames(seed: int, events: int, events_per_frame: int) -> list[bytes]:
    """Made-up Polygon frames: 60 % quotes, 30 % trades, 10 % second bars."""
    return samples.frames(seed, symbol_count=SYMBOLS, events=events, events_per_frame=events_per_frame)


def frame_reader(names: Sequence[str]) -> Callable[[bytes], Rows]:
    """Polygon frames to rows, symbols as positions in ``names``."""
    parser = FrameParser(names)
    return lambda frame: parser.parse(frame).rows


def polygon_source(url: str, clock: Clock) -> Source:
    """Polygon's socket at that address."""
    return PolygonSource(PolygonSettings(name="polygon", url=url, key=lambda: SIMULATED_KEY, channels=CHANNELS), clock)


def order_client(url: str, now_ns: Callable[[], int]) -> AlpacaClient:
    """The client of the order path; ``close`` it."""
    return AlpacaClient(url, lambda: Credentials(SIMULATED_KEY, SIMULATED_KEY), now_ns)


def local_bus() -> Bus:
    """The bus of services that share a process."""
    return InProcessBus()


async def local_bus_and_tape() -> tuple[Bus, Tape]:
    """Such a bus with the tape's memory on it."""
    bus, tape = InProcessBus(), InProcessTape(SYSTEM)
    await tape.attach(bus)
    return bus, tape


@contextlib.asynccontextmanager
async def message_server(folder: Path) -> AsyncIterator[int]:
    """A nats-server of its own, each entry fsynced (``sync_interval: always``); yields its port."""
    server = NatsServer(_server(folder, free_port()), prepare_server)
    await server.start()
    try:
        yield server.settings.port
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def journal_of(folder: Path, port: int, user: str) -> AsyncIterator[tuple[Journal, Tape]]:
    """The journal and the tape's memory on that server as that service sees them."""
    journal = NatsJournal(server_settings(_server(folder, port), user), bytes_max=JOURNAL_BYTES)
    await journal.open(timeout_seconds=30.0)
    try:
        yield journal, NatsTape(journal.connection)
    finally:
        await journal.close()


@contextlib.asynccontextmanager
async def bus_of(folder: Path, port: int, user: str) -> AsyncIterator[Bus]:
    """The bus on that server as that service sees it."""
    bus = NatsBus(server_settings(_server(folder, port), user))
    await bus.open(timeout_seconds=30.0)
    try:
        yield bus
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def durable_journal(folder: Path) -> AsyncIterator[Journal]:
    """Execution's journal on a nats-server of its own."""
    async with message_server(folder) as port, journal_of(folder, port, "execution") as (journal, _):
        yield journal


def _server(folder: Path, port: int) -> NatsServerSettings:
    return NatsServerSettings(system=SYSTEM, folder=folder, port=port, volume_bytes=2 * JOURNAL_BYTES)


def graph_runner(graph: bytes) -> Callable[[F32], Scores]:
    """A graph ready to run in process. Raises ``InvalidBundle``."""
    session = open_session(graph)
    return lambda features: run(session, features)


class SoleWriter(TypedDict):
    """What execution asks for to be the only writer."""

    lease: Lease
    owner: Owner


def sole_writer() -> SoleWriter:
    """A lease that nobody else reaches for: renewing it is not what is measured."""
    return {"lease": InProcessLease(), "owner": Owner("bench")}
