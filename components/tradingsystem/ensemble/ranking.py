"""Ranks and Spearman's correlation: whether two models put the same rows first. Ranks are averaged over ties, which INT8 scores have many of."""

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


def rank_correlation(first: F64, second: F64) -> float:
    """Spearman's correlation; NaN when one of them is constant."""
    a, b = ranks(first), ranks(second)
    if a.std() == 0.0 or b.std() == 0.0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
