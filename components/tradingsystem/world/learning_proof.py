"""What the way to promotion lets through, measured: many seeds of candidates whose worth is known, judged by the real tests and the real gate.

Each seed makes five candidates over the same judged sessions: one that is worthless, the best of many worthless ones, one that has learned its few rows by
heart, one whose labels leaked into a feature, and one that is better by a stated effect. The first four must be refused, the last must pass. Trades are
drawn, not played: what is measured is the judging, on evidence in the same blocks as a job's. Costs are paid by the overfit one alone, since a worthless
one that also pays is easier to refuse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
import numpy as np
import numpy.typing as npt

from tradingsystem.bundles.evidence import Evidence, check_evidence
from tradingsystem.bundles.gate import judge
from tradingsystem.domain import calendar
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F64
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.calibration import sigmoid
from tradingsystem.learning import leakage
from tradingsystem.learning.backtest import BLOCK_SECONDS, blocks
from tradingsystem.learning.deflated import deflated_sharpe, sharpe
from tradingsystem.learning.rows import LearningRows, net

SESSIONS = 20
TRADES_A_SESSION = 20
EFFECT_BASIS_POINTS = 15.0
"""What the better candidate earns per trade above the one that serves: a hit rate of 65 % where the other has 50 % (target and stop at 50)."""
TRIALS = 20
THRESHOLD_PERCENT = 80
FALSE_MAX, POWER_MIN = 0.05, 0.80
_FIRST_DAY = date(2026, 3, 2)
_HALF_HOUR = 1_800
_OVERFIT_ROWS = 120
_FEE_BASIS_POINTS = 0.5

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of candidate: its name, and whether it should be promoted."""

    name: str
    promote: bool
    promoted: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Proof:
    """How often a kind was promoted over the seeds."""

    kind: str
    promote: bool
    seeds: int
    promoted: int

    @property
    def share(self) -> float:
        """Share of the seeds in which it was promoted."""
        return self.promoted / self.seeds

    @property
    def holds(self) -> bool:
        """Whether that is within its bound."""
        return self.share >= POWER_MIN if self.promote else self.share <= FALSE_MAX


def prove(seeds: range, done: Callable[[], None] = lambda: None) -> tuple[Proof, ...]:
    """Judge every kind of candidate on every seed; ``done`` is called after each seed."""
    counts = dict.fromkeys((kind.name for kind in KINDS), 0)
    for seed in seeds:
        for kind in KINDS:
            counts[kind.name] += kind.promoted(seed)
        done()
    return tuple(Proof(kind.name, kind.promote, len(seeds), counts[kind.name]) for kind in KINDS)


def sessions(count: int = SESSIONS) -> tuple[calendar.Session, ...]:
    """The judged sessions."""
    found = [calendar.session(_FIRST_DAY)]
    while len(found) < count:
        found.append(calendar.next_session(found[-1].day + timedelta(days=1)))
    return tuple(found)


