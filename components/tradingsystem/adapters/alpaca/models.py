"""Alpaca's trading answers as they come over the wire, before anything is believed.

Every field may be missing or null and every number may be a string: the broker adds, drops and renames without notice, and an event that cannot be
read is an event that is lost. Only what identifies an order is demanded.
"""

from __future__ import annotations

import msgspec

Number = str | float | int | None


class WireOrder(msgspec.Struct, kw_only=True):
    """An order object; ``filled_qty`` is the total so far, ``qty`` null for notional orders, ``order_class`` empty for simple ones."""

    id: str
    client_order_id: str
    symbol: str
    side: str
    status: str
    qty: Number = None
    filled_qty: Number = None
    filled_avg_price: Number = None
    order_class: str | None = None
    type: str | None = None
    order_type: str | None = None
    limit_price: Number = None
    stop_price: Number = None
    submitted_at: str | None = None
    updated_at: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    legs: list[WireOrder] | None = None


class WireUpdate(msgspec.Struct, kw_only=True):
    """One event: ``qty`` and ``price`` are of this execution."""

    event: str
    order: WireOrder
    timestamp: str | None = None
    execution_id: str | None = None
    price: Number = None
    qty: Number = None
    position_qty: Number = None


class WireMessage(msgspec.Struct, kw_only=True):
    """One frame of the update stream."""

    stream: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class WireAuthorization(msgspec.Struct, kw_only=True):
    """The answer to authentication."""

    status: str = ""


class WireListening(msgspec.Struct, kw_only=True):
    """The answer to listen: the whole set that is listened to now."""

    streams: list[str] = []


class WirePosition(msgspec.Struct, kw_only=True):
    """A holding; ``qty`` is negative when short."""

    symbol: str
    qty: Number
    avg_entry_price: Number = None
    current_price: Number = None


class WireAccount(msgspec.Struct, kw_only=True):
    """The account. Pattern-day-trading fields were removed in 2026 and are not read."""

    account_number: str
    equity: Number
    cash: Number
    buying_power: Number
    last_equity: Number = None
    status: str | None = None
    account_blocked: bool | None = None
    trading_blocked: bool | None = None
    trade_suspended_by_user: bool | None = None


class WireCalendarDay(msgspec.Struct, kw_only=True):
    """One session; ``open`` and ``close`` as HH:MM in New York."""

    date: str
    open: str
    close: str


class WireSplit(msgspec.Struct, kw_only=True):
    """A split, forward or reverse: ``old_rate`` shares become ``new_rate``. It is listed by ``process_date``; prices are those after it from ``ex_date``."""

    symbol: str
    new_rate: Number
    old_rate: Number
    ex_date: str


class WireSplits(msgspec.Struct, kw_only=True):
    """The kinds of corporate actions that were asked for; a kind of which there is none is missing."""

    forward_splits: list[WireSplit] | None = None
    reverse_splits: list[WireSplit] | None = None


class WireCorporateActions(msgspec.Struct, kw_only=True):
    """One page."""

    corporate_actions: WireSplits
    next_page_token: str | None = None


class WireError(msgspec.Struct, kw_only=True):
    """An error body. The same code covers funds, shares and wash trades: the fields beside it tell them apart."""

    message: str = ""
    code: int | None = None
    buying_power: Number = None
    held_for_orders: Number = None
    existing_order_id: str | None = None
