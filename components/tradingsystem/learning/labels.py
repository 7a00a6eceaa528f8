"""Labels of training rows: what each row's future was, by the definition of p (``ensemble.labels``), over a session's quotes second by second.

A row is labelled only when its future is closed: the horizon has passed, or the session has ended and the position would have been flattened at the bid.
"""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import F32, I8, I32
from tradingsystem.ensemble.labels import LabelRule, barriers, touched
from tradingsystem.market.compiling import compiled


def label(bid: F32, ask: F32, symbol: I32, second: I32, rule: LabelRule) -> I8:
    """Outcome per decision I8[n]: 1 target first, 0 stop first or neither, -1 not labelled (no quote, or the future is not closed).

    ``bid`` and ``ask`` are F32[symbols, seconds of the session] (NaN before the first quote); ``symbol`` and ``second`` I32[n] say where and when.
    """
    return _label(bid, ask, symbol, second, rule.target_basis_points, rule.stop_basis_points, rule.horizon_seconds, rule.fee_basis_points)


@compiled
def _label(bid: F32, ask: F32, symbol: I32, second: I32, target: float, stop: float, horizon: int, fee: float) -> I8:
    seconds = bid.shape[1]
    outcome = np.full(len(symbol), -1, np.int8)
    for index in range(len(symbol)):
        row, start = symbol[index], second[index]
        if start >= seconds:
            continue
        up, down = barriers(ask[row, start], target, stop, fee)
        if np.isnan(up):
            continue
        outcome[index] = 0  # neither within the horizon or before the close counts as not reached
        for moment in range(start + 1, min(start + horizon, seconds - 1) + 1):
            reached = touched(bid[row, moment], up, down)
            if reached >= 0:
                outcome[index] = reached
                break
    return outcome
