"""Numbers that say how good probabilities are. Ranks are averaged over ties; nothing here depends on a threshold."""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import F64


def ranks(values: F64) -> F64:
    """Ranks from 0, ties sharing their mean."""
    order = np.argsort(values, kind="stable")
    _, first, inverse, counts = np.unique(values[order], return_index=True, return_inverse=True, return_counts=True)
    result = np.empty(len(values))
    result[order] = (first + (counts - 1) / 2.0)[inverse]
    return result


def area_under_curve(p: F64, labels: F64) -> float:
    """Chance that a one is ranked above a zero (Mann and Whitney 1947); NaN with one class only."""
    ones = float(labels.sum())
    zeros = len(labels) - ones
    if not ones or not zeros:
        return float("nan")
    return float((ranks(p)[labels > 0].sum() - ones * (ones - 1) / 2.0) / (ones * zeros))


def rank_correlation(first: F64, second: F64) -> float:
    """Spearman's correlation; NaN when one of them is constant."""
    a, b = ranks(first), ranks(second)
    if a.std() == 0.0 or b.std() == 0.0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def top_decile(p: F64, labels: F64) -> float:
    """Share of ones among the tenth of rows with the highest p."""
    return float(labels[p >= np.percentile(p, 90)].mean())
