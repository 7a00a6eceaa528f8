"""Whether what a model reads live is still what it was judged on: the population stability index against the bundle's golden rows, a stretch at a time.

The golden rows are spread over the days that the bundle was judged on, in the order of time, so they are a sample of its reference. Nothing here decides
what follows from drift: an older version is not better for that.

PSI = sum over bins of (live - reference) * ln(live / reference), shares per bin. While nothing has changed, PSI is about (1/n + 1/m) * chi-squared with
bins - 1 degrees of freedom for samples of n and m independent rows (Yurdakul, Statistical Properties of Population Stability Index, 2018), so the
customary 0.25 means something at one sample size only. The threshold here is the larger of 0.25 and that distribution's quantile, shared out among all
columns that are looked at (Bonferroni).

Rows of one day are not independent: the market has one VIX and one direction for all of them. How alike the rows of one stretch of the reference are is
measured, column by column, as the design effect of clustered samples (Rao and Scott, The Analysis of Categorical Data from Complex Sample Surveys, 1981):
1 + (rows in a stretch - 1) * rho. What is looked at live is such a stretch, so n rows of it count as n / (1 + (n - 1) * rho), and n itself is not the
number of rows but of those that the caller holds for independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tradingsystem.domain.rows import F32, F64, I64

BINS = 10
SUBSTANTIAL = 0.25  # below this a shift is not worth acting on, however sure it is
FALSE_ALARM = 0.01  # aimed at, for all columns and looks together
REFERENCE_ROWS_MIN, LIVE_ROWS_MIN = 64, 20  # independent ones; with fewer, bins of a tenth are mostly chance
STRETCHES = 8  # of the reference
CAUTION = (
    2.5  # times the rho found: eight stretches know it badly, and it is 2.5 times as large with a chance of a tenth (7 / 2.83, chi-squared)
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A sample to compare with: ``edges`` of each column's bins, ``counts`` I64[columns, BINS] of the sample's rows, ``alike`` F64[columns] the rho
    of rows of one stretch, from 0 (independent) to 1 (the same value)."""

    rows: int
    edges: tuple[F64, ...]
    counts: I64
    alike: F64

    @property
    def columns(self) -> int:
        return len(self.edges)

    def count(self, rows: F32 | F64) -> I64:
        """Rows F[n, columns] counted into the bins, I64[columns, BINS]. Raises ``ValueError`` for values that are not finite: they belong to none."""
        return _counted(self.edges, rows)


@dataclass(frozen=True, slots=True)
class Drift:
    """One column that has drifted: its index and what it may be with that many rows."""

    column: int
    index: float
    bound: float


def reference(sample: F32 | F64) -> Reference:
    """Bins at the deciles of F[n, columns], rows in the order of time; rows of zeros alone are no market and are left out. Tied deciles become one bin; a
    column that is constant has the three bins below, at and above. Raises ``ValueError`` for an empty sample or values that are not finite."""
    rows = np.asarray(sample, np.float64)
    rows = rows[(rows != 0.0).any(axis=1)]
    if not len(rows):
        raise ValueError("an empty sample has no distribution")
    if not np.isfinite(rows).all():
        raise ValueError("values that are not finite belong to no bin")
    edges = tuple(np.unique(np.quantile(column, np.linspace(0.0, 1.0, BINS + 1)[1:-1])) for column in rows.T)
    parts = np.array_split(rows, min(STRETCHES, len(rows)))
    return Reference(len(rows), edges, _counted(edges, rows), _alike(np.stack([_counted(edges, part) for part in parts])))


def stability_index(expected: I64, found: I64) -> float:
    """PSI of two samples by their counts per bin; bins that both leave empty are none. Half a row is added to each of the others so that it is finite."""
    used = (expected > 0) | (found > 0)
    first, second = ((counts[used] + 0.5) / (counts[used] + 0.5).sum() for counts in (expected, found))
    return float(((second - first) * np.log(second / first)).sum())


def threshold(reference_rows: float, live_rows: float, looks: float) -> float:
    """The PSI above which a column has drifted, for two samples that are worth so many independent rows, when so many looks share the false alarms."""
    quantile = _chi_squared_quantile(1.0 - FALSE_ALARM / looks, BINS - 1)
    return max(SUBSTANTIAL, (1.0 / reference_rows + 1.0 / live_rows) * quantile)


def drifted(known: Reference, live: I64, *, independent_rows: float, looks: int = 1) -> list[Drift]:
    """The columns of one stretch's counts I64[columns, BINS] that have drifted, the farthest first; none while there are too few rows to say.
    ``independent_rows``: how many of the rows count as independent. ``looks``: how many stretches share the false alarms."""
    if known.rows < REFERENCE_ROWS_MIN or independent_rows < LIVE_ROWS_MIN:
        return []
    stretch = known.rows / STRETCHES
    found = []
    for column in range(known.columns):
        rho = float(known.alike[column])
        before = known.rows / (1.0 + (stretch - 1.0) * rho)
        now = independent_rows / (1.0 + (independent_rows - 1.0) * rho)
        bound = threshold(before, now, known.columns * looks)
        index = stability_index(known.counts[column], live[column])
        if index > bound:
            found.append(Drift(column, index, bound))
    return sorted(found, key=lambda drift: drift.index / drift.bound, reverse=True)


def _counted(edges: tuple[F64, ...], rows: F32 | F64) -> I64:
    values = np.asarray(rows, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite belong to no bin")
    counts = np.zeros((len(edges), BINS), np.int64)
    for column, own in enumerate(edges):
        if len(own) == 1:  # values that equal a single edge are a bin of their own: a column of one value has no deciles to tell them apart
            sample = values[:, column]
            counts[column, :3] = (sample < own[0]).sum(), (sample == own[0]).sum(), (sample > own[0]).sum()
        else:
            counts[column] = np.bincount(np.searchsorted(own, values[:, column], side="right"), minlength=BINS)
    return counts


def _alike(stretches: I64) -> F64:
    """rho of each column from counts I64[stretches, columns, BINS]: how much more the stretches differ than chance would have it. Pearson's chi-squared of
    homogeneity over its degrees of freedom estimates the design effect."""
    alike = np.zeros(stretches.shape[1])
    sizes = stretches[:, 0, :].sum(axis=1)
    stretch = float(sizes.mean())
    if len(sizes) < 2 or stretch <= 1.0:
        return alike
    for column in range(stretches.shape[1]):
        counts = stretches[:, column, :]
        totals = counts.sum(axis=0)
        used = totals > 0
        if used.sum() < 2:
            continue
        expected = np.outer(sizes, totals[used] / totals.sum())
        statistic = ((counts[:, used] - expected) ** 2 / expected).sum()
        effect = statistic / ((len(sizes) - 1) * (used.sum() - 1))
        alike[column] = min(1.0, max(0.0, CAUTION * (effect - 1.0) / (stretch - 1.0)))
    return alike


def _chi_squared_quantile(probability: float, degrees: int) -> float:
    """Wilson and Hilferty's cube (1931): within one percent from 9 degrees on."""
    spread = 2.0 / (9.0 * degrees)
    return degrees * (1.0 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)) ** 3
