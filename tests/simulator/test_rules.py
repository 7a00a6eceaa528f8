"""Every refusal of the broker, by HTTP status, code and words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tradingsystem.simulator.ledger import Order
from tradingsystem.simulator.order_request import Refusal, parse_order

MALFORMED, FIELD, FORBIDDEN, STATE = (400, 40010000), (422, 40010001), (403, 40310000), (422, 42210000)
BRACKET = {"order_class": "bracket", "take_profit": {"limit_price": "10.5"}, "stop_loss": {"stop_price": "9.5"}}


def refused(result: Order | Refusal | None, expected: tuple[int, int], words: str) -> Refusal:
    assert isinstance(result, Refusal), result
    assert (result.http, result.code) == expected, result
    assert words in result.message
    assert result.body()["code"] == expected[1]
    return result


@pytest.mark.parametrize(
    ("fields", "expected", "words"),
    [
        ({"symbol": None}, FIELD, "symbol is required"),
        ({"symbol": "NOPE"}, FIELD, 'could not find asset "NOPE"'),
        ({"side": None}, FIELD, "side is required"),
        ({"side": "hold"}, FIELD, "invalid side: hold"),
        ({"type": None}, FIELD, "type is required"),
        ({"type": "trailing_stop"}, FIELD, "invalid type"),
        ({"time_in_force": None}, FIELD, "time_in_force is required"),
        ({"time_in_force": "opg"}, FIELD, "invalid time_in_force"),
        ({"order_class": "mleg"}, FIELD, "invalid order_class"),
        ({"qty": None}, FIELD, "qty or notional is required"),
        ({"qty": 0}, FIELD, "qty must be > 0"),
        ({"qty": -5}, FIELD, "qty must be > 0"),
        ({"qty": "ten"}, FIELD, "qty must be a number"),
        ({"qty": "NaN"}, FIELD, "qty must be > 0"),
        ({"qty": True}, FIELD, "qty must be a number"),
        ({"qty": "1.0000000001"}, FIELD, "9 decimal places"),
        ({"qty": 1, "notional": 5}, MALFORMED, "only one of qty or notional"),
        ({"qty": None, "notional": "0.5"}, FIELD, ">= 1.00"),
        ({"qty": None, "notional": "5.555"}, FIELD, "2 decimal places"),
        ({"qty": None, "notional": "5", "limit_price": 10}, STATE, "notional orders must be market"),
        ({"qty": "1.5", "time_in_force": "gtc"}, STATE, "fractional orders must be DAY"),
        ({"qty": "1.5", "limit_price": 10, **BRACKET}, STATE, "fractional orders must be simple"),
        ({"type": "limit"}, FIELD, "limit orders require limit_price"),
        ({"type": "stop"}, FIELD, "stop orders require stop_price"),
        ({"type": "stop_limit", "stop_price": 11}, FIELD, "stop limit orders require limit_price"),
        ({"type": "market", "limit_price": 10}, FIELD, "market orders must not have limit_price"),
        ({"type": "limit", "limit_price": 10, "stop_price": 9}, FIELD, "limit orders must not have stop_price"),
        ({"limit_price": "10.001"}, STATE, "sub-penny increment does not fulfill minimum pricing criteria"),
        ({"limit_price": "0.12345"}, STATE, "sub-penny"),
        ({"extended_hours": True}, FIELD, 'only type="limit" is allowed for extended hours orders'),
        ({"limit_price": 10, "extended_hours": True, "time_in_force": "ioc"}, FIELD, "extended hours"),
        ({"client_order_id": "x" * 129}, FIELD, "1 to 128 characters"),
        ({"client_order_id": ""}, FIELD, "1 to 128 characters"),
        ({"take_profit": {"limit_price": 11}}, FIELD, "simple orders must not have take_profit"),
        ({"order_class": "bracket", "stop_loss": {"stop_price": 9}}, FIELD, "bracket orders require take_profit.limit_price"),
        ({"order_class": "bracket", "take_profit": {"limit_price": 11}}, FIELD, "bracket orders require stop_loss.stop_price"),
        ({**BRACKET, "time_in_force": "ioc"}, FIELD, "bracket orders must be DAY or GTC"),
        ({**BRACKET, "order_class": "oto"}, FIELD, "oto orders require either"),
        ({**BRACKET, "order_class": "oco"}, FIELD, 'oco orders must be type="limit"'),
        ({**BRACKET, "order_class": "oco", "side": "sell", "type": "limit"}, STATE, "oco orders must be exit orders"),
        ({**BRACKET, "take_profit": {"limit_price": "9.4"}}, FIELD, "take_profit.limit_price must be greater"),
        ({**BRACKET, "limit_price": "9.50"}, STATE, "stop_loss.stop_price must be <= base_price - 0.01"),
        ({**BRACKET, "limit_price": "10.50"}, STATE, "take_profit.limit_price must be >= base_price + 0.01"),
        ({**BRACKET, "stop_loss": {"stop_price": "9.5", "limit_price": "9.6"}}, FIELD, "wrong side"),
        ({"qty": 30_000}, FORBIDDEN, "insufficient buying power"),
        ({"side": "sell", "qty": "0.5"}, FORBIDDEN, "cannot be sold short"),
    ],
)
def test_a_wrong_order_is_refused(trading: Any, fields: dict[str, Any], expected: tuple[int, int], words: str) -> None:
    """With the venue's status, code and message; nothing enters the ledger."""
    refused(trading.ask(**fields), expected, words)
    assert not trading.ledger.orders


