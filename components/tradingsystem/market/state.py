"""The market as the filter knows it: struct-of-arrays for a fixed number of symbols, allocated once, and the few ways to change it.

It holds no clock and asks nobody: ``advance`` is told what time it is, ``apply`` what happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import SessionOpened, SymbolFact
from tradingsystem.domain.rows import COLUMNS, F32, I32, Rows
from tradingsystem.market import columns as c
from tradingsystem.market.applying import apply_rows
from tradingsystem.market.columns import Columns
from tradingsystem.market.rolling import roll

TRADABLE_TYPES = frozenset({"CS", "ADRC", "ETF"})  # common stocks, depositary receipts, funds; no warrants, rights, units, notes
NEVER_NS = np.iinfo(np.int64).max
REBASED_PART = 0.1  # so far may yesterday's close, as told today, be from where we last saw it; the smallest split is five for four
_FACTS = slice(c.PREVIOUS_CLOSE, c.AVERAGE_RANGE + 1)
_SUMS = slice(c.BOUGHT_FAST, c.GROSS_FLOW + 1)


@dataclass(slots=True)
class MarketState:
    """State of one epoch. ``columns`` are what kernels work on; ``symbols`` names their columns."""

    columns: Columns
    facts: tuple[SymbolFact, ...] = ()
    symbols: tuple[str, ...] = ()
    session: Session | None = None
    places: dict[str, int] = field(default_factory=dict)  # position by symbol

    @property
    def count(self) -> int:
        """Symbols in the table."""
        return int(self.columns.clock[c.COUNT])

    @property
    def now_ns(self) -> int:
        """Market time up to which the state has been moved."""
        return int(self.columns.clock[c.NOW])

    @property
    def capacity(self) -> int:
        """Symbols that there is room for."""
        return self.columns.now.shape[1]

    @property
    def memory_bytes(self) -> int:
        """Size of all arrays."""
        return sum(array.nbytes for array in self.columns)


def allocate(symbols_max: int) -> MarketState:
    """An empty state with room for ``symbols_max`` symbols: 16 KB each, whose rings the system backs with memory as they are written."""
    if symbols_max < 1:
        raise ValueError(f"room for {symbols_max} symbols, at least 1 is needed")
    columns = Columns(
        now=np.zeros((c.NOW_COLUMNS, symbols_max), np.float32),
        totals=np.zeros((c.TOTAL_COLUMNS, symbols_max)),
        times=np.zeros((c.TIME_COLUMNS, symbols_max), np.int64),
        flags=np.zeros((c.FLAG_COLUMNS, symbols_max), np.uint8),
        touched=np.zeros(symbols_max, np.int32),
        second_close=np.zeros((c.SECONDS, symbols_max), np.float32),
        second_volume=np.zeros((c.SECONDS, symbols_max), np.uint32),
        minute=np.zeros((c.MINUTE_COLUMNS, c.MINUTES, symbols_max), np.float32),
        profile=np.linspace(0.0, 1.0, c.MINUTES + 1),
        clock=np.zeros(c.CLOCK_COLUMNS, np.int64),
        levels=np.full(c.LEVEL_COLUMNS, np.nan),
    )
    state = MarketState(columns)
    _clear(state)
    return state


def _clear(state: MarketState) -> None:
    """Forget prices, volumes and time. Rings are not touched: ``SECOND`` 0 and ``MINUTE`` -1 say that nothing in them is valid."""
    a = state.columns
    a.now[:] = np.nan
    a.now[_SUMS] = 0
    a.totals[:] = 0
    a.times[:] = 0
    a.times[c.OPEN_AT] = NEVER_NS
    a.flags[:] = 0
    a.second_close[0] = np.nan
    a.clock[:] = 0
    a.clock[c.MINUTE] = -1
    a.clock[c.SPY] = -1
    a.clock[c.CHANGED_SECOND] = NEVER_NS
    a.clock[c.CHANGED_MINUTE] = NEVER_NS
    a.levels[:] = np.nan


def set_symbols(state: MarketState, facts: tuple[SymbolFact, ...]) -> None:
    """Take a new symbol table. Symbols known before keep what is known of them at their new place; all others start empty, and so do those whose close
    of the day before is told anew, after a split.

    Raises ``ValueError`` when the table holds more symbols than there is room for, or one twice.
    """
    names = tuple(fact.symbol for fact in facts)
    if len(names) > state.capacity:
        raise ValueError(f"a symbol table of {len(names)} symbols, there is room for {state.capacity}: raise universe.symbolsMax")
    place = {name: index for index, name in enumerate(names)}
    if len(place) != len(names):
        raise ValueError("the symbol table names a symbol twice")
    if names != state.symbols:
        _move(state, names)
    state.facts = facts
    state.symbols = names
    state.places = place
    a = state.columns
    count = len(names)
    a.clock[c.COUNT] = count
    a.clock[c.SPY] = place.get("SPY", -1)
    told_before = a.now[c.PREVIOUS_CLOSE, :count].copy()
    a.now[c.PREVIOUS_CLOSE, :count] = [fact.previous_close for fact in facts]
    a.now[c.AVERAGE_VOLUME, :count] = [fact.average_volume for fact in facts]
    a.now[c.AVERAGE_RANGE, :count] = [fact.average_range for fact in facts]
    a.flags[c.TRADABLE_TYPE, :count] = [fact.type in TRADABLE_TYPES for fact in facts]
    _forget_rebased(state, _apart(told_before, a.now[c.PREVIOUS_CLOSE, :count]))


def _move(state: MarketState, names: tuple[str, ...]) -> None:
    """Carry the columns of symbols that stay to their new places; new symbols get empty ones. Of the rings only the rows that are valid: the others are
    written when their time comes, and touching them all would take the memory of a whole day at once."""
    a = state.columns
    before = {name: index for index, name in enumerate(state.symbols)}
    source = np.array([before.get(name, -1) for name in names], np.intp)
    fresh = np.flatnonzero(source < 0)
    count = len(names)
    valid = _valid_seconds(a)
    minutes = range(int(a.clock[c.MINUTE]) + 1)
    if len(state.symbols):
        for array in (a.now, a.totals, a.times, a.flags):
            array[:, :count] = array[:, source]
        for ring, rows in ((a.second_close, valid), (a.second_volume, valid), *((quantity, minutes) for quantity in a.minute)):
            for row in rows:
                ring[row, :count] = ring[row, source]
    _empty(a, fresh, valid)
    a.flags[:, fresh] = 0
    for minute in minutes:
        a.minute[:, minute, fresh] = np.nan
        a.minute[c.MINUTE_VOLUME, minute, fresh] = 0
    a.flags[c.TOUCHED] = 0
    a.clock[c.TOUCHED_COUNT] = 0


def _valid_seconds(a: Columns) -> list[int]:
    """Rows of the ring of seconds that hold something."""
    second = int(a.clock[c.SECOND])
    return [at % c.SECONDS for at in range(max(int(a.clock[c.STARTED_SECOND]), second - c.SECONDS + 1), second + 1)] if second else []


def _empty(a: Columns, places: npt.NDArray[np.intp], valid: list[int]) -> None:
    """Nothing is known of the symbols at these places, but what the table says and their minutes."""
    a.now[:, places] = np.nan
    a.now[_SUMS, places] = 0
    a.totals[:, places] = 0
    a.times[:, places] = 0
    a.times[c.OPEN_AT, places] = NEVER_NS
    for row in valid:
        a.second_close[row, places] = np.nan
        a.second_volume[row, places] = 0


def _apart(seen: F32, told: F32) -> npt.NDArray[np.bool_]:
    """Where two prices are too far from one another for a night; NaN is far from nothing."""
    return np.abs(seen / told - 1) > REBASED_PART


def _forget_rebased(state: MarketState, among: npt.NDArray[np.bool_] | bool = True) -> None:
    """Over the night a stock may have split: the close that the table tells, which is in today's shares, is not where we last saw it. Prices, volumes and
    averages from before would make today's features those of another stock, so the symbol begins as one that is new."""
    a = state.columns
    places = np.flatnonzero(among & _apart(a.now[c.LAST, : state.count], a.now[c.PREVIOUS_CLOSE, : state.count]))
    if not len(places):
        return
    facts = a.now[_FACTS, places].copy()
    _empty(a, places, _valid_seconds(a))
    a.now[_FACTS, places] = facts
    a.clock[c.CHANGED_SECOND] = min(a.clock[c.CHANGED_SECOND], a.clock[c.STARTED_SECOND])


