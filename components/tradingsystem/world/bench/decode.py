"""Row 1: frames to state on one core - read, judged, applied - at 1, 5 and 50 events a frame, beside bare decoding that knows no types; and over a socket.

Sealing and its conflation are a line of their own: the goal is about reading, judging and applying.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec

import msgspec
import numpy as np

from tradingsystem.domain import calendar
from tradingsystem.domain.control import SessionOpened, SymbolFact, SymbolTable
from tradingsystem.domain.rows import F64, RowKind, Rows
from tradingsystem.ingestion.failover import Carrier
from tradingsystem.ingestion.intake import Intake
from tradingsystem.ingestion.sealing import Moment, Sealed
from tradingsystem.ingestion.validation import Limits
from tradingsystem.interfaces import SourceEvent
from tradingsystem.market import state as market_state
from tradingsystem.market.state import MarketState
from tradingsystem.process import measured
from tradingsystem.world.bench import programs
from tradingsystem.world.bench.clocks import RunningClock
from tradingsystem.world.bench.result import SEED, Absent, Effort, Line, Row, latencies, rates

GOAL = 1.2
PER_FRAME = (1, 5, 50)
EVENTS = 40_000
SOCKET_RATES = ((50_000, 50), (5_000, 5))  # events a second, events a frame
NEVER_LATE = Limits(late_ns=1 << 60, future_ns=1 << 60)
NOW_NS = measured.START_NS + 60 * 10**9
SOURCE = "polygon"
ORJSON = "orjson"
GRACE_SECONDS = 10.0


def measure(effort: Effort) -> Row:
    """Rates without sockets, then latencies with one."""
    lines: list[Line] = []
    absent: list[Absent] = []
    if find_spec(ORJSON) is None:
        absent.append(Absent(name="orjson alone", reason="orjson is not installed; it comes with the development requirements"))
    for per_frame in PER_FRAME:
        effort.tell(f"decode, {per_frame} events a frame")
        lines += _rates(per_frame, effort.part(0.5))
    for per_second, per_frame in SOCKET_RATES:
        effort.tell(f"socket to state, {per_second:,} events/s")
        took = programs.on_loop(socket_to_state(per_second, per_frame, effort.part(0.6)))
        if len(took):
            lines.append(latencies(f"socket to state, {per_frame} a frame", took, "us", offered=f"{per_second:,} events/s"))
        else:
            absent.append(Absent(name=f"socket to state, {per_frame} a frame", reason="no frame arrived"))
    notes = (
        "rates: one pass is one sample; socket to state is from the moment the frame was due to the applied batch, seal of up to 1 ms included",
    )
    return Row(name="decode", title="Decode, validate, apply on one core", lines=tuple(lines), absent=tuple(absent), notes=notes)


def _rates(per_frame: int, seconds: float) -> list[Line]:
    """Passes over the same frames, stage after stage in turn, so that a slow moment of the machine meets all of them."""
    made = measured.frames(SEED, EVENTS, per_frame)
    read = measured.frame_reader(measured.symbols())
    stages = {**_plain(), "decode": lambda: read, **_judged(read)}
    found: dict[str, list[float]] = {name: [] for name in stages}
    end = time.perf_counter() + seconds * len(stages)
    while not all(len(passes) >= 3 for passes in found.values()) or time.perf_counter() < end:
        for name, stage in stages.items():
            found[name].append(EVENTS / _seconds(stage(), made) / 1e6)
        if seconds < 0.1:  # a test wants the lines, not the numbers
            found = {name: passes * 3 for name, passes in found.items()}
    alone = ", ".join(f"{name} {np.median(found[name]):.2f}" for name in _plain())
    beside = f"{alone} in the same run; orjson 0.5 when the design was drawn"
    lines = []
    for name, passes in found.items():
        goal = name == "decode + validate + apply"
        held = GOAL if goal and per_frame == 50 else None
        line = rates(f"{name}, {per_frame}", np.array(passes), "M events/s", least=held, beside=beside if goal else "")
        lines.append(line)
    return lines


def _seconds(stage: Callable[[bytes], object], made: Sequence[bytes]) -> float:
    begun = time.perf_counter()
    for frame in made:
        stage(frame)
    return time.perf_counter() - begun


Stage = Callable[[], Callable[[bytes], object]]
"""Makes what one pass is done with: who has judged the same frames before would refuse them as out of order, and refusing is not what is timed."""


def _plain() -> dict[str, Stage]:
    """Decoders that make dictionaries; orjson where it is installed."""
    found: dict[str, Stage] = {}
    if find_spec(ORJSON) is not None:
        found["orjson alone"] = lambda: import_module(ORJSON).loads
    return {**found, "msgspec untyped alone": lambda: msgspec.json.Decoder().decode}


def _judged(read: Callable[[bytes], Rows]) -> dict[str, Stage]:
    state = _state()

    def validated() -> Callable[[bytes], Rows]:
        check = _intake().validator.check
        return lambda frame: check(read(frame), NOW_NS).rows

    def applied() -> Callable[[bytes], None]:
        validate = validated()
        return lambda frame: market_state.apply(state, validate(frame))

    def sealed() -> Callable[[bytes], None]:
        intake = _intake()

        def one(frame: bytes) -> None:
            batches, _ = intake.rows(SOURCE, read(frame), Moment(NOW_NS, time.perf_counter_ns()))
            for item in batches:
                market_state.apply(state, item.batch.rows)

        return one

    return {"decode + validate": validated, "decode + validate + apply": applied, "the same, sealed in batches": sealed}


def _table() -> SymbolTable:
    return SymbolTable(facts=tuple(SymbolFact(symbol, "CS", "XNAS", float("nan"), 1e6, 0.02) for symbol in measured.symbols()))


def _intake() -> Intake:
    intake = Intake(1, _table(), [Carrier(SOURCE, frozenset(RowKind))], NEVER_LATE, Moment(NOW_NS, time.perf_counter_ns()))
    intake.sealer.advance(Moment(NOW_NS, time.perf_counter_ns()))
    return intake


def _state() -> MarketState:
    state = market_state.allocate(measured.SYMBOLS)
    market_state.set_symbols(state, _table().facts)
    opened = calendar.session(datetime.fromtimestamp(measured.START_NS / 1e9, UTC).date())
    profile = tuple(((np.arange(opened.minutes) + 1) / opened.minutes).tolist())
    market_state.open_session(state, SessionOpened(opened, profile))
    market_state.advance(state, NOW_NS)
    return state


async def socket_to_state(per_second: int, per_frame: int, seconds: float) -> F64:
    """Microseconds from each frame's due moment to its rows in the state; frames that did not arrive in time are left out only at the very end."""
    arguments = (str(per_second), str(per_frame), str(seconds))
    async with programs.running("tradingsystem.world.bench.frame_server", *arguments) as (port, said, _):
        sink = _Sink(per_frame)
        source = measured.polygon_source(f"ws://127.0.0.1:{port}", RunningClock(NOW_NS, 0.0))
        work = asyncio.create_task(source.run(measured.symbols(), sink))
        try:
            _, begin_ns, interval_ns, count = (await asyncio.wait_for(said.readline(), GRACE_SECONDS)).split()
            await sink.until(int(count), seconds + GRACE_SECONDS)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
    done_ns = np.array(sink.done_ns, dtype=np.int64)
    skipped = len(done_ns) // 10  # the first tenth warms up
    due_ns = int(begin_ns) + np.arange(len(done_ns)) * int(interval_ns)
    return np.asarray((done_ns - due_ns)[skipped:] / 1e3, dtype=np.float64)


