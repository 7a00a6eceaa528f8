"""Fewer shares at the broker than our fills say: sold by hand, or merged by a reverse split. Nothing is sold twice, and nothing is asked for in vain."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.execution.desk import Desk
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.orders import Purpose
from tradingsystem.execution.protection import cover_of
from tradingsystem.simulator.ledger import Order, OrderClass, Side


def held() -> Desk:
    """Forty shares of AAA in two brackets whose legs live."""
    made = Desk()
    made.quote("AAA", 99.98, 100.00)
    made.signal("AAA")
    made.advance(2)
    assert made.shares("AAA") == made.state.held("AAA") == 40
    assert cover_of(made.state, "AAA").stopped == 40
    return made


def by_hand(made: Desk, quantity: int) -> None:
    """A person frees one bracket's shares at the broker and sells some of them, under an id that is not ours, quicker than we hear of it."""
    made.wire.hold_events = True
    legs = [order for order in made.ledger.open_orders("AAA") if order.side is Side.SELL]
    made.exchange.cancel(legs[0].id, made.now_ns)
    made.advance(0.25)
    body = {"symbol": "AAA", "side": "sell", "qty": str(quantity), "type": "market", "time_in_force": "day", "client_order_id": "ada-1"}
    sold = made.exchange.submit(body, made.now_ns)
    assert isinstance(sold, Order), sold
    made.tell(made.exchange.take_events())
    made.advance(0.25)
    assert made.shares("AAA") == 40 - quantity
    made.release()


def test_a_sale_by_hand_is_not_sold_again() -> None:
    """Flatten right after a person has sold half: only the other half is sold, before and after the account has been compared (invariant 6)."""
    made = held()
    by_hand(made, 20)
    made.advance(0.5)
    made.command(CommandKind.FLATTEN)
    for _ in range(60):
        made.advance(1)
        assert made.shares("AAA") >= 0
    assert made.shares("AAA") == 0
    assert sum(execution.quantity for execution in made.ledger.executions if execution.side is Side.SELL) == 40


def test_what_was_sold_since_stays_sold() -> None:
    """The broker lacks twenty of forty; once the other twenty are sold, none is left to sell, although our fills still say twenty (invariant 6)."""
    made = held()
    by_hand(made, 20)
    made.advance(40)
    assert "AAA" in made.state.frozen
    made.command(CommandKind.FLATTEN)
    made.advance(2)
    assert made.state.held("AAA") == 20
    assert made.state.sellable("AAA") == made.shares("AAA") == 0
    posted = len(made.posted)
    made.advance(20)
    assert len(made.posted) == posted


def test_a_sale_whose_order_nobody_knows_yet_counts() -> None:
    """Between a foreign fill and the account's word its shares are believed gone: a flatten in that moment leaves them alone (invariant 6)."""
    made = held()
    by_hand(made, 20)
    assert made.state.sellable("AAA") == made.shares("AAA") == 20


def merged(made: Desk, factor: int) -> None:
    """A reverse split: the broker ends the symbol's orders, holds a fraction of the shares, and the price is so many times as high."""
    for order in [order for order in made.ledger.open_orders("AAA") if order.order_class is not OrderClass.SIMPLE]:
        made.exchange.cancel(order.id, made.now_ns)
    made.advance(0.25)
    position = made.ledger.positions["AAA"]
    assert position.quantity % factor == 0
    position.quantity /= factor
    made.quote("AAA", 99.98 * factor, 100.00 * factor)


def test_after_a_reverse_split_no_order_asks_for_shares_that_are_gone() -> None:
    """Forty shares became four: what is asked for is never more than four, and it is asked for once, not for ever (invariants 6, 8)."""
    made = held()
    made.disconnect()
    merged(made, 10)
    made.connect()
    made.advance(10)
    refused = made.alerts().count("exit-refused")
    made.advance(30)
    assert made.alerts().count("exit-refused") == refused
    assert made.shares("AAA") == cover_of(made.state, "AAA").stopped == 4
    stops = [order.stop_price for order in made.ledger.open_orders("AAA") if order.stop_price is not None]
    assert stops == [Decimal("994.80")]  # from where the market is: what ours cost says nothing of these shares
    late = [intent for intent in made.sent(Purpose.PROTECT) + made.sent(Purpose.FLATTEN) if intent.decided_at_ns > made.now_ns - 25 * 10**9]
    assert all(intent.quantity <= 4 for intent in late)


@pytest.mark.parametrize("left", [0, 7, 20, 33])
def test_exits_of_shares_that_are_gone_are_cancelled(left: int) -> None:
    """Legs that would sell more than the broker has are ended once the difference is certain; what is there has its stop (invariants 6, 8)."""
    made = held()
    made.ledger.positions["AAA"].quantity = Decimal(left)
    made.advance(60)
    working = [order for order in made.ledger.open_orders("AAA") if order.side is Side.SELL and str(order.leg) != "take_profit"]
    assert sum(order.remaining for order in working) == left
    assert cover_of(made.state, "AAA").unprotected == 0
    posted = len(made.posted)
    made.advance(60)
    assert len(made.posted) == posted
