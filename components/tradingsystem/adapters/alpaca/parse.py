"""Alpaca's words into ours, and ours into theirs. Pure.

It refuses nothing that merely is new: an unknown status keeps its raw word and moves no state, an unknown event still brings its execution. What
lacks an id, a symbol or a readable number raises ``Unreadable``.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import ROUND_UP, Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from tradingsystem.adapters.alpaca.models import Number, WireAccount, WireCalendarDay, WireOrder, WirePosition, WireUpdate
from tradingsystem.adapters.alpaca.symbols import from_alpaca, to_alpaca
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.orders import (
    Account,
    BrokerOrder,
    BrokerPosition,
    OrderClass,
    OrderIntent,
    OrderState,
    OrderType,
    OrderUpdate,
    Side,
)
from tradingsystem.domain.time import NS_PER_SECOND, from_datetime, new_york_ns, to_iso

T = TypeVar("T")


class Unreadable(ValueError):
    """The payload is not what the broker's documentation promises; the text says which part."""


STATES = {
    "pending_new": OrderState.SUBMITTED,
    "pending_review": OrderState.SUBMITTED,
    "accepted": OrderState.ACCEPTED,
    "accepted_for_bidding": OrderState.ACCEPTED,
    "new": OrderState.ACCEPTED,
    "stopped": OrderState.ACCEPTED,
    "suspended": OrderState.ACCEPTED,
    "calculated": OrderState.ACCEPTED,
    "done_for_day": OrderState.ACCEPTED,
    "held": OrderState.HELD,
    "partially_filled": OrderState.PARTIALLY_FILLED,
    "pending_cancel": OrderState.PENDING_CANCEL,
    "pending_replace": OrderState.PENDING_REPLACE,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
    "replaced": OrderState.REPLACED,
}
NOT_A_MOVE = OrderState.SUBMITTED  # what an unknown status says: the order was there; it lies behind every state that was told

_CLASSES = {"bracket": OrderClass.BRACKET, "oto": OrderClass.BRACKET, "oco": OrderClass.OCO}
_TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
    "trailing_stop": OrderType.STOP,
}
_OUR_TYPES = {OrderType.MARKET: "market", OrderType.LIMIT: "limit", OrderType.STOP: "stop", OrderType.STOP_LIMIT: "stop_limit"}
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)$")


