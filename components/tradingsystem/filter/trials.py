"""What models say live, beside the decisions: their predictions followed to the end, and a challenger compared with the version that serves.

No signal depends on anything here. A cut's sampled rows are noted when the cut is made; a shadow's answer may come later, and one that never comes is
dropped, counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tradingsystem.bundles.manifest import Manifest
from tradingsystem.domain.outcomes import Agreement, FeatureSample, Outcome, Role
from tradingsystem.domain.rows import F32, F64, I32
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.blend import assess
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.ensemble.outcomes import Closed, OpenPredictions, due
from tradingsystem.filter.agreeing import Comparison
from tradingsystem.filter.deciding import Decider, Judged, Serving, wishes
from tradingsystem.filter.sampling import Sampling
from tradingsystem.filter.step import Swept
from tradingsystem.interfaces import Scores
from tradingsystem.market import columns as c
from tradingsystem.market.state import MarketState

_ROLES = (Role.SERVING, Role.CANARY, Role.SHADOW)


@dataclass(frozen=True, slots=True)
class Question:
    """A cut that the shadow is asked about: its features, what the serving version thought of them, and which rows are followed."""

    version: int
    features: F32
    serving: Judged
    second: int
    sampled: I32  # positions among the cut's rows
    rows: I32  # their symbols
    full: bool


class Trials:
    """Open predictions of all versions, and one comparison per challenger."""

    def __init__(self, members_max: int) -> None:
        self.held = OpenPredictions(members_max)
        self.shadow: Serving | None = None
        self.told = 0  # outcomes handed out
        self._window: ConfidenceWindow | None = None
        self._comparisons: dict[Role, Comparison] = {}
        self._symbols: tuple[str, ...] = ()
        self.sampling = Sampling()
        self._second = -1  # of the session, at the last full sweep
        self._sampled: I32 = np.empty(0, np.int32)

    def assign(self, decider: Decider, shadow: Serving | None, now_ns: int) -> None:
        """Who is compared from now on: the decider's canary and ``shadow``. One that keeps its role goes on."""
        if shadow is None or self.shadow is None or shadow.version != self.shadow.version:
            self._window = ConfidenceWindow(shadow.manifest.confidence_reference) if shadow is not None else None
        self.shadow = shadow
        wanted = {Role.CANARY: decider.canary, Role.SHADOW: shadow}
        kept: dict[Role, Comparison] = {}
        for role, model in wanted.items():
            if model is not None:
                known = self._comparisons.get(role)
                kept[role] = known if known is not None and known.model == model.version else Comparison(model.version, role, now_ns)
        self._comparisons = kept

    # --- outcomes ----------------------------------------------------------------------------------------------------

    def swept(self, market: MarketState, swept: Swept) -> list[Outcome]:
        """Take a cut over, before its judgements: closes what a full sweep's bids close. Returns the outcomes, oldest prediction first."""
        self._sampled = np.empty(0, np.int32)
        session = market.session
        if not swept.full or session is None:
            return []
        if market.symbols is not self._symbols:
            self._rename(market)
        if session.open_ns != self.held.session_open_ns:
            self.held.begin(session.open_ns)
            self._second = -1
        second = (swept.sealed_at_ns - session.open_ns) // NS_PER_SECOND
        if second <= self._second:
            return []
        closed = self.held.advance(second, market.columns.now[c.BID, : market.count])
        before = self._second if self._second >= 0 else second - 1
        self._second = second
        self._sampled = np.flatnonzero(due(swept.features.rows, second, before)).astype(np.int32)
        return self._outcomes(market, session.open_ns, swept.sealed_at_ns, closed)

    def _rename(self, market: MarketState) -> None:
        if len(self.held) and market.symbols != self._symbols:
            self.held.rename(np.array([market.places.get(name, -1) for name in self._symbols], np.int32))
        self._symbols = market.symbols

    def _outcomes(self, market: MarketState, open_ns: int, now_ns: int, closed: Closed) -> list[Outcome]:
        found = [
            Outcome(
                model=int(closed.model[k]),
                role=_ROLES[closed.role[k]],
                symbol=market.symbols[closed.symbol[k]],
                at_ns=open_ns + int(closed.second[k]) * NS_PER_SECOND,
                closed_ns=now_ns,
                p=float(closed.p[k]),
                members=tuple(closed.members[k][~np.isnan(closed.members[k])].tolist()),
                label=int(closed.label[k]),
            )
            for k in range(len(closed))
        ]
        self.told += len(found)
        return found

    def judged(self, market: MarketState, swept: Swept, decider: Decider) -> None:
        """Note what the deciding versions thought of the cut, and compare the canary."""
        if not decider.judged:
            return
        rows = swept.features.rows[self._sampled]
        if (
            swept.entries and len(rows) and market.session is not None
        ):  # while windows fill, features are no market: training leaves them out, too
            self.sampling.take(market.session, self._second, market.symbols, rows, swept.features.values[self._sampled])
        for judged in decider.judged:
            said = (judged.assessed.p[self._sampled], judged.members[self._sampled])
            self._expect(market, rows, judged.manifest, judged.role, said)
        comparison = self._comparisons.get(Role.CANARY)
        if comparison is None or decider.canary is None:
            return
        by_role = {judged.role: judged for judged in decider.judged}
        if Role.CANARY not in by_role:
            comparison.was_late()
        elif Role.SERVING in by_role:
            self._compare(comparison, decider, by_role[Role.SERVING], by_role[Role.CANARY], full=swept.full, second=self._second)

    def sample(self) -> FeatureSample | None:
        """The features of a minute's candidates, when they are due."""
        return self.sampling.due(self._second)

    def _expect(self, market: MarketState, rows: I32, manifest: Manifest, role: Role, said: tuple[F64, F32] | None = None) -> None:
        session = market.session
        if not len(rows) or session is None:
            return
        rule = LabelRule(
            target_basis_points=float(manifest.target_basis_points),
            stop_basis_points=float(manifest.stop_basis_points),
            horizon_seconds=manifest.horizon_seconds,
        )
        close_second = (session.close_ns - session.open_ns) // NS_PER_SECOND
        ask = market.columns.now[c.ASK, rows]
        self.held.expect(manifest.version, rows, ask, self._second, close_second, rule, role=_ROLES.index(role), said=said)

    def _answer(self, judged: Judged, second: int, sampled: I32, rows: I32) -> None:
        if len(rows):
            self.held.answer(judged.manifest.version, second, rows, judged.assessed.p[sampled], judged.members[sampled])

    def _compare(self, comparison: Comparison, decider: Decider, serving: Judged, challenger: Judged, *, full: bool, second: int) -> None:
        comparison.add(serving, challenger, wishes(decider.book, serving), wishes(decider.book, challenger), full=full)
        if full:
            comparison.observed(second)

    # --- the shadow --------------------------------------------------------------------------------------------------

    def question(self, market: MarketState, swept: Swept, decider: Decider) -> Question | None:
        """What to ask the shadow about a cut that was judged; None when there is nothing to compare with."""
        serving = next((judged for judged in decider.judged if judged.role is Role.SERVING), None)
        if self.shadow is None or serving is None:
            return None
        rows = swept.features.rows[self._sampled]
        self._expect(market, rows, self.shadow.manifest, Role.SHADOW)
        return Question(self.shadow.version, swept.features.values, serving, self._second, self._sampled, rows, swept.full)

    def answered(self, question: Question, scores: Scores | None, decider: Decider, latency_us: float) -> None:
        """What the shadow said to a question, None when it was late or failed; an answer of one that is no shadow any more is nobody's."""
        comparison, shadow, window = self._comparisons.get(Role.SHADOW), self.shadow, self._window
        if comparison is None or shadow is None or window is None or shadow.version != question.version:
            return
        if scores is None:
            comparison.was_late()
            return
        comparison.took(latency_us)
        assessed = assess(scores.members, scores.blend, window, shadow.manifest.calibration)
        judged = Judged(shadow.manifest, Role.SHADOW, scores.members, assessed)
        self._answer(judged, question.second, question.sampled, question.rows)
        self._compare(comparison, decider, question.serving, judged, full=question.full, second=question.second)

    def dropped(self) -> None:
        """The shadow was not asked about a cut."""
        comparison = self._comparisons.get(Role.SHADOW)
        if comparison is not None:
            comparison.was_dropped()

    def took(self, role: Role, latency_us: float) -> None:
        """How long the canary's inference took, machine time."""
        comparison = self._comparisons.get(role)
        if comparison is not None:
            comparison.took(latency_us)

    def agreements(self) -> tuple[Agreement, ...]:
        """Of each challenger, canary first."""
        return tuple(comparison.report() for comparison in self._comparisons.values())

    # --- memory ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, bytes | int]:
        """What a restart must find again: the open predictions. Comparisons begin anew."""
        return {**self.held.snapshot(), "swept_second": self._second}

    def restore(self, state: dict[str, bytes | int], symbols: tuple[str, ...]) -> None:
        """Take over a snapshot made when the table was ``symbols``. Raises ``ValueError`` when it cannot be used."""
        self.held.restore(state)
        self._second = int(state["swept_second"])
        self._symbols = symbols
