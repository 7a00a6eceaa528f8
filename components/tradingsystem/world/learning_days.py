"""Recorded runs as days to learn from: the tape is fed to the filter's own step at the recorded cuts, so features are those that were served, to the bit.

What was simulated, what was played from recorded ticks and what came live load alike and stay marked. A recording that is damaged, altered or cannot be
fed is named and left out; the others are learned from. A recording that is read is kept as one file under the hash of its content and of what made rows
of it, so that only new ones are fed again.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import msgspec
import numpy as np

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.signals import Cut
from tradingsystem.domain.time import NS_PER_DAY, new_york_date
from tradingsystem.ensemble.labels import SAMPLE_SECONDS, LabelRule
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.filter import step as filter_step
from tradingsystem.learning.rows import LearningRows
from tradingsystem.learning.session import SessionCollector
from tradingsystem.market import columns as c
from tradingsystem.messages.codec import decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.recorder.segments import segment_paths
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.simulation import MarketSource
from tradingsystem.spec.slices import FilterSlice
from tradingsystem.world.replay import batches_of, batches_of_cut, journal_of

_FORM = "2"  # of a kept file; another one is read anew
_DEPTH_MAX = 3


@dataclass(frozen=True, slots=True)
class LearningDay:
    """One session of one recording. ``name`` tells days of one date apart (its seed where it was generated), ``kind`` is simulated, recorded or live."""

    name: str
    kind: str
    session: Session
    run: str
    rows: LearningRows
    model: int = 0  # the version that decided last


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A recording, or a session of one, that is not learned from, and why."""

    run: str
    why: str


@dataclass(frozen=True, slots=True)
class Days:
    """What can be learned from, in the order of time, and what was left out."""

    days: tuple[LearningDay, ...]
    left_out: tuple[LeftOut, ...]


def find_runs(folders: tuple[Path, ...]) -> list[Path]:
    """Run folders at or below the given ones, by name. Raises ``InvalidInput`` for a folder that is not there."""
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise InvalidInput(f"{folder}: no such folder; give one with recorded runs, as `tradingsystem up` and `demo` leave them")
        for depth in range(_DEPTH_MAX):
            for tape in folder.glob("/".join(["*"] * depth + ["recording", "tape-00000.arrows"])):
                found.add(tape.parent.parent)
            for tape in folder.glob("/".join(["*"] * depth + ["tape-00000.arrows"])):
                if tape.parent.name != "recording":
                    found.add(tape.parent)
    return sorted(found)


def load_days(runs: list[Path], cache: Path | None, spec: FilterSlice | None, done: Callable[[], None] = lambda: None) -> Days:
    """Every session of every run. ``spec`` is what the filter ran with where a run does not say it itself; ``done`` is called after each run."""
    days: list[LearningDay] = []
    left_out: list[LeftOut] = []
    for run in runs:
        try:
            days += load_run(run, cache, spec)
        except (InvalidInput, ValueError, KeyError, msgspec.MsgspecError, OSError) as error:
            left_out.append(LeftOut(str(run), str(error) or type(error).__name__))
        done()
    kept, twice = _each_once(days)
    return Days(tuple(_in_line(kept)), tuple(left_out + twice))


def load_run(run: Path, cache: Path | None = None, spec: FilterSlice | None = None) -> list[LearningDay]:
    """The sessions of one run. Raises ``InvalidInput`` when it is damaged or says nothing, and what decoding raises."""
    recording = run / "recording" if (run / "recording").is_dir() else run
    own = run / "slices" / "filter.json"
    if own.is_file():
        spec = msgspec.json.decode(own.read_bytes(), type=FilterSlice)
    if spec is None:
        raise InvalidInput(f"{own}: not there, so the filter's settings are not known; give the resource with --system")
    kept = cache / f"{_key(recording, spec)}.npz" if cache is not None else None
    days = _read_kept(kept, run) if kept is not None else None
    if days is None:
        days = list(_replayed(run, recording, spec))
        if kept is not None:
            _keep(kept, days)
    return days


def _replayed(run: Path, recording: Path, spec: FilterSlice) -> Iterator[LearningDay]:
    journal, batches = journal_of(recording), batches_of(recording)
    subject = Subjects(spec.system).journal_cut
    cuts: list[Cut] = []
    for record in journal:
        if record.subject == subject:
            cuts += decode(record.payload, list[Cut])
    state = filter_step.create(spec)
    session, collector = None, None
    sweeps = model = 0
    for cut in cuts:
        swept = filter_step.step(state, list(batches_of_cut(cut, batches)), full=cut.full)
        if not swept.full:
            continue
        sweeps, model = sweeps + 1, cut.model
        market = state.market
        if market.session is not session:
            if session is not None and collector is not None:
                yield _day(run, spec, session, collector, model)
            session = market.session
            collector = SessionCollector(session.open_ns, session.close_ns) if session is not None else None
        if collector is not None:
            now, count = market.columns.now, market.count
            chosen = swept.features.rows if swept.entries else swept.features.rows[:0]
            features = swept.features.values if swept.entries else swept.features.values[:0]
            collector.sweep(swept.sealed_at_ns, market.symbols, now[c.BID, :count], now[c.ASK, :count], chosen, features, swept.regime)
    if not sweeps:
        raise InvalidInput(f"{recording}: no cut of the system {spec.system} in its journal; nothing was decided in that run")
    if session is not None and collector is not None:
        yield _day(run, spec, session, collector, model)


