"""How a challenger agrees with the model that serves, counted cut by cut. It judges nothing: thresholds are the promotion's."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tradingsystem.domain.outcomes import Agreement, Role
from tradingsystem.domain.rows import F64
from tradingsystem.ensemble.ranking import rank_correlation
from tradingsystem.filter.deciding import Judged

ROWS_TO_RANK = 10  # of a cut; a correlation of fewer is mostly chance
LATENCIES_KEPT = 1_024
LATENCIES_SAID = 20  # fewer have no 99th percentile worth the name
GAP_SECONDS_MAX = 20  # market seconds between two sweeps that still count as observed


class Comparison:
    """One challenger in one role, since it was given that role."""

    def __init__(self, model: int, role: Role, since_ns: int) -> None:
        self.model = model
        self.role = role
        self._since_ns = since_ns
        self._seconds = self._cuts = self._dropped = self._late = 0
        self._rows = self._not_finite = self._decisions = self._changed = 0
        self._last_second: int | None = None
        self._ranked_rows = 0
        self._ranked_sum = 0.0
        self._compared_rows = 0
        self._difference_sum = 0.0
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def was_dropped(self) -> None:
        """A cut that it was not asked about."""
        self._dropped += 1

    def was_late(self) -> None:
        """A cut whose answer did not count."""
        self._late += 1

    def took(self, latency_us: float) -> None:
        """One of its inferences, machine time."""
        self._latencies.append(latency_us)

    def add(self, serving: Judged, challenger: Judged, wanted: np.ndarray, wishes: np.ndarray, *, full: bool) -> None:
        """A cut that both scored. ``wanted`` bool[n]: the rows that the serving version would signal, ``wishes`` those the challenger would. Ranks are compared
        in full sweeps only: they cost more than an inference."""
        ours, theirs = serving.assessed, challenger.assessed
        self._cuts += 1
        self._rows += len(theirs.usable)
        self._not_finite += int((~theirs.usable).sum())
        self._decisions += int((wanted | wishes).sum())
        self._changed += int((wanted ^ wishes).sum())
        both = ours.usable & theirs.usable
        first, second = ours.p[both], theirs.p[both]
        self._compared_rows += len(first)
        self._difference_sum += float((second - first).sum())
        if full:
            self._rank(first, second)

    def _rank(self, first: F64, second: F64) -> None:
        if len(first) < ROWS_TO_RANK:
            return
        correlation = rank_correlation(first, second)
        if math.isnan(correlation):
            return
        self._ranked_rows += len(first)
        self._ranked_sum += correlation * len(first)

    def observed(self, second: int) -> None:
        """A full sweep of the session's second ``second`` that it answered: the market time since the one before counts, unless that is long ago."""
        if self._last_second is not None and 0 < second - self._last_second <= GAP_SECONDS_MAX:
            self._seconds += second - self._last_second
        self._last_second = second

    def report(self) -> Agreement:
        """What was counted so far."""
        enough = len(self._latencies) >= LATENCIES_SAID
        middle, late = np.percentile(np.array(self._latencies), [50, 99]).tolist() if enough else (None, None)
        return Agreement(
            model=self.model,
            role=self.role,
            since_ns=self._since_ns,
            open_seconds=self._seconds,
            cuts=self._cuts,
            dropped=self._dropped,
            late=self._late,
            rows=self._rows,
            rows_not_finite=self._not_finite,
            decisions=self._decisions,
            decisions_changed=self._changed,
            rank_correlation=self._ranked_sum / self._ranked_rows if self._ranked_rows else None,
            difference_mean=self._difference_sum / self._compared_rows if self._compared_rows else None,
            latency_p50_us=middle,
            latency_p99_us=late,
        )
