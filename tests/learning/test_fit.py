"""Fitting finds an edge that is there, none that is not, and refuses rows that cannot carry a model."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.ensemble.calibration import sigmoid
from tradingsystem.ensemble.weights import log_loss
from tradingsystem.learning import torch_newton
from tradingsystem.learning.fit import NUMPY, Fitted, NotEnoughData, Rows50, by_numpy, fit, member_logits, penalties, shape_of


def some_rows(count: int, seed: int, edge: float) -> Rows50:
    """Rows whose outcome depends on feature 0 and 30 with the given strength."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, FEATURE_COUNT)).astype(np.float32)
    labels = (random.random(count) < sigmoid(edge * (features[:, 0] - features[:, 30]).astype(np.float64))).astype(np.float64)
    return Rows50(features=features, labels=labels)


def fitted(edge: float, *, by_torch: bool = False) -> Fitted:
    """A model of rows with that edge."""
    arithmetic = torch_newton.arithmetic() if by_torch else NUMPY
    return fit(some_rows(6_000, 1, edge), some_rows(3_000, 2, edge), list(range(25)), list(range(25, 50)), [30], arithmetic)


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


def test_the_linear_members_are_where_nothing_pulls_any_more() -> None:
    """The gradient of the penalised likelihood is zero there, whoever found the place."""
    rows = some_rows(2_000, 4, 0.6)
    design = np.column_stack([rows.features[:, :6].astype(np.float64), np.ones(2_000)])
    parameters = by_numpy(design, rows.labels)
    pull = design.T @ (rows.labels - sigmoid(design @ parameters)) - penalties(7) * parameters
    assert np.abs(pull).max() < 1e-6
    assert penalties(7).tolist() == [100.0] * 6 + [0.0]


@pytest.mark.torch
@pytest.mark.parametrize("edge", [0.0, 0.8, 4.0])
def test_torch_and_numpy_fit_the_same_model(edge: float) -> None:
    """On the processor or a GPU: the same bounds, tree and members, so the same decisions; a candidate does not depend on where it was fitted."""
    ours, theirs = fitted(edge), fitted(edge, by_torch=True)
    for name in ("low", "high", "mean", "scale"):
        np.testing.assert_array_equal(getattr(ours.weights, name), getattr(theirs.weights, name))
    assert ours.weights.stump == theirs.weights.stump
    np.testing.assert_allclose(theirs.weights.linear, ours.weights.linear, rtol=0, atol=torch_newton.TOLERANCE)
    np.testing.assert_allclose(theirs.weights.bias, ours.weights.bias, rtol=0, atol=torch_newton.TOLERANCE)
    rows = some_rows(5_000, 3, edge)
    np.testing.assert_allclose(blend(theirs, rows), blend(ours, rows), rtol=0, atol=1e-6)


@pytest.mark.torch
def test_torch_finds_the_same_parameters_to_nine_digits() -> None:
    """Before they are rounded to what is stored: badly scaled columns and one that says nothing do not part the two."""
    random = np.random.default_rng(11)
    design = random.normal(size=(3_000, 8)) * np.array([1.0, 1e-3, 8.0, 0.0, 1.0, 2.0, 0.5, 0.0])
    design[:, 7] = 1.0
    labels = (random.random(3_000) < sigmoid(design[:, 0] - 0.4 * design[:, 2])).astype(np.float64)
    found = torch_newton.arithmetic().logistic(design, labels)
    np.testing.assert_allclose(found, by_numpy(design, labels), rtol=0, atol=1e-9)


def test_without_torch_one_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but a fit that asks for it needs it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInput, match=r"tradingsystem\[learn\]"):
        torch_newton.arithmetic()


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
