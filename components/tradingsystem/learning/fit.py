"""Fits the members and the blend: small, convex, seeded by nothing, so that the same rows give the same weights on any machine of one build.

Each feature is first bounded: by its outer percentiles, or to the part of its range where it says something, which makes a hinge of it; the bounds are
those under which it alone explains the labels best. The linear members are logistic regressions with ridge penalty by Newton's method (iteratively
reweighted least squares), each on its own features; the tree is the one split that lowers log loss most. Calibration and weights use rows later than
those the members saw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.bundles.weights import FusedWeights, Stump
from tradingsystem.domain.rows import F32, F64
from tradingsystem.ensemble.calibration import fit as fit_calibration
from tradingsystem.ensemble.calibration import sigmoid, to_logit
from tradingsystem.ensemble.weights import member_weights

CLIP_DEVIATIONS = 8.0  # a hinge is zero for most rows, so that its few others lie many deviations out
RIDGE = 100.0
PARTS = ((1, 99), (50, 99.9), (75, 99.9), (90, 99.9), (0.1, 50), (0.1, 25), (0.1, 10))
PART_GAIN_MIN = 2e-4  # of the labels' variance
ITERATIONS_MAX = 40
STEP_MIN = 1e-8  # of Newton's method, after which it has arrived
_SPLITS_TRIED = 64


class NotEnoughData(ValueError):
    """The rows cannot carry a model; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Rows50:
    """Feature rows F32[n, 50] with labels 0/1 F64[n], in the order of time."""

    features: F32
    labels: F64


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came out: the graph's weights and the calibration of its blend."""

    weights: FusedWeights
    calibration: Calibration


Logistic = Callable[[F64, F64], F64]
"""Ridge logistic regression: design F64[n, k] whose last column is ones, labels F64[n] -> parameters F64[k], the intercept last and without a penalty."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Who computes the one part of a fit that grows beyond a processor, by name: three quarters of the time at 200,000 rows."""

    name: str
    logistic: Logistic


def penalties(parameters: int) -> F64:
    """The ridge penalty of each parameter F64[k]; none on the intercept, the last."""
    penalty = np.full(parameters, RIDGE)
    penalty[-1] = 0.0
    return penalty


def by_numpy(design: F64, labels: F64) -> F64:
    """``Logistic`` by Newton's method on the processor."""
    penalty = penalties(design.shape[1])
    parameters = np.zeros(design.shape[1])
    for _ in range(ITERATIONS_MAX):
        probability = sigmoid(design @ parameters)
        gradient = design.T @ (labels - probability) - penalty * parameters
        curvature = (design * (probability * (1.0 - probability))[:, None]).T @ design + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        parameters = parameters + step
        if float(np.abs(step).max()) < STEP_MIN:
            break
    return parameters


NUMPY = Arithmetic("numpy", by_numpy)


def fit(
    training: Rows50, later: Rows50, momentum: list[int], reversion: list[int], volatility: list[int], arithmetic: Arithmetic = NUMPY
) -> Fitted:
    """Fit on ``training``, weigh and calibrate on ``later``. The lists say which features each member may see. Raises ``NotEnoughData``."""
    _require_both_outcomes("training", training)
    _require_both_outcomes("later", later)
    shape = _shape(training)
    standardised = _standardise(training.features, shape)
    columns = [_member(standardised, training.labels, allowed, arithmetic.logistic) for allowed in (momentum, reversion)]
    linear = np.stack([weights for weights, _ in columns], axis=1).astype(np.float32)
    bias = np.array([intercept for _, intercept in columns], np.float32)
    stump = _stump(training.features, training.labels, volatility)
    logits = member_logits(later.features, shape, linear, bias, stump)
    blend = member_weights(sigmoid(logits), later.labels)
    calibration = fit_calibration(logits @ blend, later.labels)
    weights = FusedWeights(
        low=shape.low,
        high=shape.high,
        mean=shape.mean,
        scale=shape.scale,
        clip=CLIP_DEVIATIONS,
        linear=linear,
        bias=bias,
        stump=stump,
        blend=blend.astype(np.float32),
        slope=calibration.slope,
        intercept=calibration.intercept,
    )
    return Fitted(weights=weights, calibration=calibration)


@dataclass(frozen=True, slots=True)
class Shape:
    """How raw features become inputs of the linear members: bounds, mean and deviation, F32[50] each."""

    low: F32
    high: F32
    mean: F32
    scale: F32


def shape_of(weights: FusedWeights) -> Shape:
    """The shape that a graph's weights hold."""
    return Shape(weights.low, weights.high, weights.mean, weights.scale)