def drawn(random: np.random.Generator, hit_rate: float) -> LearningRows:
    """Trades over the judged sessions that reach the target with that probability; nothing is known of them beforehand."""
    at_ns = np.sort(
        np.concatenate(
            [
                session.open_ns
                + random.integers(0, (session.close_ns - session.open_ns) // NS_PER_SECOND - _HALF_HOUR, TRADES_A_SESSION) * NS_PER_SECOND
                for session in sessions()
            ]
        )
    )
    labels = (random.random(len(at_ns)) < hit_rate).astype(np.float64)
    return _rows(at_ns, labels, np.zeros((len(at_ns), FEATURE_COUNT), np.float32), random)


def _rows(at_ns: npt.NDArray[np.int64], labels: F64, features: npt.NDArray[np.float32], random: np.random.Generator) -> LearningRows:
    count = len(labels)
    return LearningRows(
        features=features,
        labels=labels,
        at_ns=at_ns,
        closed_ns=at_ns + random.integers(30, _HALF_HOUR, count) * NS_PER_SECOND,
        symbol=random.integers(0, 500, count),
        regime=np.zeros(count, np.int8),
        gross=np.where(labels > 0, 50.0, -50.0).astype(np.float32),
        spread=np.full(count, 4.0, np.float32),
    )


def differences(serving: LearningRows, candidate: LearningRows, fee_basis_points: float = 0.0) -> tuple[Evidence, F64]:
    """Evidence of one trial from what both traded, and its differences by block F64[n]."""
    both = [serving, candidate]
    rows = LearningRows(*(np.concatenate([getattr(one, name) for one in both]) for name in LearningRows.__slots__))
    mine = np.arange(len(rows)) >= len(serving)
    order = np.argsort(rows.at_ns, kind="stable")
    rows, mine = rows.take(order), mine[order]
    made = blocks(sessions(), rows, net(rows, fee_basis_points), ~mine, mine)
    gains = np.array([block.challenger_return_basis_points - block.champion_return_basis_points for block in made])
    evidence = Evidence(champion=1, data_kind="recorded", block_seconds=BLOCK_SECONDS, blocks=made, trials=1, deflated_sharpe=0.0)
    return evidence, gains


def passes(evidence: Evidence, gains: F64, trials: int, known: F64, seed: int) -> bool:
    """Whether the gate promotes it as one of so many trials, whose Sharpe ratios are ``known``."""
    told = msgspec.structs.replace(evidence, trials=trials, deflated_sharpe=deflated_sharpe(gains, trials, known))
    check_evidence(told)
    digest = hashlib.sha256(str(seed).encode()).digest()
    return judge(told, champion=1, better_probability_min_percent=THRESHOLD_PERCENT, digest=digest).refusal is None


def _worthless(seed: int) -> bool:
    random = np.random.default_rng([seed, 1])
    evidence, gains = differences(drawn(random, 0.5), drawn(random, 0.5))
    return passes(evidence, gains, 1, np.zeros(0), seed)


def _best_of_many(seed: int) -> bool:
    """What is shown is the luckiest of many, and the ledger knows how many there were."""
    random = np.random.default_rng([seed, 2])
    serving = drawn(random, 0.5)
    tried = [differences(serving, drawn(random, 0.5)) for _ in range(TRIALS)]
    ratios = np.array([sharpe(gains) for _, gains in tried])
    evidence, gains = tried[int(ratios.argmax())]
    return passes(evidence, gains, TRIALS, ratios, seed)


def _overfit(seed: int) -> bool:
    """Logistic regression without a penalty on hardly more rows than features: sure of itself, and of noise."""
    random = np.random.default_rng([seed, 3])
    seen = random.normal(size=(_OVERFIT_ROWS, FEATURE_COUNT))
    labels = (random.random(_OVERFIT_ROWS) < 0.5).astype(np.float64)
    weights = np.zeros(FEATURE_COUNT)
    for _ in range(8):
        p = sigmoid(seen @ weights)
        curvature = (seen * (p * (1.0 - p))[:, None]).T @ seen + 1e-3 * np.eye(FEATURE_COUNT)
        weights = weights + np.linalg.solve(curvature, seen.T @ (labels - p))
    offered = _offered(random)
    sure = sigmoid(offered.features.astype(np.float64) @ weights) > 0.95
    evidence, gains = differences(drawn(random, 0.5), offered.take(sure), _FEE_BASIS_POINTS)
    return passes(evidence, gains, 1, np.zeros(0), seed)


def _offered(random: np.random.Generator, leak: float = 0.0) -> LearningRows:
    """Rows of later sessions, from which a model chooses; ``leak`` says how much of the outcome stands in one feature."""
    at_ns = np.sort(np.concatenate([one.open_ns + random.integers(0, 21_000, 5 * TRADES_A_SESSION) * NS_PER_SECOND for one in sessions()]))
    labels = (random.random(len(at_ns)) < 0.5).astype(np.float64)
    features = random.normal(size=(len(at_ns), FEATURE_COUNT)).astype(np.float32)
    features[:, 7] += (leak * (2.0 * labels - 1.0)).astype(np.float32)
    return _rows(at_ns, labels, features, random)


def _leaked(seed: int) -> bool:
    """The gate alone would love it: what refuses it are the tests for leaks, before anything is published."""
    random = np.random.default_rng([seed, 4])
    offered = _offered(random, leak=1.0)
    if leakage.leaks_of_features(offered):
        return False
    evidence, gains = differences(drawn(random, 0.5), offered.take(offered.features[:, 7] > 1.0))
    return passes(evidence, gains, 1, np.zeros(0), seed)


def _better(seed: int) -> bool:
    random = np.random.default_rng([seed, 5])
    evidence, gains = differences(drawn(random, 0.5), drawn(random, 0.5 + EFFECT_BASIS_POINTS / 100.0))
    return passes(evidence, gains, 1, np.zeros(0), seed)


KINDS = (
    Kind(name="worthless", promote=False, promoted=_worthless),
    Kind(name=f"the best of {TRIALS} worthless ones", promote=False, promoted=_best_of_many),
    Kind(name="overfit", promote=False, promoted=_overfit),
    Kind(name="leaked labels", promote=False, promoted=_leaked),
    Kind(name=f"better by {EFFECT_BASIS_POINTS:g} basis points a trade", promote=True, promoted=_better),
)


def told(proofs: tuple[Proof, ...]) -> Iterator[tuple[str, str, str, str]]:
    """Rows of a table: kind, promoted, bound, and whether it holds."""
    for one in proofs:
        bound = f"at least {POWER_MIN:.0%}" if one.promote else f"at most {FALSE_MAX:.0%}"
        yield one.kind, f"{one.promoted} of {one.seeds}", bound, "holds" if one.holds else "DOES NOT HOLD"