class _Sink:
    """Ingestion and the filter's state in one: rows in, batches applied, the moment of each frame noted."""

    def __init__(self, per_frame: int) -> None:
        self._per_frame = per_frame
        self._intake, self._state = _intake(), _state()
        self._received = 0
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self.done_ns: list[int] = []

    def rows(self, source: str, rows: Rows, received_ns: int) -> None:  # noqa: ARG002  the interface's
        """See ``interfaces.SourceSink``."""
        self._received += len(rows)
        sealed, _ = self._intake.rows(source, rows, Moment(NOW_NS, time.perf_counter_ns()))
        self._apply(sealed)
        due_ns = self._intake.sealer.due_machine_ns()
        if due_ns is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(0, due_ns - time.perf_counter_ns()) / 1e9, self._seal)

    def _seal(self) -> None:
        self._timer = None
        self._apply(self._intake.sealer.advance(Moment(NOW_NS, time.perf_counter_ns())))

    def _apply(self, sealed: Sequence[Sealed]) -> None:
        if not sealed:
            return
        for item in sealed:
            market_state.apply(self._state, item.batch.rows)
        applied = (self._received - self._intake.sealer.pending) // self._per_frame
        self.done_ns += [time.perf_counter_ns()] * (applied - len(self.done_ns))
        self._changed.set()

    async def until(self, count: int, seconds: float) -> None:
        """Return when that many frames are applied, or the time is over: a refused row must not hang a measurement."""
        deadline = time.monotonic() + seconds
        while len(self.done_ns) < count and time.monotonic() < deadline:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), 0.2)
            except TimeoutError:
                continue

    def malformed(self, source: str, reason: str, count: int) -> None:
        """See ``interfaces.SourceSink``: made-up frames are whole."""
        raise RuntimeError(f"{count} events of {source} malformed: {reason}")

    def health(self, source: str, event: SourceEvent) -> None:
        """See ``interfaces.SourceSink``: nobody asks."""

    def frame(self, source: str, payload: bytes, received_ns: int) -> None:
        """See ``interfaces.SourceSink``: nothing is recorded."""