def member_logits(features: F32, shape: Shape, linear: F32, bias: F32, stump: Stump) -> F64:
    """Logits of the three members F64[n, 3]: the graph's arithmetic, in float64."""
    products = _standardise(features, shape) @ linear.astype(np.float64) + bias
    side = np.where(features[:, stump.feature] < np.float32(stump.threshold), stump.below, stump.above)
    return np.column_stack([products, side])


def _require_both_outcomes(name: str, rows: Rows50) -> None:
    positives = int(rows.labels.sum())
    if len(rows.labels) < 200 or positives < 20 or len(rows.labels) - positives < 20:
        raise NotEnoughData(
            f"{name} rows: {len(rows.labels)} with {positives} targets reached; at least 200 with 20 of each outcome are needed"
        )
    if not np.isfinite(rows.features).all():
        raise NotEnoughData(f"{name} rows: features are not finite; absent inputs must be neutral before they are learned from")


def _shape(rows: Rows50) -> Shape:
    """The bounds under which each feature alone explains the labels best, and what standardises it then; a constant feature becomes zero, not NaN."""
    low = np.empty(rows.features.shape[1], np.float32)
    high = np.empty_like(low)
    for feature in range(rows.features.shape[1]):
        low[feature], high[feature] = _bounds(rows.features[:, feature], rows.labels)
    inner = np.clip(rows.features, low, high).astype(np.float64)
    deviation = inner.std(axis=0)
    return Shape(low, high, inner.mean(axis=0).astype(np.float32), np.where(deviation > 1e-9, deviation, 1.0).astype(np.float32))


def _bounds(column: F32, labels: F64) -> tuple[float, float]:
    """Of ``PARTS`` the percentiles between which a straight line through the labels leaves the least variance; the widest unless another is clearly better."""
    places = np.percentile(column, sorted({place for part in PARTS for place in part}))
    at = dict(zip(sorted({place for part in PARTS for place in part}), places, strict=True))
    found = [(at[low], at[high], _explained(np.clip(column, at[low], at[high]), labels)) for low, high in PARTS]
    widest = found[0]
    best = max(found, key=lambda part: part[2])
    chosen = best if best[2] > widest[2] + PART_GAIN_MIN else widest
    return float(chosen[0]), float(chosen[1])


def _explained(column: F32, labels: F64) -> float:
    """Squared correlation, 0 for a constant."""
    spread = float(column.std())
    if spread < 1e-12:
        return 0.0
    return float(np.mean((column - column.mean()) * (labels - labels.mean())) / (spread * float(labels.std()))) ** 2


def _standardise(features: F32, shape: Shape) -> F64:
    bounded = np.clip(features.astype(np.float64), shape.low, shape.high)
    return np.clip((bounded - shape.mean) / shape.scale, -CLIP_DEVIATIONS, CLIP_DEVIATIONS)


def _member(features: F64, labels: F64, allowed: list[int], logistic: Logistic) -> tuple[F64, float]:
    """A linear member on the allowed columns: weights F64[50] (zero elsewhere) and intercept."""
    parameters = logistic(np.column_stack([features[:, allowed], np.ones(len(labels))]), labels)
    weights = np.zeros(features.shape[1])
    weights[allowed] = parameters[:-1]
    return weights, float(parameters[-1])


def _stump(features: F32, labels: F64, allowed: list[int]) -> Stump:
    """The split of one allowed raw feature that lowers log loss most."""
    best: tuple[float, Stump] | None = None
    for feature in allowed:
        column = features[:, feature]
        for threshold in np.unique(np.percentile(column, np.linspace(5, 95, _SPLITS_TRIED)).astype(np.float32)):
            below = column < threshold
            found = _split(labels, below)
            if found is not None and (best is None or found[0] < best[0]):
                best = (found[0], Stump(feature=feature, threshold=float(threshold), below=found[1], above=found[2]))
    if best is None:
        raise NotEnoughData("no feature of the tree member takes two values")
    return best[1]


def _split(labels: F64, below: npt.NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Total log loss and the two logits of a split, None when a side is too small to say anything."""
    loss, logits = 0.0, []
    for side in (labels[below], labels[~below]):
        if len(side) < 50:
            return None
        rate = (side.sum() + 1.0) / (len(side) + 2.0)
        loss -= float(side.sum() * np.log(rate) + (len(side) - side.sum()) * np.log1p(-rate))
        logits.append(float(to_logit(np.array([rate]))[0]))
    return loss, logits[0], logits[1]
