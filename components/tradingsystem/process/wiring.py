"""Who implements which interface, for each service: the only file that knows adapters, services and the simulator by name.

Imports are made when a service is built, so that a process loads only what it runs and a part that a build does not have fails by its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from tradingsystem.adapters.clocks import FollowerClock, SystemClock
from tradingsystem.adapters.nats import NatsBus, NatsConnection, NatsSettings
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.interfaces import Bus, Cache, Clock, Journal, Source, Tape
from tradingsystem.messages.server import StoreSizes
from tradingsystem.process.assignment import Assignment
from tradingsystem.process.connecting import Shared, SplitBus, brought_models, opened, remembered_tape
from tradingsystem.process.halt_file import HaltFile
from tradingsystem.process.lifecycle import Service
from tradingsystem.process.place import occupied
from tradingsystem.process.private_files import read_password
from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.symbols_file import chosen_symbols
from tradingsystem.process.venues import SIMULATED_KEY, Venues, venues_of
from tradingsystem.spec import Mode, Slice
from tradingsystem.spec.inference import Precision, Runtime
from tradingsystem.spec.simulation import MarketSource
from tradingsystem.spec.slices import ExecutionSlice, FilterSlice, IngestionSlice, ModelsSlice, SimulatorSlice, WatcherSlice
from tradingsystem.spec.sources import Cache as CacheSettings
from tradingsystem.spec.sources import CacheType, SourceType, channels_of
from tradingsystem.spec.sources import Source as SourceSettings

if TYPE_CHECKING:
    from tradingsystem.adapters.alpaca.broker import AlpacaBroker
    from tradingsystem.adapters.history import PolygonHistory
    from tradingsystem.adapters.model_mirror import ModelMirror
    from tradingsystem.adapters.triton import TritonModelServer
    from tradingsystem.filter.deciding import Serving
    from tradingsystem.interfaces import Broker, ModelServer
    from tradingsystem.monitor.view import Room

EDGE_DECLARED_BASIS_POINTS = 60  # the resource's default is the simulator's 1.0
WATCHER_REQUEST_SECONDS = 3.0


@contextlib.asynccontextmanager
async def account(mode: Mode, simulator: str, secret: str) -> AsyncIterator[Broker]:
    """The broker's account itself, for a person's commands: neither bus nor journal. Raises ``NotAuthorized``."""
    key = Secrets(local_folder()).kept if mode is not Mode.SIMULATION else lambda *_: lambda: SIMULATED_KEY
    broker = _alpaca(venues_of(mode, simulator), secret, key, time.time_ns, WATCHER_REQUEST_SECONDS)
    try:
        yield broker
    finally:
        await broker.close()


@dataclass
class Parts:
    """What a builder may take; ``later`` closes in reverse order."""

    assignment: Assignment
    slice: Slice
    clock: Clock
    bus: Bus
    journal: Journal
    tape: Tape
    connection: NatsConnection
    secrets: Secrets
    venues: Venues
    later: contextlib.AsyncExitStack
    mirror: ModelMirror | None = None  # brings versions into the models' folder, where that is filled from the object store

    @property
    def simulated(self) -> bool:
        """Whether the venues are the simulator's."""
        return self.slice.mode is Mode.SIMULATION

    def key(self, secret: str, name: str, variable: str = "") -> Callable[[], str]:
        """One value of a secret, as it is whenever asked for; in Simulation none is read. Raises ``NotAuthorized``."""
        return (lambda: SIMULATED_KEY) if self.simulated else self.secrets.kept(secret, name, variable)


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
        parts = await _connect(assignment, piece, shared, stack)
        builder = BUILDERS.get(assignment.service)
        if builder is None:
            raise InvalidInput(f"there is no service {assignment.service!r}; there are: {', '.join(sorted(BUILDERS))}")
        try:
            if assignment.models_from_nats:
                parts.mirror = await _mirror(parts)
            service = await builder(parts)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("tradingsystem."):
                raise
            raise InvalidInput(f"this build has no {error.name}: it cannot run {assignment.service}") from error
        stack.pop_all()
        return Wired(service, parts.clock, parts.bus, parts.later.aclose)
    raise AssertionError("unreachable")


