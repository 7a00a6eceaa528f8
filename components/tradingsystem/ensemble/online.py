"""Weights of the members learned live from closed predictions, within bounds, with a calibration of their own. Off the hot path; one note takes it back.

What is learned: members' logits l, blended as z = sum(w l), p = sigmoid(slope z + intercept), as in the bundle's graph.

- Weights w = FLOOR x bundle's + (1 - FLOOR) x v, v on the simplex: so no weight is ever below half of what the bundle gave it, nor above that half plus
  one half, whatever is heard. v follows the exponentiated gradient of the log loss, which is convex in w: J. Kivinen and M. Warmuth, "Exponentiated
  gradient versus gradient descent for linear predictors" (1997), in its lazy form v ~ bundle's x exp(-rate x sum of gradients) with the self-confident
  rate of P. Auer, N. Cesa-Bianchi and C. Gentile, "Adaptive and self-confident on-line learning algorithms" (2002): sqrt(2 ln m / sum of squared
  ranges). The squares are of single rows, not of the batch's mean, so that a batch of noise moves little.
- Calibration: Platt's two parameters at the maximum of a posterior. The bundle's own are the prior, with ``PRIOR_DISCOUNT`` times their variance. Rows of
  one symbol overlap for the whole horizon, so the likelihood counts independent opportunities, not rows: it is tempered by rows per (symbol, horizon).
- Before a batch is learned from it is predicted. When over the last batches the bundle's own blend would have lost less, that is the answer: its own again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.bundles.weights import LOGIT_MAX
from tradingsystem.domain.rows import F32, F64, I64
from tradingsystem.ensemble.calibration import sigmoid, to_logit
from tradingsystem.ensemble.weights import log_loss

FLOOR = 0.5
"""Share of the bundle's own weights that always stays."""

UPDATE_ROWS = 500
"""Closed predictions that make an update. At 300 candidates, sampled each 20 s, some 35 s of market; fewer would chase noise."""

WINDOW_ROWS = 20_000
"""Closed predictions that the calibration remembers."""

PRIOR_DISCOUNT = 10.0
"""The bundle's calibration was fitted on other days: what it knows counts a tenth of what it says."""

CHECKED_UPDATES = 8
"""Batches over which the blend must not have lost more than the bundle's own would have; asked once half of them are there."""

SLOPE_FACTOR_MAX = 2.0  # the learned slope stays within the bundle's, divided and multiplied by this
INTERCEPT_CHANGE_MAX = 1.0  # in logits
_ITERATIONS = 25


@dataclass(frozen=True, slots=True)
class Blend:
    """How members become p: weights F64[m] and calibration."""

    weights: F64
    calibration: Calibration

    def scores(self, logits: F64) -> F64:
        """Blended logits F64[n], before calibration, of members' logits F64[n, m]; summed member by member, so that every machine adds alike."""
        found: F64 = np.zeros(len(logits))
        for m, weight in enumerate(self.weights):
            found += weight * logits[:, m]
        return found

    def p(self, logits: F64) -> F64:
        """Calibrated probabilities F64[n]."""
        return sigmoid(self.calibration.slope * self.scores(logits) + self.calibration.intercept)


def bounded_logits(members: F32 | F64) -> F64:
    """Logits of members' probabilities, bounded as the graph bounds them; NaN stays NaN."""
    return np.clip(to_logit(np.asarray(members, np.float64)), -LOGIT_MAX, LOGIT_MAX)


