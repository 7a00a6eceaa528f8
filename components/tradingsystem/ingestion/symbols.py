"""The epoch's symbol table and the day's volume profile, from the past. What is unknown stays NaN; nothing is filled in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np

from tradingsystem.domain.calendar import ORDINARY_MINUTES, Session
from tradingsystem.domain.control import SymbolFact, SymbolTable
from tradingsystem.domain.rows import F64, Rows
from tradingsystem.domain.time import NS_PER_MINUTE

REFERENCE_SYMBOL = "SPY"  # the regime looks at it, whatever may be traded
HISTORY_SESSIONS = 20
PROFILE_SESSIONS = 5

Day = tuple[float, float, float, float]  # high, low, close, volume


def build_table(
    listed: Sequence[SymbolFact], daily: Mapping[str, Sequence[Day]], chosen: Collection[str] | None, symbols_max: int
) -> SymbolTable:
    """The symbols of the epoch, by ticker; ``chosen`` None means all. When there are too many, those with the most turnover stay, and the
    reference symbol always."""
    wanted = None if chosen is None else {*chosen, REFERENCE_SYMBOL}
    facts = [_with_history(fact, daily.get(fact.symbol, ())) for fact in listed if wanted is None or fact.symbol in wanted]
    if len(facts) > symbols_max:
        facts = sorted(facts, key=_rank)[:symbols_max]
    return SymbolTable(facts=tuple(sorted(facts, key=lambda fact: fact.symbol)))


def by_turnover(table: SymbolTable) -> list[int]:
    """Positions in the table, most traded first: the order in which history is fetched."""
    return sorted(range(len(table.facts)), key=lambda position: _rank(table.facts[position]))


def _rank(fact: SymbolFact) -> tuple[bool, float, str]:
    turnover = fact.average_volume * fact.previous_close
    return (fact.symbol != REFERENCE_SYMBOL, -turnover if turnover == turnover else 0.0, fact.symbol)


def _with_history(fact: SymbolFact, days: Sequence[Day]) -> SymbolFact:
    usable = [day for day in days if all(value > 0 for value in day[:3]) and day[3] >= 0]
    if not usable:
        return fact
    high, low, close, volume = (np.array(column) for column in zip(*usable, strict=True))
    return msgspec.structs.replace(
        fact,
        previous_close=float(close[-1]),
        average_volume=float(volume.mean()),
        average_range=float(((high - low) / close).mean()),
    )


def volume_profile(days: Sequence[tuple[Session, Rows]], session: Session) -> tuple[float, ...]:
    """Cumulative share of an ordinary day's volume at the end of each minute of ``session``, averaged over past days of the reference symbol.

    Days of another length are left out: a half-day has another shape. Without any, the shape is the U that US equities have on average: volume
    per minute proportional to 1 + 2 x (2u - 1)^2 with u the fraction of the day. Average volumes are those of ordinary days, so a half-day's
    shares end at its part of an ordinary day's minutes; ended they at one, no symbol would ever have unusual volume on it.
    """
    minutes = session.minutes
    shares = [share for day, rows in days if day.minutes == minutes and (share := _per_minute(day, rows)) is not None]
    per_minute = np.mean(shares, axis=0) if shares else 1.0 + 2.0 * (2.0 * (np.arange(minutes) + 0.5) / minutes - 1.0) ** 2
    cumulative = np.cumsum(per_minute)
    part = minutes / ORDINARY_MINUTES
    return tuple(float(share) for share in cumulative / cumulative[-1] * part)


def _per_minute(session: Session, rows: Rows) -> F64 | None:
    inside = (rows.at_ns >= session.open_ns) & (rows.at_ns < session.close_ns)
    minute = ((rows.at_ns[inside] - session.open_ns) // NS_PER_MINUTE).astype(np.int64)
    volume = np.zeros(session.minutes)
    np.add.at(volume, minute, np.nan_to_num(rows.v4[inside]))
    total = float(volume.sum())
    return volume / total if total > 0 else None
