"""What following predictions costs the filter: one second of market time at 300 candidates, in the steady state of half an hour's open predictions.

The market is made so that nothing is touched for long: prices hardly move, so nearly every prediction stays open for the whole horizon, which is the most
there can be. The goal is the filter's alone, for one version; a challenger doubles what is followed.
"""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import F32, F64, I32
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.ensemble.outcomes import OpenPredictions, due
from tradingsystem.world.bench.offering import offered
from tradingsystem.world.bench.result import SEED, Effort, Row, latencies

CANDIDATES = 300
GOAL_US = 100.0
RATE = 500  # market seconds offered in a second
MOVE = 5e-5  # of a price in a second, one standard deviation
CLOSE_SECOND = 1 << 30  # the session does not end
RULE = LabelRule()
MEMBERS = 3


class _Market:
    """Second after second: bids that hardly move, candidates that stay."""

    def __init__(self, symbols: int, versions: int) -> None:
        self._chance = np.random.default_rng(SEED)
        self._price: F64 = np.full(symbols, 100.0)
        self._rows: I32 = np.sort(self._chance.choice(symbols, min(CANDIDATES, symbols), replace=False)).astype(np.int32)
        self._bids: list[F32] = []
        self._versions = versions
        self._second = 0
        self.held = OpenPredictions(MEMBERS)
        self.held.begin(1)

    def prepare(self, seconds: int) -> None:
        """Bids for so many seconds, made before anything is measured."""
        for _ in range(seconds):
            self._price *= np.exp(self._chance.normal(0.0, MOVE, len(self._price)))
            self._bids.append(self._price.astype(np.float32))

    def second(self) -> None:
        """Close what this second's bids close, and note what is predicted anew."""
        bid = self._bids[self._second % len(self._bids)]
        self._second += 1
        self.held.advance(self._second, bid)
        rows = self._rows[due(self._rows, self._second, self._second - 1)]
        p, members = np.full(len(rows), 0.5), np.full((len(rows), MEMBERS), 0.5, np.float32)
        for version in range(1, self._versions + 1):
            self.held.expect(version, rows, bid[rows], self._second, CLOSE_SECOND, RULE, said=(p, members))


def measure(effort: Effort) -> Row:
    """One version alone, and one with a challenger beside it."""
    lines, notes = [], []
    for versions, name in ((1, "one version"), (2, "with a challenger")):
        effort.tell(f"outcomes, {name}")
        market = _Market(effort.symbols, versions)
        market.prepare(64)
        for _ in range(RULE.horizon_seconds + 100):
            market.second()
        took = offered(market.second, RATE, effort.part(0.5))
        limits = (GOAL_US, np.inf) if versions == 1 else None
        lines.append(latencies(f"a second of market, {name}", took, "us", offered=f"{RATE}/s", limits=limits))
        notes.append(f"{name}: {len(market.held):,} predictions open")
    return Row(name="outcomes", title="Predictions followed to their end", lines=tuple(lines), notes=tuple(notes))
