"""The broker's refusals that need the account, the position or the book: each with Alpaca's HTTP status and code.

Pure. Stricter than Alpaca where the documentation is unsure: an immediate order outside market hours and a changed quantity on a leg are refused.
The order of the checks is the order in which the documentation's examples fail: account, asset, identity, class, shares, wash trade, funds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from tradingsystem.simulator.ledger import ZERO, Ledger, Leg, Order, OrderClass, OrderType, Side, Status, TimeInForce
from tradingsystem.simulator.order_request import FIELD, FORBIDDEN, STATE, OrderRequest, Refusal, ReplaceRequest

LEG_DISTANCE_MIN = Decimal("0.01")
SHORT_PRICE_MARGIN = Decimal("1.03")
MARKET_PRICE_MARGIN = Decimal("1.04")  # the collar on market buys below $50; 2.5 % above is covered by it
SHORTING_EQUITY_MIN = Decimal(2000)
REPLACEABLE = frozenset({Status.NEW, Status.PARTIALLY_FILLED, Status.HELD})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the checks look at beside the request. Prices are None while the symbol has no quote or trade yet."""

    ledger: Ledger
    tradable: Collection[str]
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    market_open: bool
    buying_power: Decimal  # already less what open orders reserve
    equity: Decimal


def check_order(request: OrderRequest, now: Circumstances) -> Refusal | None:
    """The first reason to turn an entry or exit down, or None."""
    for check in (_account, _asset, _identity, _class, _immediate, _shares, _wash_trade, _funds):
        refusal = check(request, now)
        if refusal is not None:
            return refusal
    return None


def check_cancel(order: Order) -> Refusal | None:
    """A cancel is refused only when the order has ended or is already being canceled."""
    if order.terminal or order.status is Status.PENDING_CANCEL:
        return Refusal(422, STATE, f'order is already in "{order.status}" state')
    return None


def check_replace(order: Order, request: ReplaceRequest, now: Circumstances) -> Refusal | None:
    """Replacing works on a working or held order; a leg keeps its quantity; the extra cost must be covered."""
    if order.terminal:
        return Refusal(422, STATE, f'order is already in "{order.status}" state')
    if order.status not in REPLACEABLE:
        return Refusal(422, STATE, f"cannot replace order in {order.status} status")
    if order.notional is not None:
        return Refusal(422, STATE, "notional orders cannot be replaced")
    if request.client_order_id is not None and request.client_order_id in now.ledger.by_client_id:
        return Refusal(422, FIELD, "client_order_id must be unique")
    if request.limit_price is not None and order.limit_price is None:
        return Refusal(422, FIELD, f"{order.type} orders must not have limit_price")
    if request.stop_price is not None and order.stop_price is None:
        return Refusal(422, FIELD, f"{order.type} orders must not have stop_price")
    if request.quantity is not None and request.quantity != order.quantity:
        refusal = _replaced_quantity(order, request.quantity, now)
        if refusal is not None:
            return refusal
    if order.side is Side.BUY and order.leg is Leg.NONE:
        price = request.limit_price or order.limit_price or now.ask or now.last or ZERO
        quantity = (request.quantity or order.quantity or ZERO) - order.filled
        more = price * quantity - reservation(order, now.ask or now.last)
        if more > now.buying_power:
            return _insufficient_funds(now.buying_power, more)
    return None


def reservation(order: Order, market: Decimal | None) -> Decimal:
    """The buying power an open order takes. Closing orders and legs take none; the caller leaves those out."""
    if order.notional is not None and order.quantity is None:
        return order.notional
    price = order.limit_price or order.stop_price or (market or ZERO) * MARKET_PRICE_MARGIN
    return price * order.remaining


def _replaced_quantity(order: Order, quantity: Decimal, now: Circumstances) -> Refusal | None:
    if order.leg is not Leg.NONE or order.order_class is not OrderClass.SIMPLE:
        return Refusal(422, STATE, "qty of a complex order cannot be replaced")
    if order.remaining != order.remaining.to_integral_value():
        return Refusal(422, STATE, "qty of fractional orders cannot be replaced")
    if quantity <= order.filled:
        return Refusal(422, FIELD, f"qty must be > filled_qty ({order.filled})")
    position = now.ledger.position(order.symbol).quantity
    more = quantity - (order.quantity or ZERO)
    if order.side is Side.SELL and position > 0 and more > 0:
        available = position - now.ledger.held_for_orders(order.symbol)
        if more > available:
            return _insufficient_shares(order.symbol, more, position, now.ledger)
    return None


def _account(_: OrderRequest, now: Circumstances) -> Refusal | None:
    if now.ledger.trading_suspended:
        return Refusal(403, FORBIDDEN, "new orders are rejected by user request")
    return None


def _asset(request: OrderRequest, now: Circumstances) -> Refusal | None:
    if request.symbol not in now.tradable:
        return Refusal(422, FIELD, f'could not find asset "{request.symbol}"')
    return None


def _identity(request: OrderRequest, now: Circumstances) -> Refusal | None:
    if request.client_order_id in now.ledger.by_client_id:
        return Refusal(422, FIELD, "client_order_id must be unique")
    return None


