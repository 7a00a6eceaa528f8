"""What is kept of days that are out of the window: an even sample of each regime, so that a calm month does not make a model forget a wild week.

Source: J. S. Vitter, "Random Sampling with a Reservoir" (1985), algorithm R, one reservoir per regime. It is a function of the days offered, in their
order, and of the seed: nothing is remembered between runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tradingsystem.learning.rows import REGIMES, LearningRows, join

ROWS_PER_REGIME = 20_000


def reservoir(days: Sequence[LearningRows], seed: int, rows_per_regime: int = ROWS_PER_REGIME) -> LearningRows:
    """At most ``rows_per_regime`` rows of each regime, each offered row with the same chance, in the order of time."""
    kept = []
    for regime in range(len(REGIMES)):
        offered = [np.flatnonzero(day.regime == regime) for day in days]
        chosen = sample(sum(len(places) for places in offered), rows_per_regime, seed * len(REGIMES) + regime)
        first = 0
        for day, places in zip(days, offered, strict=True):
            inside = chosen[(chosen >= first) & (chosen < first + len(places))] - first
            first += len(places)
            if len(inside):
                kept.append(day.take(places[inside]))
    return join(kept)


def sample(offered: int, most: int, seed: int) -> npt.NDArray[np.intp]:
    """Which of ``offered`` items, one after the other, are in a reservoir of ``most`` at the end; rising."""
    held = np.arange(min(offered, most))
    if offered > most:
        numbers = np.arange(most, offered)
        place = (np.random.default_rng(seed).random(len(numbers)) * (numbers + 1)).astype(np.intp)
        entering = place < most
        held[place[entering]] = numbers[entering]  # of several into one place the last stays, as in one pass
    return np.sort(held)