async def _connect(assignment: Assignment, piece: Slice, shared: Shared | None, stack: contextlib.AsyncExitStack) -> Parts:
    later = await stack.enter_async_context(contextlib.AsyncExitStack())
    settings = NatsSettings(url=assignment.nats_url, system=piece.system, user=assignment.service, password=assignment.password())
    sizes = StoreSizes.on_volume(assignment.journal_volume_bytes)
    remote = await opened(lambda: NatsBus(settings))
    later.push_async_callback(remote.close)
    journal = await opened(lambda: NatsJournal(settings, bytes_max=sizes.journal_bytes))
    later.push_async_callback(journal.close)
    bus: Bus = remote if shared is None else SplitBus(shared.bus, remote)
    tape: Tape = await remembered_tape(journal.connection, sizes.tape_bytes) if shared is None else shared.tape
    clock = await _clock(assignment, piece, bus, later)
    return Parts(
        assignment=assignment,
        slice=piece,
        clock=clock,
        bus=bus,
        journal=journal,
        tape=tape,
        connection=journal.connection,
        secrets=Secrets(assignment.secrets_folder or local_folder(), mounted=assignment.secrets_mounted),
        venues=venues_of(piece.mode, assignment.venues),
        later=later,
    )


async def _clock(assignment: Assignment, piece: Slice, bus: Bus, later: contextlib.AsyncExitStack) -> Clock:
    if piece.mode is not Mode.SIMULATION or assignment.service == "simulator":
        return SystemClock()
    clock = FollowerClock(piece.system)
    await clock.attach(bus)
    later.push_async_callback(clock.close)
    if assignment.service in {"ingestion", "filter", "execution"}:
        await clock.started()
    return clock


async def _mirror(parts: Parts) -> ModelMirror:
    """The models' folder filled, and kept so while this process runs. Raises ``InvalidInput``."""
    given = parts.assignment
    if given.models_folder is None:
        raise InvalidInput("--models-from-nats: say with --models-folder where versions go")
    bytes_max = StoreSizes.on_volume(given.journal_volume_bytes).models_bytes
    mirror = await brought_models(parts.connection, given.models_folder, given.models_keys_file, bytes_max)
    following = asyncio.create_task(mirror.run(), name="bring models")
    parts.later.callback(following.cancel)
    return mirror


async def _ingestion(parts: Parts) -> Service:
    from tradingsystem.ingestion.service import IngestionService

    piece = cast(IngestionSlice, parts.slice)
    cache = await _cache(parts, piece.cache)
    history = _history(parts, piece, cache)
    parts.later.push_async_callback(history.close)
    return IngestionService(
        system=piece.system,
        chosen=chosen_symbols(piece.universe, parts.assignment.symbols_file),
        spec=piece,
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
        history=history,
        sources=[_source(parts, source) for source in piece.sources],
        cache=cache,
    )


async def _cache(parts: Parts, settings: CacheSettings) -> Cache:
    if settings.type is CacheType.REDIS:
        from tradingsystem.adapters.redis import RedisCache

        password = parts.secrets.value(settings.secret_ref.name, "password") if settings.secret_ref.name and not parts.simulated else ""
        redis = RedisCache(system=parts.slice.system, address=settings.address, database=settings.database, password=password)
        parts.later.push_async_callback(redis.close)
        await redis.open()
        return redis
    from tradingsystem.adapters.jetstream_cache import JetStreamCache

    cache = JetStreamCache(parts.connection, bytes_max=StoreSizes.on_volume(parts.assignment.journal_volume_bytes).cache_bytes)
    await cache.ensure()
    return cache


