"""Rows to learn from: features exactly as the filter computed them, with labels whose future is closed.

A day is fed second by second; every so many seconds each candidate gives one row. Taking all of them would count one opportunity hundreds of times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32, I32
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.labels import SAMPLE_SECONDS, LabelRule
from tradingsystem.learning.fit import Rows50
from tradingsystem.learning.labels import label


@dataclass(slots=True)
class DayCollector:
    """Collects one session's quotes and feature rows. Arrays are F32[symbols, seconds of the session]: eight bytes per symbol and second."""

    open_ns: int
    bid: F32
    ask: F32
    symbols: list[I32]
    seconds: list[I32]
    features: list[F32]

    @classmethod
    def start(cls, symbols: int, open_ns: int, close_ns: int) -> DayCollector:
        """An empty collector for a session."""
        shape = (symbols, (close_ns - open_ns) // NS_PER_SECOND + 1)
        return cls(open_ns, np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32), [], [], [])

    def second_of(self, at_ns: int) -> int:
        """Second of the session; negative before the open."""
        return (at_ns - self.open_ns) // NS_PER_SECOND

    def quotes(self, at_ns: int, bid: F32, ask: F32) -> None:
        """All symbols' best quotes at that second; outside the session they are not needed."""
        second = self.second_of(at_ns)
        if 0 <= second < self.bid.shape[1]:
            self.bid[:, second] = bid
            self.ask[:, second] = ask

    def candidates(self, at_ns: int, rows: I32, features: F32) -> None:
        """Feature rows F32[n, 50] of the candidates ``rows`` at that second; only every ``SAMPLE_SECONDS``-th second of each symbol is kept."""
        second = self.second_of(at_ns)
        kept = (rows + second) % SAMPLE_SECONDS == 0
        if second >= 0 and kept.any():
            self.symbols.append(rows[kept])
            self.seconds.append(np.full(int(kept.sum()), second, np.int32))
            self.features.append(features[kept])

    def finish(self, rule: LabelRule) -> Rows50:
        """The labelled rows in the order of time; rows without a label are left out."""
        if not self.features:
            return Rows50(features=np.zeros((0, FEATURE_COUNT), np.float32), labels=np.zeros(0))
        outcome = label(self.bid, self.ask, np.concatenate(self.symbols), np.concatenate(self.seconds), rule)
        known = outcome >= 0
        return Rows50(features=np.concatenate(self.features)[known], labels=outcome[known].astype(np.float64))


def join(days: list[Rows50]) -> Rows50:
    """Several days in order."""
    return Rows50(features=np.concatenate([day.features for day in days]), labels=np.concatenate([day.labels for day in days]))
