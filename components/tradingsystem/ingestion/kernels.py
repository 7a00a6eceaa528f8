"""The two loops over rows that are compiled: judging rows, and keeping the last quote per symbol.

They live apart because compiled code cannot use the project's types. Compilation happens on first use (``warm`` in the service's start), never at
import. Numbers of reasons and kinds are frozen in from their enums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numba
import numpy as np

from tradingsystem.domain.rows import RowFlag, RowKind
from tradingsystem.ingestion.reasons import Reason

_TRADE, _QUOTE, _SECOND, _MINUTE = int(RowKind.TRADE), int(RowKind.QUOTE), int(RowKind.SECOND_BAR), int(RowKind.MINUTE_BAR)
_LULD, _INDEX, _FLOW, _HALT, _RESUME = (
    int(RowKind.LULD),
    int(RowKind.INDEX),
    int(RowKind.FLOW),
    int(RowKind.HALT),
    int(RowKind.RESUME),
)
_UPDATES_LAST, _BACKFILL = int(RowFlag.UPDATES_LAST), int(RowFlag.BACKFILL)
_ACCEPTED = int(Reason.ACCEPTED)
_UNKNOWN_KIND, _UNKNOWN_SYMBOL = int(Reason.UNKNOWN_KIND), int(Reason.UNKNOWN_SYMBOL)
_BAD_TIME, _FROM_FUTURE, _LATE = int(Reason.BAD_TIME), int(Reason.FROM_FUTURE), int(Reason.LATE)
_OUT_OF_ORDER, _DUPLICATE = int(Reason.OUT_OF_ORDER), int(Reason.DUPLICATE)
_NOT_FINITE, _NOT_POSITIVE, _BAD_SIZE = int(Reason.NOT_FINITE), int(Reason.NOT_POSITIVE), int(Reason.BAD_SIZE)
_ONE_SIDED, _CROSSED, _LOCKED = int(Reason.ONE_SIDED), int(Reason.CROSSED), int(Reason.LOCKED)
_BAD_BAR, _BAD_BAND, _BAD_INDEX, _JUMP = int(Reason.BAD_BAR), int(Reason.BAD_BAND), int(Reason.BAD_INDEX), int(Reason.JUMP)

_EARLIEST_NS, _LATEST_NS = 946_684_800_000_000_000, 4_102_444_800_000_000_000
_SECOND_NS, _MINUTE_NS = 1_000_000_000, 60_000_000_000
_INDEX_MAX = 1_000.0  # the VIX has never closed above 83
_VWAP_SLACK = 0.01  # vendors round, and late prints move a bar's VWAP beyond its range

_COLUMNS = "uint8[:],uint8[:],int32[:],int64[:],float64[:],float64[:],float64[:],float64[:],float64[:],float64[:]"
_STATE = "int64[:,:],float64[:],float64[:],uint8[:],int64[:]"


def _timing(kind, flags, at_ns, last_ns, now_ns, late_ns, future_ns, reorder_ns):  # type: ignore[no-untyped-def]
    """The reason why a row's time is refused, else 0."""
    if not _EARLIEST_NS <= at_ns < _LATEST_NS:
        return _BAD_TIME
    if at_ns > now_ns + future_ns:
        return _FROM_FUTURE
    if flags & _BACKFILL:
        return _ACCEPTED
    window_ns = _SECOND_NS if kind == _SECOND else _MINUTE_NS if kind == _MINUTE else 0
    if kind != _HALT and kind != _RESUME and at_ns + window_ns < now_ns - late_ns:
        return _LATE
    if kind == _TRADE:
        return _OUT_OF_ORDER if at_ns < last_ns - reorder_ns else _ACCEPTED
    if kind == _FLOW:
        return _ACCEPTED
    if at_ns < last_ns:
        return _OUT_OF_ORDER
    if at_ns == last_ns and (kind in (_SECOND, _MINUTE)):
        return _DUPLICATE
    return _ACCEPTED


def _bar(first, high, low, close, volume, vwap):  # type: ignore[no-untyped-def]
    """The reason why a bar is refused, else 0. An absent VWAP (NaN) is allowed: indices and quiet bars have none."""
    if not (np.isfinite(first) and np.isfinite(high) and np.isfinite(low) and np.isfinite(close) and np.isfinite(volume)):
        return _NOT_FINITE
    if first <= 0.0 or high <= 0.0 or low <= 0.0 or close <= 0.0:
        return _NOT_POSITIVE
    if volume < 0.0:
        return _BAD_SIZE
    if high < max(first, close) or low > min(first, close):
        return _BAD_BAR
    if vwap == vwap and not low * (1.0 - _VWAP_SLACK) <= vwap <= high * (1.0 + _VWAP_SLACK):
        return _BAD_BAR
    return _ACCEPTED


def _quote(bid, ask, bid_size, ask_size):  # type: ignore[no-untyped-def]
    """The reason why a quote is refused by its own values, else 0."""
    if not (np.isfinite(bid) and np.isfinite(ask) and np.isfinite(bid_size) and np.isfinite(ask_size)):
        return _NOT_FINITE
    if bid < 0.0 or ask < 0.0:
        return _NOT_POSITIVE
    if bid == 0.0 or ask == 0.0:
        return _ONE_SIDED
    if bid_size < 0.0 or ask_size < 0.0:
        return _BAD_SIZE
    if bid > ask:
        return _CROSSED
    return _ACCEPTED


