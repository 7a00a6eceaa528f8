"""Which symbols deserve trades and quotes. A symbol stays wanted for a while, so that ingestion's subscriptions do not flap with every sweep."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tradingsystem.domain.time import NS_PER_MINUTE
from tradingsystem.filter import tradability
from tradingsystem.filter.step import FilterState
from tradingsystem.filter.tradability import Stage

WANTED_MAX = 512
KEPT_NS = 5 * NS_PER_MINUTE


@dataclass(slots=True)
class Wanted:
    """Wanted symbols, each with the moment until which it stays so."""

    until_ns: dict[str, int] = field(default_factory=dict)

    def renew(self, state: FilterState) -> frozenset[str]:
        """After a full sweep: all that passed the rules, quoted or not, strongest first, and those not yet forgotten while there is room. The market's
        own symbol is always wanted."""
        market = state.market
        now_ns = market.now_ns
        deserving = np.flatnonzero(state.stages[: market.count] >= Stage.NBBO).astype(np.int32)
        chosen = tradability.strongest(deserving, state.ratios, WANTED_MAX)
        fresh = {market.symbols[row]: now_ns + KEPT_NS for row in chosen}
        known = set(market.symbols)
        kept = {name: until for name, until in self.until_ns.items() if until > now_ns and name in known and name not in fresh}
        for name in sorted(kept, key=lambda name: (-kept[name], name))[: WANTED_MAX - len(fresh)]:
            fresh[name] = kept[name]
        self.until_ns = fresh
        market_symbol = {"SPY"} if "SPY" in known else set()
        return frozenset(fresh) | market_symbol
