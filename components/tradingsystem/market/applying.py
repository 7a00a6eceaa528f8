"""Rows into state, in the order ingestion accepted them. No row makes time pass; no share is counted twice.

Trades are increments, bars are totals of their second or minute. A bar therefore adds only what its span still lacks, and a trade whose span a bar has
closed adds nothing: a symbol may change between trades and second bars, or get both, and every share counts once.
"""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import RowFlag, RowKind
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.market import columns as c
from tradingsystem.market.columns import Columns
from tradingsystem.market.compiling import compiled

_TRADE = int(RowKind.TRADE)
_QUOTE = int(RowKind.QUOTE)
_SECOND_BAR = int(RowKind.SECOND_BAR)
_MINUTE_BAR = int(RowKind.MINUTE_BAR)
_LULD = int(RowKind.LULD)
_INDEX = int(RowKind.INDEX)
_FLOW = int(RowKind.FLOW)
_HALT = int(RowKind.HALT)
_RESUME = int(RowKind.RESUME)
_UPDATES_LAST = int(RowFlag.UPDATES_LAST)
_UPDATES_HIGH_LOW = int(RowFlag.UPDATES_HIGH_LOW)
_UPDATES_VOLUME = int(RowFlag.UPDATES_VOLUME)
_BACKFILL = int(RowFlag.BACKFILL)
_LOW_BITS = 0xFFFFFFFF


@compiled
def apply_rows(
    now: np.ndarray,
    totals: np.ndarray,
    times: np.ndarray,
    flags: np.ndarray,
    touched: np.ndarray,
    second_close: np.ndarray,
    second_volume: np.ndarray,
    minute: np.ndarray,
    profile: np.ndarray,
    clock: np.ndarray,
    levels: np.ndarray,
    kind: np.ndarray,
    row_flags: np.ndarray,
    symbol: np.ndarray,
    at_ns: np.ndarray,
    v0: np.ndarray,
    v1: np.ndarray,
    v2: np.ndarray,
    v3: np.ndarray,
    v4: np.ndarray,
    v5: np.ndarray,
) -> None:
    """Apply the rows; ``roll`` must have moved time to the batch's seal before. Rows of symbols outside the table are counted and skipped.

    The columns come one by one: taking a tuple of arrays apart at every call costs as much as applying twenty rows.
    """
    a = Columns(now, totals, times, flags, touched, second_close, second_volume, minute, profile, clock, levels)
    count = a.clock[c.COUNT]
    for row in range(len(kind)):
        what = kind[row]
        i = symbol[row]
        if what == _INDEX:
            if at_ns[row] >= a.clock[c.VIX_AT]:
                a.levels[c.VIX] = v0[row]
                a.clock[c.VIX_AT] = at_ns[row]
            continue
        if i < 0 or i >= count:
            a.clock[c.ROWS_UNKNOWN] += 1
            continue
        backfill = (row_flags[row] & _BACKFILL) != 0
        if what == _TRADE:
            _trade(a, i, v0[row], v1[row], row_flags[row], at_ns[row])
        elif what == _QUOTE:
            _quote(a, i, v0[row], v1[row], v2[row], v3[row], at_ns[row])
        elif what == _SECOND_BAR:
            _second_bar(a, i, v0[row], v1[row], v2[row], v3[row], v4[row], v5[row], at_ns[row])
        elif what == _MINUTE_BAR:
            _minute_bar(a, i, v0[row], v1[row], v2[row], v3[row], v4[row], v5[row], at_ns[row])
        elif what == _LULD:
            a.now[c.LOWER_BAND, i] = v0[row]
            a.now[c.UPPER_BAND, i] = v1[row]
        elif what == _FLOW:
            _flow(a, i, v0[row], v1[row], v2[row], v4[row])
        elif what == _HALT:
            a.flags[c.HALTED, i] = 1
        elif what == _RESUME:
            a.flags[c.HALTED, i] = 0
        if not backfill and a.flags[c.TOUCHED, i] == 0:
            a.flags[c.TOUCHED, i] = 1
            a.touched[a.clock[c.TOUCHED_COUNT]] = i
            a.clock[c.TOUCHED_COUNT] += 1
    a.clock[c.ROWS_APPLIED] += len(kind)


