"""Where a symbol stands in the universe, for three quantities, renewed by the full sweep only.

A rank is the share of the ranked symbols that are smaller, equals counted half. Sorting 12,000 numbers three times would cost more than all features, so
equals are those in the same of 4,096 bins, finest around zero and open to both infinities: x / (scale + |x|) places the value.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import F32, F64
from tradingsystem.features import windows
from tradingsystem.market import columns as c
from tradingsystem.market.columns import Columns
from tradingsystem.market.compiling import compiled
from tradingsystem.market.state import MarketState

BINS = 4_096
CHANGE_SCALE = 0.02
VOLUME_SCALE = 1.0
MOMENTUM_SCALE = 0.005


@compiled
def _rank(out: F32, values: F64, scale: float) -> None:
    """Ranks of the values; NaN has none."""
    counts = np.zeros(BINS, np.int64)
    bins = np.empty(len(values), np.int64)
    ranked = 0
    for i in range(len(values)):
        value = values[i]
        if not abs(value) < math.inf:
            bins[i] = -1
            continue
        bins[i] = min(BINS - 1, int((1.0 + value / (scale + abs(value))) * (BINS // 2)))
        counts[bins[i]] += 1
        ranked += 1
    below = 0
    places = np.empty(BINS, np.float32)
    for at in range(BINS):
        places[at] = (below + 0.5 * counts[at]) / max(1, ranked)
        below += counts[at]
    for i in range(len(values)):
        out[i] = places[bins[i]] if bins[i] >= 0 else np.float32(math.nan)


@compiled
def _update(a: Columns) -> None:
    count = a.clock[c.COUNT]
    values = np.empty(count, np.float64)
    for i in range(count):
        values[i] = np.float64(a.now[c.LAST, i]) / a.now[c.PREVIOUS_CLOSE, i] - 1.0
    _rank(a.now[c.RANK_CHANGE, :count], values, CHANGE_SCALE)
    usual = windows.usual_share(a.profile, a.clock, a.clock[c.NOW])
    for i in range(count):
        values[i] = a.totals[c.DAY_VOLUME, i] / (np.float64(a.now[c.AVERAGE_VOLUME, i]) * usual)
    _rank(a.now[c.RANK_VOLUME, :count], values, VOLUME_SCALE)
    slot = windows.slot_before(a.clock, 300)
    for i in range(count):
        values[i] = np.float64(a.now[c.LAST, i]) / a.second_close[slot, i] - 1.0 if slot >= 0 else math.nan
    _rank(a.now[c.RANK_MOMENTUM, :count], values, MOMENTUM_SCALE)


def update_ranks(state: MarketState) -> None:
    """Renew the three ranks of all symbols."""
    _update(state.columns)


def rank_exactly(values: npt.NDArray[np.floating], scale: float) -> F64:
    """The same ranks in plain float64, for the oracle."""
    wide = np.asarray(values, np.float64)
    known = np.isfinite(wide)
    bins = np.minimum(BINS - 1, ((1.0 + wide[known] / (scale + np.abs(wide[known]))) * (BINS // 2)).astype(np.int64))
    counts = np.bincount(bins, minlength=BINS)
    places = (np.cumsum(counts) - 0.5 * counts) / max(1, len(bins))
    ranks: F64 = np.full(len(wide), np.nan)
    ranks[known] = places[bins]
    return ranks
