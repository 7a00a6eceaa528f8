"""The life of one order: the one table of moves, and what an order has filled.

Exists so that every event of every broker meets the same table. An event that comes late is stale and changes nothing; an event that cannot be is
illegal: it is counted, told, and settled by asking the broker, never by guessing. Shares that changed hands count whatever the state says.
"""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec

from tradingsystem.domain.orders import TERMINAL, BrokerOrder, Fill, OrderIntent, OrderState, OrderType, Purpose, Side

_S = OrderState
_FRESH = frozenset({_S.INTENDED, _S.SUBMITTED, _S.UNKNOWN})
_TOLD = frozenset(_S) - _FRESH
_OVER = TERMINAL - {_S.REPLACED}

MOVES: dict[OrderState, frozenset[OrderState]] = {
    _S.INTENDED: _TOLD | {_S.SUBMITTED, _S.UNKNOWN},
    _S.SUBMITTED: _TOLD | {_S.UNKNOWN},
    _S.UNKNOWN: _TOLD | {_S.SUBMITTED},
    _S.ACCEPTED: _TOLD - {_S.ACCEPTED},
    _S.HELD: _TOLD - {_S.HELD},
    _S.PARTIALLY_FILLED: frozenset({_S.PENDING_CANCEL, _S.PENDING_REPLACE, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REPLACED}),
    _S.PENDING_CANCEL: _TOLD - {_S.PENDING_CANCEL, _S.HELD},
    _S.PENDING_REPLACE: _TOLD - {_S.PENDING_REPLACE},
    _S.CANCELED: frozenset({_S.FILLED}),
    _S.EXPIRED: frozenset({_S.FILLED}),
    _S.REPLACED: frozenset({_S.FILLED}),
    _S.REJECTED: frozenset(),
    _S.FILLED: frozenset(),
}
"""From a state to those it may move to. A late fill may still come after a cancel, an expiry or a replacement."""

_OPEN = frozenset({_S.ACCEPTED, _S.HELD, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.PENDING_REPLACE})

STALE: dict[OrderState, frozenset[OrderState]] = {
    _S.ACCEPTED: frozenset({_S.SUBMITTED}),
    _S.HELD: frozenset({_S.SUBMITTED}),
    _S.PARTIALLY_FILLED: frozenset({_S.SUBMITTED, _S.ACCEPTED, _S.HELD}),
    _S.PENDING_CANCEL: frozenset({_S.SUBMITTED}),
    _S.PENDING_REPLACE: frozenset({_S.SUBMITTED}),
    _S.FILLED: _OPEN | {_S.SUBMITTED},
    _S.CANCELED: _OPEN | {_S.SUBMITTED},
    _S.EXPIRED: _OPEN | {_S.SUBMITTED},
    _S.REPLACED: _OPEN | {_S.SUBMITTED},
}
"""From a state to those that lie behind it: an event that was overtaken. REJECTED has none: an order that lives after a refusal is a lie to settle."""


class Move(enum.Enum):
    """What an event means for an order in its state."""

    MOVED = "Moved"
    SAME = "Same"
    STALE = "Stale"
    ILLEGAL = "Illegal"


def judge(current: OrderState, told: OrderState) -> Move:
    """What the table says."""
    if current is told:
        return Move.SAME
    if told in MOVES[current]:
        return Move.MOVED
    return Move.STALE if told in STALE.get(current, frozenset()) else Move.ILLEGAL


class Role(enum.Enum):
    """What an order is for; a group is an entry with its legs, or an exit with its sibling, and everything that took their place."""

    ENTRY = "Entry"
    TARGET = "Target"
    STOP = "Stop"
    EXIT = "Exit"
    EXTERNAL = "External"  # not ours and of no parent of ours: counted, never touched

    __hash__ = object.__hash__  # by identity, as members are equal


EXITS = frozenset({Role.TARGET, Role.STOP, Role.EXIT})


