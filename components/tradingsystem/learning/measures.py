"""Numbers that say how good probabilities are. Nothing here depends on a threshold."""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import F64
from tradingsystem.ensemble.ranking import ranks


def area_under_curve(p: F64, labels: F64) -> float:
    """Chance that a one is ranked above a zero (Mann and Whitney 1947); NaN with one class only."""
    ones = float(labels.sum())
    zeros = len(labels) - ones
    if not ones or not zeros:
        return float("nan")
    return float((ranks(p)[labels > 0].sum() - ones * (ones - 1) / 2.0) / (ones * zeros))


def top_decile(p: F64, labels: F64) -> float:
    """Share of ones among the tenth of rows with the highest p."""
    return float(labels[p >= np.percentile(p, 90)].mean())
