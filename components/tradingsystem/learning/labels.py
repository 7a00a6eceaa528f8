"""Labels of training rows: what each row's future was, by the definition of p (``ensemble.labels``), over a session's quotes second by second.

A row is labelled only when its future is closed: a barrier was touched, the horizon has passed, or the session has ended and the position would have been
flattened at the bid. Where the quotes end before that, there is no label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tradingsystem.domain.rows import F32, I8, I32
from tradingsystem.ensemble.labels import LabelRule, barriers, touched
from tradingsystem.market.compiling import compiled


@dataclass(frozen=True, slots=True)
class Closings:
    """What came of n decisions: ``labels`` I8[n] (1 target first, 0 stop first or neither, -1 not labelled), the second of the session in which each was
    closed I32[n], and the return F32[n] in basis points from the ask to what it was sold at, before fees: the target's price, else the bid."""

    labels: I8
    seconds: I32
    gross: F32


def label(bid: F32, ask: F32, symbol: I32, second: I32, rule: LabelRule) -> I8:
    """Outcome per decision I8[n] over whole sessions: 1 target first, 0 stop first or neither, -1 not labelled (no quote).

    ``bid`` and ``ask`` are F32[symbols, seconds of the session] (NaN before the first quote); ``symbol`` and ``second`` I32[n] say where and when.
    """
    return closings(bid, ask, symbol, second, rule, bid.shape[1] - 1).labels


def closings(bid: F32, ask: F32, symbol: I32, second: I32, rule: LabelRule, last_second: int) -> Closings:
    """What came of each decision, arrays as in ``label``; ``last_second`` is the newest one that is known: what was open then has no label unless it is
    the session's last."""
    distances = (rule.target_basis_points, rule.stop_basis_points, rule.horizon_seconds, rule.fee_basis_points)
    return Closings(*_closings(bid, ask, symbol, second, *distances, last_second))


@compiled
def _closings(
    bid: F32, ask: F32, symbol: I32, second: I32, target: float, stop: float, horizon: int, fee: float, known: int
) -> tuple[I8, I32, F32]:
    session_end = bid.shape[1] - 1
    outcome = np.full(len(symbol), -1, np.int8)
    closed = np.zeros(len(symbol), np.int32)
    gross = np.zeros(len(symbol), np.float32)
    for index in range(len(symbol)):
        row, start = symbol[index], second[index]
        if start > known or start > session_end:
            continue
        entry = ask[row, start]
        up, down = barriers(entry, target, stop, fee)
        if np.isnan(up):
            continue
        end = min(start + horizon, session_end)
        sold = down  # until a bid is seen
        for moment in range(start + 1, min(end, known) + 1):
            now = bid[row, moment]
            reached = touched(now, up, down)
            if now == now:  # a missing quote sells nothing
                sold = up if reached == 1 else now
            if reached >= 0:
                outcome[index], closed[index] = reached, moment
                break
        if outcome[index] < 0 and end <= known:
            outcome[index], closed[index] = 0, end  # neither within the horizon or before the close counts as not reached
        gross[index] = (sold / entry - 1.0) * 1e4
    return outcome, closed, gross
