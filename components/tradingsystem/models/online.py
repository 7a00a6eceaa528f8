"""Online weights of the version that serves: which closed predictions count, when an update is due, and the notes that say so. It journals nothing itself.

Off by ``learning.online``; then it only takes back what an earlier run has left in force. Every note names one version and is a number of its own in one
count, so that a tape says which weights decided.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tradingsystem.bundles.manifest import Calibration, Manifest
from tradingsystem.domain.control import WeightsUpdated
from tradingsystem.domain.outcomes import Outcome, Role
from tradingsystem.ensemble.online import UPDATE_ROWS, Blend, OnlineBlend, Update


class OnlineWeights:
    """The learner of one system. ``members`` are those that vote by the resource: where they are not the bundle's, nothing is learned."""

    def __init__(self, *, enabled: bool, members: Sequence[str]) -> None:
        self.enabled = enabled
        self.why_not = "" if enabled else "learning.online is off"
        self._members = frozenset(members)
        self._said: WeightsUpdated | None = None  # the newest note there is
        self._manifest: Manifest | None = None
        self._blend: OnlineBlend | None = None
        self._waiting: list[Outcome] = []
        self._symbols: dict[str, int] = {}
        self.last: Update | None = None

    def recall(self, note: WeightsUpdated) -> None:
        """A note from the journal, oldest first: what was in force when this service stopped."""
        self._said = note

    def serve(self, manifest: Manifest) -> WeightsUpdated | None:
        """That version serves from now on. Returns the note that takes back weights which nobody may go on with, None when there are none."""
        if self._manifest is not None and self._manifest.version == manifest.version:
            return None
        self._manifest, self._blend, self._waiting, self.last = manifest, None, [], None
        in_force = self._in_force(manifest.version)
        if self.enabled and self._members == frozenset(manifest.members):
            self.why_not = ""
            own = Blend(np.array(manifest.weights), manifest.calibration)
            self._blend = OnlineBlend(own, manifest.horizon_seconds, _blend(in_force, manifest) if in_force is not None else None)
            return None
        if self.enabled:
            self.why_not = f"the members that vote are not those of bundle {manifest.version}"
        return self.revert(self.why_not) if in_force is not None else None

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Closed predictions, as the filter tells them. Those of the serving version count."""
        if self._blend is None or self._manifest is None:
            return
        version, count = self._manifest.version, len(self._manifest.members)
        self._waiting += [
            outcome
            for outcome in outcomes
            if outcome.model == version
            and outcome.role is Role.SERVING
            and len(outcome.members) == count
            and all(0.0 <= p <= 1.0 for p in outcome.members)
        ]

    def due(self) -> WeightsUpdated | None:
        """The next update, once enough has been heard; None while nothing changes."""
        if self._blend is None or self._manifest is None or len(self._waiting) < UPDATE_ROWS:
            return None
        batch, self._waiting = self._waiting, []
        self.last = self._blend.learn(
            np.array([outcome.members for outcome in batch]),
            np.array([outcome.label for outcome in batch], np.float64),
            np.array([self._symbols.setdefault(outcome.symbol, len(self._symbols)) for outcome in batch], np.int64),
            np.array([outcome.at_ns for outcome in batch], np.int64),
        )
        if not self.last.reverted:
            return self._say(self._manifest.version, self.last.blend, self.last.rows, "learned from closed predictions")
        if self._in_force(self._manifest.version) is None:
            return None
        return self._take_back("over the last updates the bundle's own weights would have lost less")

    def revert(self, reason: str) -> WeightsUpdated | None:
        """The one act that goes back to the bundle's own weights, with who and why in ``reason``. Learning starts over. None when they are in force."""
        if self._manifest is None or self._in_force(self._manifest.version) is None:
            return None
        if self._blend is not None:
            self._blend.revert()
        self._waiting = []
        return self._take_back(reason)

    def _in_force(self, version: int) -> WeightsUpdated | None:
        said = self._said
        return said if said is not None and said.model == version and said.weights else None

    def _take_back(self, reason: str) -> WeightsUpdated:
        manifest = self._manifest
        assert manifest is not None
        return self._say(manifest.version, Blend(np.empty(0), manifest.calibration), 0, reason)

    def _say(self, version: int, blend: Blend, rows: int, reason: str) -> WeightsUpdated:
        calibration = blend.calibration
        self._said = WeightsUpdated(
            model=version,
            update=(self._said.update if self._said is not None else 0) + 1,
            weights=tuple(blend.weights.tolist()),
            slope=calibration.slope,
            intercept=calibration.intercept,
            variance_slope=calibration.variance_slope,
            variance_intercept=calibration.variance_intercept,
            covariance=calibration.covariance,
            rows=rows,
            reason=reason,
        )
        return self._said


def _blend(note: WeightsUpdated, manifest: Manifest) -> Blend:
    return Blend(
        np.array(note.weights),
        Calibration(
            slope=note.slope,
            intercept=note.intercept,
            variance_slope=note.variance_slope,
            variance_intercept=note.variance_intercept,
            covariance=note.covariance,
            rows=note.rows,
            brier=manifest.calibration.brier,
        ),
    )
