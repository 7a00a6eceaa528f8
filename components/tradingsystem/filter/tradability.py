"""The funnel: which symbols may be traded at all, which pass the regime's rule, and at which stage the others stop. Each symbol is counted once.

Comparisons are written so that NaN refuses. Quotes are asked for last: a symbol that only lacks a quote is one that deserves to be subscribed to.
"""

from __future__ import annotations

import enum

import numpy as np

from tradingsystem.domain.rows import F32, F64, I32, I64, U8
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.features import windows
from tradingsystem.market import columns as c
from tradingsystem.market.columns import Columns
from tradingsystem.market.compiling import compiled
from tradingsystem.market.state import MarketState
from tradingsystem.spec.filtering import FilterRule
from tradingsystem.spec.universe import Universe

QUOTE_AGE_MAX_NS = 30 * NS_PER_SECOND
LIMITS = 7
_NOT_NEGATIVE = (1 << 31) - 1  # tells the compiler that an index does not count from the end


class Stage(enum.IntEnum):
    """Where a symbol stops; PASSED is a candidate. In the order in which they are asked."""

    TYPE = 0
    PRICE = 1
    DOLLAR_VOLUME = 2
    HALTED = 3
    VOLUME_RATIO = 4
    PRICE_CHANGE = 5
    VOLATILITY = 6
    NBBO = 7
    SPREAD = 8
    PASSED = 9


_TYPE, _PRICE, _DOLLAR_VOLUME, _HALTED = int(Stage.TYPE), int(Stage.PRICE), int(Stage.DOLLAR_VOLUME), int(Stage.HALTED)
_VOLUME_RATIO, _PRICE_CHANGE, _VOLATILITY = int(Stage.VOLUME_RATIO), int(Stage.PRICE_CHANGE), int(Stage.VOLATILITY)
_NBBO, _SPREAD, _PASSED = int(Stage.NBBO), int(Stage.SPREAD), int(Stage.PASSED)


def limits_of(universe: Universe, rule: FilterRule, quote_age_max_ns: int = QUOTE_AGE_MAX_NS) -> F64:
    """The bounds as the kernel takes them: ratios, dollars, nanoseconds."""
    return np.array(
        [
            universe.price_min,
            universe.dollar_volume_min,
            universe.spread_max_basis_points / 1e4,
            rule.volume_ratio_min_percent / 1e2,
            rule.price_change_min_basis_points / 1e4,
            rule.volatility_max_basis_points / 1e4,
            quote_age_max_ns,
        ]
    )


@compiled
def _stage(a: Columns, i: int, limits: F64, ratio: float) -> int:
    """Asked from the last question to the first, so that the first refusal is what stays; everything is asked, because a branch that cannot be foreseen
    costs more than all questions."""
    last = a.now[c.LAST, i]
    previous = a.now[c.PREVIOUS_CLOSE, i]
    bid = a.now[c.BID, i]
    ask = a.now[c.ASK, i]
    quoted_now = (bid > 0) & (ask >= bid) & (a.clock[c.NOW] - a.times[c.QUOTE_AT, i] <= limits[6])
    stage = _PASSED if (ask - bid) / (np.float32(0.5) * (ask + bid)) <= limits[2] else _SPREAD
    stage = stage if quoted_now else _NBBO
    stage = stage if (a.now[c.DAY_HIGH, i] - a.now[c.DAY_LOW, i]) / last <= limits[5] else _VOLATILITY
    stage = stage if last / previous - np.float32(1) >= limits[4] else _PRICE_CHANGE
    stage = stage if ratio >= limits[3] else _VOLUME_RATIO
    stage = stage if a.flags[c.HALTED, i] == 0 else _HALTED
    stage = stage if a.now[c.AVERAGE_VOLUME, i] * previous >= limits[1] else _DOLLAR_VOLUME
    stage = stage if last >= limits[0] else _PRICE
    return stage if a.flags[c.TRADABLE_TYPE, i] != 0 else _TYPE


@compiled
def _classify(a: Columns, rows: I32, limits: F64, stages: U8, ratios: F32, counts: I64) -> None:
    usual = windows.usual_share(a.profile, a.clock, a.clock[c.NOW])
    for k in range(len(rows)):
        i = int(rows[k]) & _NOT_NEGATIVE
        ratio = a.totals[c.DAY_VOLUME, i] / (a.now[c.AVERAGE_VOLUME, i] * usual)
        stage = _stage(a, i, limits, ratio)
        stages[i] = stage
        ratios[i] = ratio
        counts[stage] += 1


def classify(state: MarketState, rows: I32, limits: F64, stages: U8, ratios: F32) -> I64:
    """Write each row's stage and volume ratio at its symbol's place; returns how many rows stopped at each stage, I64[10], whose sum is len(rows)."""
    counts = np.zeros(len(Stage), np.int64)
    _classify(state.columns, rows, limits, stages, ratios, counts)
    return counts


def strongest(rows: I32, ratios: F32, most: int) -> I32:
    """The ``most`` rows with the highest volume ratio, ascending by position; of equals the first."""
    if len(rows) <= most:
        return rows
    order = np.lexsort((rows, -ratios[rows]))
    return np.sort(rows[order[:most]])


def quoted(state: MarketState, symbol: int, spread_max: float, quote_age_max_ns: int = QUOTE_AGE_MAX_NS) -> bool:
    """Whether a symbol has a fresh quote within the spread and is not halted."""
    a = state.columns
    bid, ask = float(a.now[c.BID, symbol]), float(a.now[c.ASK, symbol])
    fresh = state.now_ns - int(a.times[c.QUOTE_AT, symbol]) <= quote_age_max_ns
    return bool(fresh and 0 < bid <= ask and (ask - bid) / (0.5 * (ask + bid)) <= spread_max and not a.flags[c.HALTED, symbol])