def read(payload: bytes | msgspec.Raw, kind: type[T]) -> T:
    """JSON of that shape. Raises ``Unreadable``."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not a {getattr(kind, '__name__', kind)}: {error}") from error


def order(wire: WireOrder, parent: str | None = None) -> BrokerOrder:
    """An order with its legs. Raises ``Unreadable``."""
    if wire.side not in {"buy", "sell"}:
        raise Unreadable(f"order {wire.id}: side is {wire.side!r}")
    return BrokerOrder(
        order_id=wire.id,
        client_order_id=wire.client_order_id,
        symbol=from_alpaca(wire.symbol),
        side=Side.BUY if wire.side == "buy" else Side.SELL,
        quantity=shares(wire.qty),
        filled_quantity=shares(wire.filled_qty),
        filled_average_price=money(wire.filled_avg_price),
        state=STATES.get(wire.status, NOT_A_MOVE),
        raw_status=wire.status,
        order_class=_CLASSES.get(wire.order_class or "", OrderClass.SIMPLE),
        order_type=_TYPES.get(wire.type or wire.order_type or "", OrderType.MARKET),
        limit_price=money(wire.limit_price),
        stop_price=money(wire.stop_price),
        parent_order_id=parent,
        replaces=wire.replaces,
        replaced_by=wire.replaced_by,
        legs=tuple(order(leg, wire.id) for leg in wire.legs or ()),
        submitted_at_ns=moment(wire.submitted_at),
        updated_at_ns=moment(wire.updated_at),
    )


def update(wire: WireUpdate) -> OrderUpdate:
    """One event of the stream. Raises ``Unreadable``."""
    return OrderUpdate(
        event=wire.event,
        at_ns=moment(wire.timestamp),
        order=order(wire.order),
        execution_id=wire.execution_id if wire.event in {"fill", "partial_fill"} else None,
        price=money(wire.price),
        quantity=None if wire.qty is None else shares(wire.qty),
        position_quantity=None if wire.position_qty is None else shares(wire.position_qty),
    )


def position(wire: WirePosition) -> BrokerPosition:
    """A holding."""
    return BrokerPosition(
        symbol=from_alpaca(wire.symbol),
        quantity=shares(wire.qty),
        average_entry_price=money(wire.avg_entry_price) or Decimal(0),
        current_price=money(wire.current_price),
    )


def account(wire: WireAccount) -> Account:
    """The account. Money that is missing is 0: it can only forbid."""
    return Account(
        account_number=wire.account_number,
        equity=money(wire.equity) or Decimal(0),
        last_equity=money(wire.last_equity) or Decimal(0),
        cash=money(wire.cash) or Decimal(0),
        buying_power=money(wire.buying_power) or Decimal(0),
        blocked=bool(wire.account_blocked or wire.trading_blocked or (wire.status or "ACTIVE") != "ACTIVE"),
        suspended=bool(wire.trade_suspended_by_user),
    )


def session(days: list[WireCalendarDay], day: date) -> Session | None:
    """The session of ``day`` among calendar rows, None when the broker lists none."""
    for row in days:
        if row.date == day.isoformat():
            try:
                return Session(
                    day=day,
                    open_ns=new_york_ns(day, time.fromisoformat(row.open)),
                    close_ns=new_york_ns(day, time.fromisoformat(row.close)),
                )
            except ValueError as error:
                raise Unreadable(f"calendar of {day}: open {row.open!r}, close {row.close!r}") from error
    return None


def money(number: Number) -> Decimal | None:
    """A decimal without a float in between. Raises ``Unreadable`` for anything not finite."""
    if number is None:
        return None
    try:
        value = Decimal(str(number))
    except InvalidOperation as error:
        raise Unreadable(f"{number!r} is not a number") from error
    if not value.is_finite():
        raise Unreadable(f"{number!r} is not finite")
    return value


def shares(number: Number) -> int:
    """Whole shares; a fraction (never ours) counts as one more, so that it is seen. Null is 0."""
    value = money(number)
    return 0 if value is None else int(value.to_integral_value(ROUND_UP))


def moment(text: str | None) -> int:
    """RFC 3339 with up to nine digits as ns; 0 when absent. Raises ``Unreadable``."""
    if not text:
        return 0
    found = _TIME.match(text)
    if found is None:
        raise Unreadable(f"{text!r} is not a time")
    day, clock, digits, zone = found.groups()
    whole = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone == 'Z' else zone}").astimezone(UTC)
    return from_datetime(whole) // NS_PER_SECOND * NS_PER_SECOND + int((digits or "0").ljust(9, "0"))


def post_body(intent: OrderIntent) -> dict[str, Any]:
    """The order as Alpaca takes it: numbers as strings, so that no float rounds a price."""
    body: dict[str, Any] = {
        "symbol": to_alpaca(intent.symbol),
        "qty": str(intent.quantity),
        "side": intent.side.value.lower(),
        "type": _OUR_TYPES[intent.order_type],
        "time_in_force": intent.time_in_force,
        "client_order_id": intent.client_order_id,
    }
    if intent.limit_price is not None:
        body["limit_price"] = str(intent.limit_price)
    if intent.stop_price is not None:
        body["stop_price"] = str(intent.stop_price)
    if intent.order_class is not OrderClass.SIMPLE:
        body["order_class"] = intent.order_class.value.lower()
        body["take_profit"] = {"limit_price": str(intent.target_price)}
        body["stop_loss"] = {"stop_price": str(intent.stop_loss_price)}
    return body


def patch_body(intent: OrderIntent) -> dict[str, Any]:
    """A move of an open order's limit under our next id. The quantity stays: a leg's cannot be changed."""
    return {"limit_price": str(intent.limit_price), "client_order_id": intent.client_order_id}


def after(at_ns: int) -> str:
    """A moment as a query parameter."""
    return to_iso(at_ns)
