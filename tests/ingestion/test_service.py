"""Ingestion as a whole, on a real socket and the in-process bus: what goes in on the wire comes out as one ordered tape."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import pytest

from tests.adapters.listening import DAY, IN_SESSION_NS, SessionClock
from tests.adapters.polygon_server import KEY, PolygonServer, frame, running
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessJournal
from tradingsystem.adapters.memory_cache import MemoryCache
from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource
from tradingsystem.domain import calendar
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import (
    ModelsAssigned,
    SessionOpened,
    SourceState,
    SpecApplied,
    SpecSwitched,
    SymbolFact,
    SymbolTable,
    WeightsUpdated,
)
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.rows import RowFlag, RowKind, Rows, empty
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.ingestion.service import ROLLOVER_BEFORE_OPEN_NS, IngestionService
from tradingsystem.ingestion.status import IngestionStatus
from tradingsystem.interfaces import Delivery, History, Source, SourceEvent, SourceSink
from tradingsystem.messages.batch import Batch, decode_batch
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec.components import Telemetry
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.simulation import Simulation
from tradingsystem.spec.slices import IngestionSlice
from tradingsystem.spec.sources import Cache as CacheSpec
from tradingsystem.spec.sources import Channel, SourceType
from tradingsystem.spec.sources import Source as SourceSpec
from tradingsystem.spec.universe import Universe

SUBJECT = Subjects("test")
POLYGON = SourceSpec(name="polygon", type=SourceType.POLYGON, channels=(Channel.TRADES, Channel.QUOTES, Channel.MINUTE_BARS))

FLOW = SourceSpec(name="flow", type=SourceType.UNUSUAL_WHALES)


def spec(*sources: SourceSpec) -> IngestionSlice:
    return IngestionSlice(
        system="test",
        namespace="default",
        mode=Mode.SIMULATION,
        telemetry=Telemetry(),
        universe=Universe(),
        sources=sources,
        cache=CacheSpec(),
        simulation=Simulation(),
    )


class Past:
    """A history of two symbols that counts what it is asked."""

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[str] = []
        self._failures = failures

    async def symbols(self) -> tuple[SymbolFact, ...]:
        self.asked.append("symbols")
        if self._failures:
            self._failures -= 1
            raise TryAgain("the vendor is not there", 0.0)
        nan = float("nan")
        return tuple(SymbolFact(name, "CS", "XNYS", nan, nan, nan) for name in ("XYZ", "ABC", "SPY"))

    async def daily(self, sessions: Sequence[Session]) -> dict[str, tuple[tuple[float, float, float, float], ...]]:
        return {name: ((11.0, 9.0, 10.0, 1e6),) * len(sessions) for name in ("ABC", "XYZ")}

    async def minutes(self, symbol: str, from_ns: int, to_ns: int) -> Rows:
        self.asked.append(f"minutes {symbol}")
        rows = empty(2)
        rows.kind[:] = RowKind.MINUTE_BAR
        rows.at_ns[:] = [from_ns, from_ns + NS_PER_MINUTE]
        for column, value in zip((rows.v0, rows.v1, rows.v2, rows.v3, rows.v4), (10.0, 10.0, 10.0, 10.0, 5.0), strict=True):
            column[:] = value
        return rows

    async def session(self, day: date) -> Session | None:
        return calendar.session(day)


@dataclass
class Bench:
    """A running service and what it put on the bus."""

    service: IngestionService
    bus: InProcessBus
    journal: InProcessJournal
    ready: asyncio.Event
    batches: list[Batch] = field(default_factory=list)
    states: list[IngestionStatus] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_batch(self, delivery: Delivery) -> None:
        self.batches.append(decode_batch(delivery.payload))
        self.changed.set()

    def on_state(self, delivery: Delivery) -> None:
        self.states.append(decode(delivery.payload, IngestionStatus))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def rows(self, kind: RowKind) -> list[float]:
        return [float(value) for batch in self.batches for value in batch.rows.v0[batch.rows.kind == kind]]

    def notes(self, kind: type) -> list[object]:
        return [note for batch in self.batches for note in batch.notes if isinstance(note, kind)]


@contextlib.asynccontextmanager
async def serving(
    sources: Sequence[Source],
    *specs: SourceSpec,
    clock: SessionClock,
    past: History | None = None,
    kept: MemoryCache | None = None,
    journal: InProcessJournal | None = None,
) -> AsyncIterator[Bench]:
    bus, journal, stop = InProcessBus(), journal or InProcessJournal("test"), asyncio.Event()
    service = IngestionService(
        system="test",
        spec=spec(*specs),
        chosen=None,
        clock=clock,
        bus=bus,
        journal=journal,
        history=past or Past(),
        sources=sources,
        cache=kept or MemoryCache(),
    )
    bench = Bench(service, bus, journal, asyncio.Event())
    await bus.subscribe(SUBJECT.tape, bench.on_batch)
    await bus.subscribe(SUBJECT.state("ingestion"), bench.on_state)
    task = asyncio.create_task(service.run(bench.ready.set, stop))
    try:
        yield bench
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


def polygon(server: PolygonServer, clock: SessionClock, key: str = KEY) -> PolygonSource:
    channels = frozenset(channel.value for channel in POLYGON.channels)
    return PolygonSource(PolygonSettings(name="polygon", url=server.url, key=lambda: key, channels=channels), clock)


def trade(price: float, symbol: str = "ABC", after_ns: int = 0) -> dict[str, object]:
    return {"ev": "T", "sym": symbol, "p": price, "s": 100, "t": (IN_SESSION_NS + after_ns) // 1_000_000}


def before_open() -> SessionClock:
    return SessionClock(start_ns=DAY.open_ns)


def test_the_wire_becomes_a_tape() -> None:
    """The first batch names symbols and session; then every trade once, in order, seq without a hole, and silence as empty batches."""

    async def scenario() -> None:
        clock = SessionClock()

        async def play(socket, number) -> None:  # type: ignore[no-untyped-def]
            for step in range(20):
                await socket.send(frame(*[trade(10.0 + step / 100 + each / 10_000) for each in range(30)]))
            await socket.send(frame(trade(1_000.0), trade(10.0, symbol="NOPE")))

        async with running(PolygonServer(after=play)) as server, serving([polygon(server, clock)], POLYGON, clock=clock) as bench:
            await bench.until(lambda: len(bench.rows(RowKind.TRADE)) >= 600 and bool(bench.states) and bench.states[-1].rows >= 600)
            await bench.until(lambda: any(not len(batch.rows) and not batch.notes for batch in bench.batches))
            await bench.until(lambda: sum(bench.states[-1].refused.values()) == 2)
            assert bench.ready.is_set()
            assert bench.service.progress_ns >= IN_SESSION_NS
        first = bench.batches[0]
        assert [type(note) for note in first.notes[:2]] == [SymbolTable, SessionOpened]
        table = first.notes[0]
        assert isinstance(table, SymbolTable)
        assert [fact.symbol for fact in table.facts] == ["ABC", "SPY", "XYZ"]
        assert bench.rows(RowKind.TRADE) == [pytest.approx(10.0 + step / 100 + each / 10_000) for step in range(20) for each in range(30)]
        assert [batch.seq for batch in bench.batches] == list(range(1, len(bench.batches) + 1))
        sealed = [batch.sealed_at_ns for batch in bench.batches]
        assert sealed == sorted(sealed)
        assert {batch.epoch for batch in bench.batches} == {first.epoch}
        assert bench.states[-1].refused == {"jump": 1, "unknown_symbol": 1}

    asyncio.run(scenario())


def test_wishes_of_both_publishers_reach_the_wire() -> None:
    """What the filter and execution want is subscribed in detail."""

    async def scenario() -> None:
        clock = SessionClock()
        async with running(PolygonServer()) as server, serving([polygon(server, clock)], POLYGON, clock=clock) as bench:
            await server.until(lambda: bool(server.held) and bool(server.held[0]))
            bench.bus.publish(SUBJECT.candidates, encode(["ABC"]))
            bench.bus.publish(SUBJECT.held, encode(["XYZ"]))
            bench.bus.publish(SUBJECT.candidates + "x", b"\xc1")
            await server.until(lambda: {"T.ABC", "Q.ABC", "T.XYZ", "Q.XYZ"} <= server.held[0])

    asyncio.run(scenario())


def test_a_lost_connection_is_a_gap_and_is_filled() -> None:
    """The batch after a loss carries the gap flag and the source's state; minutes of the gap are fetched as backfill."""

    async def scenario() -> None:
        clock, past = SessionClock(start_ns=DAY.open_ns + NS_PER_SECOND, speed=1_000), Past()

        async def drop(socket, number) -> None:  # type: ignore[no-untyped-def]
            await socket.send(frame(dict(trade(10.0), t=clock.now() // 1_000_000)))
            if number == 0:
                await socket.close(1011)

        async with (
            running(PolygonServer(after=drop)) as server,
            serving([polygon(server, clock)], POLYGON, clock=clock, past=past) as bench,
        ):
            await bench.until(lambda: len(bench.notes(SourceState)) >= 3 and len(bench.rows(RowKind.MINUTE_BAR)) >= 6)
        states = [(note.healthy) for note in bench.notes(SourceState) if isinstance(note, SourceState)]
        assert states[:3] == [True, False, True]
        assert {"minutes ABC", "minutes XYZ"} <= set(past.asked)
        gaps = [batch for batch in bench.batches if batch.gap]
        assert gaps
        assert all(any(isinstance(note, SourceState) for note in batch.notes) for batch in gaps)

    asyncio.run(scenario())


def test_a_start_in_mid_day_fetches_what_was_missed() -> None:
    """Minutes since the open come as backfill rows of their symbols, and the table comes from the cache without a REST call."""

    async def scenario() -> None:
        kept, clock = MemoryCache(), SessionClock()
        async with serving([], POLYGON, clock=clock, kept=kept) as bench:
            await bench.until(lambda: bool(bench.batches))
            first = bench.batches[0].epoch
        past = Past()
        async with serving([], POLYGON, clock=clock, kept=kept, past=past) as bench:
            await bench.until(lambda: len(bench.rows(RowKind.MINUTE_BAR)) == 6)
        assert bench.batches[0].epoch > first
        assert sorted(past.asked) == ["minutes ABC", "minutes SPY", "minutes XYZ"]
        flags = {int(flag) for batch in bench.batches for flag in batch.rows.flags}
        assert flags == {RowFlag.BACKFILL}
        assert sorted(int(symbol) for batch in bench.batches for symbol in batch.rows.symbol) == [0, 0, 1, 1, 2, 2]

    asyncio.run(scenario())


def test_history_of_before_the_sessions_morning_is_loaded_anew_on_it() -> None:
    """Started on the evening before: at four in the morning, when a split of that day is in force, a new epoch begins with history that is asked for
    again; nobody starts it a third time that day, nor is it taken from the cache by who starts in between."""

    async def scenario() -> None:
        past, kept, morning_ns = Past(), MemoryCache(), DAY.open_ns - ROLLOVER_BEFORE_OPEN_NS
        async with serving([], POLYGON, clock=SessionClock(start_ns=morning_ns - NS_PER_MINUTE, speed=60.0), past=past, kept=kept) as bench:
            await bench.until(lambda: len({batch.epoch for batch in bench.batches}) == 2)
            opened = bench.notes(SessionOpened)
            assert [note.session.day for note in opened if isinstance(note, SessionOpened)] == [DAY.day, DAY.day]
            assert past.asked.count("symbols") == 2
            await bench.until(lambda: bench.states[-1].at_ns > morning_ns + 3 * NS_PER_MINUTE)
            assert len({batch.epoch for batch in bench.batches}) == 2
        async with serving([], POLYGON, clock=before_open(), past=past, kept=kept) as bench:
            await bench.until(lambda: bool(bench.batches))
        assert past.asked.count("symbols") == 2

    asyncio.run(scenario())


def test_a_cache_from_the_evening_before_is_not_the_mornings() -> None:
    """Whoever starts after four in the morning asks again, however young the cache is."""

    async def scenario() -> None:
        past, kept = Past(), MemoryCache()
        async with serving([], POLYGON, clock=SessionClock(start_ns=DAY.open_ns - 6 * 60 * NS_PER_MINUTE), past=past, kept=kept) as bench:
            await bench.until(lambda: bool(bench.batches))
        async with serving([], POLYGON, clock=before_open(), past=past, kept=kept) as bench:
            await bench.until(lambda: bool(bench.batches))
        assert past.asked.count("symbols") == 2

    asyncio.run(scenario())


def test_a_vendor_that_is_not_there_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """History that fails at the start delays the first batch and nothing else."""
    monkeypatch.setattr("tradingsystem.ingestion.service.RETRY_SECONDS", (0.01, 0.02))

    async def scenario() -> None:
        past = Past(failures=3)
        async with serving([], POLYGON, clock=before_open(), past=past) as bench:
            await bench.until(lambda: bool(bench.batches))
        assert past.asked.count("symbols") == 4

    asyncio.run(scenario())


class Flow:
    """A source of alerts that is well."""

    name = "flow"

    def want(self, detailed: frozenset[str]) -> None:
        """Not asked of alerts."""

    async def run(self, symbols: Sequence[str], sink: SourceSink) -> None:
        sink.health(self.name, SourceEvent(healthy=True, reason="answers arrive"))
        await asyncio.Event().wait()


def test_a_refused_key_leaves_it_alive_and_not_ready() -> None:
    """A wrong key is told in the status; no restart storm, and no readiness because alerts alone arrive."""

    async def scenario() -> None:
        clock = before_open()
        async with (
            running(PolygonServer()) as server,
            serving([Flow(), polygon(server, clock, key="wrong")], POLYGON, FLOW, clock=clock) as bench,
        ):
            await bench.until(lambda: bool(bench.states) and "refused the key" in bench.states[-1].sources.get("polygon", ""))
            assert not bench.ready.is_set()
        assert server.connections == 1

    asyncio.run(scenario())


LEARNED = WeightsUpdated(
    model=12,
    update=1,
    weights=(0.5, 0.5),
    slope=1.0,
    intercept=0.0,
    variance_slope=0.1,
    variance_intercept=0.1,
    covariance=0.0,
    rows=500,
    reason="learned",
)


def test_switches_ride_on_the_tape() -> None:
    """Live settings and promotions stand at one place in the input; those of before the start are in the first batches."""

    async def scenario() -> None:
        journal = InProcessJournal("test")
        await journal.append(SUBJECT.journal_spec, encode(SpecApplied(generation=3, spec=b"{}")))
        async with serving([], POLYGON, clock=before_open(), journal=journal) as bench:
            await bench.until(lambda: bool(bench.notes(SpecSwitched)))
            await journal.append(SUBJECT.journal_model, encode(ModelsAssigned(serving=12)))
            await journal.append(SUBJECT.journal_model, b"\xc1 not a note")
            await journal.append(SUBJECT.journal_weights, encode(LEARNED))
            await bench.until(lambda: bool(bench.notes(WeightsUpdated)))
        assert bench.notes(SpecSwitched) == [SpecSwitched(generation=3, spec=b"{}")]
        assert bench.notes(ModelsAssigned) == [ModelsAssigned(serving=12)]
        assert bench.notes(WeightsUpdated) == [LEARNED]

    asyncio.run(scenario())
