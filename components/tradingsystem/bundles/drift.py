"""Whether what a model reads or answers live is still what it was judged on: the population stability index against the bundle's golden rows.

The golden rows are spread over the days that the bundle was judged on, so they are a sample of its reference. Nothing here decides what follows from
drift: an older version is not better for that.

PSI = sum over bins of (live - reference) * ln(live / reference), shares per bin. While nothing has changed, PSI is about (1/n + 1/m) * chi-squared with
bins - 1 degrees of freedom for samples of n and m independent rows (Yurdakul, Statistical Properties of Population Stability Index, 2018), so the
customary 0.25 means something at one sample size only. The threshold here is the larger of 0.25 and that distribution's quantile, shared out among all
columns that are looked at (Bonferroni). Rows of one symbol seconds apart are not independent: the caller counts what is.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from tradingsystem.domain.rows import F64

BINS = 10
SUBSTANTIAL = 0.25  # below this a shift is not worth acting on, however sure it is
FALSE_ALARM = 0.01  # aimed at, for one look at all columns together; in simulation 2 % at 110 live rows, none of 250 looks from 500 on
ROWS_MIN = 100  # of either sample: with fewer, bins of a tenth are mostly chance


def stability_index(reference: F64, live: F64) -> float:
    """PSI of two samples F64[n] and F64[m] over the deciles of the reference. Tied deciles become one bin; a column that is constant in the reference has
    the three bins below, at and above. Half a row is added to each bin so that an empty one is finite.

    Raises ``ValueError`` for an empty sample or one with values that are not finite.
    """
    if not (len(reference) and len(live)):
        raise ValueError("an empty sample has no distribution")
    if not (np.isfinite(reference).all() and np.isfinite(live).all()):
        raise ValueError("values that are not finite belong to no bin")
    edges = np.unique(np.quantile(reference, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    counted = [_bins(edges, sample) for sample in (reference, live)]
    expected, found = ((counts + 0.5) / (counts + 0.5).sum() for counts in counted)
    return float(((found - expected) * np.log(found / expected)).sum())


def threshold(reference_rows: int, live_rows: int, columns: int) -> float | None:
    """The PSI above which a column has drifted when ``columns`` of them are looked at together; None with too few rows to say."""
    if min(reference_rows, live_rows) < ROWS_MIN:
        return None
    quantile = _chi_squared_quantile(1.0 - FALSE_ALARM / columns, BINS - 1)
    return max(SUBSTANTIAL, (1.0 / reference_rows + 1.0 / live_rows) * quantile)


def drifted(reference: F64, live: F64, *, independent_rows: int) -> dict[int, float]:
    """PSI of the columns of F64[n, k] and F64[m, k] that have drifted, by column. ``independent_rows``: how many of the live rows count as independent.
    Empty while there are too few to say."""
    bound = threshold(len(reference), min(independent_rows, len(live)), reference.shape[1])
    if bound is None:
        return {}
    indices = {column: stability_index(reference[:, column], live[:, column]) for column in range(reference.shape[1])}
    return {column: index for column, index in indices.items() if index > bound}


def _bins(edges: F64, sample: F64) -> F64:
    """Counts per bin. Values that equal a single edge are a bin of their own: a column of one value has no deciles to tell them apart."""
    if len(edges) == 1:
        parts = [(sample < edges[0]).sum(), (sample == edges[0]).sum(), (sample > edges[0]).sum()]
        return np.array(parts, np.float64)
    return np.bincount(np.searchsorted(edges, sample, side="right"), minlength=len(edges) + 1).astype(np.float64)


def _chi_squared_quantile(probability: float, degrees: int) -> float:
    """Wilson and Hilferty's cube (1931): within one percent from 9 degrees on."""
    spread = 2.0 / (9.0 * degrees)
    return degrees * (1.0 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)) ** 3
