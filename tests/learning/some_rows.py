"""Learning rows from a seed, for tests that need many of them."""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.learning.rows import REGIMES, LearningRows


def some_rows(count: int, seed: int, first_second: int = 0) -> LearningRows:
    """Rows without an edge, one each second, closed a minute later."""
    random = np.random.default_rng(seed)
    at_ns = (first_second + np.arange(count, dtype=np.int64)) * NS_PER_SECOND
    labels = random.integers(0, 2, count).astype(np.float64)
    return LearningRows(
        features=random.normal(size=(count, FEATURE_COUNT)).astype(np.float32),
        labels=labels,
        at_ns=at_ns,
        closed_ns=at_ns + 60 * NS_PER_SECOND,
        symbol=random.integers(0, 20, count),
        regime=random.choice(len(REGIMES), count, p=(0.9, 0.05, 0.04, 0.01)).astype(np.int8),
        gross=np.where(labels > 0, 50.5, -49.5).astype(np.float32),
        spread=np.full(count, 2.0, np.float32),
    )
