"""The seam between a market and everything that shows it: one struct of arrays per step of market time.

A generated market and a recorded day look the same from here on: the matching engine and every wire server read
`Slice`s and cannot tell which feed made them. This module refuses to know any venue's spelling: codes stay integers.
"""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tradingsystem.domain import calendar
from tradingsystem.domain.time import NEW_YORK as NEW_YORK

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
SIZES_IN_SHARES_SINCE = datetime.date(2025, 11, 3)
PRE_OPEN_NS = 5 * MINUTE_NS
AFTER_CLOSE_NS = 5 * MINUTE_NS
VIX_SYMBOL = -1

REASON_LULD = 1
REASON_NEWS = 2


class Kind(enum.IntEnum):
    """What one row of a slice is; see `Slice` for how each kind uses the columns."""

    TRADE = 1
    QUOTE = 2
    SECOND_BAR = 3
    MINUTE_BAR = 4
    LULD = 5
    INDEX = 6
    FLOW = 7
    HALT = 8
    RESUME = 9


@dataclass(frozen=True, slots=True)
class Slice:
    """Every market event in (from_ns, to_ns], ordered by `at_ns`; all arrays have the same length n.

    | kind | price | size | price2 | size2 | price3 | price4 | condition | exchange |
    |---|---|---|---|---|---|---|---|---|
    | TRADE | price | shares | - | - | - | - | Polygon condition id, 0 = none | Polygon exchange id |
    | QUOTE | bid | bid shares | ask | ask shares | - | - | 1 | bid exchange |
    | SECOND_BAR, MINUTE_BAR | open | volume | high | vwap | low | close | number of trades | 0 |
    | LULD | lower band | - | upper band | - | - | - | indicator | listing exchange |
    | INDEX (symbol -1 is VIX) | value | - | - | - | - | - | 0 | 0 |
    | FLOW | option price | contracts | strike | premium, dollars | seconds since the last print | days to expiry | 2 x rule + (1 when put) | ask-side percent |
    | HALT, RESUME | last price | - | - | - | - | - | REASON_LULD or REASON_NEWS | listing exchange |

    `at_ns` is the moment the fact becomes public: the end of a bar's window, the receipt time of an alert.
    """

    to_ns: int
    kind: U8
    symbol: I32
    at_ns: I64
    price: F64
    size: F64
    price2: F64
    size2: F64
    price3: F64
    price4: F64
    condition: I32
    exchange: U8

    def __len__(self) -> int:
        return len(self.at_ns)

    def select(self, rows: NDArray[Any]) -> Slice:
        """The rows of a boolean mask or an index array, in the order given."""
        return Slice(self.to_ns, *(getattr(self, name)[rows] for name in COLUMNS))


COLUMNS: tuple[str, ...] = (
    "kind",
    "symbol",
    "at_ns",
    "price",
    "size",
    "price2",
    "size2",
    "price3",
    "price4",
    "condition",
    "exchange",
)
DTYPES: tuple[type[np.generic], ...] = (
    np.uint8,
    np.int32,
    np.int64,
    np.float64,
    np.float64,
    np.float64,
    np.float64,
    np.float64,
    np.float64,
    np.int32,
    np.uint8,
)


def empty_slice(to_ns: int) -> Slice:
    """A step of market time in which nothing happened."""
    return Slice(to_ns, *(np.zeros(0, dtype=dtype) for dtype in DTYPES))


def concatenate(parts: list[Slice], to_ns: int) -> Slice:
    """Join consecutive slices; their order in time is the caller's promise."""
    if not parts:
        return empty_slice(to_ns)
    if len(parts) == 1:
        return Slice(to_ns, *(getattr(parts[0], name) for name in COLUMNS))
    return Slice(to_ns, *(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS))


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: official hours and the span for which a feed has data. All times UTC ns."""

    date: datetime.date
    open_ns: int
    close_ns: int
    first_ns: int
    last_ns: int
    early_close: bool


@dataclass(frozen=True, slots=True)
class SymbolFacts:
    """What a reference endpoint tells about one ticker."""

    symbol: str
    name: str
    type: str  # CS, ETF, ADRC, PFD, WARRANT, UNIT, RIGHT
    primary_exchange: str  # MIC: XNYS, XNAS, ARCX, XASE
    tape: int  # 1 NYSE, 2 American/Arca/regional, 3 Nasdaq
    previous_close: float
    average_volume: float  # shares a day
    luld_tier: int
    shares_outstanding: int
    active: bool = True


@dataclass(frozen=True, slots=True)
class DayBars:
    """One past session of every symbol, columns in the order of `Feed.symbols`; NaN and 0 where a symbol did not trade."""

    session: Session
    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64
    vwap: F64
    trades: I64


@dataclass(frozen=True, slots=True)
class MinuteBars:
    """Minute bars of one symbol in time order; `start_ns` is the start of the window."""

    start_ns: I64
    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64
    vwap: F64
    trades: I64


def no_minutes() -> MinuteBars:
    """A session of which nothing is known."""
    nothing = np.zeros(0)
    return MinuteBars(np.zeros(0, np.int64), nothing, nothing, nothing, nothing, nothing, nothing, np.zeros(0, np.int64))


class Feed(Protocol):
    """A market that is played forward once. Two implementations ship: `market.GeneratedMarket` and `player.Player`."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Sorted tickers, SPY among them; rows point into it."""

    @property
    def session(self) -> Session:
        """The day being played."""

    def advance(self, to_ns: int) -> Slice:
        """Everything after the last call up to `to_ns`. Deterministic; raises ValueError when asked to go back."""

    def reference(self) -> list[SymbolFacts]:
        """Facts in the order of `symbols`."""

    def history_days(self, count: int) -> list[DayBars]:
        """At most `count` sessions before this one, oldest first."""

    def history_minutes(self, symbol: int, date: datetime.date) -> MinuteBars:
        """Minute bars of one past session; empty when the feed has none."""


@lru_cache(maxsize=512)
def session_of(date: datetime.date) -> Session:
    """The session of a date, data from 5 minutes before the open to 5 minutes after that day's real close.

    Raises ValueError on a day without a session, naming the next one; `domain.calendar.OutsideCalendar` beyond the table.
    """
    if not calendar.is_session(date):
        following = calendar.next_session(date).day
        raise ValueError(f"{date} is not a trading day in New York; the next one is {following}")
    found = calendar.session(date)
    first_ns, last_ns = found.open_ns - PRE_OPEN_NS, found.close_ns + AFTER_CLOSE_NS
    return Session(date, found.open_ns, found.close_ns, first_ns, last_ns, found.early_close)


def quote_lot(date: datetime.date) -> int:
    """Shares that one unit of a quote's size means on every wire that day: round lots until the tapes changed to shares."""
    return 1 if date >= SIZES_IN_SHARES_SINCE else 100


def sessions_before(date: datetime.date, count: int) -> list[datetime.date]:
    """The `count` trading dates before `date`, oldest first."""
    return [found.day for found in calendar.previous_sessions(date, max(count, 0))]


def sessions_after(date: datetime.date, count: int) -> list[datetime.date]:
    """The `count` trading dates after `date`, in order."""
    dates: list[datetime.date] = []
    while len(dates) < count:
        date = calendar.next_session(date + datetime.timedelta(days=1)).day
        dates.append(date)
    return dates