@pytest.mark.parametrize("body", [None, [], "order", 5])
def test_a_body_that_is_no_object_is_malformed(body: object) -> None:
    """400, before any field is looked at."""
    refused(parse_order(body), MALFORMED, "failed to decode")


def test_numbers_may_be_strings_ints_or_floats(trading: Any) -> None:
    """As alpaca-py and others send them."""
    for quantity in ("10", 10, 10.0, "10.0"):
        assert trading.post(qty=quantity, limit_price=9.99).quantity == 10


def test_a_client_order_id_is_unique_for_ever(trading: Any) -> None:
    """Also when the first order has long ended."""
    order = trading.post(client_order_id="one")
    trading.wait()
    assert order.terminal
    refused(trading.ask(client_order_id="one"), FIELD, "client_order_id must be unique")


def test_buying_power_counts_open_orders(trading: Any) -> None:
    """Twice the equity less what open buys reserve; the refusal names both sums."""
    trading.post(qty=19_000, limit_price="10.00", time_in_force="gtc")
    refusal = refused(trading.ask(qty=1_500, limit_price="10.00"), FORBIDDEN, "insufficient buying power")
    assert refusal.fields == {"buying_power": "10000.00", "cost_basis": "15000.00"}


def test_shares_held_by_an_open_order_cannot_be_sold_twice(trading: Any) -> None:
    """With the fields a client branches on."""
    trading.hold(100)
    first = trading.post("sell", limit_price="11.00", qty=70)
    refusal = refused(trading.ask("sell", 50), FORBIDDEN, "insufficient qty available for order (requested: 50, available: 30)")
    assert refusal.fields == {
        "available": "30",
        "existing_qty": "100",
        "held_for_orders": "70",
        "related_orders": [first.id],
        "symbol": "AAA",
    }


def test_one_order_does_not_cross_zero(trading: Any) -> None:
    """Selling more than is held is refused, it does not go short."""
    trading.hold(100)
    refused(trading.ask("sell", 150), FORBIDDEN, "insufficient qty available")


def test_a_bracket_is_no_exit(trading: Any) -> None:
    """Selling what is held with a bracket is refused."""
    trading.hold(100)
    fields = {"order_class": "bracket", "take_profit": {"limit_price": "9.5"}, "stop_loss": {"stop_price": "10.5"}}
    refused(trading.ask("sell", **fields), STATE, "bracket orders must be entry orders")


