"""The last step before a decision: members and blend of one inference become p, p_low and confidence per row, or a refusal to judge.

A row whose scores are not probabilities (NaN, outside 0 to 1) is marked unusable: no number stands in for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.domain.rows import F32, F64
from tradingsystem.ensemble import kernel
from tradingsystem.ensemble.calibration import lower_bound
from tradingsystem.ensemble.confidence import ConfidenceWindow, agreement


@dataclass(frozen=True, slots=True)
class Assessed:
    """Per row: p, its lower bound, confidence 0 to 1 (NaN where unusable) and whether the row may be used."""

    p: F64
    p_low: F64
    confidence: F64
    usable: npt.NDArray[np.bool_]

    def only(self, rows: npt.NDArray[np.bool_]) -> Assessed:
        """The same where ``rows`` says so; all others may not be used and have no confidence."""
        return Assessed(p=self.p, p_low=self.p_low, confidence=np.where(rows, self.confidence, np.nan), usable=self.usable & rows)


def assess(members: F32, blend: F32, window: ConfidenceWindow, calibration: Calibration) -> Assessed:
    """Judge members F32[n, m] and blend F32[n]. Unusable rows enter no window."""
    usable = np.empty(len(blend), np.bool_)
    if kernel.usable_rows(members, blend, usable) == len(blend):
        p = blend.astype(np.float64)
        return Assessed(p=p, p_low=lower_bound(p, calibration), confidence=window.rank(agreement(members)), usable=usable)
    p, p_low, confidence = np.full((3, len(blend)), np.nan)
    p[usable] = blend[usable]
    p_low[usable] = lower_bound(p[usable], calibration)
    confidence[usable] = window.rank(agreement(members[usable]))
    return Assessed(p=p, p_low=p_low, confidence=confidence, usable=usable)


def break_even(target_basis_points: float, stop_basis_points: float) -> float:
    """The p at which a trade of that target and stop earns nothing; costs are inside p's own definition."""
    return stop_basis_points / (target_basis_points + stop_basis_points)
