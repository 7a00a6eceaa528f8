"""A cut from batches to signals with the model's answer handed in: the part that live and replay must do alike, to the byte."""

from __future__ import annotations

from dataclasses import dataclass

from tradingsystem.bundles.manifest import Manifest
from tradingsystem.domain.signals import Cut, CutOutcome, Signal
from tradingsystem.ensemble.blend import assess, break_even
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.filter.probes import CHANCES, Probes
from tradingsystem.filter.signals import SignalBook
from tradingsystem.filter.step import FilterState, Swept
from tradingsystem.interfaces import Inference, Scores
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.simulation import Signals
from tradingsystem.spec.slices import FilterSlice


@dataclass(frozen=True, slots=True)
class Serving:
    """A loaded bundle: who computes it and what it says of itself."""

    inference: Inference
    manifest: Manifest


class Decider:
    """What a model's answers are worth, over time: the confidence window, the signal book, the probes."""

    def __init__(self, spec: FilterSlice, serving: Serving) -> None:
        self.serving = serving
        self.window = ConfidenceWindow(serving.manifest.confidence_reference)
        self.book = SignalBook(spec.system, spec.ensemble)
        probing = spec.mode is Mode.SIMULATION and spec.simulation.signals is Signals.PROBE
        self.probes = Probes(spec.simulation.seed, spec.universe.spread_max_basis_points / 1e4) if probing else None

    def switch(self, serving: Serving) -> None:
        """Another bundle decides from now on: its agreement is ranked against its own reference."""
        self.serving = serving
        self.window = ConfidenceWindow(serving.manifest.confidence_reference)

    def asks_model(self, swept: Swept) -> bool:
        """Whether this cut needs an inference: there are candidates, and no schedule speaks instead."""
        return self.probes is None and len(swept.features.rows) > 0

    def decide(self, state: FilterState, swept: Swept, scores: Scores | None, outcome: CutOutcome) -> tuple[Cut, list[Signal]]:
        """The cut's record and its signals. ``scores`` is None exactly when no answer counts (late, none asked)."""
        signals: list[Signal] = []
        manifest = self.serving.manifest
        if scores is not None:
            assessed = assess(scores.members, scores.blend, self.window, manifest.calibration)
            signals = self.book.decide(
                swept,
                state.market,
                assessed,
                scores.members,
                break_even=break_even(manifest.target_basis_points, manifest.stop_basis_points),
                model=manifest.version,
                simulated=manifest.simulated,
            )
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
        )
        return cut, signals

    def _probe(self, probes: Probes, state: FilterState, swept: Swept) -> list[Signal]:
        if not swept.full or not swept.entries:
            return []
        row = probes.due(state.market, state.stages)
        if row is None:
            return []
        manifest = self.serving.manifest
        return [self.book.speak(swept, state.market, row, CHANCES, (), model=manifest.version, simulated=manifest.simulated, probe=True)]
