"""Scores become decisions' inputs only when they are probabilities; confidence is a rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.ensemble.blend import assess, break_even
from tradingsystem.ensemble.confidence import WINDOW_ROWS, ConfidenceWindow, agreement
from tradingsystem.ensemble.weights import member_weights

CALIBRATION = Calibration(slope=1.0, intercept=0.0, variance_slope=0.01, variance_intercept=0.01, covariance=0.0, rows=100, brier=0.25)


@given(st.lists(st.sampled_from([0.5, float("nan"), 1.5, -0.1, float("inf")]), min_size=1, max_size=20))
def test_what_is_not_a_probability_is_never_used(values: list[float]) -> None:
    """NaN, infinities and numbers outside 0 to 1 make a row unusable and leave the window as it was."""
    column = np.array(values, np.float32)
    window = ConfidenceWindow((-1.0, 1.0))
    before = window.snapshot()["next"]
    found = assess(np.stack([column] * 3, axis=1), column, window, CALIBRATION)
    np.testing.assert_array_equal(found.usable, column == np.float32(0.5))
    assert np.isnan(found.confidence[~found.usable]).all()
    assert window.snapshot()["next"] == (before + int(found.usable.sum())) % WINDOW_ROWS  # type: ignore[operator]


def test_agreement_needs_all_members() -> None:
    """Two enthusiasts and one sceptic agree less than three who are mildly in favour."""
    members = np.array([[0.9, 0.9, 0.2], [0.65, 0.65, 0.65]], np.float32)
    split, united = agreement(members)
    assert united > split


def test_confidence_is_the_rank_in_the_window() -> None:
    """Against a window that holds 0 to 1 evenly, a value's confidence is the value."""
    window = ConfidenceWindow((0.0, 1.0))
    np.testing.assert_allclose(window.rank(np.array([0.25, 0.7, 2.0])), [0.25, 0.7, 1.0], atol=1e-3)


def test_the_window_forgets() -> None:
    """After a window full of higher values, what was high is low."""
    window = ConfidenceWindow((0.0, 1.0))
    window.rank(np.full(WINDOW_ROWS, 5.0))
    assert window.rank(np.array([4.0]))[0] == 0.0


def test_a_restored_window_ranks_alike() -> None:
    """A snapshot carries everything that decides later ranks."""
    first, second = ConfidenceWindow((0.0, 1.0)), ConfidenceWindow((5.0, 6.0))
    first.rank(np.linspace(0.2, 0.9, 3_000))
    second.restore(first.snapshot())
    values = np.linspace(-1, 2, 500)
    np.testing.assert_array_equal(first.rank(values), second.rank(values))


def test_break_even_of_an_even_bet_is_half() -> None:
    """Equal target and stop break even at one half; a farther target needs less."""
    assert break_even(50, 50) == 0.5
    assert break_even(100, 50) == pytest.approx(1 / 3)


def test_a_useless_member_gets_only_the_shrunken_share() -> None:
    """Weights follow log loss but stay close to equal when there is little data."""
    random = np.random.default_rng(5)
    truth = random.uniform(0.1, 0.9, 4_000)
    labels = (random.random(4_000) < truth).astype(np.float64)
    members = np.stack([truth, np.full(4_000, 0.5), random.uniform(0.1, 0.9, 4_000)], axis=1)
    weights = member_weights(members, labels)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] > 0.6
    assert weights[1] == pytest.approx(weights[2])
    assert weights[1] > 0.15
