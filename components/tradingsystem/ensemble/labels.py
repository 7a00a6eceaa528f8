"""What p is the probability of, in one place: the first target before the stop, within the horizon, paid for in full.

Entry at the ask of the decision, exit at the bid; target and stop are distances from the entry, fees are added to both. Training rows are labelled by it
(``learning.labels``) and live predictions are closed by it (``ensemble.outcomes``): two definitions would make a model look right in one and wrong in the
other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tradingsystem.market.compiling import compiled

SAMPLE_SECONDS = 20
"""One row per symbol each so many seconds: taking all of them would count one opportunity hundreds of times."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Distances in basis points of the entry price, horizon in seconds; ``fee_basis_points`` is the round trip's cost beside the spread."""

    target_basis_points: float = 50.0
    stop_basis_points: float = 50.0
    horizon_seconds: int = 1_800
    fee_basis_points: float = 0.5


@compiled
def barriers(entry: float, target: float, stop: float, fee: float) -> tuple[float, float]:
    """The bids at which the target and the stop are reached, for an entry at that ask; distances and fee in basis points. NaN for an ask that is no
    price: nothing could have been bought."""
    if not entry > 0.0:
        return math.nan, math.nan
    return entry * (1.0 + (target + fee) / 10_000.0), entry * (1.0 - (stop - fee) / 10_000.0)


@compiled
def touched(bid: float, up: float, down: float) -> int:
    """1: the target is reached at that bid, 0: the stop, -1: neither, or no bid."""
    if bid >= up:
        return 1
    return 0 if bid <= down else -1
