"""The life of an order on the desk: signal, size, gate, intent, brackets, fills, targets, flat."""

from __future__ import annotations

from tests.execution.desk import Desk
from tradingsystem.domain.orders import OrderClass, Purpose
from tradingsystem.execution.exposure import pending_exits
from tradingsystem.execution.protection import cover_of
from tradingsystem.execution.status import status_of


def test_a_signal_becomes_two_covered_brackets() -> None:
    """A signal is bought in two brackets of ceil and floor halves, both covered by stops as soon as they are filled (invariant 8)."""
    desk = Desk()
    desk.quote("AAA", 99.98, 100.00)
    desk.signal("AAA")
    desk.advance(1)
    first, second = desk.sent(Purpose.ENTRY)
    assert (first.quantity, second.quantity) == (20, 20)
    assert first.order_class is OrderClass.BRACKET
    assert desk.shares("AAA") == 40 == desk.state.held("AAA")
    assert cover_of(desk.state, "AAA").unprotected == 0
    assert pending_exits(desk.state, "AAA") == 40
    assert status_of(desk.state).unprotected_shares == 0


def test_the_day_ends_flat() -> None:
    """At the flattening time before the close both targets are moved to the market and nothing is held or open at the close (invariant 9)."""
    desk = Desk(before_close_minutes=35)
    desk.quote("AAA", 99.98, 100.00)
    desk.signal("AAA")
    desk.advance(2)
    desk.to(desk.session.close_ns - 16 * 60 * 10**9)
    assert desk.shares("AAA") == 40
    desk.quote("AAA", 99.90, 99.95)
    desk.to(desk.session.close_ns - 14 * 60 * 10**9)
    assert desk.shares("AAA") == 0 == desk.state.held("AAA")
    assert not list(desk.ledger.open_orders())
    assert not desk.state.book.open()
    assert all(intent.replaces_order_id for intent in desk.sent(Purpose.FLATTEN))
    assert desk.state.equity() == desk.ledger.cash


def test_the_first_target_sells_half() -> None:
    """When the first target is reached its half is sold, the other half keeps its stop, and our profit is the broker's to the cent."""
    desk = Desk()
    desk.quote("AAA", 99.98, 100.00)
    desk.signal("AAA")
    desk.advance(2)
    desk.quote("AAA", 100.52, 100.55)
    desk.advance(2)
    assert desk.shares("AAA") == 20 == desk.state.held("AAA")
    assert cover_of(desk.state, "AAA").stopped == 20
    desk.quote("AAA", 99.0, 99.1)
    desk.advance(2)
    assert desk.shares("AAA") == 0 == desk.state.held("AAA")
    assert desk.state.equity() == desk.ledger.cash
    assert desk.state.statistics.wins + desk.state.statistics.losses == 1
