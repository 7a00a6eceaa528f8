"""A seeded schedule that exercises the order path on any data. Simulation only; every signal it makes is marked as a probe.

It ignores rules and models, never the funnel's bounds of tradability: a symbol is drawn a minute ahead, so that its quotes are subscribed when its
moment comes. A subscription takes machine time, so both waits grow with the speed of market time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tradingsystem.domain.rows import U8
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND, at_speed
from tradingsystem.filter import tradability
from tradingsystem.filter.tradability import Stage
from tradingsystem.market.state import MarketState

FIRST_AFTER_OPEN_NS = 10 * NS_PER_MINUTE
LAST_BEFORE_CLOSE_NS = 45 * NS_PER_MINUTE
EVERY_NS = 15 * NS_PER_MINUTE
WAIT_NS = 60 * NS_PER_SECOND  # from the draw to the moment, and again until a quote is there; max(this, speed x 1 s)
WAIT_MAX_NS = 2 * EVERY_NS // 5  # both waits end before the next draw
CHANCES = (0.75, 0.70, 1.0)  # p, p_low, confidence: enough for a quarter Kelly to size the smallest position, even without VIX


@dataclass(slots=True)
class Probes:
    """The schedule and the symbol drawn for its next moment."""

    seed: int
    spread_max: float
    speed: float = 1.0
    done: int = -1  # last moment that has passed
    drawn: str = ""

    @property
    def wait_ns(self) -> int:
        """How long before its moment a symbol is drawn, and how long after it a quote may take; market time."""
        return min(at_speed(WAIT_NS, self.speed, NS_PER_SECOND), WAIT_MAX_NS)

    def wanted(self) -> frozenset[str]:
        """The symbol whose quotes the next probe needs."""
        return frozenset({self.drawn} if self.drawn else ())

    def due(self, market: MarketState, stages: U8) -> int | None:
        """After a full sweep: the position of the symbol to probe now, or None. Draws ahead of each moment."""
        session = market.session
        if session is None:
            return None
        now_ns = market.now_ns
        since_ns = now_ns - session.open_ns - FIRST_AFTER_OPEN_NS
        moment = (since_ns + self.wait_ns) // EVERY_NS
        if moment < 0 or now_ns > session.close_ns - LAST_BEFORE_CLOSE_NS or moment <= self.done:
            return None
        at_ns = moment * EVERY_NS
        if not self.drawn:
            self.drawn = self._draw(market, stages, int(moment))
        if since_ns < at_ns or self.drawn not in market.places:
            return None
        row = market.places[self.drawn]
        if tradability.quoted(market, row, self.spread_max):
            self._finish(int(moment))
            return row
        if since_ns > at_ns + self.wait_ns:
            self._finish(int(moment))
        return None

    def _finish(self, moment: int) -> None:
        self.done = moment
        self.drawn = ""

    def _draw(self, market: MarketState, stages: U8, moment: int) -> str:
        tradable = sorted(market.symbols[row] for row in np.flatnonzero(stages[: market.count] > Stage.HALTED))
        if not tradable:
            return ""
        return tradable[int(np.random.default_rng((self.seed, moment)).integers(len(tradable)))]