class OrderRecord(msgspec.Struct, kw_only=True):
    """What is known of one order. ``key`` is its client order id, ours or, for legs, the broker's."""

    key: str
    symbol: str
    side: Side
    quantity: int
    role: Role
    group: str
    state: OrderState
    intent: OrderIntent | None = None
    order_id: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    filled: int = 0  # the sum of counted executions
    value: Decimal = Decimal(0)  # of those, quantity x price
    fees: Decimal = Decimal(0)
    told_filled: int = 0  # the largest total the broker has told
    inherited: int = 0  # filled by the order it replaces, where the broker counts on
    replaces: str | None = None  # key
    replaced_by: str | None = None  # the broker's id of its successor
    created_at_ns: int = 0
    changed_at_ns: int = 0
    first_fill_ns: int = 0
    asked_at_ns: int = 0
    asks: int = 0
    cancel_asked_ns: int = 0
    refusal: str = ""

    @property
    def open(self) -> bool:
        """Not ended, as far as we know: UNKNOWN is open."""
        return self.state not in TERMINAL

    @property
    def remaining(self) -> int:
        """Shares it may still trade."""
        return self.left if self.open else 0

    @property
    def left(self) -> int:
        """Shares it has not traded, whatever its state."""
        left = self.quantity - self.inherited - self.filled
        return left if left > 0 else 0

    @property
    def uncounted(self) -> int:
        """Shares the broker has told filled whose executions were not counted yet: they have changed hands."""
        uncounted = self.told_filled - self.inherited - self.filled
        return uncounted if uncounted > 0 else 0

    @property
    def over(self) -> bool:
        """Whether it is over: ended, every share that was told is counted, and nothing took its place that could be unknown here."""
        return self.state in _OVER and self.told_filled - self.inherited - self.filled <= 0

    def advance(self, told: OrderState, at_ns: int, *, receipt: bool = False, forced: bool = False) -> Move:
        """Apply a told state. A receipt moves only what nobody has heard of since; a forced word (asked after our last news) stands against the table."""
        if receipt and self.state not in _FRESH:
            return Move.STALE
        move = judge(self.state, told)
        if move is Move.MOVED or (forced and move in {Move.ILLEGAL, Move.STALE}):
            self.state = told
            self.changed_at_ns = at_ns
        return move

    def execute(self, execution_id: str, quantity: int, price: Decimal, at_ns: int) -> Fill | None:
        """Count an execution once; None when a total that was told before has counted these shares already."""
        if self.filled + quantity > self.told_filled - self.inherited:
            return None
        self.filled += quantity
        self.value += quantity * price
        self.first_fill_ns = self.first_fill_ns or at_ns
        return Fill(
            execution_id=execution_id,
            order_id=self.order_id or "",
            client_order_id=self.key,
            symbol=self.symbol,
            side=self.side,
            quantity=quantity,
            price=price,
            at_ns=at_ns,
        )

    def close_gap(self, average_price: Decimal | None, at_ns: int) -> Fill | None:
        """Count the shares whose executions were never heard of, at the price that makes the broker's average true."""
        missing = self.told_filled - self.inherited - self.filled
        if missing <= 0 or average_price is None:
            return None
        price = (average_price * (self.filled + missing) - self.value) / missing
        return self.execute(f"gap-{self.order_id}-{self.told_filled}", missing, price, at_ns)


def role_of(order: BrokerOrder) -> Role:
    """What an order of ours is for, from the broker's description alone."""
    if order.side is Side.BUY:
        return Role.ENTRY
    if order.order_type in {OrderType.STOP, OrderType.STOP_LIMIT}:
        return Role.STOP
    return Role.TARGET if order.parent_order_id is not None or order.legs else Role.EXIT


def role_of_intent(intent: OrderIntent) -> Role:
    """What an order is for, from what we meant by it."""
    if intent.purpose is Purpose.ENTRY:
        return Role.ENTRY
    if intent.order_type is OrderType.STOP:
        return Role.STOP
    return Role.TARGET if intent.purpose is Purpose.PROTECT else Role.EXIT


def transitions_table() -> str:
    """The moves as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2"]
    for current in OrderState:
        lines += [f"    {current.value} --> {told.value}" for told in OrderState if told in MOVES[current]]
    return "\n".join(lines) + "\n"
