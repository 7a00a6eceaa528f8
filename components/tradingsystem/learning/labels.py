"""What a row's future was: did the first target come before the stop, within the horizon, paid for in full.

Entry at the ask of the decision, exit at the bid; target and stop are distances from the entry, fees are added to both. A row is labelled only when
its future is closed: the horizon has passed, or the session has ended and the position would have been flattened at the bid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import F32, I32


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Distances in basis points of the entry price, horizon in seconds; ``fee_basis_points`` is the round trip's cost beside the spread."""

    target_basis_points: float = 50.0
    stop_basis_points: float = 50.0
    horizon_seconds: int = 1_800
    fee_basis_points: float = 0.5


def label(bid: F32, ask: F32, symbol: I32, second: I32, rule: LabelRule) -> npt.NDArray[np.int8]:
    """Outcome per decision I8[n]: 1 target first, 0 stop first or neither, -1 not labelled (no quote, or the future is not closed).

    ``bid`` and ``ask`` are F32[symbols, seconds of the session] (NaN before the first quote); ``symbol`` and ``second`` I32[n] say where and when.
    """
    outcome: npt.NDArray[np.int8] = _label(
        bid, ask, symbol, second, rule.target_basis_points, rule.stop_basis_points, rule.horizon_seconds, rule.fee_basis_points
    )
    return outcome


@numba.njit(cache=True)
def _label(bid, ask, symbol, second, target, stop, horizon, fee):  # type: ignore[no-untyped-def]
    seconds = bid.shape[1]
    outcome = np.full(len(symbol), -1, np.int8)
    for index in range(len(symbol)):
        row, start = symbol[index], second[index]
        entry = ask[row, start] if start < seconds else np.nan
        if not entry > 0.0:
            continue
        up = entry * (1.0 + (target + fee) / 10_000.0)
        down = entry * (1.0 - (stop - fee) / 10_000.0)
        outcome[index] = 0  # neither within the horizon or before the close counts as not reached
        for moment in range(start + 1, min(start + horizon, seconds - 1) + 1):
            price = bid[row, moment]
            if price >= up:
                outcome[index] = 1
                break
            if price <= down:
                break
    return outcome
