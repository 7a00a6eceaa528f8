"""Recorded days over the same seam as the generated market: LEAN's zip-of-CSV, Polygon's flat files, and our own recordings.

VIX: `daily/vix.csv` beside the data gives the close of the session before (known in advance, so nobody looks ahead),
repeated every 15 s; where the file has no such day (it starts in 2014) there are no index values at all, because a
number derived from SPY would be called VIX and is not. Our own recordings hold VIX as it was told, and of the days
before only averages: each of those days is shown as the average one. It refuses to bridge gaps in what was recorded.
"""

from __future__ import annotations

import csv
import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tradingsystem.domain import calendar
from tradingsystem.domain.control import SymbolFact
from tradingsystem.simulator import flat_files, lean, own_recording
from tradingsystem.simulator.feed import (
    SECOND_NS,
    VIX_SYMBOL,
    DayBars,
    Kind,
    MinuteBars,
    Session,
    Slice,
    SymbolFacts,
    concatenate,
    empty_slice,
    no_minutes,
    session_of,
    sessions_before,
)
from tradingsystem.simulator.recorded import DamagedFile, Recording, make_slice

_DAYS_SHOWN = 10
VIX_EVERY_NS = 15 * SECOND_NS
KIND_ORDER = {Kind.SECOND_BAR: 0, Kind.MINUTE_BAR: 1, Kind.INDEX: 2, Kind.QUOTE: 3, Kind.TRADE: 4}


def dates(folder: Path) -> list[datetime.date]:
    """Days that can be played from a folder, in order."""
    days = {*lean.dates(folder), *own_recording.dates(folder)}
    for path in folder.rglob("*.csv.gz"):
        name = path.name.removesuffix(".csv.gz")
        if {"trades_v1", "minute_aggs_v1"} & set(path.parts) and name[:4].isdigit():
            days.add(datetime.date.fromisoformat(name))
    return sorted(days)


def days_in_words(folder: Path) -> str:
    """Which days a folder has; for none, what would be one."""
    there = [str(day) for day in dates(folder)]
    if not there:
        return "no recorded day there; expected LEAN's tick/ and minute/ zips, Polygon's trades_v1/*.csv.gz, or recording/frame-*.arrows"
    return f"days there: {', '.join(there[:_DAYS_SHOWN])}{f' and {len(there) - _DAYS_SHOWN} more' if len(there) > _DAYS_SHOWN else ''}"


