"""The broker's one truth: orders, executions, positions and cash. REST, stream and summary are all drawn from here.

Pure bookkeeping in `Decimal`: it decides neither whether an order is allowed (`rules.py`) nor whether it trades (`exchange.py`), and it holds no market
data; whoever needs a value at market passes the prices. Every execution moves cash, position and order in one call, so that cash + cost of positions
always equals what the executions say (`cash_expected`).
"""

from __future__ import annotations

import enum
import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

ZERO = Decimal(0)


class Side(enum.StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(enum.StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class TimeInForce(enum.StrEnum):
    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class OrderClass(enum.StrEnum):
    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class Status(enum.StrEnum):
    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    HELD = "held"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"


TERMINAL = frozenset({Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REJECTED, Status.REPLACED})


class Leg(enum.StrEnum):
    """The role of an order in its group."""

    NONE = ""
    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


@dataclass(slots=True)
class Order:
    """One order as the venue sees it. `quantity` is None only for a notional order that has not traded yet."""

    id: str
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass
    quantity: Decimal | None
    created_ns: int
    status: Status = Status.PENDING_NEW
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    extended_hours: bool = False
    leg: Leg = Leg.NONE
    parent_id: str = ""  # the order whose legs this one belongs to
    leg_ids: tuple[str, ...] = ()
    filled: Decimal = ZERO
    filled_value: Decimal = ZERO  # sum of quantity x price
    fees: Decimal = ZERO
    triggered: bool = False  # a stop that has been elected
    active: bool = False  # the venue works it: it may trade
    waiting: bool = False  # a leg that waits for its entry, or for its sibling to give up the shares: it holds none
    resting: bool = False  # it has met a book in which it was not marketable: it trades at its own limit from then on
    price_cap: Decimal | None = None  # the collar of a market buy
    updated_ns: int = 0
    filled_ns: int = 0
    canceled_ns: int = 0
    expired_ns: int = 0
    failed_ns: int = 0
    replaced_ns: int = 0
    replaces: str = ""
    replaced_by: str = ""

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def pending_successor(self) -> bool:
        """The new order of a replace that the venue has not confirmed: it holds and reserves nothing yet."""
        return bool(self.replaces) and self.status is Status.PENDING_NEW

    @property
    def remaining(self) -> Decimal:
        """Shares still to trade; 0 for a notional order that has no quantity yet."""
        return ZERO if self.quantity is None else self.quantity - self.filled

    @property
    def average_price(self) -> Decimal | None:
        return self.filled_value / self.filled if self.filled else None


@dataclass(slots=True)
class Position:
    """Net shares of one symbol, negative when short, with the cost of what is open now."""

    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO  # signed like quantity
    realised: Decimal = ZERO  # gross of fees

    @property
    def average_price(self) -> Decimal:
        return self.cost / self.quantity if self.quantity else ZERO

    def apply(self, signed_quantity: Decimal, price: Decimal) -> None:
        """Add an execution: same direction averages the cost, the opposite one realises against it."""
        closing = ZERO
        if self.quantity and (self.quantity > 0) != (signed_quantity > 0):
            closing = min(abs(self.quantity), abs(signed_quantity)).copy_sign(signed_quantity)
            released = self.cost * (-closing) / self.quantity
            self.realised += -closing * price - released
            self.cost -= released
            self.quantity += closing
            if not self.quantity:
                self.cost = ZERO
        opening = signed_quantity - closing
        self.quantity += opening
        self.cost += opening * price


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, never changed afterwards. `cumulative` and `remaining` are the order's after it."""

    id: str
    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at_ns: int
    cumulative: Decimal
    remaining: Decimal
    position_quantity: Decimal


@dataclass(slots=True)
class Ledger:
    """One account. `seed` makes every id the venue chooses."""

    starting_cash: Decimal
    seed: int = 0
    cash: Decimal = ZERO
    orders: dict[str, Order] = field(default_factory=dict)
    by_client_id: dict[str, str] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    fees: Decimal = ZERO
    cash_in_lieu: Decimal = ZERO  # for fractions of shares that splits left
    last_equity: Decimal = ZERO  # at the close of the session before
    trading_suspended: bool = False  # the account configuration `suspend_trade`
    _open: dict[str, dict[str, Order]] = field(default_factory=dict)  # by symbol
    _ids: random.Random = field(default_factory=random.Random)
    _request_ids: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.cash = self.starting_cash
        self.last_equity = self.starting_cash
        self._ids = random.Random(f"ledger-{self.seed}")
        self._request_ids = random.Random(f"requests-{self.seed}")

    def new_id(self) -> str:
        """A version 4 UUID of this account's own sequence."""
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def request_id(self) -> str:
        """An id for one HTTP answer; its own sequence, so that asking does not change which ids orders get."""
        return str(uuid.UUID(int=self._request_ids.getrandbits(128), version=4))

    def add(self, order: Order) -> None:
        """Take an order in. Raises ValueError on a client order id that was ever used."""
        if order.client_order_id in self.by_client_id:
            raise ValueError(f"client_order_id {order.client_order_id!r} was used before")
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order.id
        self._open.setdefault(order.symbol, {})[order.id] = order

    def end(self, order: Order, status: Status, at_ns: int) -> None:
        """Move an order to a terminal state; it leaves the open ones."""
        assert status in TERMINAL, status
        assert not order.terminal, (order.id, order.status, status)
        order.status = status
        order.active = False
        order.updated_ns = at_ns
        stamp = {
            Status.CANCELED: "canceled_ns",
            Status.EXPIRED: "expired_ns",
            Status.REJECTED: "failed_ns",
            Status.REPLACED: "replaced_ns",
            Status.FILLED: "filled_ns",
        }[status]
        setattr(order, stamp, at_ns)
        remaining = self._open[order.symbol]
        del remaining[order.id]
        if not remaining:
            del self._open[order.symbol]

    def open_orders(self, symbol: str | None = None) -> Iterator[Order]:
        """Orders that are not terminal, oldest first within a symbol."""
        groups = list(self._open.values()) if symbol is None else [self._open.get(symbol, {})]
        for group in groups:
            yield from list(group.values())

    def open_symbols(self) -> tuple[str, ...]:
        return tuple(self._open)

    def legs(self, order: Order) -> list[Order]:
        """The current legs of a parent, once each: a replaced leg is followed to its successor."""
        current = (self.latest(self.orders[leg_id]) for leg_id in order.leg_ids)
        return list({leg.id: leg for leg in current}.values())

    def latest(self, order: Order) -> Order:
        while order.replaced_by and order.status is Status.REPLACED:
            order = self.orders[order.replaced_by]
        return order

    def position(self, symbol: str) -> Position:
        return self.positions.get(symbol) or Position(symbol)

    def held_for_orders(self, symbol: str) -> Decimal:
        """Shares of the position that working closing orders have taken; waiting legs hold nothing."""
        quantity = self.position(symbol).quantity
        if not quantity:
            return ZERO
        closing = Side.SELL if quantity > 0 else Side.BUY
        return sum((o.remaining for o in self.open_orders(symbol) if o.side is closing and not o.waiting and not o.pending_successor), ZERO)

    def fill(self, order: Order, quantity: Decimal, price: Decimal, fee: Decimal, at_ns: int) -> Execution:
        """Execute part of an order: cash, position, order and the list of executions move together."""
        assert quantity > 0, quantity
        assert not order.terminal, (order.id, order.status)
        assert order.quantity is not None
        assert order.filled + quantity <= order.quantity, (order.id, order.filled, quantity, order.quantity)
        signed = quantity if order.side is Side.BUY else -quantity
        position = self.positions.setdefault(order.symbol, Position(order.symbol))
        position.apply(signed, price)
        self.cash -= signed * price + fee
        self.fees += fee
        order.filled += quantity
        order.filled_value += quantity * price
        order.fees += fee
        order.updated_ns = at_ns
        if order.remaining == 0:
            self.end(order, Status.FILLED, at_ns)
        elif order.status in (Status.NEW, Status.PARTIALLY_FILLED):
            order.status = Status.PARTIALLY_FILLED
        execution = Execution(
            id=self.new_id(),
            order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            fee=fee,
            at_ns=at_ns,
            cumulative=order.filled,
            remaining=order.remaining,
            position_quantity=position.quantity,
        )
        self.executions.append(execution)
        return execution

    def split(self, symbol: str, old_rate: Decimal, new_rate: Decimal, price: Decimal) -> None:
        """Rebase a position; the fraction that is no whole share is paid at `price`, in whole cents."""
        position = self.position(symbol)
        exact = position.quantity * new_rate / old_rate
        if not exact:
            return
        whole = exact.to_integral_value(ROUND_DOWN)
        position.cost *= whole / exact
        position.quantity = whole
        paid = ((exact - whole) * price).quantize(Decimal("0.01"))
        self.cash += paid
        self.cash_in_lieu += paid

    def market_value(self, prices: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        """(long, short) market value; short is negative. A symbol without a price counts at cost."""
        long_value = short_value = ZERO
        for position in self.positions.values():
            if position.quantity:
                price = prices.get(position.symbol, position.average_price)
                if position.quantity > 0:
                    long_value += position.quantity * price
                else:
                    short_value += position.quantity * price
        return long_value, short_value

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal:
        return self.cash + sum(self.market_value(prices), ZERO)

    def cash_expected(self) -> Decimal:
        """Cash recomputed from the executions and what was paid for fractions alone: equal to `cash`, or the ledger is broken."""
        cash = self.starting_cash + self.cash_in_lieu
        for execution in self.executions:
            value = execution.quantity * execution.price
            cash += (value if execution.side is Side.SELL else -value) - execution.fee
        return cash
