"""How Alpaca spells the ledger: orders, positions, account, executions and trade updates as JSON-ready dicts.

One spelling for REST and stream, so that both show the same truth. Money and quantities are strings, times RFC 3339 with nanoseconds, ids UUIDs. It
computes nothing that the ledger does not know, and decides nothing.
"""

from __future__ import annotations

import datetime
import functools
import uuid
from decimal import Decimal
from typing import Any

from tradingsystem.simulator.exchange import BrokerEvent, Exchange
from tradingsystem.simulator.feed import SECOND_NS, SymbolFacts
from tradingsystem.simulator.ledger import ZERO, Execution, Ledger, Order, OrderClass, Position, Side, Status

_EXCHANGES = {"XNYS": "NYSE", "XNAS": "NASDAQ", "ARCX": "ARCA", "XASE": "AMEX", "BATS": "BATS"}
_NAMESPACE = uuid.UUID("7a1f0f5e-0c0e-4c55-9d0a-5f6f1f0b7a10")


def rfc3339(at_ns: int) -> str:
    """UTC with nanoseconds, "Z"."""
    seconds, fraction = divmod(at_ns, SECOND_NS)
    return f"{_second(seconds)}.{fraction:09d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC):%Y-%m-%dT%H:%M:%S}"


def number(value: Decimal) -> str:
    """A plain decimal string without exponent or trailing zeros."""
    return f"{value.normalize():f}" if value else "0"


@functools.lru_cache(maxsize=32_768)
def asset_id(symbol: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, symbol))


def order_view(order: Order, ledger: Ledger, *, nested: bool = False) -> dict[str, Any]:
    """An order object; `legs` is null unless asked nested."""
    legs = [order_view(leg, ledger) for leg in ledger.legs(order)] if nested else []
    simple = order.order_class is OrderClass.SIMPLE
    average = order.average_price
    notional = order.notional is not None
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": rfc3339(order.created_ns),
        "updated_at": rfc3339(order.updated_ns),
        "submitted_at": rfc3339(order.created_ns),
        "filled_at": _moment(order.filled_ns),
        "expired_at": _moment(order.expired_ns),
        "canceled_at": _moment(order.canceled_ns),
        "failed_at": _moment(order.failed_ns),
        "replaced_at": _moment(order.replaced_ns),
        "replaced_by": order.replaced_by or None,
        "replaces": order.replaces or None,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": _optional(order.notional),
        "qty": None if notional else _optional(order.quantity),
        "filled_qty": number(order.filled),
        "filled_avg_price": None if average is None else number(round(average, 6)),
        "order_class": "" if simple else str(order.order_class),
        "order_type": str(order.type),
        "type": str(order.type),
        "side": str(order.side),
        "position_intent": _intent(order, ledger),
        "time_in_force": str(order.time_in_force),
        "limit_price": _optional(order.limit_price),
        "stop_price": _optional(order.stop_price),
        "status": str(order.status),
        "extended_hours": order.extended_hours,
        "legs": legs or None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
        "expires_at": None,
    }


def update_view(event: BrokerEvent, ledger: Ledger) -> dict[str, Any]:
    """The `data` of one `trade_updates` message."""
    data: dict[str, Any] = {
        "event": event.event,
        "timestamp": rfc3339(event.at_ns),
        "order": order_view(event.order, ledger),
        "execution_id": None
        if event.event == "pending_new"
        else str(uuid.uuid5(_NAMESPACE, f"{event.order.id}{event.event}{event.at_ns}")),
    }
    fill = event.execution
    if fill is not None:
        data["execution_id"] = fill.id
        data["price"] = number(fill.price)
        data["qty"] = number(fill.quantity)
        data["position_qty"] = number(fill.position_quantity)
    return data


def position_view(position: Position, exchange: Exchange, facts: SymbolFacts) -> dict[str, Any]:
    """An open position at the last price; quantity and market value are negative when short."""
    price = exchange.prices().get(position.symbol, position.average_price)
    value = position.quantity * price
    profit = value - position.cost
    ratio = profit / abs(position.cost) if position.cost else ZERO
    previous = Decimal(str(facts.previous_close))
    held = exchange.ledger.held_for_orders(position.symbol)
    return {
        "asset_id": asset_id(position.symbol),
        "symbol": position.symbol,
        "exchange": _EXCHANGES.get(facts.primary_exchange, "NYSE"),
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": number(position.quantity),
        "qty_available": number(position.quantity - held.copy_sign(position.quantity)),
        "side": "long" if position.quantity > 0 else "short",
        "avg_entry_price": number(round(position.average_price, 6)),
        "market_value": number(value),
        "cost_basis": number(round(position.cost, 6)),
        "unrealized_pl": number(round(profit, 6)),
        "unrealized_plpc": number(round(ratio, 8)),
        "unrealized_intraday_pl": number(round(profit, 6)),
        "unrealized_intraday_plpc": number(round(ratio, 8)),
        "current_price": number(price),
        "lastday_price": number(previous),
        "change_today": number(round(price / previous - 1, 8)) if previous else "0",
    }


