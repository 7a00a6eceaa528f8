"""Compile everything that the filter runs, or load it from the cache on disk, before the first batch comes."""

from __future__ import annotations

import numpy as np

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.ensemble.blend import assess
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.ensemble.outcomes import OpenPredictions
from tradingsystem.features import kernel, ranks
from tradingsystem.filter import regimes, tradability
from tradingsystem.market import columns as c
from tradingsystem.market import state as market_state


def warm_up() -> None:
    """Call every kernel once with an empty market: seconds without the cache, a fraction of one with it."""
    market_state.warm_up()
    state = market_state.allocate(1)
    rows = np.empty(0, np.int32)
    kernel.features_of(state, rows)
    ranks.update_ranks(state)
    regimes.view(state)
    tradability.classify(state, rows, np.zeros(tradability.LIMITS), np.zeros(1, np.uint8), np.zeros(1, np.float32))
    unsure = Calibration(slope=1.0, intercept=0.0, variance_slope=0.0, variance_intercept=0.0, covariance=0.0, rows=1, brier=0.25)
    for members in (np.full((2, 3), 0.5, np.float32), np.full((2, 3), np.nan, np.float32)):
        assess(members, np.full(2, 0.5, np.float32), ConfidenceWindow((0.0, 1.0)), unsure)
    held = OpenPredictions()
    held.expect(1, np.zeros(1, np.int32), np.ones(1, np.float32), 0, 1, LabelRule())
    held.advance(1, state.columns.now[c.BID, :1])
