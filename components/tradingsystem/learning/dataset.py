"""Rows to learn from: features exactly as the filter computed them, with labels whose future is closed.

A day is fed second by second; every so many seconds each candidate gives one row. Taking all of them would count one opportunity hundreds of times.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tradingsystem.domain.rows import F32, I32, I64
from tradingsystem.domain.signals import Regime
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.labels import SAMPLE_SECONDS, LabelRule
from tradingsystem.learning.fit import Rows50
from tradingsystem.learning.labels import closings
from tradingsystem.learning.rows import REGIMES, LearningRows, no_rows


@dataclass(slots=True)
class DayCollector:
    """Collects one session's quotes and feature rows. Arrays are F32[symbols, seconds of the session]: eight bytes per symbol and second."""

    open_ns: int
    bid: F32
    ask: F32
    symbols: list[I32]
    seconds: list[I32]
    features: list[F32]
    regimes: list[int] = field(default_factory=list)
    last_second: int = -1  # the newest one whose quotes are known

    @classmethod
    def start(cls, symbols: int, open_ns: int, close_ns: int) -> DayCollector:
        """An empty collector for a session."""
        shape = (symbols, (close_ns - open_ns) // NS_PER_SECOND + 1)
        return cls(open_ns, np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32), [], [], [])

    def second_of(self, at_ns: int) -> int:
        """Second of the session; negative before the open."""
        return (at_ns - self.open_ns) // NS_PER_SECOND

    def quotes(self, at_ns: int, bid: F32, ask: F32, rows: I32 | None = None) -> None:
        """The best quotes at that second of all symbols, or of those at ``rows``; outside the session they are not needed. Seconds that nobody told of
        in between had the quotes of the one before."""
        second = self.second_of(at_ns)
        if second < 0:
            return
        end = min(second, self.bid.shape[1] - 1)
        if 0 <= self.last_second < end - 1:
            for column in (self.bid, self.ask):
                column[:, self.last_second + 1 : end] = column[:, self.last_second, None]
        if second <= end:
            chosen = slice(None) if rows is None else rows
            self.bid[chosen, second] = bid
            self.ask[chosen, second] = ask
        elif self.last_second < end:
            for column in (self.bid, self.ask):
                column[:, end] = column[:, self.last_second] if self.last_second >= 0 else np.nan
        self.last_second = max(self.last_second, end)

    def candidates(self, at_ns: int, rows: I32, features: F32, regime: Regime = Regime.UNKNOWN) -> None:
        """Feature rows F32[n, 50] of the candidates ``rows`` at that second; only every ``SAMPLE_SECONDS``-th second of each symbol is kept."""
        second = self.second_of(at_ns)
        kept = (rows + second) % SAMPLE_SECONDS == 0
        if second >= 0 and kept.any():
            self.sampled(second, rows[kept], features[kept], regime)

    def sampled(self, second: int, rows: I32, features: F32, regime: Regime) -> None:
        """Feature rows F32[n, 50] of that second, all of which are kept."""
        self.symbols.append(rows)
        self.seconds.append(np.full(len(rows), second, np.int32))
        self.features.append(features)
        self.regimes.append(REGIMES.index(regime))

    def widen(self, symbols: int) -> None:
        """Room for so many symbols; those that are new had no quote yet."""
        more = np.full((symbols - len(self.bid), self.bid.shape[1]), np.nan, np.float32)
        self.bid, self.ask = np.concatenate([self.bid, more]), np.concatenate([self.ask, more])

    def finish(self, rule: LabelRule) -> Rows50:
        """The labelled rows in the order of time; rows without a label are left out."""
        return self.rows(rule, np.zeros(self.bid.shape[0], np.int64)).fitting()

    def rows(self, rule: LabelRule, ids: I64) -> LearningRows:
        """The same with everything that is known of each row; ``ids`` I64[symbols] are the symbols' numbers (``symbol_id``)."""
        if not self.features:
            return no_rows()
        symbol, second = np.concatenate(self.symbols), np.concatenate(self.seconds)
        found = closings(self.bid, self.ask, symbol, second, rule, self.last_second)
        known = found.labels >= 0
        symbol, second = symbol[known], second[known]
        bid, ask = self.bid[symbol, second].astype(np.float64), self.ask[symbol, second].astype(np.float64)
        regimes = np.repeat(np.array(self.regimes, np.int8), [len(part) for part in self.symbols])
        return LearningRows(
            features=np.concatenate(self.features)[known],
            labels=found.labels[known].astype(np.float64),
            at_ns=self.open_ns + second.astype(np.int64) * NS_PER_SECOND,
            closed_ns=self.open_ns + found.seconds[known].astype(np.int64) * NS_PER_SECOND,
            symbol=ids[symbol],
            regime=regimes[known],
            gross=found.gross[known],
            spread=((ask - bid) / ask * 1e4).astype(np.float32),
        )


def join(days: list[Rows50]) -> Rows50:
    """Several days in order."""
    return Rows50(features=np.concatenate([day.features for day in days]), labels=np.concatenate([day.labels for day in days]))