def account_view(exchange: Exchange) -> dict[str, Any]:
    """The account; the day-trading fields that were removed in July 2026 are absent."""
    ledger = exchange.ledger
    long_value, short_value = ledger.market_value(exchange.prices())
    equity = ledger.cash + long_value + short_value
    gross = long_value - short_value
    power = max(exchange.buying_power(), ZERO)
    return {
        "id": asset_id(f"account-{ledger.seed}"),
        "account_number": f"SIM{ledger.seed:09d}",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": _money(ledger.cash),
        "buying_power": _money(power),
        "regt_buying_power": _money(power),
        "non_marginable_buying_power": _money(min(power, max(ledger.cash, ZERO))),
        "options_buying_power": "0",
        "options_trading_level": 0,
        "equity": _money(equity),
        "last_equity": _money(ledger.last_equity),
        "portfolio_value": _money(equity),
        "long_market_value": _money(long_value),
        "short_market_value": _money(short_value),
        "initial_margin": _money(gross / 2),
        "maintenance_margin": _money(gross * 3 / 10),
        "last_maintenance_margin": "0",
        "sma": _money(ledger.last_equity),
        "multiplier": str(exchange.settings.multiplier),
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "intraday_adjustments": "0",
        "balance_asof": exchange.session.date.isoformat(),
        "shorting_enabled": True,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": ledger.trading_suspended,
        "created_at": "2020-01-02T15:00:00Z",
    }


def asset_view(facts: SymbolFacts) -> dict[str, Any]:
    return {
        "id": asset_id(facts.symbol),
        "class": "us_equity",
        "exchange": _EXCHANGES.get(facts.primary_exchange, "NYSE"),
        "symbol": facts.symbol,
        "name": facts.name,
        "status": "active" if facts.active else "inactive",
        "tradable": facts.active,
        "marginable": True,
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": True,
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "attributes": [],
    }


def fill_activity(execution: Execution) -> dict[str, Any]:
    """A row of `/v2/account/activities/FILL`."""
    return {
        "id": activity_id(execution),
        "activity_type": "FILL",
        "transaction_time": rfc3339(execution.at_ns),
        "type": "fill" if execution.remaining == 0 else "partial_fill",
        "order_status": "filled" if execution.remaining == 0 else "partially_filled",
        "price": number(execution.price),
        "qty": number(execution.quantity),
        "side": str(execution.side),
        "symbol": execution.symbol,
        "leaves_qty": number(execution.remaining),
        "cum_qty": number(execution.cumulative),
        "order_id": execution.order_id,
    }


def fee_activity(execution: Execution, date: datetime.date) -> dict[str, Any]:
    """A row of `/v2/account/activities/FEE`: the fees of one sale, charged at once."""
    return {
        "id": activity_id(execution).replace("::", "::fee-"),
        "activity_type": "FEE",
        "date": date.isoformat(),
        "net_amount": number(-execution.fee),
        "symbol": execution.symbol,
        "qty": number(execution.quantity),
        "per_share_amount": number(round(-execution.fee / execution.quantity, 6)),
        "description": "SEC and TAF fee of a sale",
        "status": "executed",
    }


def activity_id(execution: Execution) -> str:
    """Sorts by time: the venue's `YYYYMMDDhhmmssmmm::uuid`."""
    seconds, fraction = divmod(execution.at_ns, SECOND_NS)
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return f"{moment:%Y%m%d%H%M%S}{fraction // 1_000_000:03d}::{execution.id}"


def listed(order: Order, status: str) -> bool:
    """Whether a flat listing shows the order; legs that wait are listed as closed, as the venue has been seen to do."""
    is_closed = order.terminal or order.status is Status.HELD
    return status == "all" or (status == "closed") == is_closed


def _intent(order: Order, ledger: Ledger) -> str:
    position = ledger.position(order.symbol).quantity
    if order.side is Side.BUY:
        return "buy_to_close" if position < 0 else "buy_to_open"
    return "sell_to_close" if position > 0 or order.leg else "sell_to_open"


def _moment(at_ns: int) -> str | None:
    return rfc3339(at_ns) if at_ns else None


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else number(value)


def _money(value: Decimal) -> str:
    return f"{value:.2f}"