def _history(parts: Parts, piece: IngestionSlice, cache: Cache) -> PolygonHistory:
    from tradingsystem.adapters.history import PolygonHistory, PolygonHistorySettings

    source = next((source for source in piece.sources if source.type is SourceType.POLYGON), None)
    if source is None:
        raise InvalidInput("spec.sources: none is of type Polygon, and reference data (symbols, daily history) comes from there; add one")
    lifetimes = piece.cache.ttl_seconds
    settings = PolygonHistorySettings(
        url=parts.venues.polygon_rest,
        key=parts.key(source.secret_ref.name, "apiKey", "POLYGON_API_KEY"),
        details_seconds=lifetimes.ticker_details,
        aggregates_seconds=lifetimes.aggregates,
        market_status_seconds=lifetimes.market_status,
    )
    return PolygonHistory(settings, cache)


def _source(parts: Parts, source: SourceSettings) -> Source:
    secret, channels = source.secret_ref.name, frozenset(channel.value for channel in channels_of(source))
    match source.type:
        case SourceType.POLYGON:
            from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource

            key = parts.key(secret, "apiKey", "POLYGON_API_KEY")
            return PolygonSource(
                PolygonSettings(name=source.name, url=parts.venues.polygon_stream, key=key, channels=channels), parts.clock
            )
        case SourceType.ALPACA:
            from tradingsystem.adapters.alpaca.data_client import AlpacaDataSettings, AlpacaDataSource

            alpaca = AlpacaDataSettings(
                name=source.name,
                url=f"{parts.venues.alpaca_data_stream}/{source.feed.value.lower()}",
                key=parts.key(secret, "apiKey", "ALPACA_API_KEY"),
                secret=parts.key(secret, "apiSecret", "ALPACA_API_SECRET"),
                channels=channels,
            )
            return AlpacaDataSource(alpaca, parts.clock)
        case SourceType.UNUSUAL_WHALES:
            from tradingsystem.adapters.unusual_whales.client import UnusualWhalesSettings, UnusualWhalesSource

            key = parts.key(secret, "apiKey", "UNUSUAL_WHALES_API_KEY")
            settings = UnusualWhalesSettings(name=source.name, url=parts.venues.unusual_whales, key=key, poll_seconds=source.poll_seconds)
            return UnusualWhalesSource(settings, parts.clock)
        case SourceType.CUSTOM:
            return _own_source(parts, source)


def _own_source(parts: Parts, source: SourceSettings) -> Source:
    """A source that somebody registered: ``make(settings, clock, key)`` under the entry point group ``tradingsystem.sources``."""
    from tradingsystem.adapters.own_sources import factory

    key = parts.key(source.secret_ref.name, "apiKey")() if source.secret_ref.name else ""
    return factory(source.plugin)(source, parts.clock, key)


async def _filter(parts: Parts) -> Service:
    from tradingsystem.filter.service import FilterService
    from tradingsystem.process.serving import TritonServing, in_process_serving

    piece, assignment = cast(FilterSlice, parts.slice), parts.assignment
    triton: TritonServing | None = None
    if piece.inference.runtime is Runtime.TRITON:
        if not assignment.triton:
            raise InvalidInput("spec.inference.runtime: Triton, and this process was not told where it is (--triton HOST:PORT)")
        triton = TritonServing(piece, assignment.models_folder, assignment.triton, assignment.triton_key_file)
        parts.later.push_async_callback(triton.close)

    def load(version: int) -> Serving:
        """Exactly the bundle of that version, 0: the one that may serve. Raises ``TryAgain`` while it is on its way."""
        if parts.mirror is not None and version:
            parts.mirror.expect(version)
        return triton.serving(version) if triton else in_process_serving(piece, assignment.models_folder, version)[0]

    return FilterService(
        system=piece.system,
        spec=piece,
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
        tape=parts.tape,
        serving=load(0),
        load=load,
        folder=assignment.state_folder,
    )


