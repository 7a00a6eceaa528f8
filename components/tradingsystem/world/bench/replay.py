"""Row 7: a file of made-up ticks through the whole pipeline in this process - batches, state, rules, features, ensemble, signals, gate - at two cadences
of cuts, and NautilusTrader's engine with an empty strategy on the same file.

Neither side is timed while it reads the file. What fills orders is left out on both: there is no exchange behind the gate here, and Nautilus gets none.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradingsystem.domain import calendar
from tradingsystem.domain.control import SessionOpened, SymbolFact, SymbolTable
from tradingsystem.domain.rows import COLUMNS, F32, F64, RowKind, Rows
from tradingsystem.domain.signals import CutOutcome
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND
from tradingsystem.execution import inbox
from tradingsystem.execution.step import step as execution_step
from tradingsystem.features.bench import busy_rows
from tradingsystem.filter import step as filter_step
from tradingsystem.filter.deciding import Decider
from tradingsystem.interfaces import Scores
from tradingsystem.messages.batch import ROWS_MAX, Batch
from tradingsystem.process.serving import in_process_serving
from tradingsystem.world.bench import desk
from tradingsystem.world.bench.result import SEED, Absent, Effort, Line, Row, rates
from tradingsystem.world.recipe import filter_slice

SYMBOLS = 2_000
PER_SECOND = 50_000
BUSY_SHARE = 0.1  # of the symbols: traded far above their usual volume, so that the rules let them pass
BUSY_VOLUME, QUIET_VOLUME = 3e5, 1e9  # shares of a usual day
MORNING_SHARES = 20_000  # of each trade before the measured part: half an hour's volume in one batch
CADENCES = ((NS_PER_SECOND, "cuts each second", 0.5, 8.0), (NS_PER_MILLISECOND, "cuts each millisecond", 0.05, 2.0))
NAUTILUS_PYTHON = "NAUTILUS_PYTHON"
NAUTILUS_PLACE = Path(".tools/bench/bin/python")
NAUTILUS_SECONDS = 120


def measure(effort: Effort) -> Row:
    """One file, both sides."""
    lines: list[Line] = []
    absent: list[Absent] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ticks.parquet"
        write_ticks(path, seconds := max(0.2, min(8.0, effort.seconds * 1.6)))
        effort.tell("NautilusTrader on the same file")
        theirs, beside = _nautilus(path), ""
        if isinstance(theirs, Line):
            beside = f"NautilusTrader {theirs.p50:.3g} {theirs.unit} in the same run; 0.16 when the design was drawn"
        rows, notes = read_ticks(path), []
        for cut_ns, name, goal, most in CADENCES:
            effort.tell(f"replay with {name}")
            found = replay(rows, cut_ns, min(most, seconds))
            lines.append(rates(name, found.rate / 1e6, "M events/s", least=goal, beside=beside))
            notes.append(
                f"{name}: {found.cuts:,} cuts, {found.rows_judged:,} rows judged by the ensemble, {found.signals} signals, {found.orders} orders"
            )
    if isinstance(theirs, Line):
        lines.append(theirs)
    else:
        absent.append(theirs)
    notes.append(f"{SYMBOLS:,} symbols, {PER_SECOND:,} events per market second, half quotes, half trades; one market second is one sample")
    return Row(name="replay", title="Replay of the whole pipeline", lines=tuple(lines), notes=tuple(notes), absent=tuple(absent))


@dataclass(slots=True)
class Replayed:
    """Events a second of machine time in each market second F64[n], and what came of them."""

    rate: F64
    cuts: int = 0
    rows_judged: int = 0
    signals: int = 0
    orders: int = 0


def write_ticks(path: Path, seconds: float) -> None:
    """Seeded trades and quotes in order of time, as Parquet with the tape's columns."""
    count = int(PER_SECOND * seconds)
    rows = busy_rows(np.random.default_rng(SEED), count, SYMBOLS, 0)
    rows.at_ns[:] = _begin_ns() + np.arange(count) * (NS_PER_SECOND // PER_SECOND)
    pq.write_table(pa.table({name: pa.array(column) for name, column in rows.columns()}), path)


def read_ticks(path: Path) -> Rows:
    """The file's rows."""
    table = pq.read_table(path)
    return Rows(*(np.ascontiguousarray(table.column(name).to_numpy()) for name, _ in COLUMNS))


def _begin_ns() -> int:
    return desk.begin_ns()


def _notes() -> tuple[SymbolTable, SessionOpened]:
    random = np.random.default_rng(SEED)
    busy = random.random(SYMBOLS) < BUSY_SHARE
    names = ("SPY", *(f"S{number:04d}" for number in range(1, SYMBOLS)))
    facts = tuple(SymbolFact(name, "CS", "XNYS", 100.0, BUSY_VOLUME if busy[at] else QUIET_VOLUME, 0.02) for at, name in enumerate(names))
    opened = calendar.session(desk.DAY)
    return SymbolTable(facts=facts), SessionOpened(opened, tuple(((np.arange(opened.minutes) + 1) / opened.minutes).tolist()))


class _Pipeline:
    """Filter and execution, warmed up as far as entries are allowed."""

    def __init__(self) -> None:
        spec = filter_slice(SYMBOLS)
        serving, self._score = in_process_serving(spec, None)
        self._state, self._decider = filter_step.create(spec), Decider(spec, serving)
        self._execution = desk.ready_state(_begin_ns())
        self.seq = self.cuts = self.judged = self.signals = self.orders = 0
        before_ns = _begin_ns() - filter_step.WARM_NS - NS_PER_SECOND
        morning = busy_rows(np.random.default_rng(SEED), SYMBOLS * 8, SYMBOLS, before_ns)
        morning.v1[morning.kind == RowKind.TRADE] = MORNING_SHARES
        self._step([self._batch(before_ns, morning, _notes())])
        self.cuts = self.judged = self.signals = self.orders = 0

    def cut(self, rows: Rows, sealed_at_ns: int) -> None:
        """One cut of these rows."""
        parts = [rows.slice(start, min(start + ROWS_MAX, len(rows))) for start in range(0, len(rows), ROWS_MAX)]
        self._step([self._batch(sealed_at_ns, part) for part in parts])

    def _batch(self, sealed_at_ns: int, rows: Rows, notes: tuple[SymbolTable | SessionOpened, ...] = ()) -> Batch:
        self.seq += 1
        return Batch(epoch=1, seq=self.seq, sealed_at_ns=sealed_at_ns, gap=False, notes=notes, rows=rows)

    def _step(self, batches: list[Batch]) -> None:
        swept = filter_step.step(self._state, batches)
        scores, outcome = None, CutOutcome.NONE
        if self._decider.asks_model(swept):
            scores, outcome = self._scores(swept.features.values), CutOutcome.OK
        _, signals = self._decider.decide(self._state, swept, scores, outcome)
        self.cuts += 1
        for signal in signals:
            self.signals += 1
            received = inbox.SignalReceived(received_at_ns=swept.sealed_at_ns, signal=signal, mark=None, seq=self.signals)
            self.orders += len(execution_step(self._execution, received))
        if swept.full:
            execution_step(self._execution, inbox.TimerTicked(received_at_ns=swept.sealed_at_ns))

    def _scores(self, features: F32) -> Scores:
        self.judged += len(features)
        return self._score(features)


def replay(rows: Rows, cut_ns: int, seconds: float) -> Replayed:
    """The first ``seconds`` of market time, cut at that cadence; the first market second is also timed, as the kernels are compiled before."""
    pipeline, found = _Pipeline(), []
    per_sample = min(NS_PER_SECOND, int(seconds * NS_PER_SECOND))
    ends = range(_begin_ns() + per_sample, _begin_ns() + int(seconds * NS_PER_SECOND) + 1, per_sample)
    for end_ns in ends:
        edges_ns = np.arange(end_ns - per_sample, end_ns + 1, min(cut_ns, per_sample))
        begun = time.perf_counter()
        places = np.searchsorted(rows.at_ns, edges_ns)
        for start, stop, sealed_at_ns in zip(places, places[1:], edges_ns[1:], strict=False):
            if stop > start:
                pipeline.cut(rows.slice(int(start), int(stop)), int(sealed_at_ns))
        found.append((places[-1] - places[0]) / (time.perf_counter() - begun))
    return Replayed(np.array(found, dtype=np.float64), pipeline.cuts, pipeline.judged, pipeline.signals, pipeline.orders)


def _nautilus(path: Path) -> Line | Absent:
    python = Path(os.environ.get(NAUTILUS_PYTHON, str(NAUTILUS_PLACE)))
    name = "NautilusTrader"
    if not python.exists():
        return Absent(name=name, reason=f"not installed: no {python}; `make bench` installs it")
    program = Path(__file__).with_name("nautilus.py")
    try:
        ended = subprocess.run([str(python), str(program), str(path)], capture_output=True, timeout=NAUTILUS_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Absent(name=name, reason=f"it did not end within {NAUTILUS_SECONDS} s")
    if ended.returncode:
        return Absent(name=name, reason=f"it failed: {ended.stderr.decode(errors='replace').strip().rsplit(chr(10), 1)[-1]}")
    told = msgspec.json.decode(ended.stdout.splitlines()[-1], type=_Told)
    rate = np.array([told.ticks / told.seconds / 1e6])
    beside = f"an empty strategy; its subscriptions took {told.subscribing_seconds:.1f} s before the first tick and are not counted"
    return rates(f"NautilusTrader {told.version}", rate, "M events/s", beside=beside)


class _Told(msgspec.Struct, frozen=True):
    ticks: int
    seconds: float
    subscribing_seconds: float
    version: str
