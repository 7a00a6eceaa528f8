"""The 50 features of some symbols or of all, in float32, by blocks that stay in the processor's cache.

A block's inputs are gathered once (copied row by row when the symbols lie side by side), each feature is one pass over the block, and the block is
written out row by row, absent values replaced by the catalogue's neutral ones and marked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32, F64, I32
from tradingsystem.features import arithmetic as f
from tradingsystem.features import windows
from tradingsystem.features.catalogue import FEATURES
from tradingsystem.market import columns as c
from tradingsystem.market.columns import Columns
from tradingsystem.market.compiling import compiled
from tradingsystem.market.state import MarketState

BLOCK = 496  # a row of a block is then an odd number of cache lines, so that rows do not push each other out of the cache
NEUTRAL = np.array([feature.neutral for feature in FEATURES], np.float32)

CHANGE_5S, CHANGE_10S, CHANGE_30S, CHANGE_60S, CHANGE_120S, CHANGE_300S, CHANGE_900S = range(7)
CHANGE_30M, CHANGE_DAY, CHANGE_OPEN, GAP, ACCELERATION_60S, SCALED_60S, SCALED_300S = range(7, 14)
VOLATILITY_FAST, VOLATILITY_SLOW, VOLATILITY_RATIO, RANGE_DAY, RANGE_DAY_RATIO = range(14, 19)
VOLUME_RATIO, BURST_10S, BURST_60S, PACE_60S, PACE_300S, TRADE_RATE, LIQUIDITY = range(19, 26)
SPREAD, SPREAD_RATIO, IMBALANCE, IMBALANCE_FAST, IMBALANCE_SLOW, MICROPRICE, SIGN_FAST, SIGN_SLOW = range(26, 34)
VWAP_DISTANCE, POSITION_DAY, POSITION_15M, BREAKOUT_30M = range(34, 38)
RELATIVE_60S, RELATIVE_300S, RELATIVE_DAY, VIX, MARKET_300S = range(38, 43)
RANK_CHANGE, RANK_VOLUME, RANK_MOMENTUM, FLOW_DIRECTION, FLOW_INTENSITY, ELAPSED, LULD_ROOM = range(43, 50)

# Inputs of a block: the state's `now` columns under their own numbers, then what is read from rings and totals.
LAG_5 = c.NOW_COLUMNS
LAG_10, LAG_30, LAG_60, LAG_120, LAG_300, LAG_900, LAG_30M = range(LAG_5 + 1, LAG_5 + 8)
VOLUME_10 = LAG_30M + 1
VOLUME_60, VOLUME_300, VOLUME_900, DAY_VOLUME, DAY_VWAP, SCRATCH, OTHER = range(VOLUME_10 + 1, VOLUME_10 + 8)
INPUT_COLUMNS = OTHER + 1

_MARKET = 5  # per sweep: SPY's changes over 60 s, 300 s and the day, VIX / 20, elapsed share
_UNKNOWN = np.float32(np.nan)


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Features F32[n, 50] of the symbols ``rows`` and, per row, the absent ones: bit j of ``missing`` says that feature j is its neutral value."""

    rows: I32
    values: F32
    missing: npt.NDArray[np.uint64]


@compiled
def _copy(out: F32, source: F32, rows: I32, side_by_side: bool) -> None:
    count = len(rows)
    if side_by_side:
        out[:] = source[rows[0] : rows[0] + count]
    else:
        for k in range(count):
            out[k] = source[rows[k]]


@compiled
def _lag(x: F32, column: int, a: Columns, seconds: int, rows: I32, side_by_side: bool) -> None:
    slot = windows.slot_before(a.clock, seconds)
    if slot < 0:
        x[column, :] = _UNKNOWN
    else:
        _copy(x[column], a.second_close[slot], rows, side_by_side)