def _day(run: Path, spec: FilterSlice, session: Session, collector: SessionCollector, model: int) -> LearningDay:
    kind = kind_of(spec)
    return LearningDay(name_of(kind, session.day, spec.simulation.seed), kind, session, run.name, collector.rows(LabelRule()), model)


def name_of(kind: str, day: datetime.date, seed: int) -> str:
    """What a session is called in reports and in the ledger: its date, and the seed where it was generated."""
    return f"{day}, seed {seed}" if kind == "simulated" else str(day)


def kind_of(spec: FilterSlice) -> str:
    """What a run's market was: simulated, recorded or live."""
    if spec.mode is not Mode.SIMULATION:
        return "live"
    return "simulated" if spec.simulation.source is MarketSource.GENERATED else "recorded"


def _each_once(days: list[LearningDay]) -> tuple[list[LearningDay], list[LeftOut]]:
    """Of several recordings of one session the fullest: learning from both would count each opportunity twice."""
    best: dict[tuple[str, str], LearningDay] = {}
    twice = []
    for day in days:
        known = best.get((day.kind, day.name))
        if known is None or len(day.rows) > len(known.rows):
            best[day.kind, day.name] = day
        if known is not None:
            loser = known if best[day.kind, day.name] is day else day
            twice.append(
                LeftOut(loser.run, f"session {day.name} ({day.kind}) is in {best[day.kind, day.name].run} as well, with more rows")
            )
    return list(best.values()), twice


def _in_line(days: list[LearningDay]) -> Iterator[LearningDay]:
    """Oldest first. Generated days of one date are laid one behind the other, by whole days: they share a date and no market."""
    last_close_ns = 0
    for day in sorted(days, key=lambda one: (one.session.open_ns, one.kind, one.name)):
        late_ns = last_close_ns - day.session.open_ns
        shift_ns = -(-late_ns // NS_PER_DAY) * NS_PER_DAY if late_ns > 0 else 0
        moved = _moved(day, shift_ns) if shift_ns else day
        last_close_ns = moved.session.close_ns
        yield moved


def _moved(day: LearningDay, by_ns: int) -> LearningDay:
    session = Session(new_york_date(day.session.open_ns + by_ns), day.session.open_ns + by_ns, day.session.close_ns + by_ns)
    rows = replace(day.rows, at_ns=day.rows.at_ns + by_ns, closed_ns=day.rows.closed_ns + by_ns)
    return replace(day, session=session, rows=rows)


def _key(recording: Path, spec: FilterSlice) -> str:
    """A hash over the recording's bytes and over everything else that rows depend on."""
    whole = hashlib.sha256()
    for part in (_FORM, schema_hash(), repr(LabelRule()), str(SAMPLE_SECONDS)):
        whole.update(part.encode())
    whole.update(msgspec.json.encode(spec))
    for path in itertools.chain(segment_paths(recording, "tape"), segment_paths(recording, "journal")):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


class _Told(msgspec.Struct, frozen=True):
    """What a kept file says beside its arrays, day by day."""

    days: list[tuple[str, str, Session, str, int]]  # name, kind, session, digest of the rows, model


def _keep(path: Path, days: list[LearningDay]) -> None:
    """Keep the rows for the next time. Where they cannot be written they are made anew then: a full disk costs time, never a day."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_kept(part, days)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()


def _write_kept(path: Path, days: list[LearningDay]) -> None:
    told = _Told([(day.name, day.kind, day.session, day.rows.digest(), day.model) for day in days])
    arrays = {f"{at}.{field.name}": getattr(day.rows, field.name) for at, day in enumerate(days) for field in fields(LearningRows)}
    with path.open("wb") as file:
        np.savez(file, told=np.frombuffer(msgspec.json.encode(told), np.uint8), **arrays)


def _read_kept(path: Path, run: Path) -> list[LearningDay] | None:
    """What was kept, None when there is nothing or it is not what was kept."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            told = msgspec.json.decode(arrays["told"].tobytes(), type=_Told)
            days = []
            for at, (name, kind, session, digest, model) in enumerate(told.days):
                rows = LearningRows(*(arrays[f"{at}.{field.name}"] for field in fields(LearningRows)))
                if rows.digest() != digest:
                    return None
                days.append(LearningDay(name, kind, session, run.name, rows, model))
            return days
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, msgspec.MsgspecError):
        return None
