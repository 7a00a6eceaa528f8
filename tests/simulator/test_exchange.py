"""Matching: only displayed size trades, never better than the book, after the latency, within the session."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tradingsystem.simulator.exchange import ExchangeSettings
from tradingsystem.simulator.feed import Kind
from tradingsystem.simulator.ledger import Order, Status

D = Decimal


def test_a_market_order_pays_the_ask_after_the_latency(trading: Any) -> None:
    """Nothing fills in the instant of the request; afterwards the whole ask is paid."""
    order = trading.post(qty=100)
    assert (order.status, order.filled) == (Status.PENDING_NEW, 0)
    trading.wait(0.0005)
    assert order.status is Status.PENDING_NEW
    trading.wait(0.001)
    assert (order.status, order.average_price) == (Status.FILLED, D(10))
    assert trading.names(order) == ["pending_new", "new", "fill"]


def test_displayed_size_is_consumed_until_the_next_quote(make_trading: Callable[..., Any]) -> None:
    """Two orders together never get more than what was displayed; a new quote shows new shares."""
    trading = make_trading(ExchangeSettings(latency_us=1, latency_jitter_us=0, depth_levels=1))
    trading.quote(9.99, 10.00, ask_size=150)
    first, second = trading.post(limit_price="10.00"), trading.post(limit_price="10.00")
    trading.wait()
    assert (first.filled, second.filled) == (100, 50)
    trading.wait()
    assert second.filled == 50
    trading.quote(9.99, 10.00, ask_size=20)
    assert (second.filled, second.status) == (70, Status.PARTIALLY_FILLED)


def test_a_large_order_walks_to_worse_levels_and_then_waits(trading: Any) -> None:
    """Behind the touch each level is worse and no deeper; what the walk does not reach stays open."""
    trading.quote(9.98, 10.00, ask_size=100)
    order = trading.post(qty=700)
    trading.wait()
    prices = [execution.price for execution in trading.ledger.executions]
    assert prices == [D("10.00"), D("10.01"), D("10.02"), D("10.03"), D("10.04")]
    assert order.filled == 500
    assert order.status is Status.PARTIALLY_FILLED


def test_a_limit_order_takes_no_level_beyond_its_limit(trading: Any) -> None:
    """The walk ends at the limit price."""
    trading.quote(9.98, 10.00, ask_size=100)
    order = trading.post(qty=700, limit_price="10.01")
    trading.wait()
    assert order.filled == 200
    assert max(execution.price for execution in trading.ledger.executions) == D("10.01")


def test_a_resting_limit_fills_at_its_own_limit_when_the_book_comes(trading: Any) -> None:
    """No price improvement for resting orders, and nothing for being at the touch."""
    order = trading.post(limit_price="9.90")
    trading.quote(9.90, 9.95)
    assert order.filled == 0
    trading.quote(9.80, 9.85)
    assert (order.status, order.average_price) == (Status.FILLED, D("9.90"))


@pytest.mark.parametrize(
    ("kind", "filled", "status"), [("ioc", 60, Status.CANCELED), ("fok", 0, Status.CANCELED), ("day", 60, Status.PARTIALLY_FILLED)]
)
def test_immediate_orders_do_not_rest(trading: Any, kind: str, filled: int, status: Status) -> None:
    """IOC keeps what it got and ends; FOK gets all or nothing."""
    trading.quote(9.98, 10.00, ask_size=60)
    order = trading.post(limit_price="10.00", time_in_force=kind)
    trading.wait()
    assert (order.filled, order.status) == (filled, status)


@pytest.mark.parametrize("how", ["trade", "quote"])
def test_a_sell_stop_is_elected_by_a_trade_or_by_the_bid(trading: Any, how: str) -> None:
    """Whichever reaches the stop first; then it takes the bid, however far below."""
    trading.hold(100)
    order = trading.post("sell", type="stop", stop_price="9.90")
    trading.quote(9.95, 9.97)
    assert not order.triggered
    if how == "trade":
        trading.trade(9.89)
        assert order.average_price == D("9.95")
    else:
        trading.quote(9.70, 9.72)
        assert order.average_price == D("9.70")
    assert order.status is Status.FILLED


def test_a_print_that_sets_no_last_price_elects_no_stop(trading: Any) -> None:
    """An odd lot or average-price print far away is no reason to sell."""
    trading.hold(100)
    order = trading.post("sell", type="stop", stop_price="9.90")
    trading.wait()
    trading.trade(9.50, condition=37)
    assert (order.triggered, order.status) == (False, Status.NEW)


def test_a_stop_limit_does_not_sell_below_its_limit(trading: Any) -> None:
    """After election it is a limit order: a gap leaves it unfilled."""
    trading.hold(100)
    order = trading.post("sell", type="stop_limit", stop_price="9.90", limit_price="9.85")
    trading.quote(9.50, 9.52)
    assert (order.triggered, order.filled) == (True, 0)
    trading.quote(9.86, 9.90)
    assert order.average_price == D("9.85")


def test_nothing_trades_in_a_halt_and_resumption_waits_for_a_quote(trading: Any) -> None:
    """The quote from before the halt is gone when trading resumes; cancelling works throughout."""
    trading.put(Kind.HALT, price=10.0, condition=1)
    order = trading.post()
    trading.quote(9.99, 10.00)
    assert order.filled == 0
    trading.put(Kind.RESUME, price=10.0, condition=1)
    assert order.filled == 0
    trading.quote(10.09, 10.10)
    assert order.average_price == D("10.1")


def test_no_fill_outside_the_price_bands(trading: Any) -> None:
    """A book that shows prices beyond the LULD bands is not traded against."""
    trading.put(Kind.LULD, price=9.5, price2=10.02)
    trading.quote(9.98, 10.00, ask_size=100)
    order = trading.post(qty=1_000)
    trading.wait()
    assert (order.filled, order.filled_value) == (300, D("3003.00"))
    trading.quote(10.05, 10.06)
    assert order.filled == 300


def test_a_market_buy_pays_at_most_its_collar(trading: Any) -> None:
    """4 % above the ask at which it arrived; a book that runs away leaves the rest open."""
    trading.quote(9.98, 10.00, ask_size=10)
    order = trading.post(qty=100)
    trading.wait()
    trading.quote(10.60, 10.62)
    assert order.price_cap == D("10.40")
    assert all(execution.price <= D("10.40") for execution in trading.ledger.executions)
    assert order.remaining > 0


def test_day_orders_expire_at_the_close_and_gtc_orders_stay(trading: Any) -> None:
    """At that day's real close, with an event each."""
    day = trading.post(limit_price="9.00")
    good = trading.post(limit_price="9.00", time_in_force="gtc")
    trading.to(trading.session.close_ns)
    assert (day.status, good.status) == (Status.EXPIRED, Status.NEW)
    assert trading.names(day)[-1] == "expired"
    assert day.expired_ns == trading.session.close_ns


