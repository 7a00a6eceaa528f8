"""The day in numbers, from the ledger alone: what was ordered, filled, held, earned.

It counts and never judges; results of a generated market are labelled as such, because its edge was planted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tradingsystem.simulator.alpaca_views import number
from tradingsystem.simulator.exchange import Exchange
from tradingsystem.simulator.faults import Faults
from tradingsystem.simulator.feed import Feed
from tradingsystem.simulator.ledger import ZERO
from tradingsystem.simulator.market import GeneratedMarket
from tradingsystem.simulator.oracle import measure_day


def summary(exchange: Exchange, feed: Feed, now_ns: int, faults: Faults) -> dict[str, Any]:
    """Orders by status, fills, positions, cash, equity, day P&L (net of fees) and its parts; money as decimal strings."""
    ledger = exchange.ledger
    equity = ledger.equity(exchange.prices())
    realised = sum((position.realised for position in ledger.positions.values()), ZERO)
    held = {symbol: position for symbol, position in sorted(ledger.positions.items()) if position.quantity}
    return {
        "label": "simulated, edge planted" if isinstance(feed, GeneratedMarket) and feed.settings.edge else "simulated",
        "date": feed.session.date.isoformat(),
        "market_ns": now_ns,
        "orders": dict(Counter(str(order.status) for order in ledger.orders.values())),
        "fills": len(ledger.executions),
        "shares_traded": number(sum((execution.quantity for execution in ledger.executions), ZERO)),
        "positions": {symbol: number(position.quantity) for symbol, position in held.items()},
        "cash": f"{ledger.cash:.2f}",
        "equity": f"{equity:.2f}",
        "day_profit": f"{equity - ledger.last_equity:.2f}",
        "realised_profit": f"{realised:.2f}",
        "fees": f"{ledger.fees:.2f}",
        "consistent": ledger.cash == ledger.cash_expected(),
        "faults_fired": dict(faults.fired),
    }


def oracle_hit_rate(feed: Feed) -> float | None:
    """How often a trader who knows every planted episode would be right; None for recorded days. Plays the whole day again: seconds."""
    return measure_day(feed.settings).hit_rate if isinstance(feed, GeneratedMarket) else None
