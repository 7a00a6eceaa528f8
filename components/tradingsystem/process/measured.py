"""What benchmarks time, built from the real parts: frames read by the Polygon adapter, a journal on a real message server, the order client.

Beside ``assembling`` one of the few doors to the adapters. It starts what it measures on loopback, in a folder that the caller gives, and ends it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from tradingsystem.adapters.alpaca.client import AlpacaClient
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessLease, InProcessTape
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.adapters.nats_journal import NatsJournal, NatsTape
from tradingsystem.adapters.onnxruntime import open_session, run
from tradingsystem.adapters.polygon import samples
from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource
from tradingsystem.adapters.polygon.parse import FrameParser
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.triton_config import ENSEMBLE, FUSED
from tradingsystem.domain.rows import F32, Rows
from tradingsystem.execution.writer import Owner
from tradingsystem.interfaces import Bus, Clock, Inference, Journal, Lease, Scores, Source, Tape
from tradingsystem.process.connecting import prepare_server, server_settings
from tradingsystem.process.nats_server import NatsServer, NatsServerSettings, free_ports
from tradingsystem.process.private_files import read_password
from tradingsystem.process.triton_server import TritonServer, TritonServerSettings
from tradingsystem.process.venues import SIMULATED_KEY

if TYPE_CHECKING:
    from tritonclient.grpc.aio import InferenceServerClient

SYSTEM = "bench"
SYMBOLS = 2_000
JOURNAL_BYTES = 1024**3
START_NS = samples.START_MS * 1_000_000
TRITON_DEADLINE_SECONDS = 1.0
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
    (port,) = free_ports(1)
    server = NatsServer(_server(folder, port), prepare_server)
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


@dataclass(frozen=True, slots=True)
class ServedByTriton:
    """One version on a tritonserver: the ways to ask it, by name."""

    ways: dict[str, Inference]
    client: InferenceServerClient
    version: int

    async def inside(self, way: str) -> tuple[int, float, float]:
        """Requests of the version so far, and the microseconds that Triton says they took in all and in its queue."""
        model = ENSEMBLE if way == ENSEMBLE else FUSED
        told = (await self.client.get_inference_statistics(model, str(self.version))).model_stats[0].inference_stats
        return int(told.success.count), told.success.ns / 1e3, told.queue.ns / 1e3


@contextlib.asynccontextmanager
async def triton(folder: Path, bundle: Bundle) -> AsyncIterator[ServedByTriton]:
    """A tritonserver of its own with that bundle loaded. Raises ``InvalidInput`` where there is none."""
    # Here and not above: the client is an extra, and everything else is measured without it.
    from tradingsystem.adapters.triton import TritonEnsemble, TritonInference, TritonModelServer
    from tradingsystem.adapters.triton_calls import TritonSettings, connected
    from tradingsystem.adapters.triton_shared_memory import SharedMemoryInference

    http, grpc, metrics = free_ports(3)
    server = TritonServer(TritonServerSettings(folder / "repository", folder / "server", http, grpc, metrics))
    settings = TritonSettings(server.settings.address, lambda: read_password(server.settings.key_file))
    version = bundle.manifest.version
    await server.start()
    client, models = connected(settings.address), TritonModelServer(settings, lambda _: bundle)
    shared = SharedMemoryInference(client, settings, version, TRITON_DEADLINE_SECONDS)
    try:
        await models.load((version,))
        await models.follow(version)
        ways: dict[str, Inference] = {
            "gRPC": TritonInference(client, version, TRITON_DEADLINE_SECONDS),
            "shared memory": shared,
            ENSEMBLE: TritonEnsemble(client, version, TRITON_DEADLINE_SECONDS),
        }
        yield ServedByTriton(ways, client, version)
    finally:
        await shared.close()
        await models.close()
        await client.close()
        await server.stop()


class SoleWriter(TypedDict):
    """What execution asks for to be the only writer."""

    lease: Lease
    owner: Owner


def sole_writer() -> SoleWriter:
    """A lease that nobody else reaches for: renewing it is not what is measured."""
    return {"lease": InProcessLease(), "owner": Owner("bench")}