@pytest.mark.parametrize("fields", [{"limit_price": "9.00"}, {"type": "stop", "stop_price": "11.00"}])
def test_nothing_trades_after_the_close(trading: Any, fields: dict[str, Any]) -> None:
    """A GTC order that survives the session neither fills nor is elected on quotes after it."""
    order = trading.post(time_in_force="gtc", **fields)
    trading.to(trading.session.close_ns)
    trading.quote(8.90, 8.95)
    trading.quote(11.90, 11.95)
    assert (order.status, order.filled, order.triggered) == (Status.NEW, 0, False)


def test_orders_before_the_open_rest_in_accepted(make_trading: Callable[..., Any]) -> None:
    """They become new at the open and only then trade."""
    trading = make_trading(early=True)
    trading.quote(9.99, 10.00)
    order = trading.post()
    trading.wait(60)
    assert (order.status, order.filled) == (Status.ACCEPTED, 0)
    trading.to(trading.session.open_ns)
    assert (order.status, order.filled_ns) == (Status.FILLED, trading.session.open_ns)
    assert trading.names(order) == ["accepted", "new", "fill"]


def test_extended_hours_limits_trade_before_the_open(make_trading: Callable[..., Any]) -> None:
    """Only those that ask for it."""
    trading = make_trading(early=True)
    trading.quote(9.99, 10.00)
    order = trading.post(limit_price="10.00", extended_hours=True)
    trading.wait()
    assert order.status is Status.FILLED


def test_sales_pay_fees_rounded_up_once_per_order(trading: Any) -> None:
    """SEC and TAF fee of a sale in two fills equal those of one; purchases pay none."""
    trading.hold(100)
    assert trading.ledger.fees == 0
    trading.quote(10.00, 10.02, bid_size=40)
    trading.post("sell", limit_price="10.00")
    trading.wait()
    trading.quote(10.00, 10.02, bid_size=60)
    sales = [execution for execution in trading.ledger.executions if execution.side == "sell"]
    assert [sale.quantity for sale in sales] == [40, 60]
    # 1,000 dollars x 27.80 / 1,000,000 = 0.0278 -> 0.03; 100 shares x 0.000195 = 0.0195 -> 0.02
    assert trading.ledger.fees == D("0.05")


