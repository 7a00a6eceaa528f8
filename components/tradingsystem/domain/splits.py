"""Splits of a stock: how many shares become how many, and what that makes of shares and prices that are remembered.

Exact arithmetic in whole shares and Decimal dollars. It refuses to know who announces a split and whether a broker has carried it out.
"""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal

import msgspec

from tradingsystem.domain.time import new_york_ns
from tradingsystem.domain.trading import Mark


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """From the session of ``ex_date`` on, ``old_rate`` shares are ``new_rate`` of them: 1 and 2 is two for one, 10 and 1 merges ten into one."""

    symbol: str
    ex_date: date
    old_rate: Decimal
    new_rate: Decimal

    def __post_init__(self) -> None:
        rates = (self.old_rate, self.new_rate)
        if not self.symbol or not all(rate.is_finite() and rate > 0 for rate in rates):
            raise ValueError(f"a split of {self.symbol!r}, {self.old_rate} into {self.new_rate}: rates are above zero, the symbol is named")

    @property
    def key(self) -> str:
        """What tells it from every other split."""
        return f"{self.symbol} {self.ex_date.isoformat()} {self.old_rate.normalize():f}:{self.new_rate.normalize():f}"

    @property
    def in_force_ns(self) -> int:
        """The moment from which on prices are those after it: midnight in New York."""
        return new_york_ns(self.ex_date, time())

    def shares(self, quantity: int) -> int:
        """Whole shares that so many become; a fraction is paid in cash. ``quantity`` is not below 0."""
        return int(quantity * self.new_rate // self.old_rate)

    def cost(self, cost: Decimal, before: int, after: int) -> Decimal:
        """What ``after`` shares cost when the ``before`` ones they came of cost ``cost``: each by the ratio; what a fraction cost goes with the fraction."""
        return cost * after * self.old_rate / (before * self.new_rate)

    def mark(self, mark: Mark) -> Mark:
        """A market value from before it, in prices after it."""
        factor = float(self.old_rate / self.new_rate)
        return msgspec.structs.replace(
            mark,
            bid=mark.bid * factor,
            ask=mark.ask * factor,
            last=mark.last * factor,
            lower_band=None if mark.lower_band is None else mark.lower_band * factor,
            upper_band=None if mark.upper_band is None else mark.upper_band * factor,
        )


class Rebased(msgspec.Struct, frozen=True, kw_only=True):
    """A position that a split has changed: announced, and the broker's shares said the same."""

    symbol: str
    splits: tuple[Split, ...]
    at_ns: int
    quantity_before: int
    quantity: int
    average_price_before: Decimal
    average_price: Decimal

    @property
    def text(self) -> str:
        """In words, for people."""
        before, now = f"{self.quantity_before} at {self.average_price_before:.4f}", f"{self.quantity} at {self.average_price:.4f}"
        return f"{self.symbol}: {before} are {now} by the split{'s' * (len(self.splits) > 1)} {', '.join(one.key for one in self.splits)}"
