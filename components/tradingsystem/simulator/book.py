"""The top of every book as arrays, and what an incoming order can take from it.

Harsher than a venue's paper account on purpose: only displayed size trades; what was taken stays taken until the next quote of the symbol; behind
the touch each level is one step worse and shows no more than the touch; nothing trades during a halt or outside the price bands. It keeps no orders.
Prices leave as `Decimal` of at most 4 places.
"""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Decimal

import numpy as np
from numpy.typing import NDArray

from tradingsystem.simulator.conditions import CONDITIONS, UPDATES_OPEN_CLOSE, updates
from tradingsystem.simulator.feed import F64, I64, Kind, Slice
from tradingsystem.simulator.ledger import Side

CENT = Decimal("0.01")
FRACTION = Decimal("0.000000001")
_REGULATES = np.isin(np.arange(256), (Kind.LULD, Kind.HALT, Kind.RESUME))
_SETS_LAST = frozenset(condition.id for condition in CONDITIONS if condition.updates & UPDATES_OPEN_CLOSE)


class Book:
    """Best bid and ask, their displayed shares, the last trade, bands and halts of `count` symbols."""

    def __init__(self, count: int, previous_close: F64 | None = None) -> None:
        self.bid: F64 = np.full(count, np.nan)
        self.ask: F64 = np.full(count, np.nan)
        self.bid_size: F64 = np.zeros(count)
        self.ask_size: F64 = np.zeros(count)
        self.bid_taken: F64 = np.zeros(count)
        self.ask_taken: F64 = np.zeros(count)
        self.last: F64 = np.full(count, np.nan) if previous_close is None else previous_close.astype(np.float64).copy()
        self.lower: F64 = np.full(count, np.nan)
        self.upper: F64 = np.full(count, np.nan)
        self.halted = np.zeros(count, dtype=bool)
        self.quote_ns: I64 = np.zeros(count, dtype=np.int64)

    def apply(self, part: Slice, where: NDArray[np.bool_] | None = None) -> None:
        """All rows of a slice at once, or those of a mask; of several rows of one symbol the last wins."""
        if not len(part):
            return
        kind = part.kind if where is None else np.where(where, part.kind, 0)
        quotes = kind == Kind.QUOTE
        if quotes.any():
            symbol = part.symbol[quotes]
            self.bid[symbol] = part.price[quotes]
            self.ask[symbol] = part.price2[quotes]
            self.bid_size[symbol] = part.size[quotes]
            self.ask_size[symbol] = part.size2[quotes]
            self.quote_ns[symbol] = part.at_ns[quotes]
            self.bid_taken[symbol] = 0.0
            self.ask_taken[symbol] = 0.0
        trades = kind == Kind.TRADE
        if trades.any():
            trades &= updates(part.condition) & UPDATES_OPEN_CLOSE > 0
            self.last[part.symbol[trades]] = part.price[trades]
        for row in np.flatnonzero(_REGULATES[kind]):
            self._regulate(part, int(row))

    def apply_row(self, part: Slice, row: int) -> None:
        """One row, for symbols whose orders must see every step."""
        kind, symbol = int(part.kind[row]), int(part.symbol[row])
        if kind == Kind.QUOTE:
            self.bid[symbol], self.ask[symbol] = part.price[row], part.price2[row]
            self.bid_size[symbol], self.ask_size[symbol] = part.size[row], part.size2[row]
            self.bid_taken[symbol] = self.ask_taken[symbol] = 0.0
            self.quote_ns[symbol] = part.at_ns[row]
        elif kind == Kind.TRADE:
            if sets_last(int(part.condition[row])):
                self.last[symbol] = part.price[row]
        else:
            self._regulate(part, row)

    def _regulate(self, part: Slice, row: int) -> None:
        symbol = int(part.symbol[row])
        kind = int(part.kind[row])
        if kind == Kind.LULD:
            bands = part.price[row] > 0 and part.price2[row] > 0
            self.lower[symbol] = part.price[row] if bands else np.nan
            self.upper[symbol] = part.price2[row] if bands else np.nan
            return
        self.halted[symbol] = kind == Kind.HALT
        # What was quoted before a halt is gone; trading goes on with the first quote after it.
        self.bid_size[symbol] = self.ask_size[symbol] = 0.0

    def price(self, symbol: int, side: Side) -> Decimal | None:
        """The best price an order of `side` meets: the ask for a buy, the bid for a sell; None without a quote."""
        return to_price(float(self.ask[symbol] if side is Side.BUY else self.bid[symbol]))

    def last_price(self, symbol: int) -> Decimal | None:
        """The last eligible trade, before the first one the previous close; the middle of the quote when neither is known."""
        last = to_price(float(self.last[symbol]))
        return last if last is not None else to_price(float(self.bid[symbol] + self.ask[symbol]) / 2)

    def ladder(self, symbol: int, side: Side, quantity: Decimal, limit: Decimal | None, levels: int) -> list[tuple[Decimal, Decimal]]:
        """(shares, price) an order of `quantity` can take now, best first, none beyond `limit`. Takes nothing; `take` does."""
        best = self.price(symbol, side)
        buy = side is Side.BUY
        displayed = math.floor(self.ask_size[symbol] if buy else self.bid_size[symbol])
        if best is None or displayed <= 0 or self.halted[symbol]:
            return []
        taken = Decimal(repr(float(self.ask_taken[symbol] if buy else self.bid_taken[symbol])))
        step = self._step(symbol)
        unit = Decimal(1) if quantity == quantity.to_integral_value() else FRACTION
        found: list[tuple[Decimal, Decimal]] = []
        for level in range(int(taken // displayed), levels):
            price = best + level * step if buy else best - level * step
            beyond = limit is not None and (price > limit if buy else price < limit)
            if beyond or quantity <= 0 or price <= 0 or self._outside_bands(symbol, price):
                break
            left = displayed * (level + 1) - taken
            shares = min(quantity, left.quantize(unit, rounding=ROUND_DOWN))
            if shares > 0:
                found.append((shares, price))
                quantity -= shares
            taken += left
        return found

    def take(self, symbol: int, side: Side, shares: Decimal) -> None:
        """Mark displayed shares as gone until the next quote."""
        taken = self.ask_taken if side is Side.BUY else self.bid_taken
        taken[symbol] += float(shares)

    def _step(self, symbol: int) -> Decimal:
        spread = float(self.ask[symbol] - self.bid[symbol])
        return max(CENT, Decimal(str(math.ceil(spread * 50) / 100))) if math.isfinite(spread) and spread > 0 else CENT

    def _outside_bands(self, symbol: int, price: Decimal) -> bool:
        return bool(float(price) > self.upper[symbol] or float(price) < self.lower[symbol])


def to_price(value: float) -> Decimal | None:
    """A float price as Decimal with at most 4 places; None for "no price" (0, negative, NaN)."""
    return Decimal(str(round(value, 4))) if value > 0 and math.isfinite(value) else None


def sets_last(condition: int) -> bool:
    """Whether a print with this Polygon condition id sets the last price."""
    return condition in _SETS_LAST
