"""What seeded days with faults have found in execution, each as the smallest story that shows it."""

from __future__ import annotations

from tests.execution.desk import Desk, execution_slice
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.orders import BrokerPosition, OrderState, Purpose
from tradingsystem.execution import inbox
from tradingsystem.execution.protection import cover_of
from tradingsystem.execution.step import begin


def desk(**more: object) -> Desk:
    made = Desk(**more)  # type: ignore[arg-type]
    made.quote("AAA", 99.98, 100.00)
    return made


def test_both_half_filled_brackets_are_covered() -> None:
    """A second bracket that ends half-filled gets its own OCO while the first one's lives, at once: its shares do not wait for it (invariant 8)."""
    made = desk(size=7.0)
    made.signal("AAA")
    made.advance(2.25)
    assert [intent.quantity for intent in made.sent(Purpose.PROTECT)] == [7]
    made.quote("AAA", 99.98, 100.00)
    made.advance(2.5)
    assert [intent.quantity for intent in made.sent(Purpose.PROTECT)] == [7, 7]
    assert cover_of(made.state, "AAA").stopped == made.shares("AAA") == 14


def test_a_moved_exit_that_never_arrived_is_sent_again() -> None:
    """A PATCH that was lost is repeated under its id; its intent is durable already and is not made a second time (invariants 2, 9)."""
    made = desk()
    made.signal("AAA")
    made.advance(2)
    made.wire.answers = ["lost-before"] * 2
    made.command(CommandKind.FLATTEN)
    lost = [record.key for record in made.state.book.open("AAA") if record.state is OrderState.UNKNOWN]
    assert len(lost) == 2
    made.advance(6)
    assert made.shares("AAA") == made.state.held("AAA") == 0
    assert [made.posted.count(key) for key in lost] == [2, 2]


def test_a_lost_journal_does_not_reset_the_rate() -> None:
    """Entries that only the broker still knows count in the limits on how often (limits)."""
    made = desk(settings=execution_slice(risk={"ordersPerMinuteMax": 3}))
    made.quote("BBB", 99.98, 100.00)
    made.signal("AAA")
    made.advance(2)
    started = inbox.Started(received_at_ns=made.now_ns, settings=made.settings, speed=1.0, store="store-2")
    made.state = begin(started)
    made.disconnect()
    made.enter(started)
    made.connect()
    made.enter(inbox.TimerTicked(received_at_ns=made.now_ns))
    assert made.state.reconciled
    made.signal("BBB")
    assert made.codes() == ["order-rate"]


def test_refusals_of_an_earlier_position_do_not_count() -> None:
    """A position's cover is not put off, and it is not sold, because covers of yesterday's position in the symbol were refused (invariant 8)."""
    made = desk(size=7.0)
    made.signal("AAA")
    made.wire.answers = ["refuse"] * 3
    made.advance(8)
    assert made.shares("AAA") == 0
    made.quote("AAA", 99.98, 100.00)
    made.signal("AAA")
    made.advance(2.5)
    assert made.shares("AAA") == cover_of(made.state, "AAA").stopped > 0


def test_a_sale_that_the_account_told_first_is_not_taken_off_twice() -> None:
    """The account lacks shares whose sale is counted a moment later: the rest is known to be there by the next second, and covered (invariant 8)."""
    made = desk()
    made.signal("AAA")
    made.advance(2)
    assert made.shares("AAA") == 40
    made.wire.hold_events = True
    made.quote("AAA", 100.55, 100.57)
    assert made.shares("AAA") == 20
    account_alone(made)  # the sold order is no open one: it is looked up, and counted
    assert made.state.held("AAA") == 20
    stop = next(order for order in made.ledger.open_orders("AAA") if order.stop_price is not None)
    made.exchange.cancel(stop.id, made.now_ns)
    made.tell(made.exchange.take_events())
    made.quote("AAA", 100.10, 100.12)
    made.advance(0.5)
    made.release()
    made.advance(0.5)
    assert cover_of(made.state, "AAA").stopped == made.state.present("AAA") == made.shares("AAA") == 20


def account_alone(made: Desk) -> None:
    """An answer to a snapshot that lists open orders only, as nearly all do; events are still on their way."""
    open_orders = tuple(made.view(order.id) for order in made.ledger.open_orders())
    positions = tuple(
        BrokerPosition(symbol=name, quantity=int(held.quantity), average_entry_price=held.average_price)
        for name, held in made.ledger.positions.items()
        if held.quantity
    )
    values = {"orders": open_orders, "positions": positions, "account": made.state.account}
    made.enter(inbox.SnapshotReceived(received_at_ns=made.now_ns, asked_at_ns=made.now_ns, **values))