def open_session(state: MarketState, opened: SessionOpened) -> None:
    """Begin a session: the day's figures and minutes start over, seconds and averages go on, but of symbols whose price is another one than that of the
    day before. The same session again changes only the profile."""
    a = state.columns
    session = opened.session
    minutes = session.minutes
    profile = np.asarray(opened.volume_profile, np.float64)
    if len(profile) != minutes:
        raise ValueError(f"a volume profile of {len(profile)} minutes for a session of {minutes}")
    a.profile[0] = 0.0
    a.profile[1 : minutes + 1] = profile
    a.profile[minutes + 1 :] = profile[-1]
    if state.session == session:
        return
    if state.session is not None:
        _forget_rebased(state)
    state.session = session
    a.clock[c.OPEN] = session.open_ns
    a.clock[c.CLOSE] = session.close_ns
    a.clock[c.SESSION_MINUTES] = minutes
    a.clock[c.MINUTE] = -1
    a.clock[c.CHANGED_MINUTE] = NEVER_NS
    a.totals[c.DAY_VOLUME : c.DAY_VALUE + 1] = 0
    a.now[c.DAY_OPEN : c.UPPER_BAND + 1] = np.nan
    a.now[c.HIGH_15 : c.HIGH_30 + 1] = np.nan
    a.times[c.OPEN_AT] = NEVER_NS
    a.flags[c.HALTED] = 0