@compiled
def _volume(x: F32, column: int, a: Columns, seconds: int, rows: I32, side_by_side: bool) -> None:
    slot = windows.slot_before(a.clock, seconds)
    if slot < 0:
        x[column, :] = _UNKNOWN
        return
    current = a.second_volume[a.clock[c.SECOND] % c.SECONDS]
    before = a.second_volume[slot]
    out = x[column]
    if side_by_side:
        one, other = current[rows[0] : rows[0] + len(rows)], before[rows[0] : rows[0] + len(rows)]
        for k in range(len(out)):
            out[k] = np.float32(np.uint32(one[k] - other[k]))
    else:
        for k in range(len(rows)):
            i = rows[k]
            out[k] = np.float32(np.uint32(current[i] - before[i]))


@compiled
def _day(volume_out: F32, vwap_out: F32, volumes: F64, values: F64, rows: I32, side_by_side: bool) -> None:
    if side_by_side:
        volume, value = volumes[rows[0] : rows[0] + len(rows)], values[rows[0] : rows[0] + len(rows)]
        for k in range(len(volume_out)):
            volume_out[k] = np.float32(volume[k])
            vwap_out[k] = np.float32(value[k] / volume[k])
    else:
        for k in range(len(rows)):
            volume_out[k] = np.float32(volumes[rows[k]])
            vwap_out[k] = np.float32(values[rows[k]] / volumes[rows[k]])


@compiled
def _gather(x: F32, a: Columns, rows: I32, side_by_side: bool) -> None:
    for column in range(c.NOW_COLUMNS):
        _copy(x[column], a.now[column], rows, side_by_side)
    _lag(x, LAG_5, a, 5, rows, side_by_side)
    _lag(x, LAG_10, a, 10, rows, side_by_side)
    _lag(x, LAG_30, a, 30, rows, side_by_side)
    _lag(x, LAG_60, a, 60, rows, side_by_side)
    _lag(x, LAG_120, a, 120, rows, side_by_side)
    _lag(x, LAG_300, a, 300, rows, side_by_side)
    _lag(x, LAG_900, a, 900, rows, side_by_side)
    minute = windows.minute_before(a.clock)
    if minute < 0:
        x[LAG_30M, :] = _UNKNOWN
    else:
        _copy(x[LAG_30M], a.minute[c.MINUTE_CLOSE, minute], rows, side_by_side)
    _volume(x, VOLUME_10, a, 10, rows, side_by_side)
    _volume(x, VOLUME_60, a, 60, rows, side_by_side)
    _volume(x, VOLUME_300, a, 300, rows, side_by_side)
    _volume(x, VOLUME_900, a, 900, rows, side_by_side)
    _day(x[DAY_VOLUME], x[DAY_VWAP], a.totals[c.DAY_VOLUME], a.totals[c.DAY_VALUE], rows, side_by_side)


@compiled
def _prices(y: F32, x: F32) -> None:
    last = x[c.LAST]
    f.change(y[CHANGE_5S], last, x[LAG_5])
    f.change(y[CHANGE_10S], last, x[LAG_10])
    f.change(y[CHANGE_30S], last, x[LAG_30])
    f.change(y[CHANGE_60S], last, x[LAG_60])
    f.change(y[CHANGE_120S], last, x[LAG_120])
    f.change(y[CHANGE_300S], last, x[LAG_300])
    f.change(y[CHANGE_900S], last, x[LAG_900])
    f.change(y[CHANGE_30M], last, x[LAG_30M])
    f.change(y[CHANGE_DAY], last, x[c.PREVIOUS_CLOSE])
    f.change(y[CHANGE_OPEN], last, x[c.DAY_OPEN])
    f.change(y[GAP], x[c.DAY_OPEN], x[c.PREVIOUS_CLOSE])
    f.change(x[SCRATCH], x[LAG_60], x[LAG_120])
    f.difference(y[ACCELERATION_60S], y[CHANGE_60S], x[SCRATCH])
    f.root(y[VOLATILITY_FAST], x[c.VARIANCE_FAST])
    f.root(y[VOLATILITY_SLOW], x[c.VARIANCE_SLOW])
    f.ratio(y[VOLATILITY_RATIO], y[VOLATILITY_FAST], y[VOLATILITY_SLOW], 1.0)
    f.scaled(y[SCALED_60S], y[CHANGE_60S], y[VOLATILITY_SLOW], 60.0)
    f.scaled(y[SCALED_300S], y[CHANGE_300S], y[VOLATILITY_SLOW], 300.0)
    f.width(y[RANGE_DAY], x[c.DAY_LOW], x[c.DAY_HIGH], last)
    f.ratio(y[RANGE_DAY_RATIO], y[RANGE_DAY], x[c.AVERAGE_RANGE], 1.0)
    f.position(y[POSITION_DAY], last, x[c.DAY_LOW], x[c.DAY_HIGH])
    f.position(y[POSITION_15M], last, x[c.LOW_15], x[c.HIGH_15])
    f.change(y[BREAKOUT_30M], last, x[c.HIGH_30])
    f.change(y[LULD_ROOM], x[c.UPPER_BAND], last)