def reblend(members: F32, blend: Blend) -> F32:
    """p of members' probabilities F32[n, m] by that blend instead of the graph's; NaN where a member is."""
    return blend.p(bounded_logits(members)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Update:
    """What a batch led to: the blend from now on, the losses of the batch before it was learned from (nats; members' F64[m], this blend's, the bundle's),
    and whether the bundle's own is in force again."""

    blend: Blend
    rows: int
    member_losses: F64
    loss: float
    own_loss: float
    reverted: bool


class OnlineBlend:
    """One version's live blend. ``own`` is the bundle's; ``current`` what is in force, and where learning starts."""

    def __init__(self, own: Blend, horizon_seconds: int, current: Blend | None = None) -> None:
        self.own = own
        self.current = current or own
        self._horizon_ns = horizon_seconds * 1_000_000_000
        count = len(own.weights)
        self._start = _free(self.current.weights, own.weights)
        self._gradients: F64 = np.zeros(count)
        self._squares = 0.0
        self._checked: deque[tuple[float, float]] = deque(maxlen=CHECKED_UPDATES)
        self._logits: F64 = np.empty((0, count))
        self._labels: F64 = np.empty(0)
        self._opportunities: I64 = np.empty(0, np.int64)

    def learn(self, members: F64, labels: F64, symbols: I64, at_ns: I64) -> Update:
        """Take in a batch of closed predictions: members' probabilities F64[n, m], labels 0/1 F64[n], a number for each symbol, when they were made.
        Raises ``ValueError`` for what is no probability, or no row."""
        if not len(labels) or not (np.isfinite(members).all() and (members >= 0).all() and (members <= 1).all()):
            raise ValueError("online weights: a batch needs rows, and every member a probability")
        logits = bounded_logits(members)
        current_p, own_p = self.current.p(logits), self.own.p(logits)
        loss, own_loss = log_loss(current_p, labels), log_loss(own_p, labels)
        self._checked.append((loss, own_loss))
        self._remember(logits, labels, symbols, at_ns)
        reverted = self._worse()
        if reverted:
            self._start_over()
        else:
            weights = self._step(logits, labels, current_p)
            self.current = Blend(weights, self._calibrate(weights))
        losses = np.array([log_loss(sigmoid(column), labels) for column in logits.T])
        return Update(self.current, len(self._labels), losses, loss, own_loss, reverted)

    def revert(self) -> None:
        """The bundle's own from now on; what was learned is forgotten."""
        self._start_over()
        self._logits, self._labels, self._opportunities = self._logits[:0], self._labels[:0], self._opportunities[:0]

    def _remember(self, logits: F64, labels: F64, symbols: I64, at_ns: I64) -> None:
        opportunity = symbols * (1 << 32) + at_ns // self._horizon_ns
        self._logits = np.concatenate([self._logits, logits])[-WINDOW_ROWS:]
        self._labels = np.concatenate([self._labels, labels])[-WINDOW_ROWS:]
        self._opportunities = np.concatenate([self._opportunities, opportunity])[-WINDOW_ROWS:]

    def _worse(self) -> bool:
        """Whether the bundle's own blend would have lost less over the last batches."""
        if len(self._checked) < CHECKED_UPDATES // 2:
            return False
        return sum(loss for loss, _ in self._checked) > sum(own for _, own in self._checked)

    def _start_over(self) -> None:
        self.current = self.own
        self._start = self.own.weights.copy()
        self._gradients[:] = 0.0
        self._squares = 0.0
        self._checked.clear()

    def _step(self, logits: F64, labels: F64, p: F64) -> F64:
        slope = self.current.calibration.slope
        each = (1.0 - FLOOR) * slope * (p - labels)[:, None] * logits
        self._gradients += each.mean(axis=0)
        self._squares += float(np.mean((each.max(axis=1) - each.min(axis=1)) ** 2))
        if self._squares <= 0.0:
            return self.current.weights
        rate = np.sqrt(2.0 * np.log(len(self._gradients)) / self._squares)
        exponents = -rate * (self._gradients - self._gradients.min())
        free = self._start * np.exp(exponents)
        weights: F64 = FLOOR * self.own.weights + (1.0 - FLOOR) * free / free.sum()
        return weights

    def _calibrate(self, weights: F64) -> Calibration:
        """Newton's method on the tempered posterior of (slope, intercept)."""
        own = self.own.calibration
        z = Blend(weights, own).scores(self._logits)
        design = np.stack([z, np.ones_like(z)], axis=1)
        temper = len(np.unique(self._opportunities)) / len(self._opportunities)
        covariance = np.array([[own.variance_slope, own.covariance], [own.covariance, own.variance_intercept]])
        precision = np.linalg.inv(PRIOR_DISCOUNT * covariance + 1e-9 * np.eye(2))
        prior = np.array([own.slope, own.intercept])
        parameters, hessian = prior.copy(), precision
        for _ in range(_ITERATIONS):
            probability = sigmoid(design @ parameters)
            gradient = temper * (design.T @ (self._labels - probability)) - precision @ (parameters - prior)
            hessian = temper * (design * (probability * (1.0 - probability))[:, None]).T @ design + precision
            step = np.linalg.solve(hessian, gradient)
            parameters = parameters + step
            if float(np.abs(step).max()) < 1e-10:
                break
        low, high = sorted((own.slope / SLOPE_FACTOR_MAX, own.slope * SLOPE_FACTOR_MAX))
        slope = min(max(float(parameters[0]), low), high)
        intercept = min(max(float(parameters[1]), own.intercept - INTERCEPT_CHANGE_MAX), own.intercept + INTERCEPT_CHANGE_MAX)
        known = np.linalg.inv(hessian)
        probability = sigmoid(slope * z + intercept)
        return Calibration(
            slope=slope,
            intercept=intercept,
            variance_slope=float(known[0, 0]),
            variance_intercept=float(known[1, 1]),
            covariance=float(known[0, 1]),
            rows=len(self._labels),
            brier=float(np.mean((probability - self._labels) ** 2)),
        )


def _free(weights: F64, own: F64) -> F64:
    """The part v of weights that is free to move, on the simplex again where rounding or another bundle's bounds have left it."""
    free = np.maximum((weights - FLOOR * own) / (1.0 - FLOOR), 0.0)
    total = float(free.sum())
    return free / total if total > 0.0 else own.copy()