def test_replacing_makes_a_chain_and_keeps_what_was_filled(trading: Any) -> None:
    """The successor has its own id and only the shares that are left; the old order ends `replaced`."""
    trading.quote(9.98, 10.00, ask_size=30)
    old = trading.post(limit_price="10.00")
    trading.wait()
    answer = trading.exchange.replace(old.id, {"limit_price": 9.99}, trading.now_ns)
    assert isinstance(answer, Order)
    new = trading.ledger.orders[answer.id]
    assert (old.status, new.status, new.replaces) == (Status.PENDING_REPLACE, Status.PENDING_NEW, old.id)
    trading.wait()
    assert (old.status, old.replaced_by, old.limit_price) == (Status.REPLACED, new.id, D("10.00"))
    assert (new.status, new.quantity, new.filled, new.limit_price) == (Status.NEW, 70, 0, D("9.99"))
    trading.quote(9.98, 9.99)
    assert new.status is Status.FILLED
    assert trading.ledger.position("AAA").quantity == 100


def test_a_fill_that_wins_rejects_the_replacement(trading: Any) -> None:
    """The old order trades between request and confirmation: the successor is rejected, nothing trades twice."""
    old = trading.post(limit_price="9.95")
    trading.wait()
    trading.feed.put(Kind.QUOTE, "AAA", trading.now_ns + 500_000, price=9.94, size=1_000, price2=9.95, size2=1_000)
    answer = trading.exchange.replace(old.id, {"limit_price": "9.96"}, trading.now_ns)
    trading.wait()
    assert isinstance(answer, Order)
    assert old.status is Status.FILLED
    assert trading.ledger.orders[answer.id].status is Status.REJECTED
    assert "order_replace_rejected" in trading.names(old)
    assert trading.ledger.position("AAA").quantity == 100


def test_a_fill_can_win_against_a_cancel(trading: Any) -> None:
    """204 is a request: what trades before it arrives stays traded."""
    order = trading.post(limit_price="9.95")
    trading.wait()
    trading.feed.put(Kind.QUOTE, "AAA", trading.now_ns + 500_000, price=9.94, size=40, price2=9.95, size2=40)
    assert trading.exchange.cancel(order.id, trading.now_ns) is None
    trading.wait()
    assert (order.status, order.filled) == (Status.CANCELED, 40)
    assert trading.names(order)[-3:] == ["pending_cancel", "partial_fill", "canceled"]


def test_cancelling_an_unconfirmed_replacement_cancels_both(trading: Any) -> None:
    """Neither end of the chain may go on working after its cancel."""
    old = trading.post(limit_price="9.00")
    trading.wait()
    answer = trading.exchange.replace(old.id, {"limit_price": "9.10"}, trading.now_ns)
    assert isinstance(answer, Order)
    assert trading.exchange.cancel(answer.id, trading.now_ns) is None
    trading.wait()
    assert not list(trading.ledger.open_orders())


def test_a_notional_order_buys_fractions(trading: Any) -> None:
    """Dollars divided by the ask, to nine decimals; never more dollars than given."""
    order = trading.post(qty=None, notional="105.55")
    trading.wait()
    assert order.filled == D("10.555")
    assert order.filled_value <= D("105.55")


def test_a_short_sale_and_its_cover_balance(trading: Any) -> None:
    """Selling from flat makes a negative position; covering realises the difference."""
    trading.post("sell", qty=50)
    trading.wait()
    assert trading.ledger.position("AAA").quantity == -50
    trading.quote(9.49, 9.50)
    trading.post("buy", qty=50)
    trading.wait()
    position = trading.ledger.positions["AAA"]
    assert (position.quantity, position.cost, position.realised) == (0, 0, D("24.50"))
    assert trading.ledger.cash == trading.ledger.cash_expected()


def test_the_same_seed_and_calls_give_the_same_events(make_trading: Callable[..., Any]) -> None:
    """Ids, latencies and executions repeat to the last byte."""

    def play() -> list[str]:
        trading = make_trading(ExchangeSettings(), seed=99)
        trading.quote(9.99, 10.00, ask_size=70)
        trading.bracket()
        trading.quote(9.99, 10.00)
        trading.quote(10.60, 10.61)
        return [repr(event) for event in trading.events]

    assert play() == play()
