"""INT8 held against FP32 before anybody may serve it: on rows of every regime that was met, and in the decisions that follow.

The graph's scales are constants of its standardisation, so that nothing is calibrated by chance; what is mandatory is the data on which that is shown to be
enough. A graph that loses more than the bounds is not published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tradingsystem.bundles.manifest import BatchLatency, Quantisation
from tradingsystem.domain.rows import F32
from tradingsystem.ensemble.ranking import rank_correlation
from tradingsystem.learning.fit import NotEnoughData
from tradingsystem.learning.reservoir import sample
from tradingsystem.learning.rows import REGIMES, LearningRows

CALIBRATION_ROWS_MIN = 200
RANK_CORRELATION_MIN = 0.99
SIGN_AGREEMENT_MIN = 0.99
PROBABILITY_ERROR_MAX = 0.05
ENTRIES_CHANGED_MAX_PERCENT = 10
"""Of the positions FP32 would have opened; one that is opened a look later counts twice, as lost and as new."""


def calibration_places(rows: LearningRows, seed: int, per_regime: int = 5_000) -> npt.NDArray[np.intp]:
    """Positions of at most so many rows of each regime, rising. Raises ``NotEnoughData`` below ``CALIBRATION_ROWS_MIN`` in all."""
    found = []
    for regime in range(len(REGIMES)):
        offered = np.flatnonzero(rows.regime == regime)
        found.append(offered[sample(len(offered), per_regime, seed + regime)])
    places = np.sort(np.concatenate(found))
    if len(places) < CALIBRATION_ROWS_MIN:
        raise NotEnoughData(f"calibration rows: {len(places)}; at least {CALIBRATION_ROWS_MIN} are needed to hold INT8 against FP32")
    return places


def regime_counts(rows: LearningRows) -> dict[str, int]:
    """How many rows of each regime that was met."""
    counts = np.bincount(rows.regime, minlength=len(REGIMES))
    return {REGIMES[place].value: int(number) for place, number in enumerate(counts) if number}


def compare(rows: LearningRows, int8: F32, exact: F32, entries_changed: int, latency: Sequence[BatchLatency]) -> Quantisation:
    """What INT8 costs on the calibration ``rows`` whose blends are F32[n] each."""
    return Quantisation(
        rank_correlation=rank_correlation(int8.astype(np.float64), exact.astype(np.float64)),
        sign_agreement=float(np.mean((int8 > 0.5) == (exact > 0.5))),
        probability_error_max=float(np.abs(int8 - exact).max()),
        decisions_changed=int(np.sum((int8 > 0.5) != (exact > 0.5))),
        rows=len(int8),
        latency=tuple(latency),
        calibration_rows=regime_counts(rows),
        calibration_sha256=hashlib.sha256(np.ascontiguousarray(rows.features).tobytes()).hexdigest(),
        entries_changed=entries_changed,
    )


def too_coarse(found: Quantisation, entries: int) -> tuple[str, ...]:
    """What INT8 loses too much of, all at once; ``entries`` is how many positions FP32 would have opened. Empty when it may serve."""
    wrong = []
    if not found.rank_correlation >= RANK_CORRELATION_MIN:
        wrong.append(f"rank correlation {found.rank_correlation:.4f}, at least {RANK_CORRELATION_MIN}")
    if not found.sign_agreement >= SIGN_AGREEMENT_MIN:
        wrong.append(f"sign agreement {found.sign_agreement:.4f}, at least {SIGN_AGREEMENT_MIN}")
    if not found.probability_error_max <= PROBABILITY_ERROR_MAX:
        wrong.append(f"probability off by {found.probability_error_max:.4f}, at most {PROBABILITY_ERROR_MAX}")
    if found.entries_changed > max(2, entries * ENTRIES_CHANGED_MAX_PERCENT / 100):
        wrong.append(f"{found.entries_changed} of {entries} positions changed, at most {ENTRIES_CHANGED_MAX_PERCENT} %")
    return tuple(wrong)
