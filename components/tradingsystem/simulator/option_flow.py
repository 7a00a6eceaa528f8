"""Option-flow alerts of the generated market: mostly noise, partly a leak of the planted episodes, always late.

An alert is public 5 to 16 s (median 8 s) after its last print: that receipt time is when anybody may know it. It
refuses to be a second edge: it says something about an episode that is already announced, never before its start.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradingsystem.simulator.edge import Episodes
from tradingsystem.simulator.feed import F64, SECOND_NS, Kind, Session, Slice
from tradingsystem.simulator.universe import Universe

RULES = ("RepeatedHits", "RepeatedHitsAscendingFill", "RepeatedHitsDescendingFill", "FloorTradeLargeCap", "SweepsFollowedByFloor")
LAG_MIN_SECONDS, LAG_MEDIAN_SECONDS, LAG_MAX_SECONDS = 5.0, 8.0, 16.0
LEAK_REAL, LEAK_DECOY = 0.55, 0.25


def receipt_lag(chance: F64) -> F64:
    """Seconds from an alert's last print to its receipt, from uniform numbers: 5..16 with median 8."""
    below = LAG_MIN_SECONDS + (LAG_MEDIAN_SECONDS - LAG_MIN_SECONDS) * 2.0 * chance
    above = LAG_MEDIAN_SECONDS + (LAG_MAX_SECONDS - LAG_MEDIAN_SECONDS) * (2.0 * chance - 1.0) ** 2
    return np.where(chance < 0.5, below, above)


def plan_flow(generator: np.random.Generator, session: Session, universe: Universe, episodes: Episodes, noise_per_minute: float) -> Slice:
    """All alerts of a day as FLOW rows in order of receipt."""
    minutes = (session.close_ns - session.open_ns) / (60 * SECOND_NS)
    noise = int(generator.poisson(noise_per_minute * minutes))
    weight = np.sqrt(universe.dollar_volume)
    weight[universe.price < 3.0] = 0.0
    total = float(weight.sum())
    loud = generator.choice(len(weight), size=noise, p=weight / total) if total > 0 else np.zeros(0, dtype=np.int64)
    leaks = generator.random(len(episodes.symbol)) < np.where(episodes.real, LEAK_REAL, LEAK_DECOY)
    told = np.flatnonzero(leaks)
    symbol = np.concatenate([loud, episodes.symbol[told]]).astype(np.int32)
    count = len(symbol)
    delay = generator.uniform(20.0, 480.0, size=len(told))
    leaked = session.first_ns + ((episodes.start_second[told] + delay) * 1e9).astype(np.int64)
    span_ns = session.close_ns - session.open_ns - 60 * SECOND_NS
    made_up = session.open_ns + (generator.random(len(loud)) * span_ns).astype(np.int64)
    last_print = np.concatenate([made_up, leaked])
    lag = receipt_lag(generator.random(count))
    honest = generator.random(len(told)) < 0.8
    bullish = np.where(honest, episodes.direction[told] > 0, episodes.direction[told] < 0)
    put = np.concatenate([generator.random(len(loud)) < 0.45, ~bullish])
    price, contracts, strike, days = _contracts(generator, universe, symbol, put)
    at_ns = last_print + (lag * 1e9).astype(np.int64)
    order = np.argsort(at_ns, kind="stable")
    rule = generator.integers(0, len(RULES), size=count)
    flow = Slice(
        to_ns=session.last_ns,
        kind=np.full(count, Kind.FLOW, dtype=np.uint8),
        symbol=symbol,
        at_ns=at_ns,
        price=price,
        size=contracts,
        price2=strike,
        size2=np.round(price * contracts * 100.0, 2),
        price3=lag,
        price4=days,
        condition=(2 * rule + put).astype(np.int32),
        exchange=np.clip(np.round(70.0 + 18.0 * generator.standard_normal(count)), 5, 100).astype(np.uint8),
    )
    return flow.select(order)


def _contracts(
    generator: np.random.Generator, universe: Universe, symbol: NDArray[np.int32], put: NDArray[np.bool_]
) -> tuple[F64, F64, F64, F64]:
    """Option price, contracts, strike and days to expiry; strikes near the money, expiries within 60 days."""
    count = len(symbol)
    spot = universe.price[symbol]
    step = np.where(spot < 25, 0.5, np.where(spot < 200, 2.5, 5.0))
    away = np.exp(np.where(put, -1.0, 1.0) * np.abs(0.04 * generator.standard_normal(count)))
    strike = np.maximum(np.round(spot * away / step), 1.0) * step
    price = np.maximum(np.round(spot * 0.02 * np.exp(0.6 * generator.standard_normal(count)), 2), 0.05)
    contracts = np.round(80.0 * np.exp(1.1 * generator.standard_normal(count))) + 5.0
    days = generator.integers(1, 60, size=count).astype(np.float64)
    return price, contracts, strike, days
