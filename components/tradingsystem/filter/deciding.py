"""A cut from batches to signals with the models' answers handed in: the part that live and replay must do alike, to the byte."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

import numpy as np

from tradingsystem.bundles.manifest import Calibration, Manifest
from tradingsystem.domain.control import WeightsUpdated
from tradingsystem.domain.outcomes import Role
from tradingsystem.domain.rows import F32
from tradingsystem.domain.signals import Cut, CutOutcome, Signal
from tradingsystem.ensemble.blend import Assessed, assess, break_even
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.ensemble.online import Blend, reblend
from tradingsystem.filter.probes import CHANCES, Probes
from tradingsystem.filter.signals import SignalBook
from tradingsystem.filter.splitting import Split
from tradingsystem.filter.step import FilterState, Swept
from tradingsystem.interfaces import Inference, Scores
from tradingsystem.market.state import MarketState
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.simulation import Signals
from tradingsystem.spec.slices import FilterSlice


@dataclass(frozen=True, slots=True)
class Serving:
    """A loaded bundle: who computes it and what it says of itself."""

    inference: Inference
    manifest: Manifest

    @property
    def version(self) -> int:
        """The bundle's number."""
        return self.manifest.version


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking a model about a cut. ``scores`` is None exactly when no answer counts (late, none asked)."""

    scores: Scores | None = None
    outcome: CutOutcome = CutOutcome.NONE


NOT_ASKED = Answer()


@dataclass(frozen=True, slots=True)
class Judged:
    """What one version thought of a cut's rows: members F32[n, m], and the rest by row."""

    manifest: Manifest
    role: Role
    members: F32
    assessed: Assessed


def expired(manifest: Manifest, day: datetime.date) -> bool:
    """Whether that session is later than the bundle may open anything in. A date that cannot be read has passed."""
    if not manifest.valid_until:
        return False
    try:
        return day > datetime.date.fromisoformat(manifest.valid_until)
    except ValueError:
        return True


def wishes(book: SignalBook, judged: Judged) -> np.ndarray:
    """Which rows that version would like to signal, bool[n], whatever was said of their symbols before."""
    manifest = judged.manifest
    return book.wishes(judged.assessed, break_even(manifest.target_basis_points, manifest.stop_basis_points))


def blend_of(weights: WeightsUpdated) -> Blend:
    """The note as a blend; the calibration's Brier score stays in the bundle it came from."""
    return Blend(
        np.array(weights.weights),
        Calibration(
            slope=weights.slope,
            intercept=weights.intercept,
            variance_slope=weights.variance_slope,
            variance_intercept=weights.variance_intercept,
            covariance=weights.covariance,
            rows=weights.rows,
            brier=math.nan,
        ),
    )