def advance(state: MarketState, now_ns: int) -> int:
    """Move market time to ``now_ns``, the seal of the batch that is about to be applied; returns how many seconds began."""
    return int(roll(state.columns, now_ns))


def apply(state: MarketState, rows: Rows) -> None:
    """Apply rows in order. The columns are read where they lie: nothing is copied."""
    if len(rows):
        _apply_rows()(
            *state.columns,
            rows.kind,
            rows.flags,
            rows.symbol,
            rows.at_ns,
            rows.v0,
            rows.v1,
            rows.v2,
            rows.v3,
            rows.v4,
            rows.v5,
        )


@cache
def _apply_rows() -> Callable[..., None]:
    """The kernel, compiled once: for rows that may not be written to and lie apart, because all others can be taken for such. It compiles no more."""
    strided = [np.zeros(2, dtype)[::2] for _, dtype in COLUMNS]
    for column in strided:
        column.flags.writeable = False
    apply_rows(*allocate(1).columns, *strided)
    kernel: Any = apply_rows
    kernel.disable_compile()
    return apply_rows


def take_touched(state: MarketState) -> I32:
    """Symbols touched since the last call, ascending; their marks are cleared."""
    a = state.columns
    count = int(a.clock[c.TOUCHED_COUNT])
    touched = np.sort(a.touched[:count])
    a.flags[c.TOUCHED, touched] = 0
    a.clock[c.TOUCHED_COUNT] = 0
    return touched


def vix(state: MarketState, age_max_ns: int) -> float | None:
    """The VIX, None when it is missing or older than ``age_max_ns``."""
    a = state.columns
    value = float(a.levels[c.VIX])
    at_ns = int(a.clock[c.VIX_AT])
    if not value > 0 or state.now_ns - at_ns > age_max_ns:
        return None
    return value


def warm_up() -> None:
    """Compile the kernels, or load them from the cache on disk."""
    state = allocate(1)
    advance(state, 1)
    _apply_rows()
