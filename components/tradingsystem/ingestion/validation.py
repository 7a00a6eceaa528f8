"""Which rows are believed. A row that is refused is counted by reason and goes no further; nothing is repaired or invented.

A feature or an order made from a wrong tick costs money, a missing tick costs freshness, and freshness is watched: hence refuse when in doubt.
The one exception is a price far away from the last: it is believed once others like it confirm it, because real gaps exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tradingsystem.domain.control import SymbolFact
from tradingsystem.domain.rows import F64, I64, RowKind, Rows
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND, at_speed
from tradingsystem.ingestion import kernels
from tradingsystem.ingestion.reasons import Reason

KINDS = max(RowKind) + 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of belief; times in ns of market time."""

    late_ns: int = 60 * NS_PER_SECOND  # delayed clusters are 15 minutes behind; entries have a tighter limit of their own in the risk gate
    future_ns: int = 2 * NS_PER_SECOND
    reorder_ns: int = 2 * NS_PER_SECOND  # trades reach the tape from several facilities
    locked_ns: int = 5 * NS_PER_SECOND
    jump: float = 0.5  # a price more than half above, or a third below, the last believed one
    confirmations: int = 3


def scaled(limits: Limits, speed: float) -> Limits:
    """The limits where market time runs ``speed`` times as fast. Skew is max(limit, speed x 100 ms): the follower's clock may stand one tick
    behind. Lateness is max(limit, speed x 2 s): the player holds market time only when a consumer is that far behind, and a backlog is no delayed
    feed."""
    return Limits(
        late_ns=at_speed(limits.late_ns, speed, 2 * NS_PER_SECOND) if speed > 1 else limits.late_ns,
        future_ns=at_speed(limits.future_ns, speed, 100 * NS_PER_MILLISECOND),
        reorder_ns=limits.reorder_ns,
        locked_ns=limits.locked_ns,
        jump=limits.jump,
        confirmations=limits.confirmations,
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a block of rows."""

    rows: Rows
    refused: dict[Reason, int]


class Validator:
    """Judges rows of one epoch in order. ``last_at_ns[kind, symbol]`` is the newest accepted event time; the last column is the index's."""

    def __init__(self, facts: Sequence[SymbolFact], limits: Limits) -> None:
        slots = len(facts) + 1
        self.limits = limits
        self.last_at_ns: I64 = np.zeros((KINDS, slots), np.int64)
        self.reference: F64 = np.full(slots, np.nan)
        self.reference[: len(facts)] = [fact.previous_close if fact.previous_close > 0 else np.nan for fact in facts]
        self._doubted: F64 = np.zeros(slots)
        self._doubts = np.zeros(slots, np.uint8)
        self._locked_since: I64 = np.zeros(slots, np.int64)
        self._judge = kernels.judge()

    def check(self, rows: Rows, now_ns: int) -> Verdict:
        """The believed rows, in order, and how many of the others there were, by reason."""
        verdict = np.empty(len(rows), np.uint8)
        limits = self.limits
        refused = self._judge(
            rows.kind, rows.flags, rows.symbol, rows.at_ns, rows.v0, rows.v1, rows.v2, rows.v3, rows.v4, rows.v5,
            self.last_at_ns, self.reference, self._doubted, self._doubts, self._locked_since,
            now_ns, limits.late_ns, limits.future_ns, limits.reorder_ns, limits.locked_ns, limits.jump, limits.confirmations, verdict,
        )  # fmt: skip
        if refused == 0:
            return Verdict(rows, {})
        counts = np.bincount(verdict, minlength=len(Reason))
        reasons = {reason: int(counts[reason]) for reason in Reason if reason and counts[reason]}
        return Verdict(rows.take(np.flatnonzero(verdict == Reason.ACCEPTED)), reasons)
