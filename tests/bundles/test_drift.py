"""Drift is told from chance by the size of the samples and by how alike the rows of one stretch are, and a shift that matters is found."""

from __future__ import annotations

import numpy as np
import pytest

from tradingsystem.bundles.drift import SUBSTANTIAL, Reference, drifted, reference, stability_index, threshold
from tradingsystem.domain.rows import F64


def found(known: Reference, live: F64, independent_rows: float | None = None) -> set[int]:
    """The columns that have drifted."""
    rows = len(live) if independent_rows is None else independent_rows
    return {drift.column for drift in drifted(known, known.count(live), independent_rows=rows)}


def test_what_has_not_changed_rarely_drifts() -> None:
    """51 columns from one distribution, 60 looks with samples where the customary 0.25 alone would cry at one look in a few: at most three do."""
    random = np.random.default_rng(1)
    looks = [found(reference(random.normal(size=(257, 51))), random.normal(size=(110, 51))) for _ in range(60)]
    assert sum(bool(columns) for columns in looks) <= 3


def test_days_that_differ_among_themselves_are_no_drift() -> None:
    """Each day has its own level, in the reference as well as live: rows of one day are alike, so a day is worth few of them. Where the days of the
    reference do not differ, the same shift is one."""
    random = np.random.default_rng(4)

    def days(count: int, rows: int, spread: float) -> F64:
        return np.concatenate([random.normal(spread * random.normal(), 1.0, size=(rows, 1)) for _ in range(count)])

    alarms = sum(bool(found(reference(days(8, 32, 1.0)), days(1, 400, 1.0))) for _ in range(60))
    assert alarms <= 3
    assert found(reference(days(8, 32, 0.0)), days(1, 400, 0.0) + 1.0) == {0}


def test_a_shift_that_matters_is_found_and_named() -> None:
    """One column of five moves by one standard deviation; the others stay unnamed."""
    random = np.random.default_rng(2)
    live = random.normal(size=(2_000, 5))
    live[:, 3] += 1.0
    assert found(reference(random.normal(size=(257, 5))), live) == {3}


def test_few_rows_say_nothing() -> None:
    """However many they look like: only the independent ones count; and a reference of few rows is none."""
    random = np.random.default_rng(3)
    known, live = reference(random.normal(size=(257, 2))), random.normal(size=(5_000, 2)) + 3.0
    assert found(known, live, 19.9) == set()
    assert found(known, live, 200) == {0, 1}
    assert found(reference(random.normal(size=(63, 2))), live) == set()


def test_the_threshold_falls_with_the_rows_to_what_matters() -> None:
    """By the formula: (1/n + 1/m) times the 0.99 quantile of chi-squared with 9 degrees of freedom, 21.67, never below 0.25; more looks ask for more."""
    assert threshold(100, 100, 1) == pytest.approx(0.02 * 21.67, rel=0.01)
    assert threshold(100, 100, 70) > threshold(100, 100, 35)
    assert threshold(10_000, 10_000, 1) == SUBSTANTIAL


def test_a_constant_column_that_stays_is_no_drift() -> None:
    """And one that begins to move, or another one that stops, is. A row of zeros is the vector that tests a graph, and no market."""
    random = np.random.default_rng(5)
    sample = np.column_stack([np.ones(300), random.normal(size=300)])
    known = reference(np.concatenate([sample, np.zeros((1, 2))]))
    assert known.rows == 300
    assert stability_index(known.counts[0], known.count(sample)[0]) == pytest.approx(0.0, abs=1e-9)
    assert found(known, np.column_stack([np.linspace(1.0, 2.0, 300), np.zeros(300)])) == {0, 1}


def test_values_that_are_no_numbers_are_refused() -> None:
    """They belong to no bin, and an empty sample has none."""
    with pytest.raises(ValueError, match="not finite"):
        reference(np.full((3, 1), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        reference(np.ones((3, 1))).count(np.array([[np.inf]]))
    with pytest.raises(ValueError, match="empty"):
        reference(np.zeros((3, 2)))