@compiled
def _volumes(y: F32, x: F32, a: Columns) -> None:
    average = x[c.AVERAGE_VOLUME]
    f.ratio(y[VOLUME_RATIO], x[DAY_VOLUME], average, 1.0 / windows.usual_share(a.profile, a.clock, a.clock[c.NOW]))
    f.ratio(y[BURST_10S], x[VOLUME_10], x[VOLUME_900], 90.0)
    f.ratio(y[BURST_60S], x[VOLUME_60], x[VOLUME_900], 15.0)
    f.ratio(y[PACE_60S], x[VOLUME_60], average, 1.0 / windows.usual_share_of_last(a.profile, a.clock, 60))
    f.ratio(y[PACE_300S], x[VOLUME_300], average, 1.0 / windows.usual_share_of_last(a.profile, a.clock, 300))
    f.saturating(y[LIQUIDITY], average, x[c.PREVIOUS_CLOSE], windows.LIQUIDITY_HALF)
    f.change(y[VWAP_DISTANCE], x[c.LAST], x[DAY_VWAP])


@compiled
def _quotes_and_trades(y: F32, x: F32) -> None:
    f.spread(y[SPREAD], x[c.BID], x[c.ASK])
    f.ratio(y[SPREAD_RATIO], y[SPREAD], x[c.SPREAD_SLOW], 1.0)
    f.balance(y[IMBALANCE], x[c.BID_SIZE], x[c.ASK_SIZE])
    y[IMBALANCE_FAST] = x[c.IMBALANCE_FAST]
    y[IMBALANCE_SLOW] = x[c.IMBALANCE_SLOW]
    f.product(y[MICROPRICE], y[SPREAD], y[IMBALANCE], 0.5)
    f.balance(y[SIGN_FAST], x[c.BOUGHT_FAST], x[c.SOLD_FAST])
    f.balance(y[SIGN_SLOW], x[c.BOUGHT_SLOW], x[c.SOLD_SLOW])
    f.ratio(y[TRADE_RATE], x[c.TRADES_FAST], x[c.TRADES_SLOW], 30.0)
    f.difference(x[SCRATCH], x[c.CALL_FLOW], x[c.PUT_FLOW])
    f.ratio(y[FLOW_DIRECTION], x[SCRATCH], x[c.GROSS_FLOW], 1.0)
    f.product(x[OTHER], x[c.AVERAGE_VOLUME], x[c.PREVIOUS_CLOSE], 1.0)
    f.ratio(y[FLOW_INTENSITY], x[c.GROSS_FLOW], x[OTHER], windows.FLOW_SCALE)
    for k in range(y.shape[1]):
        if not x[c.GROSS_FLOW, k] > 0:
            y[FLOW_INTENSITY, k] = _UNKNOWN


@compiled
def _market(y: F32, x: F32, market: F32) -> None:
    f.less(y[RELATIVE_60S], y[CHANGE_60S], market[0])
    f.less(y[RELATIVE_300S], y[CHANGE_300S], market[1])
    f.less(y[RELATIVE_DAY], y[CHANGE_DAY], market[2])
    y[VIX, :] = market[3]
    y[MARKET_300S, :] = market[1]
    y[RANK_CHANGE] = x[c.RANK_CHANGE]
    y[RANK_VOLUME] = x[c.RANK_VOLUME]
    y[RANK_MOMENTUM] = x[c.RANK_MOMENTUM]
    y[ELAPSED, :] = market[4]


