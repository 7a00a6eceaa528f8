"""Polygon's REST answers to our nouns. Pure. Rows that cannot be read are left out and counted by the caller from the difference.

Traps kept in mind: ``results`` is absent when empty, volumes may be decimal, ``t`` is the start of the window in aggregates.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TypeVar

import msgspec
import numpy as np

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import SymbolFact
from tradingsystem.domain.rows import RowFlag, RowKind, Rows, empty
from tradingsystem.domain.time import NS_PER_MILLISECOND, from_datetime
from tradingsystem.messages.codec import Malformed

T = TypeVar("T", bound=msgspec.Struct)

STOCKS_AND_FUNDS = frozenset({"CS", "ETF", "ADRC", "ETV", "ETN", "ETS", "PFD", "UNIT", "FUND", "OS", "GDR", "NYRS", "AGEN", "BASKET", "LT"})


class Ticker(msgspec.Struct, frozen=True):
    """A row of the reference list."""

    ticker: str
    type: str = ""
    primary_exchange: str = ""
    active: bool = True


class TickerPage(msgspec.Struct, frozen=True):
    """One page; ``next_url`` holds no key."""

    results: list[Ticker] = []
    next_url: str | None = None


class Aggregate(msgspec.Struct, frozen=True):
    """A bar. ``T`` only in grouped answers, ``vw`` may be missing."""

    o: float
    h: float
    l: float  # noqa: E741  the wire's name
    c: float
    v: float
    t: int
    vw: float = float("nan")
    T: str = ""


class AggregatePage(msgspec.Struct, frozen=True):
    """Bars of a ticker, or of all tickers of a day."""

    results: list[Aggregate] = []
    next_url: str | None = None


class Holiday(msgspec.Struct, frozen=True):
    """A row of the upcoming market days that are not ordinary."""

    date: date
    exchange: str
    status: str
    open: str = ""
    close: str = ""


def _read_as(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"not a {kind.__name__}: {error}") from error


def ticker_page(body: bytes) -> tuple[tuple[SymbolFact, ...], str | None]:
    """Active stocks and funds of one page, and the next page's address."""
    page = _read_as(body, TickerPage)
    nan = float("nan")
    facts = [
        SymbolFact(
            symbol=row.ticker,
            type=row.type,
            exchange=row.primary_exchange,
            previous_close=nan,
            average_volume=nan,
            average_range=nan,
        )
        for row in page.results
        if row.active and row.type in STOCKS_AND_FUNDS
    ]
    return tuple(facts), page.next_url


def grouped_day(body: bytes) -> dict[str, tuple[float, float, float, float]]:
    """By ticker: high, low, close, volume of the day."""
    return {row.T: (row.h, row.l, row.c, row.v) for row in _read_as(body, AggregatePage).results if row.T}


def minute_page(body: bytes) -> tuple[Rows, str | None]:
    """Minute bars as backfill rows of symbol 0, oldest first as they came, and the next page's address."""
    page = _read_as(body, AggregatePage)
    rows = empty(len(page.results))
    if page.results:
        rows.kind[:] = RowKind.MINUTE_BAR
        rows.flags[:] = RowFlag.BACKFILL
        rows.at_ns[:] = np.array([row.t for row in page.results], np.int64) * NS_PER_MILLISECOND
        values = np.array([(row.o, row.h, row.l, row.c, row.v, row.vw if row.vw > 0 else np.nan) for row in page.results])
        for position, column in enumerate((rows.v0, rows.v1, rows.v2, rows.v3, rows.v4, rows.v5)):
            column[:] = values[:, position]
    return rows, page.next_url


def session_of(body: bytes, ours: Session) -> Session | None:
    """The venue's word on the day of ``ours``: None when the exchange is closed, another close on a half-day, ``ours`` when it says nothing."""
    try:
        rows = msgspec.json.decode(body, type=list[Holiday])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"not a list of market days: {error}") from error
    for row in rows:
        if row.date != ours.day or row.exchange.upper() not in ("NYSE", "NASDAQ"):
            continue
        if row.status == "closed":
            return None
        if row.status == "early-close" and row.close:
            return Session(day=ours.day, open_ns=ours.open_ns, close_ns=_moment(row.close))
    return ours


def _moment(text: str) -> int:
    try:
        return from_datetime(datetime.fromisoformat(text))
    except ValueError as error:
        raise Malformed(f"not a time with its zone: {error}") from error