@compiled
def _add_to_ring(a: Columns, i: int, second: int, volume: float) -> None:
    """Count shares in their second and in all that have begun since. What lies before the ring changes no difference in it, and is left out."""
    current = a.clock[c.SECOND]
    if second < a.clock[c.STARTED_SECOND] or second <= current - c.SECONDS:
        return
    before = int(a.totals[c.RING_VOLUME, i])
    a.totals[c.RING_VOLUME, i] += volume
    added = np.uint32((int(a.totals[c.RING_VOLUME, i]) - before) & _LOW_BITS)
    first = min(second, current)
    for at in range(first, current + 1):
        slot = at % c.SECONDS
        a.second_volume[slot, i] = np.uint32(a.second_volume[slot, i] + added)
    a.clock[c.CHANGED_SECOND] = min(a.clock[c.CHANGED_SECOND], first)


@compiled
def _set_last(a: Columns, i: int, price: float, at: int) -> None:
    """The newest price, now and in every second since it was paid."""
    a.now[c.LAST, i] = price
    a.times[c.LAST_AT, i] = at
    current = a.clock[c.SECOND]
    first = max(min(at // NS_PER_SECOND, current), current - c.SECONDS + 1)
    for second in range(first, current + 1):
        a.second_close[second % c.SECONDS, i] = price
    a.clock[c.CHANGED_SECOND] = min(a.clock[c.CHANGED_SECOND], first)


@compiled
def _session_minute(a: Columns, at: int) -> int:
    """The session's minute that holds ``at``, at most the running one; -1 outside the session."""
    if at < a.clock[c.OPEN] or at >= a.clock[c.CLOSE]:
        return -1
    return min((at - a.clock[c.OPEN]) // NS_PER_MINUTE, a.clock[c.MINUTE])


@compiled
def _extend(a: Columns, i: int, minute: int, high: float, low: float) -> None:
    """Stretch the minute's, the day's and the windows' extremes."""
    highs = a.minute[c.MINUTE_HIGH]
    lows = a.minute[c.MINUTE_LOW]
    if not highs[minute, i] >= high:
        highs[minute, i] = high
    if not lows[minute, i] <= low:
        lows[minute, i] = low
    if not a.now[c.DAY_HIGH, i] >= high:
        a.now[c.DAY_HIGH, i] = high
    if not a.now[c.DAY_LOW, i] <= low:
        a.now[c.DAY_LOW, i] = low
    age = a.clock[c.MINUTE] - minute
    if 1 <= age <= 30 and not a.now[c.HIGH_30, i] >= high:
        a.now[c.HIGH_30, i] = high
    if 1 <= age <= 15:
        if not a.now[c.HIGH_15, i] >= high:
            a.now[c.HIGH_15, i] = high
        if not a.now[c.LOW_15, i] <= low:
            a.now[c.LOW_15, i] = low


@compiled
def _close_minute(a: Columns, i: int, minute: int, price: float) -> None:
    """The minute's close, carried over the minutes after it that had no trade of their own."""
    a.minute[c.MINUTE_CLOSE, minute, i] = price
    for later in range(minute + 1, a.clock[c.MINUTE] + 1):
        if not np.isnan(a.minute[c.MINUTE_HIGH, later, i]):
            break
        a.minute[c.MINUTE_CLOSE, later, i] = price
    a.clock[c.CHANGED_MINUTE] = min(a.clock[c.CHANGED_MINUTE], minute)


@compiled
def _open_day(a: Columns, i: int, price: float, at: int) -> None:
    if at < a.times[c.OPEN_AT, i]:
        a.times[c.OPEN_AT, i] = at
        a.now[c.DAY_OPEN, i] = price


@compiled
def _count_in_day(a: Columns, i: int, minute: int, volume: float, value: float) -> None:
    a.totals[c.DAY_VOLUME, i] += volume
    a.totals[c.DAY_VALUE, i] += value
    a.minute[c.MINUTE_VOLUME, minute, i] += volume
    a.clock[c.CHANGED_MINUTE] = min(a.clock[c.CHANGED_MINUTE], minute)


@compiled
def _trade(a: Columns, i: int, price: float, size: float, flags: int, at: int) -> None:
    second = at // NS_PER_SECOND
    minute = _session_minute(a, at)
    newest = at >= a.times[c.LAST_AT, i]
    counted = flags & _UPDATES_VOLUME and second > a.times[c.SECOND_BAR_UNTIL, i] and second > a.times[c.MINUTE_BAR_UNTIL, i]
    if counted and not flags & _BACKFILL:
        _sign(a, i, price, size)
    if flags & _UPDATES_LAST and newest:
        _set_last(a, i, price, at)
    if counted:
        _add_to_ring(a, i, second, size)
    if minute < 0:
        return
    if flags & _UPDATES_HIGH_LOW:
        _extend(a, i, minute, price, price)
    if flags & _UPDATES_LAST:
        _open_day(a, i, price, at)
        if newest:
            _close_minute(a, i, minute, price)
    if counted:
        _count_in_day(a, i, minute, size, size * price)


@compiled
def _sign(a: Columns, i: int, price: float, size: float) -> None:
    """Who was in a hurry: at or above the ask a buyer, at or below the bid a seller, between them by the mid, without quote by the last price (Lee and
    Ready 1991)."""
    middle = 0.5 * (a.now[c.BID, i] + a.now[c.ASK, i])
    against = middle if middle == middle else a.now[c.LAST, i]
    if price > against:
        a.now[c.BOUGHT_FAST, i] += size
        a.now[c.BOUGHT_SLOW, i] += size
    elif price < against:
        a.now[c.SOLD_FAST, i] += size
        a.now[c.SOLD_SLOW, i] += size
    a.now[c.TRADES_FAST, i] += 1
    a.now[c.TRADES_SLOW, i] += 1


@compiled
def _quote(a: Columns, i: int, bid: float, ask: float, bid_size: float, ask_size: float, at: int) -> None:
    if at < a.times[c.QUOTE_AT, i]:
        return
    a.now[c.BID, i] = bid if bid > 0 else np.nan
    a.now[c.ASK, i] = ask if ask > 0 else np.nan
    a.now[c.BID_SIZE, i] = bid_size
    a.now[c.ASK_SIZE, i] = ask_size
    a.times[c.QUOTE_AT, i] = at


@compiled
def _second_bar(a: Columns, i: int, opened: float, high: float, low: float, close: float, volume: float, vwap: float, start: int) -> None:
    second = start // NS_PER_SECOND
    end = (second + 1) * NS_PER_SECOND - 1
    newest = end >= a.times[c.LAST_AT, i]
    if newest:
        _set_last(a, i, close, end)
    missing = 0.0
    current = a.clock[c.SECOND]
    unheard = second >= a.clock[c.STARTED_SECOND] or second > a.times[c.SECOND_BAR_UNTIL, i]  # before its start the ring cannot tell
    if unheard and second > a.times[c.MINUTE_BAR_UNTIL, i] and second > current - c.SECONDS + 1:
        at = min(second, current)
        so_far = np.uint32(a.second_volume[at % c.SECONDS, i] - _volume_before(a, i, at))
        missing = max(0.0, volume - so_far)
        _add_to_ring(a, i, at, missing)
    a.times[c.SECOND_BAR_UNTIL, i] = max(a.times[c.SECOND_BAR_UNTIL, i], second)
    minute = _session_minute(a, start)
    if minute < 0:
        return
    _extend(a, i, minute, high, low)
    _open_day(a, i, opened, start)
    if newest:
        _close_minute(a, i, minute, close)
    _count_in_day(a, i, minute, missing, missing * vwap)


@compiled
def _volume_before(a: Columns, i: int, second: int) -> np.uint32:
    """The ring's count at the end of the second before; 0 before the state began."""
    if second <= a.clock[c.STARTED_SECOND]:
        return np.uint32(0)
    return a.second_volume[(second - 1) % c.SECONDS, i]


@compiled
def _minute_bar(a: Columns, i: int, opened: float, high: float, low: float, close: float, volume: float, vwap: float, start: int) -> None:
    end = start + NS_PER_MINUTE - 1
    newest = end >= a.times[c.LAST_AT, i]
    if newest and end <= a.clock[c.NOW]:
        _set_last(a, i, close, end)
    minute = _session_minute(a, start)
    if minute < 0:
        return
    own = not np.isnan(a.minute[c.MINUTE_HIGH, minute, i])
    missing = max(0.0, volume - a.minute[c.MINUTE_VOLUME, minute, i])
    last_second = end // NS_PER_SECOND
    _add_to_ring(a, i, last_second, missing)
    a.times[c.MINUTE_BAR_UNTIL, i] = max(a.times[c.MINUTE_BAR_UNTIL, i], last_second)
    _extend(a, i, minute, high, low)
    _open_day(a, i, opened, start)
    if newest or not own:
        _close_minute(a, i, minute, close)
    _count_in_day(a, i, minute, missing, missing * vwap)


@compiled
def _flow(a: Columns, i: int, premium: float, ask_side: float, bid_side: float, is_call: float) -> None:
    bought = ask_side - bid_side
    if not np.isnan(bought):
        if is_call > 0:
            a.now[c.CALL_FLOW, i] += bought
        else:
            a.now[c.PUT_FLOW, i] += bought
    if premium > 0:
        a.now[c.GROSS_FLOW, i] += premium
