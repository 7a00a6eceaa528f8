"""What following predictions costs the filter: one second of market time at 300 candidates, in the steady state of half an hour's open predictions.

The market is made so that nothing is touched for long: prices hardly move, so nearly every prediction stays open for the whole horizon, which is the most
there can be. The goal is the filter's alone, for one version; a challenger doubles what is followed.
"""

from __future__ import annotations

import datetime

import numpy as np

from tradingsystem.domain.calendar import session
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32, F64, I32
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.ensemble.outcomes import OpenPredictions, due
from tradingsystem.filter.sampling import Sampling
from tradingsystem.messages.codec import encode
from tradingsystem.world.bench.offering import offered
from tradingsystem.world.bench.result import SEED, Effort, Row, latencies

CANDIDATES = 300
GOAL_US = 100.0
RATE = 500  # market seconds offered in a second
MOVE = 5e-5  # of a price in a second, one standard deviation
CLOSE_SECOND = 1 << 30  # the session does not end
RULE = LabelRule()
MEMBERS = 3
SESSION = session(datetime.date(2026, 3, 2))


class _Market:
    """Second after second: bids that hardly move, candidates that stay."""

    def __init__(self, symbols: int, versions: int, *, telling: bool = False) -> None:
        self._chance = np.random.default_rng(SEED)
        self._price: F64 = np.full(symbols, 100.0)
        self._rows: I32 = np.sort(self._chance.choice(symbols, min(CANDIDATES, symbols), replace=False)).astype(np.int32)
        self._bids: list[F32] = []
        self._versions = versions
        self._telling = telling
        self._names = tuple(f"S{row}" for row in range(symbols))
        self._features = self._chance.normal(size=(len(self._rows), FEATURE_COUNT)).astype(np.float32)
        self._sampling = Sampling()
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
        sampled = np.flatnonzero(due(self._rows, self._second, self._second - 1))
        rows = self._rows[sampled]
        p, members = np.full(len(rows), 0.5), np.full((len(rows), MEMBERS), 0.5, np.float32)
        for version in range(1, self._versions + 1):
            self.held.expect(version, rows, bid[rows], self._second, CLOSE_SECOND, RULE, said=(p, members))
        if self._telling:
            self._sampling.take(SESSION, self._second, self._names, rows, self._features[sampled])
            if (sample := self._sampling.due(self._second)) is not None:
                encode(sample)


def measure(effort: Effort) -> Row:
    """One version alone, with the features told that drift is seen by, and with a challenger beside it."""
    lines, notes = [], []
    for versions, telling, name in ((1, False, "one version"), (1, True, "with features told"), (2, True, "and a challenger")):
        effort.tell(f"outcomes, {name}")
        market = _Market(effort.symbols, versions, telling=telling)
        market.prepare(64)
        for _ in range(RULE.horizon_seconds + 100):
            market.second()
        took = offered(market.second, RATE, effort.part(1 / 3))
        limits = (GOAL_US, np.inf) if versions == 1 else None
        lines.append(latencies(f"a second of market, {name}", took, "us", offered=f"{RATE}/s", limits=limits))
        notes.append(f"{name}: {len(market.held):,} predictions open")
    return Row(name="outcomes", title="Predictions followed to their end", lines=tuple(lines), notes=tuple(notes))
