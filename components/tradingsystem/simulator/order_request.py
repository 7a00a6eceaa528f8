"""Read what a client posted into a typed request, or say in the broker's words why not. Pure; knows fields, not the account.

The checks that need the account, the position or the book are in `rules.py`. Numbers may come as JSON strings, ints or floats (alpaca-py sends
`"qty": 10.0`); a float is read by its shortest decimal form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from tradingsystem.simulator.ledger import ZERO, OrderClass, OrderType, Side, TimeInForce

CLIENT_ORDER_ID_MAX = 128
NOTIONAL_MIN = Decimal(1)

MALFORMED = 40010000
FIELD = 40010001
FORBIDDEN = 40310000
NOT_FOUND = 40410000
STATE = 42210000

_Word = TypeVar("_Word", Side, OrderType, TimeInForce, OrderClass)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the broker turns down: HTTP status, its own code, its message, and fields beside them."""

    http: int
    code: int
    message: str
    fields: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, **self.fields}


class Refused(Exception):
    """Carries a `Refusal` out of the middle of parsing."""

    def __init__(self, http: int, code: int, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(http, code, message)


@dataclass(frozen=True, slots=True)
class OrderRequest:
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass
    quantity: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    extended_hours: bool
    client_order_id: str
    take_profit_limit: Decimal | None
    stop_loss_stop: Decimal | None
    stop_loss_limit: Decimal | None

    @property
    def whole(self) -> bool:
        return self.quantity is not None and self.quantity == self.quantity.to_integral_value()


@dataclass(frozen=True, slots=True)
class ReplaceRequest:
    """The fields a PATCH gave; None means "as it was"."""

    quantity: Decimal | None
    time_in_force: TimeInForce | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    client_order_id: str | None


def parse_order(body: object) -> OrderRequest | Refusal:
    """A posted order. Refuses with 400 what is not an object or gives both `qty` and `notional`, with 422 what breaks a field's rule."""
    try:
        return _parse_order(body)
    except Refused as refused:
        return refused.refusal


def parse_replace(body: object) -> ReplaceRequest | Refusal:
    """A PATCH of an order; unknown fields are ignored as the venue does."""
    try:
        fields = _object(body)
        if fields.get("trail") is not None:
            raise Refused(422, FIELD, "trail can only be replaced for trailing stop orders")
        quantity = _number(fields, "qty")
        if quantity is not None and quantity != quantity.to_integral_value():
            raise Refused(422, FIELD, "qty must be an integer")
        raw = fields.get("time_in_force")
        return ReplaceRequest(
            quantity=quantity,
            time_in_force=None if raw is None else _word(TimeInForce, raw, "time_in_force"),
            limit_price=_price(fields, "limit_price"),
            stop_price=_price(fields, "stop_price"),
            client_order_id=_client_order_id(fields) or None,
        )
    except Refused as refused:
        return refused.refusal


def check_increment(name: str, price: Decimal) -> None:
    """Raise the venue's sub-penny refusal: 2 decimals from $1 up, 4 below."""
    step = Decimal("0.01") if price >= 1 else Decimal("0.0001")
    if price % step:
        message = f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria"
        raise Refused(422, STATE, message)


def _parse_order(body: object) -> OrderRequest:
    fields = _object(body)
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise Refused(422, FIELD, "symbol is required")
    take_profit = _object(fields.get("take_profit") or {})
    stop_loss = _object(fields.get("stop_loss") or {})
    request = OrderRequest(
        symbol=symbol,
        side=_word(Side, fields.get("side"), "side"),
        type=_word(OrderType, fields.get("type", fields.get("order_type")), "type"),
        time_in_force=_word(TimeInForce, fields.get("time_in_force"), "time_in_force"),
        order_class=_word(OrderClass, fields.get("order_class") or OrderClass.SIMPLE, "order_class"),
        quantity=_number(fields, "qty"),
        notional=_number(fields, "notional"),
        limit_price=_price(fields, "limit_price"),
        stop_price=_price(fields, "stop_price"),
        extended_hours=fields.get("extended_hours") in (True, "true"),
        client_order_id=_client_order_id(fields),
        take_profit_limit=_price(take_profit, "limit_price", "take_profit.limit_price"),
        stop_loss_stop=_price(stop_loss, "stop_price", "stop_loss.stop_price"),
        stop_loss_limit=_price(stop_loss, "limit_price", "stop_loss.limit_price"),
    )
    _check_amount(request)
    _check_prices(request)
    _check_session(request)
    _check_class(request)
    return request


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise Refused(400, MALFORMED, "failed to decode request body")
    return body


def _word(kind: type[_Word], value: object, name: str) -> _Word:
    if value is None:
        raise Refused(422, FIELD, f"{name} is required")
    try:
        return kind(str(value))
    except ValueError:
        raise Refused(422, FIELD, f"invalid {name}: {value}") from None


def _number(fields: Mapping[str, Any], key: str, name: str = "") -> Decimal | None:
    value = fields.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidOperation
        number = Decimal(str(value))
    except InvalidOperation:
        raise Refused(422, FIELD, f"{name or key} must be a number") from None
    if not number.is_finite() or number <= 0:
        raise Refused(422, FIELD, f"{name or key} must be > 0")
    return number


def _price(fields: Mapping[str, Any], key: str, name: str = "") -> Decimal | None:
    price = _number(fields, key, name)
    if price is not None:
        check_increment(name or key, price)
    return price


def _client_order_id(fields: Mapping[str, Any]) -> str:
    value = fields.get("client_order_id")
    if value is None:
        return ""
    if not isinstance(value, str) or not value or len(value) > CLIENT_ORDER_ID_MAX:
        raise Refused(422, FIELD, f"client_order_id must be a string of 1 to {CLIENT_ORDER_ID_MAX} characters")
    return value


def _check_amount(request: OrderRequest) -> None:
    if request.quantity is not None and request.notional is not None:
        raise Refused(400, MALFORMED, "only one of qty or notional is accepted")
    if request.quantity is None and request.notional is None:
        raise Refused(422, FIELD, "qty or notional is required")
    if request.quantity is not None and request.quantity != round(request.quantity, 9):
        raise Refused(422, FIELD, "qty must be limited to 9 decimal places")
    if request.notional is not None and request.notional != round(request.notional, 2):
        raise Refused(422, FIELD, "notional must be limited to 2 decimal places")
    if request.notional is not None and request.notional < NOTIONAL_MIN:
        raise Refused(422, FIELD, "notional amount must be >= 1.00")
    if not request.whole:
        if request.time_in_force is not TimeInForce.DAY:
            raise Refused(422, STATE, "fractional orders must be DAY orders")
        if request.order_class is not OrderClass.SIMPLE:
            raise Refused(422, STATE, "fractional orders must be simple orders")
        if request.notional is not None and request.type is not OrderType.MARKET:
            raise Refused(422, STATE, "notional orders must be market orders")


def _check_prices(request: OrderRequest) -> None:
    wants_limit = request.type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    wants_stop = request.type in (OrderType.STOP, OrderType.STOP_LIMIT)
    by_leg = request.order_class is OrderClass.OCO  # its limit price is the take-profit's
    if wants_limit and request.limit_price is None and not by_leg:
        raise Refused(422, FIELD, f"{request.type.replace('_', ' ')} orders require limit_price")
    if wants_stop and request.stop_price is None:
        raise Refused(422, FIELD, f"{request.type.replace('_', ' ')} orders require stop_price")
    if request.limit_price is not None and not wants_limit:
        raise Refused(422, FIELD, f"{request.type} orders must not have limit_price")
    if request.stop_price is not None and not wants_stop:
        raise Refused(422, FIELD, f"{request.type} orders must not have stop_price")


def _check_session(request: OrderRequest) -> None:
    if not request.extended_hours:
        return
    if request.type is not OrderType.LIMIT:
        raise Refused(422, FIELD, 'only type="limit" is allowed for extended hours orders')
    if request.time_in_force not in (TimeInForce.DAY, TimeInForce.GTC) or request.order_class is not OrderClass.SIMPLE:
        raise Refused(422, FIELD, "extended hours order must be simple DAY or GTC limit orders")


def _check_class(request: OrderRequest) -> None:
    kind = request.order_class
    take_profit, stop_loss = request.take_profit_limit, request.stop_loss_stop
    if kind is OrderClass.SIMPLE:
        if take_profit is not None or stop_loss is not None:
            raise Refused(422, FIELD, "simple orders must not have take_profit or stop_loss")
        return
    if request.time_in_force not in (TimeInForce.DAY, TimeInForce.GTC):
        raise Refused(422, FIELD, f"{kind} orders must be DAY or GTC")
    if kind is not OrderClass.OTO:
        if take_profit is None:
            raise Refused(422, FIELD, f"{kind} orders require take_profit.limit_price")
        if stop_loss is None:
            raise Refused(422, FIELD, f"{kind} orders require stop_loss.stop_price")
    elif (take_profit is None) == (stop_loss is None):
        raise Refused(422, FIELD, "oto orders require either take_profit.limit_price or stop_loss.stop_price")
    if kind is OrderClass.OCO and request.type is not OrderType.LIMIT:
        raise Refused(422, FIELD, 'oco orders must be type="limit"')
    exit_is_sell = (request.side is Side.SELL) == (kind is OrderClass.OCO)
    _check_leg_order(request, exit_is_sell=exit_is_sell)


def _check_leg_order(request: OrderRequest, *, exit_is_sell: bool) -> None:
    take_profit, stop_loss = request.take_profit_limit, request.stop_loss_stop
    sign = 1 if exit_is_sell else -1
    if take_profit is not None and stop_loss is not None and (take_profit - stop_loss) * sign <= ZERO:
        side = "greater" if exit_is_sell else "less"
        raise Refused(422, FIELD, f"take_profit.limit_price must be {side} than stop_loss.stop_price")
    if stop_loss is not None and request.stop_loss_limit is not None and (stop_loss - request.stop_loss_limit) * sign < 0:
        raise Refused(422, FIELD, "stop_loss.limit_price lies on the wrong side of stop_loss.stop_price")
