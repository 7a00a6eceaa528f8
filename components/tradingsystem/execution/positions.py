"""What we hold and what it earned: sums of our own fills, priced with our own marks, fees included.

Average cost. It refuses any other source: the broker's positions are compared with these, never copied into them.
"""

from __future__ import annotations

import math
from decimal import ROUND_UP, Decimal

import msgspec

from tradingsystem.domain.orders import Fill, Side
from tradingsystem.domain.splits import Split
from tradingsystem.domain.trading import Mark
from tradingsystem.execution.orders import OrderRecord

CENT = Decimal("0.01")
ZERO = Decimal(0)
SEC_FEE_PER_MILLION = Decimal(
    "27.80"
)  # of sale proceeds; dated by the SEC, among the highest of recent years, so that profit is never flattered
TAF_PER_SHARE = Decimal("0.000195")  # FINRA trading activity fee on sales
TAF_PER_ORDER_MAX = Decimal("9.79")


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """One position from first buy to flat. ``profit`` is after fees."""

    symbol: str
    epoch: str
    quantity: int
    profit: Decimal
    fees: Decimal
    opened_at_ns: int
    closed_at_ns: int


class Position(msgspec.Struct, kw_only=True):
    """Shares of one symbol and what they cost; ``epoch`` is the id of the order that opened it."""

    symbol: str
    quantity: int = 0
    cost: Decimal = ZERO
    epoch: str = ""
    opened_at_ns: int = 0
    changed_at_ns: int = 0
    bought: int = 0  # in this epoch
    profit: Decimal = ZERO  # realised in this epoch, before fees
    fees: Decimal = ZERO  # in this epoch
    uncovered_since_ns: int = 0

    @property
    def average_price(self) -> Decimal:
        return self.cost / self.quantity if self.quantity else ZERO

    def apply(self, fill: Fill, fee: Decimal) -> tuple[Decimal, Closed | None]:
        """Add one fill; returns the profit it realised before fees, and the finished position when it is flat now. A negative quantity (sold more
        than bought) is kept as it is: reconciliation and the invariants speak of it."""
        if not self.quantity:
            self.epoch, self.opened_at_ns = fill.client_order_id, fill.at_ns
            self.cost = self.profit = self.fees = ZERO
            self.bought = 0
        signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
        realised = ZERO
        if self.quantity and (self.quantity > 0) != (signed > 0):
            closing = min(abs(signed), abs(self.quantity))
            released = self.cost * closing / abs(self.quantity)
            realised = (fill.price * closing - released) if self.quantity > 0 else (-released - fill.price * closing)
            self.cost -= released
            opening = abs(signed) - closing
            self.cost += fill.price * (opening if signed > 0 else -opening)
        else:
            self.cost += fill.price * signed
        self.bought += max(signed, 0)
        self.quantity += signed
        self.profit += realised
        self.fees += fee
        self.changed_at_ns = fill.at_ns
        if self.quantity:
            return realised, None
        self.cost = ZERO
        self.uncovered_since_ns = 0
        return realised, Closed(
            symbol=self.symbol,
            epoch=self.epoch,
            quantity=self.bought,
            profit=self.profit - self.fees,
            fees=self.fees,
            opened_at_ns=self.opened_at_ns,
            closed_at_ns=fill.at_ns,
        )

    def rebase(self, split: Split, at_ns: int) -> None:
        """Count in shares after a split; no money moves. A fraction is paid in cash and leaves at what it cost. Of what ends at less than one share
        nothing would be left to count: the caller does not ask for that."""
        before, self.quantity = self.quantity, split.shares(self.quantity)
        assert self.quantity > 0, (split, before)
        self.cost = split.cost(self.cost, before, self.quantity)
        self.bought = split.shares(self.bought)
        self.changed_at_ns = at_ns

    def unrealised(self, mark: Mark | None) -> Decimal:
        """Marked at the bid; 0 without a usable mark (the gate refuses entries then, nothing else needs it)."""
        price = bid_of(mark)
        return ZERO if price is None or not self.quantity else price * self.quantity - self.cost


def bid_of(mark: Mark | None) -> Decimal | None:
    """The bid when it is a price."""
    if mark is None or not math.isfinite(mark.bid) or mark.bid <= 0:
        return None
    return Decimal(repr(mark.bid))


def fee_of(record: OrderRecord, fill: Fill) -> Decimal:
    """SEC fee and TAF of a sale, each rounded up to the cent per order: a fill pays the difference to what its order has paid. Buys are free."""
    if fill.side is Side.BUY:
        return ZERO
    security = (record.value * SEC_FEE_PER_MILLION / 1_000_000).quantize(CENT, ROUND_UP)
    activity = min(record.filled * TAF_PER_SHARE, TAF_PER_ORDER_MAX).quantize(CENT, ROUND_UP)
    due = security + activity - record.fees
    record.fees += due
    return due
