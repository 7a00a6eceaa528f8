"""A generated day as the tape would carry it, without sockets: one block of rows per market second, for training and measuring.

The same market that the simulator shows over its wires, translated row by row as the Polygon adapter translates its frames; conflation is left out
because a block is one second and the state keeps the newest quote anyway. Not for decisions that are compared byte by byte: those replay recordings.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tradingsystem.adapters.polygon.conditions import flags_of
from tradingsystem.domain import calendar
from tradingsystem.domain.control import SessionOpened, SymbolFact, SymbolTable
from tradingsystem.domain.rows import RowKind, Rows, empty
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.simulator.feed import Slice
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings
from tradingsystem.simulator.oracle import measure_day

HISTORY_SESSIONS = 20
SECONDS_AT_ONCE = 60  # a second alone costs more in calls than in rows
_BARS = {int(RowKind.SECOND_BAR): NS_PER_SECOND, int(RowKind.MINUTE_BAR): NS_PER_MINUTE}


@dataclass(frozen=True, slots=True)
class GeneratedDay:
    """One seeded day: its notes for the first batch, and its seconds."""

    notes: tuple[SymbolTable, SessionOpened]
    market: GeneratedMarket

    def seconds(self) -> Iterator[tuple[int, Rows]]:
        """Each market second's end in ns and its rows, to the end of the data."""
        session = self.market.session
        first, last = session.first_ns // NS_PER_SECOND, session.last_ns // NS_PER_SECOND
        for begin in range(first, last, SECONDS_AT_ONCE):
            ends_ns = np.arange(begin + 1, min(begin + SECONDS_AT_ONCE, last) + 1, dtype=np.int64) * NS_PER_SECOND
            part = self.market.advance(int(ends_ns[-1]))
            rows, start = rows_of(part), 0
            for at_ns, stop in zip(ends_ns.tolist(), np.searchsorted(part.at_ns, ends_ns, side="right").tolist(), strict=True):
                yield at_ns, rows.slice(start, stop)
                start = stop


def generate(seed: int, date: datetime.date, symbols: int, edge: float, volume_profile: tuple[float, ...] | None = None) -> GeneratedDay:
    """The day of that seed. ``volume_profile`` defaults to the U shape that New York's sessions have on average."""
    market = GeneratedMarket(MarketSettings(seed=seed, date=date, symbols=symbols, edge=edge))
    session = calendar.session(date)
    facts = tuple(_facts(market))
    profile = volume_profile or usual_profile(session.minutes)
    return GeneratedDay((SymbolTable(facts=facts), SessionOpened(session=session, volume_profile=profile)), market)


def oracle_hits(seed: int, date: datetime.date, symbols: int, edge: float) -> tuple[int, int]:
    """Targets reached and entries made on that day by somebody who sees the real episodes."""
    real = measure_day(MarketSettings(seed=seed, date=date, symbols=symbols, edge=edge)).real
    return real.hits, real.entries


def usual_profile(minutes: int) -> tuple[float, ...]:
    """Cumulative share of an ordinary day's volume by the end of each minute: a U, heaviest at the open, that rises again towards the close."""
    place = (np.arange(minutes) + 0.5) / minutes
    weight = 0.55 + 1.9 * np.exp(-place * 9.0) + 1.1 * np.exp(-(1.0 - place) * 11.0)
    return tuple(float(value) for value in np.cumsum(weight) / weight.sum() * (minutes / calendar.ORDINARY_MINUTES))


def _facts(market: GeneratedMarket) -> Iterator[SymbolFact]:
    days = market.history_days(HISTORY_SESSIONS)
    ranges = np.nanmean([(day.high - day.low) / day.close for day in days], axis=0)
    volumes = np.nanmean([day.volume for day in days], axis=0)
    for place, known in enumerate(market.reference()):
        yield SymbolFact(
            symbol=known.symbol,
            type=known.type,
            exchange=known.primary_exchange,
            previous_close=known.previous_close,
            average_volume=float(volumes[place]),
            average_range=float(ranges[place]),
        )


def rows_of(slice_: Slice) -> Rows:
    """The slice's events as rows."""
    rows = empty(len(slice_))
    kind, v = slice_.kind, (rows.v0, rows.v1, rows.v2, rows.v3, rows.v4, rows.v5)
    rows.kind[:], rows.symbol[:], rows.at_ns[:] = kind, slice_.symbol, slice_.at_ns
    _columns(v, kind == RowKind.TRADE, slice_.price, slice_.size)
    _columns(v, kind == RowKind.QUOTE, slice_.price, slice_.price2, slice_.size, slice_.size2)
    _columns(v, kind == RowKind.LULD, slice_.price, slice_.price2)
    _columns(v, kind == RowKind.INDEX, slice_.price)
    asked = slice_.size2 * slice_.exchange / 100.0
    call = (slice_.condition & 1 == 0).astype(np.float64)
    _columns(v, kind == RowKind.FLOW, slice_.size2, asked, slice_.size2 - asked, slice_.size, call)
    for bar, window_ns in _BARS.items():
        here = kind == bar
        _columns(v, here, slice_.price, slice_.price2, slice_.price3, slice_.price4, slice_.size, slice_.size2)
        rows.at_ns[here] -= window_ns
    trades = np.flatnonzero(kind == RowKind.TRADE)
    for condition in np.unique(slice_.condition[trades]):
        rows.flags[trades[slice_.condition[trades] == condition]] = flags_of((int(condition),) if condition else ())
    return rows


def _columns(targets: tuple[np.ndarray, ...], mask: np.ndarray, *sources: np.ndarray) -> None:
    if mask.any():
        for target, source in zip(targets, sources, strict=False):
            target[mask] = source[mask]
