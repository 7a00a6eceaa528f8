"""Fitting finds an edge that is there, none that is not, and refuses rows that cannot carry a model."""

from __future__ import annotations

import numpy as np
import pytest

from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.ensemble.calibration import sigmoid
from tradingsystem.ensemble.weights import log_loss
from tradingsystem.learning.fit import Fitted, NotEnoughData, Rows50, fit, member_logits, shape_of


def some_rows(count: int, seed: int, edge: float) -> Rows50:
    """Rows whose outcome depends on feature 0 and 30 with the given strength."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, FEATURE_COUNT)).astype(np.float32)
    labels = (random.random(count) < sigmoid(edge * (features[:, 0] - features[:, 30]).astype(np.float64))).astype(np.float64)
    return Rows50(features=features, labels=labels)


def fitted(edge: float) -> Fitted:
    """A model of rows with that edge."""
    return fit(some_rows(6_000, 1, edge), some_rows(3_000, 2, edge), list(range(25)), list(range(25, 50)), [30])


def blend(model: Fitted, rows: Rows50) -> np.ndarray:  # type: ignore[type-arg]
    """The calibrated probabilities by plain arithmetic."""
    weights = model.weights
    logits = member_logits(rows.features, shape_of(weights), weights.linear, weights.bias, weights.stump)
    return sigmoid(logits @ weights.blend * weights.slope + weights.intercept)


def test_an_edge_that_is_there_is_found() -> None:
    """On fresh rows the model beats the base rate clearly and its probabilities are calibrated."""
    rows = some_rows(5_000, 3, 0.8)
    p = blend(fitted(0.8), rows)
    assert log_loss(p, rows.labels) < log_loss(np.full(len(p), rows.labels.mean()), rows.labels) - 0.05
    top = p > 0.7
    assert rows.labels[top].mean() == pytest.approx(p[top].mean(), abs=0.04)


def test_no_edge_gives_no_opinion() -> None:
    """Where nothing can be learned the probabilities stay near the base rate."""
    p = blend(fitted(0.0), some_rows(5_000, 3, 0.0))
    assert np.abs(p - 0.5).max() < 0.1


def test_fitting_twice_gives_the_same_weights() -> None:
    """A model can be rebuilt."""
    first, second = fitted(0.5), fitted(0.5)
    np.testing.assert_array_equal(first.weights.linear, second.weights.linear)
    assert first.calibration == second.calibration


@pytest.mark.parametrize(
    "rows",
    [
        Rows50(features=np.zeros((100, FEATURE_COUNT), np.float32), labels=np.zeros(100)),
        Rows50(features=np.zeros((500, FEATURE_COUNT), np.float32), labels=np.zeros(500)),
        Rows50(features=np.full((500, FEATURE_COUNT), np.nan, np.float32), labels=np.tile([0.0, 1.0], 250)),
    ],
    ids=["too few", "one class", "not finite"],
)
def test_rows_that_cannot_carry_a_model_are_refused(rows: Rows50) -> None:
    """Too few, one-sided or broken rows are a named refusal."""
    with pytest.raises(NotEnoughData):
        fit(rows, some_rows(1_000, 1, 0.5), [0], [1], [2])
