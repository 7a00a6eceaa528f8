"""The national best bid and offer, built from quotes of single exchanges.

A row of a recorded quote file tells one exchange's new bid, ask or both; the best over all exchanges is what a SIP would
have shown. It refuses to invent: a best side exists only while some exchange shows it, crossed or locked markets stay as
they were recorded, and a row that changes nothing makes no quote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from tradingsystem.simulator.feed import F64, I64

EXCHANGES_MAX = 32


@dataclass(frozen=True, slots=True)
class BestQuotes:
    """Rows of the input after which the best quote had changed, with the new best; 0 means no such side."""

    row: I64
    bid: F64
    bid_size: F64
    ask: F64
    ask_size: F64
    exchange: I64  # one that shows the best bid; where there is none, the best ask


def _best_side(prices: Any, sizes: Any, sign: float) -> Any:
    """Best price, shares shown at it over all exchanges, and the first exchange that shows it."""
    best, shown, where = 0.0, 0.0, -1
    for exchange in range(len(prices)):
        price = prices[exchange]
        if price <= 0.0 or sizes[exchange] <= 0.0:
            continue
        if where < 0 or sign * price > sign * best:
            best, shown, where = price, sizes[exchange], exchange
        elif price == best:
            shown += sizes[exchange]
    return best, shown, where


_best: Any = njit(cache=True)(_best_side)


def _follow(exchange: Any, bid: Any, bid_size: Any, ask: Any, ask_size: Any, has_bid: Any, has_ask: Any, out: Any) -> Any:
    bids, bid_sizes = np.zeros(EXCHANGES_MAX), np.zeros(EXCHANGES_MAX)
    asks, ask_sizes = np.zeros(EXCHANGES_MAX), np.zeros(EXCHANGES_MAX)
    last = (0.0, 0.0, 0.0, 0.0)
    count = 0
    for row in range(len(exchange)):
        at = exchange[row]
        if has_bid[row]:
            bids[at], bid_sizes[at] = bid[row], bid_size[row]
        if has_ask[row]:
            asks[at], ask_sizes[at] = ask[row], ask_size[row]
        best_bid, bid_shown, bid_where = _best(bids, bid_sizes, 1.0)
        best_ask, ask_shown, ask_where = _best(asks, ask_sizes, -1.0)
        now = (best_bid, bid_shown, best_ask, ask_shown)
        if now == last:
            continue
        last = now
        out[count, 0], out[count, 1], out[count, 2], out[count, 3], out[count, 4] = row, best_bid, bid_shown, best_ask, ask_shown
        out[count, 5] = bid_where if bid_where >= 0 else ask_where
        count += 1
    return count


_run: Any = njit(cache=True)(_follow)


def best_quotes(exchange: I64, bid: F64, bid_size: F64, ask: F64, ask_size: F64, *, one_sided: bool) -> BestQuotes:
    """Best quotes over time from per-exchange rows in time order; arrays of equal length, exchange codes 0..31.

    `one_sided`: a side that is 0 was not updated by that row (LEAN's files). Otherwise 0 withdraws the side.
    Raises ValueError on an exchange code outside the range.
    """
    if len(exchange) and not (int(exchange.min()) >= 0 and int(exchange.max()) < EXCHANGES_MAX):
        raise ValueError(f"exchange codes must lie in 0..{EXCHANGES_MAX - 1}")
    everything = np.ones(len(exchange), dtype=np.bool_)
    has_bid = bid > 0 if one_sided else everything
    has_ask = ask > 0 if one_sided else everything
    out = np.zeros((len(exchange), 6))
    count = _run(exchange, bid, bid_size, ask, ask_size, has_bid, has_ask, out)
    found = out[:count]
    return BestQuotes(
        found[:, 0].astype(np.int64), found[:, 1].copy(), found[:, 2].copy(), found[:, 3].copy(), found[:, 4].copy(),
        found[:, 5].astype(np.int64),
    )  # fmt: skip
