"""What could not be sold before the close: a stop that rests, a latch, and the first act of the next session. Tried over a whole night."""

from __future__ import annotations

import datetime

from tests.execution.desk import Desk
from tradingsystem.domain.control import Command, CommandKind
from tradingsystem.domain.orders import Purpose
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution import inbox
from tradingsystem.simulator.ledger import Side, TimeInForce

NEXT = datetime.date(2026, 3, 3)


def carrying() -> Desk:
    """Forty shares of AAA after a close over which the exchange had halted them."""
    made = Desk(before_close_minutes=40)
    made.quote("AAA", 99.98, 100.00)
    made.signal("AAA")
    made.advance(2)
    assert made.shares("AAA") == 40
    made.halt("AAA")
    made.to(made.session.close_ns + 300 * 10**9)
    return made


def resting(made: Desk) -> list[tuple[int, TimeInForce]]:
    """Open sells at the broker that have a stop."""
    orders = (order for order in made.ledger.open_orders("AAA") if order.side is Side.SELL and order.stop_price is not None)
    return [(int(order.remaining), order.time_in_force) for order in orders]


def test_a_resting_stop_and_the_latch() -> None:
    """After the close every share is under a stop that outlives it, once, and the latch says so (invariant 9)."""
    made = carrying()
    assert made.shares("AAA") == made.state.held("AAA") == 40
    assert resting(made) == [(40, TimeInForce.GTC)]
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.CARRIED]
    assert made.state.trading()[0] is TradingState.REDUCING
    assert made.alerts().count("carried") == 1


def test_it_is_the_first_act_of_the_next_session() -> None:
    """Over the night nothing is asked for in vain; at the open it is closed before anything else, and nothing opens beside it (invariant 9)."""
    made = carrying()
    posted = len(made.posted)
    made.next_session(NEXT)
    assert len(made.posted) == posted
    assert resting(made) == [(40, TimeInForce.GTC)]
    assert made.state.reconciled
    made.quote("AAA", 101.00, 101.02)
    made.quote("BBB", 99.98, 100.00)
    made.to(made.session.open_ns)
    opened_ns = made.now_ns
    made.advance(20)
    assert made.shares("AAA") == made.state.held("AAA") == 0
    assert not list(made.ledger.open_orders("AAA"))
    first = next(intent for intent in made.sent(Purpose.FLATTEN) if intent.decided_at_ns >= opened_ns)
    assert (first.symbol, first.quantity) == ("AAA", 40)
    assert first.decided_at_ns - opened_ns < 5 * 10**9
    made.to(made.session.open_ns + 600 * 10**9)
    made.quote("BBB", 99.98, 100.00)
    made.signal("BBB")
    assert made.codes() == ["trading-state"]


def test_a_person_lets_it_go_on() -> None:
    """A gap is sold by the resting stop, and counts in the new day; once the latch is cleared by its id, the new day trades."""
    made = carrying()
    made.next_session(NEXT)
    made.quote("AAA", 98.00, 98.02)
    made.to(made.session.open_ns + 20 * 10**9, tick=0.25)
    assert made.shares("AAA") == 0
    assert made.state.day.realised < 0
    (latch,) = made.state.latches
    command = Command(id="c", kind=CommandKind.CLEAR_LATCH, name="Ada", reason="sold at the open", latch_id=latch)
    made.enter(inbox.CommandReceived(received_at_ns=made.now_ns, command=command))
    made.to(made.session.open_ns + 600 * 10**9)
    made.quote("BBB", 99.98, 100.00)
    made.signal("BBB")
    made.advance(2)
    assert made.codes() == []
    assert made.shares("BBB") == 40


def test_a_crash_in_the_night_changes_nothing() -> None:
    """Whoever starts in the morning knows what is carried, from the journal and from the broker (invariants 9, 10)."""
    made = carrying()
    made.crash(lost=3)
    made.next_session(NEXT)
    made.crash(lost=3)
    made.quote("AAA", 98.00, 98.02)
    made.to(made.session.open_ns + 20 * 10**9, tick=0.25)
    assert made.shares("AAA") == made.state.held("AAA") == 0
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.CARRIED]