@compiled
def _levels(a: Columns) -> F32:
    """What is the same for all symbols of a sweep."""
    market = np.full(_MARKET, np.nan, np.float32)
    spy = a.clock[c.SPY]
    if spy >= 0:
        last = a.now[c.LAST, spy]
        slot = windows.slot_before(a.clock, 60)
        if slot >= 0:
            market[0] = last / a.second_close[slot, spy] - np.float32(1)
        slot = windows.slot_before(a.clock, 300)
        if slot >= 0:
            market[1] = last / a.second_close[slot, spy] - np.float32(1)
        market[2] = last / a.now[c.PREVIOUS_CLOSE, spy] - np.float32(1)
    if a.clock[c.NOW] - a.clock[c.VIX_AT] <= windows.VIX_AGE_MAX_NS:
        market[3] = a.levels[c.VIX] / windows.VIX_USUAL
    if a.clock[c.OPEN] > 0 and a.clock[c.NOW] >= a.clock[c.OPEN]:
        market[4] = min(1.0, (a.clock[c.NOW] - a.clock[c.OPEN]) / (a.clock[c.CLOSE] - a.clock[c.OPEN]))
    return market


@compiled
def _write(out: F32, missing: npt.NDArray[np.uint64], y: F32, neutral: F32) -> None:
    count = len(missing)
    missing[:] = 0
    for j in range(FEATURE_COUNT):
        bit = np.uint64(1) << np.uint64(j)
        row = y[j]
        absent = 0
        for k in range(count):
            absent += 0 if abs(row[k]) < math.inf else 1
        if absent:
            for k in range(count):
                if not abs(row[k]) < math.inf:
                    row[k] = neutral[j]
                    missing[k] |= bit
    flat = out.reshape(out.size)
    for k in range(count):
        for j in range(FEATURE_COUNT):
            flat[k * FEATURE_COUNT + j] = y[j, k]


@compiled
def _block(out: F32, missing: npt.NDArray[np.uint64], a: Columns, rows: I32, x: F32, y: F32, market: F32, neutral: F32) -> None:
    """As many rows as x and y are wide: whole arrays, because the compiler must see that their rows are contiguous."""
    side_by_side = rows[len(rows) - 1] - rows[0] == len(rows) - 1
    _gather(x, a, rows, side_by_side)
    _prices(y, x)
    _volumes(y, x, a)
    _quotes_and_trades(y, x)
    _market(y, x, market)
    _write(out, missing, y, neutral)


@compiled
def compute(out: F32, missing: npt.NDArray[np.uint64], a: Columns, rows: I32, neutral: F32) -> None:
    """Fill out F32[n, 50] and missing U64[n] for the symbols ``rows``, ascending."""
    market = _levels(a)
    whole = len(rows) // BLOCK * BLOCK
    x = np.empty((INPUT_COLUMNS, BLOCK), np.float32)
    y = np.empty((FEATURE_COUNT, BLOCK), np.float32)
    for start in range(0, whole, BLOCK):
        stop = start + BLOCK
        _block(out[start:stop], missing[start:stop], a, rows[start:stop], x, y, market, neutral)
    rest = len(rows) - whole
    if rest:
        x = np.empty((INPUT_COLUMNS, rest), np.float32)
        y = np.empty((FEATURE_COUNT, rest), np.float32)
        _block(out[whole:], missing[whole:], a, rows[whole:], x, y, market, neutral)


def features_of(state: MarketState, rows: I32, into: FeatureRows | None = None) -> FeatureRows:
    """Features of the symbols ``rows`` (positions in the table, ascending, each once) as the state knows them now.

    ``into``: an earlier answer of at least as many rows, whose memory is written over; for sweeps of everything, where new memory is a tenth of the time.
    """
    count = len(rows)
    values = np.empty((count, FEATURE_COUNT), np.float32) if into is None else into.values[:count]
    missing = np.empty(count, np.uint64) if into is None else into.missing[:count]
    compute(values, missing, state.columns, rows, NEUTRAL)
    return FeatureRows(rows=rows, values=values, missing=missing)
