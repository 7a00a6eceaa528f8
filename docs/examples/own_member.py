"""An own member of the ensemble: fades a stretched price when nobody buys options on it.

Announce it in your package as  [project.entry-points."tradingsystem.members"] fade = "own_member:build"  and name it in the resource:
`ensemble: {members: [momentum_linear, mean_reversion, volatility_tree, fade]}`. It gets the 50 features of each candidate, a row each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tradingsystem.domain.rows import F32
from tradingsystem.features.catalogue import NAMES


def build() -> Callable[[F32], F32]:
    """Called once; load your model here. The function it returns must give the same answer to the same features: recordings are replayed through it."""
    stretched, bought = NAMES.index("scaled_change_300s"), NAMES.index("flow_direction")

    def vote(features: F32) -> F32:
        logit = 0.2 - 0.3 * np.tanh(features[:, stretched]) + 0.5 * np.tanh(features[:, bought])
        return (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)

    return vote
