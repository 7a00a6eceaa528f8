"""Orders as we mean them and as the broker tells them: two nouns, never one, because the difference is what reconciliation looks for.

Prices and money are ``Decimal`` dollars, quantities whole shares. The broker's words are translated in its adapter and nowhere else.
"""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec


class Side(enum.Enum):
    """Long only in version one: a sell never exceeds what is held."""

    BUY = "Buy"
    SELL = "Sell"


class Purpose(enum.Enum):
    """Why an order exists; all but Entry pass the reduced gate."""

    ENTRY = "Entry"  # a bracket: limit buy with target and stop
    PROTECT = "Protect"  # an OCO or stop that covers filled shares
    FLATTEN = "Flatten"  # closes a position


class OrderClass(enum.Enum):
    """How the broker ties orders together."""

    SIMPLE = "Simple"
    BRACKET = "Bracket"
    OCO = "Oco"


class OrderType(enum.Enum):
    """Price conditions we send."""

    MARKET = "Market"
    LIMIT = "Limit"
    STOP = "Stop"
    STOP_LIMIT = "StopLimit"


class OrderState(enum.Enum):
    """Where an order stands, as far as we know. UNKNOWN is neither rejected nor flat: exposure counts as filled until the broker has been asked."""

    INTENDED = "Intended"  # durable in the journal, not sent
    SUBMITTED = "Submitted"  # on its way, or acknowledged without a venue's word
    ACCEPTED = "Accepted"
    HELD = "Held"  # a leg that waits for its sibling or parent
    PARTIALLY_FILLED = "PartiallyFilled"
    PENDING_CANCEL = "PendingCancel"
    PENDING_REPLACE = "PendingReplace"
    UNKNOWN = "Unknown"
    FILLED = "Filled"
    CANCELED = "Canceled"
    EXPIRED = "Expired"
    REJECTED = "Rejected"
    REPLACED = "Replaced"

    __hash__ = object.__hash__  # by identity, as members are equal: asked for millions of times a day

    @property
    def terminal(self) -> bool:
        """Whether nothing more is expected; late fills may still come and are counted."""
        return self in TERMINAL


TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED, OrderState.REPLACED})


class OrderIntent(msgspec.Struct, frozen=True, kw_only=True):
    """The decision to send one order, complete: what reaches the broker is a pure function of it."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    purpose: Purpose
    order_class: OrderClass
    order_type: OrderType
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    target_price: Decimal | None = None  # take profit of a bracket or OCO
    stop_loss_price: Decimal | None = None  # stop of a bracket or OCO
    time_in_force: str = "day"
    decided_at_ns: int
    cause: str  # a signal's id, or the reason of an exit
    probe: bool = False
    replaces_order_id: str | None = None  # the broker's id of the order this one takes the place of


class Approved(msgspec.Struct, frozen=True):
    """The risk gate's word for exactly this intent: ``record`` is what the journal keeps of it, and binds it. Only ``risk.gate`` builds one."""

    intent: OrderIntent
    record: bytes
    approved_at_ns: int
    expires_at_ns: int


class OrderRefusal(msgspec.Struct, frozen=True):
    """The gate's no: ``code`` is one of the risk rules' codes, ``reason`` has the numbers."""

    client_order_id: str
    symbol: str
    code: str
    reason: str
    at_ns: int


class BrokerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the broker tells it, in our words; ``raw_status`` keeps theirs. ``filled_quantity`` is the total so far."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    filled_quantity: int
    filled_average_price: Decimal | None
    state: OrderState
    raw_status: str
    order_class: OrderClass
    order_type: OrderType
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    parent_order_id: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    legs: tuple[BrokerOrder, ...] = ()
    submitted_at_ns: int = 0
    updated_at_ns: int = 0


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the broker's update stream. ``quantity`` and ``price`` are of this execution, never totals."""

    event: str
    at_ns: int
    order: BrokerOrder
    execution_id: str | None = None
    price: Decimal | None = None
    quantity: int | None = None
    position_quantity: int | None = None


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """Shares that changed hands, counted once by ``execution_id``."""

    execution_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: int
    price: Decimal
    at_ns: int


class BrokerPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A holding as the broker tells it; negative when short."""

    symbol: str
    quantity: int
    average_entry_price: Decimal
    current_price: Decimal | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's account, the part that decides."""

    account_number: str
    equity: Decimal
    last_equity: Decimal
    cash: Decimal
    buying_power: Decimal
    blocked: bool
    suspended: bool  # the broker's own kill switch