class Player:
    """One recorded day, played forward once. Raises DamagedFile (file and line) or FileNotFoundError (what is there)."""

    def __init__(self, folder: Path, date: datetime.date, symbols: frozenset[str] | None = None) -> None:
        self._folder, self._session = folder, session_of(date)
        self._lean = (folder / "tick").is_dir() or (folder / "minute").is_dir()
        self._facts = own_recording.facts_of(folder)
        recording = self._read(symbols)
        if symbols is not None:
            recording.parts = {name: parts for name, parts in recording.parts.items() if name in symbols}
        self.notes = recording.notes
        self._symbols = tuple(sorted(recording.parts))
        self.vix = vix_before(folder, date) if recording.indices is None else None
        if self.vix is None and recording.indices is None:
            self.notes["sessions without VIX"] = 1
        self._events = self._order(recording)
        self._next = 0
        self._delivered_ns = self._session.first_ns
        self._past: list[DayBars] | None = None

    def _read(self, symbols: frozenset[str] | None) -> Recording:
        folder, date = self._folder, self._session.date
        if own_recording.place_of(folder) is not None:
            return own_recording.load(folder, date)
        return lean.load(folder, date) if self._lean else flat_files.load(folder, date, symbols)

    def _order(self, recording: Recording) -> Slice:
        """All symbols in one order of time; at the same instant bars before quotes before trades."""
        first_ns, last_ns = self._session.first_ns, self._session.last_ns
        parts: list[Slice] = []
        for i, name in enumerate(self._symbols):
            for part in recording.parts[name]:
                part.symbol[:] = i
                parts.extend(_within(part, first_ns, last_ns))
        if recording.indices is not None:
            parts.extend(_within(recording.indices, first_ns, last_ns))
        if self.vix is not None:
            at = np.arange(first_ns + SECOND_NS, last_ns, VIX_EVERY_NS, dtype=np.int64)
            parts.append(make_slice(Kind.INDEX, at, price=np.full(len(at), self.vix), symbol=np.full(len(at), VIX_SYMBOL)))
        joined = concatenate(parts, last_ns)
        rank = np.zeros(256, dtype=np.int64)
        for kind, place in KIND_ORDER.items():
            rank[kind] = place
        return joined.select(np.lexsort((rank[joined.kind], joined.at_ns)))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Sorted tickers of the recording."""
        return self._symbols

    @property
    def session(self) -> Session:
        """The recorded day."""
        return self._session

    def advance(self, to_ns: int) -> Slice:
        """Everything after the last call up to `to_ns`; raises ValueError when asked to go back."""
        if to_ns < self._delivered_ns:
            raise ValueError(f"advance to {to_ns} goes back: {self._delivered_ns} was delivered")
        end = int(np.searchsorted(self._events.at_ns, to_ns, side="right"))
        rows = np.arange(self._next, end)
        self._next, self._delivered_ns = end, to_ns
        return concatenate([self._events.select(rows)], to_ns) if len(rows) else empty_slice(to_ns)

    def reference(self) -> list[SymbolFacts]:
        """Facts in the order of `symbols`; averages are of the days before that the folder has, 0 when it has none."""
        if self._facts:
            return [_told(name, self._facts.get(name)) for name in self._symbols]
        past = self.history_days(30)
        facts: list[SymbolFacts] = []
        for i, name in enumerate(self._symbols):
            closes = [float(day.close[i]) for day in past if day.volume[i] > 0]
            volumes = [float(day.volume[i]) for day in past if day.volume[i] > 0]
            kind, exchange, tape = ("ETF", "ARCX", 2) if name == "SPY" else ("CS", "XNYS", 1)
            facts.append(
                SymbolFacts(
                    symbol=name,
                    name=f"{name} (recorded)",
                    type=kind,
                    primary_exchange=exchange,
                    tape=tape,
                    previous_close=closes[-1] if closes else 0.0,
                    average_volume=float(np.mean(volumes)) if volumes else 0.0,
                    luld_tier=1,
                    shares_outstanding=0,
                )
            )
        return facts

    def history_days(self, count: int) -> list[DayBars]:
        """Sessions before this one that the folder has (LEAN's minute files), oldest first; of our own recordings the average day, again and again."""
        if self._facts:
            return [self._average(date) for date in sessions_before(self._session.date, count)]
        if not self._lean:
            return []
        if self._past is None:
            days = [day for day in lean.dates(self._folder) if day < self._session.date and calendar.is_session(day)]
            self._past = [self._day(date) for date in days]
        return self._past[max(0, len(self._past) - count) :]

    def _average(self, date: datetime.date) -> DayBars:
        """The day before, as far as it is known: its close, and the average day's volume and range."""
        known = [self._facts.get(name) for name in self._symbols]
        close = np.array([fact.previous_close if fact else np.nan for fact in known])
        half = close * np.nan_to_num(np.array([fact.average_range if fact else 0.0 for fact in known])) / 2.0
        volume = np.nan_to_num(np.array([fact.average_volume if fact else 0.0 for fact in known]))
        trades = np.zeros(len(known), dtype=np.int64)
        return DayBars(
            session=session_of(date), open=close, high=close + half, low=close - half, close=close, volume=volume, vwap=close, trades=trades
        )

    def _day(self, date: datetime.date) -> DayBars:
        session = session_of(date)
        columns: dict[str, Any] = {name: np.full(len(self._symbols), np.nan) for name in ("open", "high", "low", "close", "vwap")}
        volume = np.zeros(len(self._symbols))
        for i, name in enumerate(self._symbols):
            bars = lean.minute_bars(self._folder, name, date)
            rows = (bars.start_ns >= session.open_ns) & (bars.start_ns < session.close_ns)
            if not rows.any():
                continue
            volume[i] = bars.volume[rows].sum()
            columns["open"][i], columns["close"][i] = bars.open[rows][0], bars.close[rows][-1]
            columns["high"][i], columns["low"][i] = bars.high[rows].max(), bars.low[rows].min()
            columns["vwap"][i] = (bars.vwap[rows] * bars.volume[rows]).sum() / max(volume[i], 1.0)
        return DayBars(session=session, volume=volume, trades=np.zeros(len(volume), dtype=np.int64), **columns)

    def history_minutes(self, symbol: int, date: datetime.date) -> MinuteBars:
        """Minute bars of a past session from LEAN's minute files; empty for flat files and our own recordings."""
        if not self._lean:
            return no_minutes()
        return lean.minute_bars(self._folder, self._symbols[symbol], date)


def _told(name: str, fact: SymbolFact | None) -> SymbolFacts:
    """What a recording knows of a symbol; one that was not in that morning's list is a stock of which nothing is known."""
    return SymbolFacts(
        symbol=name,
        name=f"{name} (recorded)",
        type=fact.type if fact else "CS",
        primary_exchange=fact.exchange if fact else "XNYS",
        tape={"XNYS": 1, "XNAS": 3}.get(fact.exchange if fact else "XNYS", 2),
        previous_close=float(np.nan_to_num(fact.previous_close)) if fact else 0.0,
        average_volume=float(np.nan_to_num(fact.average_volume)) if fact else 0.0,
        luld_tier=1,
        shares_outstanding=0,
    )


def _within(part: Slice, first_ns: int, last_ns: int) -> list[Slice]:
    """Rows of the played span; of the quotes before it only the standing one, told at the very start."""
    inside = part.select(np.flatnonzero((part.at_ns > first_ns) & (part.at_ns <= last_ns)))
    before = np.flatnonzero((part.at_ns <= first_ns) & (part.kind == Kind.QUOTE))
    if not len(before):
        return [inside]
    standing = part.select(before[-1:])
    standing.at_ns[:] = first_ns + 1
    return [standing, inside]


def vix_before(folder: Path, date: datetime.date) -> float | None:
    """VIX close of the session before `date` from `daily/vix.csv` in the folder or beside it; None when it has none."""
    path = next((place for place in (folder / "daily" / "vix.csv", folder.parent / "daily" / "vix.csv") if place.exists()), None)
    if path is None:
        return None
    wanted = calendar.previous_sessions(date, 1)[0].day
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            fields = {(key or "").strip().lower(): value for key, value in row.items()}
            try:
                day = datetime.date.fromisoformat(fields["date"])
                value = fields["vix"] if "vix" in fields else fields["close"]
                close = float(value) if value else None  # holidays stand in the file without a number
            except (KeyError, ValueError) as error:
                raise DamagedFile(path, number, f"a row needs a date and a number under vix or close: {error}") from error
            if day == wanted:
                return close
    return None
