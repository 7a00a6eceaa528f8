"""The declared edge of the generated market, and the oracle that bounds what anybody can earn from it.

Episodes: something happens to a symbol (a jump, a volume burst, pressure in the quotes) and for half of them a noisy
drift in the same direction follows; the other half are decoys that look the same at first. Up and down are equally
frequent, so holding earns nothing. The drift is so small that even who knows which episodes are real is right at most
62 % of the time. This module refuses to hide anything: `edge` scales the drift, 0 leaves nothing to predict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradingsystem.simulator.feed import F64, I64
from tradingsystem.simulator.market_kernel import EPISODE_COLUMNS

ORACLE_CEILING = 0.62
EPISODE_SIGMA_30_MINUTES = 0.0085
TARGET_PROBABILITY = 0.655  # with endless time and no gaps; what is measured within 30 minutes is some 0.59
TARGET = 0.005
STOP = 0.005
FEE = 0.00005
HORIZON_SECONDS = 1_800


@dataclass(frozen=True, slots=True)
class Episodes:
    """The plan of one day: rows sorted by symbol, then start; `table` is what the kernel reads."""

    symbol: NDArray[np.int32]
    table: F64  # see EPISODE_* in market_kernel
    first: I64  # per symbol: its first row
    end: I64  # per symbol: one past its last row

    @property
    def start_second(self) -> I64:
        """Second of the session's data at which each episode begins."""
        return self.table[:, 0].astype(np.int64)

    @property
    def direction(self) -> F64:
        """+1 up, -1 down."""
        return self.table[:, 2]

    @property
    def real(self) -> NDArray[np.bool_]:
        """False for decoys."""
        return self.table[:, 3] > 0


def first_passage_probability(up: float, down: float, drift_ratio: float) -> float:
    """P(Brownian motion with 2 mu / sigma^2 = drift_ratio reaches +up before -down), endless time.

    Karlin and Taylor, A First Course in Stochastic Processes, section 7.5.
    """
    if abs(drift_ratio) < 1e-12:
        return down / (up + down)
    return -math.expm1(drift_ratio * down) / (math.exp(-drift_ratio * up) - math.exp(drift_ratio * down))


def drift_ratio_for(probability: float, up: float, down: float) -> float:
    """The drift_ratio at which `first_passage_probability` equals `probability`, by bisection."""
    low, high = -4_000.0, 4_000.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        if first_passage_probability(up, down, middle) < probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def episode_drift(half_spread: F64) -> F64:
    """Log drift a second of a real episode, such that every symbol's target is as likely as any other's.

    Half-spreads above 6 basis points are not compensated: paying them is the trader's loss.
    """
    sigma_squared = EPISODE_SIGMA_30_MINUTES**2 / HORIZON_SECONDS
    paid = np.minimum(np.round(half_spread, 5), 0.0006)
    levels = {
        float(value): drift_ratio_for(TARGET_PROBABILITY, TARGET + 2 * value + FEE, STOP - 2 * value - FEE) for value in np.unique(paid)
    }
    return np.array([levels[float(value)] for value in paid]) * sigma_squared / 2.0


def plan_episodes(
    generator: np.random.Generator, half_spread: F64, eligible: NDArray[np.bool_], per_symbol: float, first: int, last: int
) -> Episodes:
    """Draw a day's episodes: a Poisson count for each eligible symbol, starts in [first, last) seconds, no overlap."""
    drift = episode_drift(half_spread)
    counts = generator.poisson(per_symbol, size=len(half_spread)) * eligible
    symbol = np.repeat(np.arange(len(half_spread), dtype=np.int32), counts)
    count = len(symbol)
    table = np.zeros((count, EPISODE_COLUMNS))
    table[:, 0] = np.floor(generator.uniform(first, last, size=count))
    table[:, 1] = table[:, 0] + np.floor(generator.uniform(1_800, 2_700, size=count))
    table[:, 2] = np.where(generator.random(count) < 0.5, 1.0, -1.0)
    table[:, 3] = np.where(generator.random(count) < 0.5, 1.0, 0.0)
    table[:, 4] = generator.uniform(0.0008, 0.0022, size=count)
    table[:, 5] = drift[symbol]
    table[:, 6] = EPISODE_SIGMA_30_MINUTES / math.sqrt(HORIZON_SECONDS)
    order = np.lexsort((table[:, 0], symbol))
    symbol, table = symbol[order], table[order]
    keep = np.ones(count, dtype=np.bool_)
    for row in range(1, count):
        previous = row - 1
        while previous >= 0 and not keep[previous]:
            previous -= 1
        if previous >= 0 and symbol[previous] == symbol[row] and table[previous, 1] + 600 > table[row, 0]:
            keep[row] = False
    symbol, table = symbol[keep], np.ascontiguousarray(table[keep])
    first_row = np.searchsorted(symbol, np.arange(len(half_spread)), side="left").astype(np.int64)
    end_row = np.searchsorted(symbol, np.arange(len(half_spread)), side="right").astype(np.int64)
    return Episodes(symbol, table, first_row, end_row)
