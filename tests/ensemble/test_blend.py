"""Scores become decisions' inputs only when they are probabilities; confidence is a rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.domain.rows import F32, F64
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


def _plainly(members: F32, blend: F32, window: F64) -> tuple[F64, F64]:
    """Confidence and lower bound as the books write them, in numpy: the oracle."""
    bounded = np.clip(members.astype(np.float64), 1e-6, 1 - 1e-6)
    logits = np.log(bounded / (1 - bounded))
    confidence = np.searchsorted(np.sort(window), logits.mean(axis=1) - logits.std(axis=1)) / len(window)
    p = np.clip(blend.astype(np.float64), 1e-6, 1 - 1e-6)
    logit = np.log(p / (1 - p))
    raw = (logit - CALIBRATION.intercept) / CALIBRATION.slope
    deviation = np.sqrt(CALIBRATION.variance_slope * raw**2 + 2 * CALIBRATION.covariance * raw + CALIBRATION.variance_intercept)
    return confidence, 1 / (1 + np.exp(deviation - logit))


@given(st.integers(1, 600), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_kernel_says_what_the_formulas_say(rows: int, count: int, seed: int) -> None:
    """However many rows and members: the lower bound to the last digits, the confidence to the next place in the window; certainties included."""
    random = np.random.default_rng(seed)
    members = random.uniform(0, 1, (rows, count)).astype(np.float32)
    members[random.random(members.shape) < 0.05] = random.choice([0.0, 1.0])
    blend = random.uniform(0, 1, rows).astype(np.float32)
    blend[0] = random.choice([0.0, 1.0])
    window = ConfidenceWindow(tuple(np.sort(random.normal(0, 2, 101)).tolist()))
    confidence, p_low = _plainly(members, blend, np.asarray(window.snapshot()["ring"]))
    found = assess(members, blend, window, CALIBRATION)
    np.testing.assert_allclose(found.p_low, p_low, rtol=1e-12)
    np.testing.assert_allclose(found.confidence, confidence, atol=1.01 / WINDOW_ROWS)
    assert found.usable.all()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["even", "one value", "two values", "far outliers", "tiny"]))
def test_a_window_is_sorted_and_searched_whatever_it_holds(seed: int, shape: str) -> None:
    """Ranks are those of a plain sort and a plain search, for windows that fill one bin as well as for even ones."""
    random = np.random.default_rng(seed)
    values = {
        "even": random.uniform(-1, 1, WINDOW_ROWS),
        "one value": np.full(WINDOW_ROWS, random.normal()),
        "two values": random.choice([-3.5, 4.25], WINDOW_ROWS),
        "far outliers": np.where(random.random(WINDOW_ROWS) < 1e-3, 1e12, random.normal(size=WINDOW_ROWS)),
        "tiny": random.normal(size=WINDOW_ROWS) * 1e-300,
    }[shape]
    window = ConfidenceWindow((0.0, 1.0))
    window.rank(values)
    np.testing.assert_array_equal(window.snapshot()["sorted"], np.sort(values))  # type: ignore[arg-type]
    asked = np.concatenate([random.choice(values, 50), random.normal(size=50) * 2, [-1e308, 1e308]])
    np.testing.assert_array_equal(window.rank(asked), np.searchsorted(np.sort(values), asked) / WINDOW_ROWS)
