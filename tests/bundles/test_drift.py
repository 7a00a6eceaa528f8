"""Drift is told from chance by the size of the samples, and a shift that matters is found."""

from __future__ import annotations

import numpy as np
import pytest

from tradingsystem.bundles.drift import SUBSTANTIAL, drifted, stability_index, threshold


def test_what_has_not_changed_rarely_drifts() -> None:
    """51 columns from one distribution, 60 looks with samples where the customary 0.25 alone would cry at one look in a few: at most three do."""
    random = np.random.default_rng(1)
    looks = [drifted(random.normal(size=(257, 51)), random.normal(size=(110, 51)), independent_rows=110) for _ in range(60)]
    assert sum(bool(found) for found in looks) <= 3


def test_a_shift_that_matters_is_found_and_named() -> None:
    """One column of five moves by one standard deviation; the others stay unnamed."""
    random = np.random.default_rng(2)
    reference, live = random.normal(size=(257, 5)), random.normal(size=(2_000, 5))
    live[:, 3] += 1.0
    assert set(drifted(reference, live, independent_rows=2_000)) == {3}


def test_few_rows_say_nothing() -> None:
    """However many they look like: only the independent ones count."""
    random = np.random.default_rng(3)
    reference, live = random.normal(size=(257, 2)), random.normal(size=(5_000, 2)) + 3.0
    assert drifted(reference, live, independent_rows=99) == {}
    assert set(drifted(reference, live, independent_rows=200)) == {0, 1}


def test_the_threshold_falls_with_the_rows_to_what_matters() -> None:
    """By the formula: (1/n + 1/m) times the 0.99 quantile of chi-squared with 9 degrees of freedom, 21.67, never below 0.25."""
    assert threshold(100, 100, 1) == pytest.approx(0.02 * 21.67, rel=0.01)
    assert threshold(10_000, 10_000, 1) == SUBSTANTIAL
    assert threshold(99, 10_000, 1) is None


def test_a_constant_column_that_stays_is_no_drift() -> None:
    """And one that begins to move is."""
    constant = np.zeros(300)
    assert stability_index(constant, constant) == pytest.approx(0.0, abs=1e-9)
    assert stability_index(constant, np.linspace(1.0, 2.0, 300)) > 1.0


def test_values_that_are_no_numbers_are_refused() -> None:
    """They belong to no bin, and an empty sample has none."""
    with pytest.raises(ValueError, match="not finite"):
        stability_index(np.zeros(3), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="empty"):
        stability_index(np.zeros(3), np.zeros(0))
