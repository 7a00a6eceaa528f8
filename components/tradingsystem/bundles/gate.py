"""Whether a candidate's evidence shows that it beats the version that serves, net of costs. ``docs/decisions/0007-promotion-gate.md`` says why so.

P(better) is the share of paired stationary block-bootstrap resamples (Politis and Romano 1994) whose mean difference, candidate less champion, is above
zero. Alone, a threshold of 0.8 lets one of five worthless candidates through, so the evidence must say it twice, on its earlier and on its later half:
0.2 x 0.2 = 4 %. The more candidates were tried on the same data, the more each half must show: with ``trials`` of them both halves together may err with
probability 1 - 0.985^(1/trials) only (Sidak), whatever the spec's threshold is. The job's deflated Sharpe ratio has to reach the threshold as well.
The seed of the resampling is the bundle's digest: the same evidence gets the same answer everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tradingsystem.bundles.evidence import Evidence
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.rows import F64

RESAMPLES = 2_000
BLOCK_LENGTH = 1.5  # times n^(1/3), blocks of evidence: 6 of 80
FALSE_PROMOTION_AIMED = 0.015  # under the one in twenty that may be, so that a hundred seeds show no more than five
# The mean of fewer resampled blocks has too light a tail: in simulation the share of worthless candidates that pass stays under 5 % from 40 on, with normal,
# heavy-tailed, sparse and autocorrelated differences alike (docs/decisions/0007-promotion-gate.md has the table).
TRADED_BLOCKS_MIN = 40  # per half, blocks in which anybody traded
HALVES = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """``refusal`` None: it passes. ``probability``: the smaller of the two halves' P(better), NaN when it could not be computed; ``needed``: what each
    half must reach; ``difference_basis_points``: mean over all blocks of candidate less champion, per block."""

    refusal: Refusal | None
    detail: str
    probability: float
    needed: float
    difference_basis_points: float


def judge(evidence: Evidence | None, *, champion: int, better_probability_min_percent: int, digest: bytes) -> Answer:
    """Pass, ``NotBetter``, ``NotEnoughData`` or ``Outdated``. ``champion``: the version that serves; ``digest``: the bundle's, seeds the resampling."""
    if evidence is None:
        return _short("it carries no evidence: a version that a person made is promoted by a person", math.nan)
    needed = probability_needed(better_probability_min_percent, evidence.trials)
    if evidence.champion != champion:
        detail = f"its evidence compares it with version {evidence.champion}, and version {champion} serves: run the job again"
        return Answer(Refusal.OUTDATED, detail, math.nan, needed, math.nan)
    differences = np.array(
        [block.challenger_return_basis_points - block.champion_return_basis_points for block in evidence.blocks], np.float64
    )
    traded = np.array([block.trades > 0 for block in evidence.blocks], np.bool_)
    cut = _cut(traded)
    counts = (int(traded[:cut].sum()), int(traded[cut:].sum()))
    if min(counts) < TRADED_BLOCKS_MIN:
        detail = (
            f"{sum(counts)} of its {len(traded)} blocks hold trades; {HALVES * TRADED_BLOCKS_MIN} are needed, {TRADED_BLOCKS_MIN} for each half: "
            "with fewer the resampled mean looks surer than it is"
        )
        return _short(detail, needed)
    return _judged(evidence, differences, cut, better_probability_min_percent / 100.0, needed, digest)


def _judged(evidence: Evidence, differences: F64, cut: int, threshold: float, needed: float, digest: bytes) -> Answer:
    random = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    halves = [better_probability(half, random) for half in (differences[:cut], differences[cut:])]
    lowest, mean = min(halves), float(differences.mean())
    said = f"P(better) is {halves[0]:.3f} on the earlier and {halves[1]:.3f} on the later half, {needed:.3f} needed of each"
    said += f" ({evidence.trials} tried on this data), {mean:+.2f} basis points a block"
    if lowest < needed:
        return Answer(Refusal.NOT_BETTER, said, lowest, needed, mean)
    if evidence.deflated_sharpe < threshold:
        deflated = f"{said}; but its deflated Sharpe ratio is {evidence.deflated_sharpe:.3f}, {threshold:.2f} needed"
        return Answer(Refusal.NOT_BETTER, deflated, lowest, needed, mean)
    return Answer(None, said, lowest, needed, mean)


def probability_needed(better_probability_min_percent: int, trials: int) -> float:
    """What P(better) must reach on each half: the spec's threshold, or more when many candidates were tried on the same data.

    Independent halves both pass a worthless candidate with (1 - needed)^2, which may be at most 1 - (1 - 0.04)^(1/trials).
    """
    allowed = -math.expm1(math.log1p(-FALSE_PROMOTION_AIMED) / trials)
    return max(better_probability_min_percent / 100.0, 1.0 - math.sqrt(allowed))


def better_probability(differences: F64, random: np.random.Generator) -> float:
    """P(mean difference > 0) of differences F64[n] by the stationary bootstrap with mean block length 1.5 n^(1/3).

    Resamples that come out exactly at zero count half: two versions that trade alike give 0.5. A sample's autocovariances are each too small by about
    variance / n, and L blocks' worth of them are summed on either side: the deviations are widened by sqrt(n / (n + 1 - 2L)).
    """
    count = len(differences)
    length = max(1.0, BLOCK_LENGTH * count ** (1.0 / 3.0))
    means = _resampled_means(differences, length, random)
    centre = float(differences.mean())
    widened = centre + (means - centre) * math.sqrt(count / (count + 1.0 - 2.0 * length))
    return float(np.mean(widened > 0.0) + 0.5 * np.mean(widened == 0.0))


def _resampled_means(differences: F64, block_length: float, random: np.random.Generator) -> F64:
    """Means F64[RESAMPLES] of circular resamples whose blocks have geometric lengths: at each place a new block begins with probability 1/length, else the
    next difference in time follows."""
    count = len(differences)
    begins = random.random((RESAMPLES, count), np.float32) < 1.0 / block_length
    begins[:, 0] = True
    starts = random.integers(0, count, (RESAMPLES, count), np.int32)
    places = np.arange(count, dtype=np.int32)
    latest = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    taken = (np.take_along_axis(starts, latest, axis=1) + places - latest) % count
    means: F64 = differences[taken].mean(axis=1)
    return means


def _cut(traded: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """Where the earlier half ends: half of the blocks with trades on either side."""
    counted = np.cumsum(traded)
    return int(np.searchsorted(counted, counted[-1] // HALVES)) + 1 if len(counted) and counted[-1] >= HALVES else 0


def _short(detail: str, needed: float) -> Answer:
    return Answer(Refusal.NOT_ENOUGH_DATA, detail, math.nan, needed, math.nan)
