"""Platt's calibration of the blend, and how little is known about it.

Source: J. Platt, "Probabilistic outputs for support vector machines" (1999); with few rows a sigmoid is safer than isotonic regression. The
covariance of the two parameters is the inverse of the Fisher information, so the lower bound of p follows by the delta method on the logit.
"""

from __future__ import annotations

import numpy as np

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.domain.rows import F64
from tradingsystem.ensemble import kernel

_ITERATIONS_MAX = 50


def sigmoid(logit: F64) -> F64:
    """1 / (1 + exp(-x)) without overflow."""
    result: F64 = 0.5 * (1.0 + np.tanh(0.5 * logit))
    return result


def to_logit(probability: F64) -> F64:
    """log(p / (1 - p)), bounded away from infinity."""
    bounded = np.clip(probability.astype(np.float64), kernel.PROBABILITY_EPSILON, 1.0 - kernel.PROBABILITY_EPSILON)
    result: F64 = np.log(bounded) - np.log1p(-bounded)
    return result


def fit(logits: F64, labels: F64) -> Calibration:
    """Newton's method on (slope, intercept) for logits F64[n] and labels 0/1 F64[n]. Raises ``ValueError`` for one-class labels."""
    positives = float(labels.sum())
    if not 0.0 < positives < len(labels):
        raise ValueError(f"calibration needs both outcomes, got {positives:.0f} of {len(labels)} positive")
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    parameters = np.array([1.0, 0.0])
    information = np.eye(2)
    for _ in range(_ITERATIONS_MAX):
        probability = sigmoid(design @ parameters)
        gradient = design.T @ (labels - probability)
        information = (design * (probability * (1.0 - probability))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(information, gradient)
        parameters = parameters + step
        if float(np.abs(step).max()) < 1e-10:
            break
    covariance = np.linalg.inv(information)
    probability = sigmoid(design @ parameters)
    return Calibration(
        slope=float(parameters[0]),
        intercept=float(parameters[1]),
        variance_slope=float(covariance[0, 0]),
        variance_intercept=float(covariance[1, 1]),
        covariance=float(covariance[0, 1]),
        rows=len(labels),
        brier=float(np.mean((probability - labels) ** 2)),
    )


def lower_bound(p: F64, calibration: Calibration) -> F64:
    """The lower bound of calibrated probabilities F64[n]."""
    variances = (calibration.variance_slope, calibration.variance_intercept, calibration.covariance)
    result: F64 = np.empty(len(p))
    kernel.lower_bounds(p, np.array([calibration.slope, calibration.intercept, *variances]), result)
    return result