@pytest.mark.parametrize(
    ("open_order", "fields", "washes"),
    [
        ({"limit_price": "11.00"}, {"limit_price": "11.00"}, True),
        ({"limit_price": "11.00"}, {"limit_price": "10.99"}, False),
        ({"limit_price": "11.00"}, {}, True),
        ({"type": "stop", "stop_price": "9.00"}, {"limit_price": "9.50"}, True),
        ({"limit_price": "11.00"}, {"limit_price": "11.00", **BRACKET, "take_profit": {"limit_price": "11.5"}}, False),
    ],
)
def test_wash_trades_are_refused(trading: Any, open_order: dict[str, Any], fields: dict[str, Any], washes: bool) -> None:
    """Limits only when they cross, market and stop orders always, groups never."""
    trading.hold(100)
    resting = trading.post("sell", **open_order)
    result = trading.ask("buy", 10, **fields)
    if not washes:
        assert isinstance(result, Order), result
        return
    refusal = refused(result, FORBIDDEN, "potential wash trade detected. use complex orders")
    assert refusal.fields["existing_order_id"] == resting.id
    assert refusal.fields["reject_reason"] == f"opposite side {resting.type.replace('_', ' ')} order exists"


def test_from_flat_only_one_direction_may_be_open(trading: Any) -> None:
    """No short sale while a buy waits, and the reverse."""
    trading.post(limit_price="9.00")
    refused(trading.ask("sell", limit_price="11.00"), FORBIDDEN, "cannot open a short sell while a long buy order is open")


def test_a_small_account_may_not_short(make_trading: Callable[..., Any]) -> None:
    """Below $2,000 of equity."""
    trading = make_trading(cash=1_500)
    trading.quote(9.99, 10.00)
    refused(trading.ask("sell", 10), FORBIDDEN, "not allowed to short")


def test_immediate_orders_need_an_open_market(make_trading: Callable[..., Any]) -> None:
    """IOC and FOK before the open are refused, not queued."""
    trading = make_trading(early=True)
    trading.quote(9.99, 10.00)
    refused(trading.ask(limit_price="10.00", time_in_force="ioc"), STATE, "only accepted during market hours")


def test_a_suspended_account_takes_no_orders(trading: Any) -> None:
    """Until the owner lifts it."""
    trading.ledger.trading_suspended = True
    refused(trading.ask(), FORBIDDEN, "new orders are rejected by user request")


def test_a_market_order_needs_a_price(make_trading: Callable[..., Any]) -> None:
    """Nothing known about a symbol: no estimate of its cost, no order."""
    trading = make_trading()
    trading.exchange.book.last[:] = float("nan")
    refused(trading.ask(), FORBIDDEN, "no market price")


def test_cancels_and_replaces_of_ended_orders_are_refused(trading: Any) -> None:
    """Naming the state."""
    order = trading.post()
    trading.wait()
    refused(trading.exchange.cancel(order.id, trading.now_ns), STATE, 'order is already in "filled" state')
    refused(trading.exchange.replace(order.id, {"limit_price": 10}, trading.now_ns), STATE, 'order is already in "filled" state')


def test_what_a_replace_may_not_do(trading: Any) -> None:
    """Each rule of replacing with its code."""
    order = trading.post(limit_price="9.00", client_order_id="one")
    replace = lambda **fields: trading.exchange.replace(order.id, fields, trading.now_ns)  # noqa: E731
    refused(replace(limit_price=9.1), STATE, "cannot replace order in pending_new status")
    trading.wait()
    refused(replace(stop_price=9.1), FIELD, "limit orders must not have stop_price")
    refused(replace(qty="1.5"), FIELD, "qty must be an integer")
    refused(replace(client_order_id="one"), FIELD, "client_order_id must be unique")
    refused(replace(trail=1), FIELD, "trail can only be replaced")
    refused(replace(qty=30_000), FORBIDDEN, "insufficient buying power")
    refused(trading.exchange.replace(order.id, None, trading.now_ns), MALFORMED, "failed to decode")
    assert isinstance(replace(limit_price="9.05"), Order)
    refused(replace(limit_price="9.06"), STATE, "cannot replace order in pending_replace status")


def test_a_leg_keeps_its_quantity(trading: Any) -> None:
    """Only its prices can be moved."""
    entry = trading.bracket()
    trading.wait()
    target = trading.ledger.legs(entry)[0]
    refused(trading.exchange.replace(target.id, {"qty": 50}, trading.now_ns), STATE, "qty of a complex order")
