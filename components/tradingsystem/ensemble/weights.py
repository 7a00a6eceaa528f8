"""Weights of the members: by log loss on later data, shrunk towards equal, because three members and one window of data know little."""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import F64

SHRINKAGE_ROWS = 5_000
"""With this many rows the data's word and the equal weights count the same."""


def log_loss(probability: F64, label: F64) -> float:
    """Mean negative log likelihood, nats."""
    bounded = np.clip(probability, 1e-6, 1.0 - 1e-6)
    return float(-np.mean(label * np.log(bounded) + (1.0 - label) * np.log1p(-bounded)))


def member_weights(members: F64, labels: F64) -> F64:
    """Weights F64[m] that sum to one, from members' probabilities F64[n, m] and labels F64[n].

    The gain of a member is how much its log loss beats the base rate's; members that do not beat it get only the shrunken share.
    """
    count = members.shape[1]
    base = log_loss(np.full(len(labels), labels.mean()), labels)
    gains = np.array([max(base - log_loss(members[:, index], labels), 0.0) for index in range(count)])
    equal = np.full(count, 1.0 / count)
    own = gains / gains.sum() if gains.sum() > 0.0 else equal
    trust = len(labels) / (len(labels) + SHRINKAGE_ROWS)
    result: F64 = trust * own + (1.0 - trust) * equal
    return result
