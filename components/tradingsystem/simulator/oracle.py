"""The oracle: a trader who is told every episode, its direction and whether it is real. Nobody can honestly do better.

It measures, it does not trade: entry at the ask five seconds after an episode's start, exit at the bid, fees in, target
and stop 50 basis points away, 30 minutes. It refuses rounding in its own favour: an entry that reaches neither line in
time, or whose symbol is halted at the end, is a miss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from tradingsystem.simulator.edge import FEE, HORIZON_SECONDS, STOP, TARGET
from tradingsystem.simulator.feed import F64, I64, SECOND_NS
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings
from tradingsystem.simulator.market_kernel import ASK, BID, HALT_UNTIL

ENTRY_DELAY_SECONDS = 5
WAITING, OPEN, HIT, STOPPED, EXPIRED = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many entries were made and how they ended."""

    entries: int = 0
    hits: int = 0
    stops: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of all entries that reached the target first; NaN without entries."""
        return self.hits / self.entries if self.entries else float("nan")

    @property
    def standard_error(self) -> float:
        """Of `hit_rate`, binomial."""
        rate = self.hit_rate
        return float(np.sqrt(rate * (1.0 - rate) / self.entries)) if self.entries else float("nan")

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.entries + other.entries, self.hits + other.hits, self.stops + other.stops)


@dataclass(frozen=True, slots=True)
class OracleReport:
    """Long entries at the start of up episodes: the real ones (what the oracle takes), and decoys for comparison."""

    real: Outcome
    decoy: Outcome

    @property
    def hit_rate(self) -> float:
        """The oracle's."""
        return self.real.hit_rate


@njit(cache=True)
def track(second: int, live: Any, symbol: Any, start: Any, state: Any, entry: Any, spread_max: float) -> None:
    """Open entries that are due and settle open ones against the standing bid of this second."""
    for row in range(len(symbol)):
        if state[row] >= HIT or second < start[row]:
            continue
        quote = live[symbol[row]]
        halted = quote[HALT_UNTIL] > second
        if state[row] == WAITING:
            if halted or quote[ASK] / quote[BID] - 1.0 > spread_max:
                state[row] = -1 if second >= start[row] else WAITING
                start[row] = 1 << 40
                continue
            state[row], entry[row] = OPEN, quote[ASK]
        elif not halted and quote[BID] >= entry[row] * (1.0 + TARGET + FEE):
            state[row] = HIT
        elif not halted and quote[BID] <= entry[row] * (1.0 - STOP + FEE):
            state[row] = STOPPED
        elif second >= start[row] + HORIZON_SECONDS:
            state[row] = EXPIRED


def measure_day(settings: MarketSettings, spread_max: float = 0.001) -> OracleReport:
    """One day of `settings`; entries only where the spread is at most `spread_max` of the price (as a sane trader's are)."""
    market = GeneratedMarket(settings)
    episodes = market.episodes
    rows = np.flatnonzero(episodes.direction > 0)
    symbol = episodes.symbol[rows].astype(np.int64)
    start: I64 = episodes.start_second[rows] + ENTRY_DELAY_SECONDS
    state: I64 = np.zeros(len(rows), dtype=np.int64)
    entry: F64 = np.zeros(len(rows))
    first_ns = market.session.first_ns
    for second in range((market.session.close_ns - first_ns) // SECOND_NS):
        market.advance(first_ns + (second + 1) * SECOND_NS)
        track(second, market.live, symbol, start, state, entry, spread_max)
    real = episodes.real[rows]
    return OracleReport(_outcome(state[real]), _outcome(state[~real]))


def measure(settings: MarketSettings, seeds: Iterable[int]) -> OracleReport:
    """The same day under several seeds, added up."""
    reports = [measure_day(dataclasses.replace(settings, seed=seed)) for seed in seeds]
    return OracleReport(sum((report.real for report in reports), Outcome()), sum((report.decoy for report in reports), Outcome()))


def _outcome(state: I64) -> Outcome:
    return Outcome(int((state > WAITING).sum()), int((state == HIT).sum()), int((state == STOPPED).sum()))