def _alpaca(
    venues: Venues, secret: str, key: Callable[[str, str, str], Callable[[], str]], now_ns: Callable[[], int], timeout_seconds: float
) -> AlpacaBroker:
    from tradingsystem.adapters.alpaca.broker import AlpacaBroker
    from tradingsystem.adapters.alpaca.client import Credentials

    key_id, key_secret = key(secret, "apiKey", "ALPACA_API_KEY"), key(secret, "apiSecret", "ALPACA_API_SECRET")
    return AlpacaBroker(venues.alpaca_trading, lambda: Credentials(key_id(), key_secret()), now_ns, timeout_seconds=timeout_seconds)


async def _execution(parts: Parts) -> Service:
    from tradingsystem.execution.courier import REQUEST_SECONDS
    from tradingsystem.execution.service import ExecutionService
    from tradingsystem.execution.writer import Owner

    piece = cast(ExecutionSlice, parts.slice)
    secret = piece.execution.broker.secret_ref.name
    broker = _alpaca(parts.venues, secret, parts.key, parts.clock.now, REQUEST_SECONDS)
    parts.later.push_async_callback(broker.close)
    lease = NatsLease(parts.connection)
    await lease.ensure()
    place = parts.later.enter_context(occupied(parts.assignment.state_folder / "writer.lock"))
    return ExecutionService(
        system=piece.system,
        spec=piece,
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
        lease=lease,
        broker=broker,
        owner=Owner(secrets.token_hex(8), place),
        peers=("ingestion", "filter", "execution"),
        halt_file=_halt_file(parts),
        folder=parts.assignment.state_folder,
    )


def _halt_file(parts: Parts) -> Callable[[], str | None]:
    path = parts.assignment.halt_file
    return HaltFile(path).reason if path is not None else lambda: None


async def _watcher(parts: Parts) -> Service:
    from tradingsystem.watcher.service import WatcherService

    piece = cast(WatcherSlice, parts.slice)
    secret = piece.broker.watcher_secret_ref.name or piece.broker.secret_ref.name
    broker = _alpaca(parts.venues, secret, parts.key, time.time_ns, WATCHER_REQUEST_SECONDS)  # no clock that stops with the bus
    parts.later.push_async_callback(broker.close)
    return WatcherService(
        system=piece.system,
        silence_seconds=piece.watcher_silence_seconds,
        clock=parts.clock,
        bus=parts.bus,
        broker=broker,
        halt_file=_halt_file(parts),
    )


async def _models(parts: Parts) -> Service:
    from tradingsystem.models.online import OnlineWeights
    from tradingsystem.models.promoting import Promoting, rules_of
    from tradingsystem.models.service import ModelsService
    from tradingsystem.process.serving import bundle_in, choose_in, versions_in

    piece, folder = cast(ModelsSlice, parts.slice), parts.assignment.models_folder

    triton = _triton(parts, piece) if piece.inference.runtime is Runtime.TRITON else None

    def in_process() -> ModelServer:
        from tradingsystem.adapters.onnxruntime import InProcessModelServer  # a service without candidates pays for no runtime

        return InProcessModelServer(lambda version: bundle_in(folder, version), int8=piece.inference.precision is Precision.INT8)

    promoting = Promoting(
        rules=rules_of(piece.learning.promotion),
        better_probability_min_percent=piece.learning.promotion.better_probability_min_percent,
        latency_us_max=piece.inference.deadline_milliseconds * 1e3,
        present=lambda: versions_in(folder),
        read=lambda version: bundle_in(folder, version),
        server=functools.cache(in_process) if triton is None else lambda: triton,
        elsewhere=triton is not None,
    )
    return ModelsService(
        system=piece.system,
        pinned=piece.live.models.pinned_version,
        choose=lambda pinned: choose_in(folder, pinned),
        promoting=promoting,
        online=OnlineWeights(enabled=piece.learning.online, members=piece.ensemble.members),
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
    )