def _values(kind, v0, v1, v2, v3, v4, v5):  # type: ignore[no-untyped-def]
    """The reason why a row is refused by its own values, else 0."""
    if kind == _QUOTE:
        return _quote(v0, v1, v2, v3)
    if kind == _TRADE:
        if not (np.isfinite(v0) and np.isfinite(v1)):
            return _NOT_FINITE
        if v0 <= 0.0:
            return _NOT_POSITIVE
        return _BAD_SIZE if v1 <= 0.0 else _ACCEPTED
    if kind in (_SECOND, _MINUTE):
        return _bar(v0, v1, v2, v3, v4, v5)
    if kind == _LULD:
        if not (np.isfinite(v0) and np.isfinite(v1)):
            return _NOT_FINITE
        return _ACCEPTED if 0.0 < v0 < v1 else _BAD_BAND
    if kind == _INDEX:
        if not np.isfinite(v0):
            return _NOT_FINITE
        return _ACCEPTED if 0.0 < v0 < _INDEX_MAX else _BAD_INDEX
    if kind == _FLOW:
        if not (np.isfinite(v0) and np.isfinite(v1) and np.isfinite(v2) and np.isfinite(v3) and np.isfinite(v4)):
            return _NOT_FINITE
        return _BAD_SIZE if v0 < 0.0 or v1 < 0.0 or v2 < 0.0 or v3 < 0.0 else _ACCEPTED
    return _ACCEPTED if kind in (_HALT, _RESUME) else _UNKNOWN_KIND


def _doubtful_price(kind, v0, v1, v3, reference, jump):  # type: ignore[no-untyped-def]
    """The price that lies too far from the reference, NaN when none does. A quote is doubtful when all of it lies on one far side."""
    high, low = reference * (1.0 + jump), reference / (1.0 + jump)
    if kind == _QUOTE:
        return v0 if v0 > high else v1 if v1 < low else np.nan
    price = v0 if kind == _TRADE else v3
    return price if price > high or price < low else np.nan


_timing = numba.njit(_timing)
_bar = numba.njit(_bar)
_quote = numba.njit(_quote)
_values = numba.njit(_values)
_doubtful_price = numba.njit(_doubtful_price)


def _judge(  # type: ignore[no-untyped-def]
    kinds, flags, symbols, at, v0, v1, v2, v3, v4, v5,
    last_at, reference, doubted, doubts, locked_since,
    now_ns, late_ns, future_ns, reorder_ns, locked_ns, jump, confirmations, verdict,
):  # fmt: skip
    refused = 0
    slots = reference.shape[0]
    for row in range(kinds.shape[0]):
        kind, symbol = kinds[row], symbols[row]
        reason = _ACCEPTED
        if kind == _INDEX:
            symbol = slots - 1
        elif symbol < 0 or symbol >= slots - 1:
            reason = _UNKNOWN_SYMBOL
        if kind < _TRADE or kind > _RESUME:
            reason = _UNKNOWN_KIND
        group = _LULD if kind in (_HALT, _RESUME) else kind
        if reason == _ACCEPTED:
            reason = _timing(kind, flags[row], at[row], last_at[group, symbol], now_ns, late_ns, future_ns, reorder_ns)
        if reason == _ACCEPTED:
            reason = _values(kind, v0[row], v1[row], v2[row], v3[row], v4[row], v5[row])
        backfill = flags[row] & _BACKFILL
        if reason == _ACCEPTED and kind == _QUOTE:
            if v0[row] < v1[row]:
                locked_since[symbol] = 0
            elif locked_since[symbol] == 0:
                locked_since[symbol] = at[row]
            elif at[row] - locked_since[symbol] > locked_ns:
                reason = _LOCKED
        if reason == _ACCEPTED and kind <= _MINUTE and not backfill and reference[symbol] == reference[symbol]:
            price = _doubtful_price(kind, v0[row], v1[row], v3[row], reference[symbol], jump)
            if price == price:
                near = doubts[symbol] > 0 and abs(price / doubted[symbol] - 1.0) <= 0.1
                doubts[symbol] = doubts[symbol] + 1 if near else 1
                doubted[symbol] = price
                if doubts[symbol] < confirmations:
                    reason = _JUMP
            if reason == _ACCEPTED:
                doubts[symbol] = 0
        verdict[row] = reason
        if reason != _ACCEPTED:
            refused += 1
            continue
        if backfill:
            continue
        last_at[group, symbol] = max(last_at[group, symbol], at[row])
        if kind == _TRADE and flags[row] & _UPDATES_LAST:
            reference[symbol] = v0[row]
        elif kind in (_SECOND, _MINUTE):
            reference[symbol] = v3[row]
    return refused


def _mark_last_quotes(kinds, symbols, stamps, stamp, keep):  # type: ignore[no-untyped-def]
    dropped = 0
    for row in range(kinds.shape[0] - 1, -1, -1):
        keep[row] = True
        if kinds[row] == _QUOTE:
            if stamps[symbols[row]] == stamp:
                keep[row] = False
                dropped += 1
            else:
                stamps[symbols[row]] = stamp
    return dropped


@cache
def judge() -> Callable[..., int]:
    """Compiled judging of rows: writes a ``Reason`` per row and the state it leaves, returns how many were refused."""
    compiled: Any = numba.njit(
        f"int64({_COLUMNS},{_STATE},int64,int64,int64,int64,int64,float64,int64,uint8[:])",
        cache=True,
    )(_judge)
    return cast(Callable[..., int], compiled)


@cache
def mark_last_quotes() -> Callable[..., int]:
    """Compiled conflation: ``keep[row]`` is false for a quote that a later row of the block replaces; returns how many are dropped."""
    compiled: Any = numba.njit("int64(uint8[:],int32[:],int64[:],int64,boolean[:])", cache=True)(_mark_last_quotes)
    return cast(Callable[..., int], compiled)