def _class(request: OrderRequest, now: Circumstances) -> Refusal | None:
    position = now.ledger.position(request.symbol).quantity
    opposite = position < 0 if request.side is Side.BUY else position > 0
    if request.order_class is OrderClass.OCO:
        if not opposite:
            return Refusal(422, STATE, "oco orders must be exit orders")
        return None
    if request.order_class in (OrderClass.BRACKET, OrderClass.OTO):
        if opposite:
            return Refusal(422, STATE, f"{request.order_class} orders must be entry orders")
        return _leg_distance(request, now)
    return None


def _leg_distance(request: OrderRequest, now: Circumstances) -> Refusal | None:
    base = request.limit_price or request.stop_price or now.last
    if base is None:
        return None
    upwards = 1 if request.side is Side.BUY else -1
    below, above = ("<= base_price - 0.01", ">= base_price + 0.01")[::upwards]
    fields = {"base_price": str(base)}
    if request.stop_loss_stop is not None and (base - request.stop_loss_stop) * upwards < LEG_DISTANCE_MIN:
        return Refusal(422, STATE, f"stop_loss.stop_price must be {below}", fields)
    if request.take_profit_limit is not None and (request.take_profit_limit - base) * upwards < LEG_DISTANCE_MIN:
        return Refusal(422, STATE, f"take_profit.limit_price must be {above}", fields)
    return None


def _immediate(request: OrderRequest, now: Circumstances) -> Refusal | None:
    if request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) and not now.market_open:
        return Refusal(422, STATE, f"{request.time_in_force} orders are only accepted during market hours")
    return None


def _shares(request: OrderRequest, now: Circumstances) -> Refusal | None:
    position = now.ledger.position(request.symbol).quantity
    closes = position > 0 if request.side is Side.SELL else position < 0
    if closes:
        quantity = request.quantity
        if quantity is None:
            price = now.bid if request.side is Side.SELL else now.ask
            quantity = (request.notional or ZERO) / (price or now.last or Decimal(1))
        if quantity > abs(position) - now.ledger.held_for_orders(request.symbol):
            return _insufficient_shares(request.symbol, quantity, position, now.ledger)
        return None
    opposite = [order for order in now.ledger.open_orders(request.symbol) if order.side is not request.side and not position]
    if request.side is Side.SELL:
        if not request.whole:
            return Refusal(403, FORBIDDEN, "fractional orders cannot be sold short")
        if now.equity < SHORTING_EQUITY_MIN:
            return Refusal(403, FORBIDDEN, "account is not allowed to short")
    if any(order.leg is Leg.NONE for order in opposite):
        what = "long buy while a short sell" if request.side is Side.BUY else "short sell while a long buy"
        return Refusal(403, FORBIDDEN, f"cannot open a {what} order is open")
    return None


def _wash_trade(request: OrderRequest, now: Circumstances) -> Refusal | None:
    if request.order_class is not OrderClass.SIMPLE:
        return None
    for order in now.ledger.open_orders(request.symbol):
        if order.side is request.side or order.order_class is not OrderClass.SIMPLE:
            continue
        if order.type is OrderType.LIMIT and request.type is OrderType.LIMIT:
            buy, sell = (request, order) if request.side is Side.BUY else (order, request)
            assert buy.limit_price is not None
            assert sell.limit_price is not None
            if buy.limit_price < sell.limit_price:
                continue
        fields = {"existing_order_id": order.id, "reject_reason": f"opposite side {order.type.replace('_', ' ')} order exists"}
        return Refusal(403, FORBIDDEN, "potential wash trade detected. use complex orders", fields)
    return None


def _funds(request: OrderRequest, now: Circumstances) -> Refusal | None:
    position = now.ledger.position(request.symbol).quantity
    if (request.side is Side.SELL and position > 0) or (request.side is Side.BUY and position < 0):
        return None
    if request.notional is not None:
        cost = request.notional
    else:
        assert request.quantity is not None
        market = now.ask or now.last
        if market is None and request.limit_price is None and request.stop_price is None:
            return Refusal(403, FORBIDDEN, f"no market price for {request.symbol} yet: only priced orders are accepted")
        if request.side is Side.SELL:
            price = max(request.limit_price or ZERO, SHORT_PRICE_MARGIN * (market or ZERO))
        else:
            price = request.limit_price or request.stop_price or (market or ZERO) * MARKET_PRICE_MARGIN
        cost = price * request.quantity
    if cost > now.buying_power:
        return _insufficient_funds(now.buying_power, cost)
    return None


def _insufficient_funds(buying_power: Decimal, cost: Decimal) -> Refusal:
    fields = {"buying_power": f"{max(buying_power, ZERO):.2f}", "cost_basis": f"{cost:.2f}"}
    return Refusal(403, FORBIDDEN, "insufficient buying power", fields)


def _insufficient_shares(symbol: str, requested: Decimal, position: Decimal, ledger: Ledger) -> Refusal:
    held = ledger.held_for_orders(symbol)
    available = max(abs(position) - held, ZERO)
    exit_side = Side.SELL if position > 0 else Side.BUY
    related = [order.id for order in ledger.open_orders(symbol) if order.side is exit_side and not order.waiting]
    fields = {
        "available": _plain(available),
        "existing_qty": _plain(abs(position)),
        "held_for_orders": _plain(held),
        "related_orders": related,
        "symbol": symbol,
    }
    message = f"insufficient qty available for order (requested: {_plain(requested)}, available: {_plain(available)})"
    return Refusal(403, FORBIDDEN, message, fields)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
