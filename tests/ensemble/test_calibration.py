"""Calibration recovers what is there, and its lower bound is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.ensemble.calibration import fit, lower_bound, sigmoid, to_logit


def test_fit_recovers_the_sigmoid_that_made_the_labels() -> None:
    """With many rows slope and intercept come back within three standard errors."""
    random = np.random.default_rng(11)
    logits = random.normal(size=40_000)
    labels = (random.random(40_000) < sigmoid(0.6 * logits - 0.4)).astype(np.float64)
    found = fit(logits, labels)
    assert abs(found.slope - 0.6) < 3 * found.variance_slope**0.5
    assert abs(found.intercept + 0.4) < 3 * found.variance_intercept**0.5


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_is_refused(label: float) -> None:
    """Without both outcomes there is nothing to calibrate."""
    with pytest.raises(ValueError, match="both outcomes"):
        fit(np.linspace(-1, 1, 10), np.full(10, label))


@given(st.integers(60, 2_000), st.integers(0, 2**32 - 1))
def test_the_lower_bound_is_below_p_and_shrinks_with_data(rows: int, seed: int) -> None:
    """p_low < p always, and ten times the data brings it closer."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=rows)
    labels = (random.random(rows) < sigmoid(logits)).astype(np.float64)
    labels[:2] = (0.0, 1.0)
    few = fit(logits, labels)
    many = fit(np.tile(logits, 10), np.tile(labels, 10))
    p = np.array([0.2, 0.5, 0.8])
    assert (lower_bound(p, few) < p).all()
    assert (p - lower_bound(p, many) < p - lower_bound(p, few)).all()


@given(st.floats(1e-5, 1 - 1e-5))
def test_logit_and_sigmoid_undo_each_other(p: float) -> None:
    """A probability survives the way there and back."""
    assert sigmoid(to_logit(np.array([p])))[0] == pytest.approx(p, rel=1e-9)