def _triton(parts: Parts, piece: ModelsSlice) -> TritonModelServer:
    """What Triton has loaded, kept as it should be while this process runs. Raises ``InvalidInput``."""
    from tradingsystem.adapters.triton import TritonModelServer, TritonSettings
    from tradingsystem.bundles.triton_config import Backend
    from tradingsystem.process.engines import engine_reader
    from tradingsystem.process.serving import bundle_in

    given = parts.assignment
    if not given.triton:
        raise InvalidInput("spec.inference.runtime: Triton, and this process was not told where it is (--triton HOST:PORT)")
    key_file = given.triton_key_file
    try:
        backend = Backend(given.triton_backend)
    except ValueError:
        raise InvalidInput(f"--triton-backend {given.triton_backend!r}: one of {', '.join(Backend)}") from None
    settings = TritonSettings(given.triton, lambda: read_password(key_file) if key_file else "", backend)
    int8 = piece.inference.precision is Precision.INT8
    engine = engine_reader(given.triton_engines, backend, int8=int8)
    server = TritonModelServer(settings, lambda version: bundle_in(given.models_folder, version), int8=int8, engine=engine)
    parts.later.push_async_callback(server.close)
    keeping = asyncio.create_task(server.run(), name="keep Triton's index")
    parts.later.callback(keeping.cancel)
    return server


async def _recorder(parts: Parts) -> Service:
    from tradingsystem.recorder.service import RecorderService

    directory = parts.assignment.run_folder / "recording"
    directory.mkdir(parents=True, exist_ok=True)
    return RecorderService(
        system=parts.slice.system, directory=directory, clock=parts.clock, bus=parts.bus, journal=parts.journal, tape=parts.tape
    )


async def _monitor(parts: Parts) -> Service:
    from tradingsystem.monitor.service import MonitorService

    expected = tuple(name for name in BUILDERS if name != "simulator" or parts.simulated)
    stores = {"the journal": _journal_room(parts), "the disk of the system's state": _disk_room(parts.assignment.state_folder)}
    return MonitorService(system=parts.slice.system, expected=expected, clock=parts.clock, bus=parts.bus, stores=stores)


def _journal_room(parts: Parts) -> Callable[[], Awaitable[Room]]:
    from tradingsystem.adapters.nats_journal import NatsJournal
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


async def _simulator(parts: Parts) -> Service:
    from tradingsystem.process.playing import SimulatedPlayer, playable
    from tradingsystem.process.simulated_time import PacedSimulator
    from tradingsystem.simulator.server import SimulatorSettings
    from tradingsystem.simulator.service import SimulatorService

    piece, assignment = cast(SimulatorSlice, parts.slice), parts.assignment
    address = urlsplit(assignment.venues)  # where it listens; everybody else's is where they find it
    simulation = piece.simulation
    if simulation.edge_basis_points > EDGE_DECLARED_BASIS_POINTS:
        raise InvalidInput(
            f"spec.simulation.edgeBasisPoints: {simulation.edge_basis_points} is more than the simulator plants (0 to {EDGE_DECLARED_BASIS_POINTS})"
        )
    recorded = simulation.source is MarketSource.RECORDED
    settings = SimulatorSettings(
        seed=simulation.seed,
        symbols=simulation.symbols,
        speed=float(simulation.speed),
        start_date=date.fromisoformat(simulation.start_date),
        folder=str(assignment.data_folder or simulation.data) if recorded else "",
        edge=simulation.edge_basis_points / EDGE_DECLARED_BASIS_POINTS,
        host=address.hostname or "",
        port=address.port or 0,
        capture_path=str(assignment.capture_file or ""),
        capture_everything=assignment.capture_everything,
        starting_cash=Decimal(piece.initial_capital),
    )
    simulator = playable(settings)
    return PacedSimulator(system=piece.system, venues=SimulatorService(simulator), player=SimulatedPlayer(simulator), bus=parts.bus)


BUILDERS: dict[str, Builder] = {
    "monitor": _monitor,
    "watcher": _watcher,
    "recorder": _recorder,
    "models": _models,
    "filter": _filter,
    "execution": _execution,
    "ingestion": _ingestion,
    "simulator": _simulator,
}
