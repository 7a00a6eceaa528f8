"""Members of the ensemble that are not ours: found by entry point, and asked beside the bundle's graph.

A package announces ``[project.entry-points."tradingsystem.members"] my_model = "my_package:build"``; the resource names it in ``ensemble.members``.
``build()`` returns a function from features F32[n, 50] to a probability per row. Its vote counts in the members' agreement, that is in confidence and
so in which candidates become signals. It has no part in p: the blend and its calibration were fitted without it, and an unfitted weight would make
p a number that means nothing. One that fails, or answers what is no probability, leaves the row without confidence: such a row opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import structlog

from tradingsystem.adapters.entry_points import announced, names
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Inference, Scores
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

GROUP = "tradingsystem.members"
FIELD = "spec.ensemble.members"

Member = Callable[[F32], npt.ArrayLike]


class VotingInference:
    """A bundle's graph with the members that the resource names: some of its own, and others'."""

    def __init__(self, graph: Inference, columns: Sequence[int], own: dict[str, Member]) -> None:
        self._graph = graph
        self._columns = list(columns)
        self._own = own
        self._failed: set[str] = set()
        self.runtime = graph.runtime
        self.version = graph.version

    def voted(self, scores: Scores, features: F32) -> Scores:
        """The graph's scores of these features F32[n, 50] with the votes of the wanted members."""
        votes = [scores.members[:, self._columns], *(self._vote(name, features)[:, None] for name in self._own)]
        return Scores(members=np.concatenate(votes, axis=1), blend=scores.blend, fallback=scores.fallback)

    async def infer(self, features: F32) -> Scores:
        """Scores of features F32[n, 50]. Raises what the graph's runtime raises."""
        return self.voted(await self._graph.infer(features), features)

    def _vote(self, name: str, features: F32) -> F32:
        """One member's probabilities F32[n]; NaN where it gave none."""
        try:
            vote = np.asarray(self._own[name](features.copy()), np.float32)  # a copy: what it does to its input changes nobody else's
            if vote.shape == (len(features),):
                return vote
            problem = f"it answered an array of shape {vote.shape} for {len(features)} rows"
        except Exception as error:  # noqa: BLE001  somebody else's code: whatever it raises, no vote is the answer
            problem = f"{type(error).__name__}: {error}"
        metrics.member_failures.labels(member=name).inc()
        if name not in self._failed:
            self._failed.add(name)
            log.error("member_failed", member=name, reason=problem)
        return np.full(len(features), np.nan, np.float32)


def voting(graph: Inference, in_bundle: Sequence[str], wanted: Sequence[str]) -> VotingInference | None:
    """The graph with the wanted members, None when they are the bundle's own. Raises ``InvalidInput``: a name nobody announces, with those there are."""
    own = [name for name in wanted if name not in in_bundle]
    columns = [place for place, name in enumerate(in_bundle) if name in wanted]
    if not own and len(columns) == len(in_bundle):
        return None
    unknown = [name for name in own if name not in names(GROUP)]
    if unknown:
        known = ", ".join([*in_bundle, *names(GROUP)])
        raise InvalidInput(
            f"{FIELD}: {', '.join(map(repr, unknown))} is neither in the bundle nor an entry point of the group {GROUP}; known: {known}"
        )
    return VotingInference(graph, columns, {name: announced(GROUP, name, FIELD)() for name in own})