class Decider:
    """What models' answers are worth, over time: the confidence windows, the signal book, the probes.

    With a canary both models score every row, and each symbol's row is decided by one of them (``splitting``): so each confidence is a rank among all
    rows, whether the model decides for one symbol in ten or for all, and a canary that takes over keeps its window.
    """

    def __init__(self, spec: FilterSlice, serving: Serving) -> None:
        self.serving = serving
        self.canary: Serving | None = None
        self.windows = {serving.version: ConfidenceWindow(serving.manifest.confidence_reference)}
        self.book = SignalBook(spec.system, spec.ensemble)
        probing = spec.mode is Mode.SIMULATION and spec.simulation.signals is Signals.PROBE
        spread_max = spec.universe.spread_max_basis_points / 1e4
        self.probes = Probes(spec.simulation.seed, spread_max, spec.simulation.speed) if probing else None
        self.judged: tuple[Judged, ...] = ()  # of the last cut
        self._members = frozenset(spec.ensemble.members)
        self._split = Split(0, 0)

    @property
    def roles(self) -> tuple[int, int, int]:
        """Serving version, canary version and its percent, 0 without one."""
        return self.serving.version, self._split.version, self._split.percent

    def assign(self, serving: Serving, canary: Serving | None = None, canary_percent: int = 0) -> None:
        """These decide from now on. A version that had a role keeps its window; another's agreement is ranked against its own reference at first."""
        self.serving, self.canary = serving, canary
        self._split = Split(canary.version, canary_percent) if canary is not None else Split(0, 0)
        present = [serving] if canary is None else [serving, canary]
        self.windows = {
            each.version: self.windows.get(each.version) or ConfidenceWindow(each.manifest.confidence_reference) for each in present
        }

    def asks_model(self, swept: Swept) -> bool:
        """Whether this cut needs an inference: there are candidates, and no schedule speaks instead."""
        return self.probes is None and len(swept.features.rows) > 0

    def decide(
        self, state: FilterState, swept: Swept, scores: Scores | None, outcome: CutOutcome, canary: Answer = NOT_ASKED
    ) -> tuple[Cut, list[Signal]]:
        """The cut's record and its signals. ``scores`` is None exactly when no answer counts (late, none asked)."""
        signals: list[Signal] = []
        manifest = self.serving.manifest
        weights = self._weights(self.serving, state.weights)
        serving = self._judge(self.serving, Role.SERVING, scores, weights)
        challenger = self._judge(self.canary, Role.CANARY, canary.scores, self._weights(self.canary, state.weights))
        self.judged = tuple(judged for judged in (serving, challenger) if judged is not None)
        if self.judged:
            signals = self._speak(state.market, swept)
        elif self.probes is not None and outcome is CutOutcome.NONE:
            signals = self._probe(self.probes, state, swept)
        cut = Cut(
            epoch=swept.epoch,
            first_seq=swept.first_seq,
            last_seq=swept.last_seq,
            sealed_at_ns=swept.sealed_at_ns,
            full=swept.full,
            model=manifest.version,
            runtime=self.serving.inference.runtime,
            outcome=outcome,
            regime=swept.regime,
            candidates=len(swept.features.rows),
            signals=len(signals),
            weights=weights.update if weights is not None else 0,
            canary=self._split.version,
            canary_percent=self._split.percent,
            canary_outcome=canary.outcome,
        )
        return cut, signals

    def _weights(self, model: Serving | None, said: WeightsUpdated | None) -> WeightsUpdated | None:
        """The learned weights that this version blends with, None for its bundle's own. They are of the bundle's members alone, so where others vote beside
        or instead of these, the bundle's own count."""
        if said is None or model is None or said.model != model.version or len(said.weights) != len(model.manifest.members):
            return None
        return said if self._members == frozenset(model.manifest.members) else None

    def _judge(self, model: Serving | None, role: Role, scores: Scores | None, weights: WeightsUpdated | None) -> Judged | None:
        if model is None or scores is None:
            return None
        blend, calibration = scores.blend, model.manifest.calibration
        if weights is not None:
            learned = blend_of(weights)
            blend, calibration = reblend(scores.members, learned), learned.calibration
        assessed = assess(scores.members, blend, self.windows[model.version], calibration)
        return Judged(model.manifest, role, scores.members, assessed)

    def _speak(self, market: MarketState, swept: Swept) -> list[Signal]:
        found: list[Signal] = []
        mine = self._split.mine(market.symbols, swept.features.rows) if self.canary is not None else None
        for judged in self.judged:
            manifest = judged.manifest
            assessed = judged.assessed
            if mine is not None:
                assessed = assessed.only(mine if judged.role is Role.CANARY else ~mine)
            if market.session is None or expired(manifest, market.session.day):
                assessed = assessed.only(np.zeros(len(assessed.usable), np.bool_))
            found += self.book.decide(
                swept,
                market,
                assessed,
                judged.members,
                break_even=break_even(manifest.target_basis_points, manifest.stop_basis_points),
                model=manifest.version,
                simulated=manifest.simulated,
            )
        return sorted(found, key=lambda signal: market.places[signal.symbol]) if mine is not None else found

    def _probe(self, probes: Probes, state: FilterState, swept: Swept) -> list[Signal]:
        if not swept.full or not swept.entries:
            return []
        row = probes.due(state.market, state.stages)
        if row is None:
            return []
        manifest = self.serving.manifest
        return [self.book.speak(swept, state.market, row, CHANCES, (), model=manifest.version, simulated=manifest.simulated, probe=True)]
