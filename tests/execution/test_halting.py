"""Halting, by whichever way: nothing opens from that entry on, what rests is cancelled until the broker says so, and protection stays."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.execution.desk import Desk, execution_slice
from tradingsystem.domain.control import Command, CommandKind
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution import inbox
from tradingsystem.execution.actions import Cancel, SetLatch
from tradingsystem.execution.halting import open_entries
from tradingsystem.execution.inbox import read_command
from tradingsystem.execution.orders import Role
from tradingsystem.execution.protection import cover_of
from tradingsystem.execution.status import status_of
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.spec.slices import told_by_the_journal

AT_NS = 1_000


def resting() -> Desk:
    """AAA is held and protected; two entries of BBB rest at the broker and are younger than their life."""
    made = Desk()
    for symbol in ("AAA", "BBB", "CCC"):
        made.quote(symbol, 99.98, 100.00)
    made.signal("AAA")
    made.advance(3)
    made.quote("BBB", 99.98, 100.00, 0.0)
    made.signal("BBB")
    made.advance(0.5)
    assert len(open_entries(made.state)) == 2
    return made


def by_command(made: Desk) -> None:
    made.command(CommandKind.HALT)


def by_file(made: Desk) -> None:
    made.enter(inbox.HaltFileSeen(received_at_ns=made.now_ns, reason="enough"))


def by_wish(made: Desk) -> None:
    made.enter(inbox.SpecReceived(received_at_ns=made.now_ns, generation=1, live=execution_slice(trading={"state": "Halted"}).live))


def by_broker(made: Desk) -> None:
    made.ledger.trading_suspended = True
    made._snapshot()


WAYS = [by_command, by_file, by_wish, by_broker]


@pytest.mark.parametrize("halt", WAYS)
def test_each_way_acts_with_its_own_entry(halt: Callable[[Desk], None]) -> None:
    """Both resting entries are asked to be cancelled before anything else happens, nothing opens afterwards, no stop is touched, and a crash changes
    nothing of it."""
    made = resting()
    before = len(made.log)
    halt(made)
    cancelled = {action.client_order_id for action in made.log[before:] if isinstance(action, Cancel)}
    assert cancelled == {record.key for record in made.state.book.of("BBB") if record.role is Role.ENTRY}
    made.advance(2)
    assert not made.state.book.open("BBB")
    assert cover_of(made.state, "AAA").stopped == made.shares("AAA") == 40
    made.signal("CCC")
    assert made.codes() == ["trading-state"]
    assert made.state.halting is not None
    assert made.state.halting.confirmed
    made.crash(lost=2 if halt is not by_wish else 0)
    assert made.state.trading()[0] is TradingState.HALTED


def test_a_halt_is_not_done_before_the_broker_says_so() -> None:
    """A cancel that is taken and has no effect is asked for again and told; the account is polled; when the orders are gone it is confirmed."""
    made = resting()
    honest = made.exchange.cancel
    made.exchange.cancel = lambda *_: None  # type: ignore[method-assign]
    by_command(made)
    made.advance(8)
    assert "halt-unconfirmed" in made.alerts()
    assert len([action for action in made.log if isinstance(action, Cancel)]) >= 6
    assert made.state.halting is not None
    assert not made.state.halting.confirmed
    assert not status_of(made.state).halt_confirmed
    made.exchange.cancel = honest  # type: ignore[method-assign]
    made.advance(5)
    assert status_of(made.state).halt_confirmed
    told = made.alerts().count("halt-unconfirmed")
    made.advance(20)
    assert made.alerts().count("halt-unconfirmed") == told


def test_a_broker_that_cannot_be_read_confirms_nothing() -> None:
    """Silence is not a confirmation, even when we know of no entry."""
    made = Desk()
    made.quiet = True
    by_command(made)
    made.advance(7)
    assert "halt-unconfirmed" in made.alerts()


def test_an_entry_that_turns_up_later_is_cancelled_as_well() -> None:
    """One whose answer was lost reached the broker all the same: as soon as it is known it goes."""
    made = Desk()
    made.quote("AAA", 99.98, 100.00, 0.0)
    made.wire.answers = ["lost-after", "lost-after"]
    made.wire.drop_events = 1_000
    made.signal("AAA")
    by_file(made)
    made.wire.drop_events = 0
    made.advance(6)
    assert not list(made.ledger.open_orders())


def test_the_file_sets_one_latch_that_outlives_it() -> None:
    """However often it is seen; only a person clears it, and one who left the file there is halted again."""
    made = Desk()
    by_file(made)
    by_file(made)
    latches = [action.latch for action in made.log if isinstance(action, SetLatch)]
    assert [(latch.kind, latch.set_by, latch.reason) for latch in latches] == [(LatchKind.HALT, "file", "enough")]
    made.crash(lost=2)
    assert list(made.state.latches) == [latches[0].id]
    made.command(CommandKind.RESUME)
    assert made.state.trading()[0] is TradingState.ACTIVE
    by_file(made)
    assert made.state.trading()[0] is TradingState.HALTED


def test_a_persons_halt_and_the_files_are_two() -> None:
    """In the same moment, as when the market's clock stands: neither replaces the other."""
    made = Desk()
    by_command(made)
    by_file(made)
    assert sorted(latch.set_by for latch in made.state.latches.values()) == ["Ada", "file"]


def test_the_brokers_switch_is_lifted_at_the_broker() -> None:
    """Resume and clear are refused while the account is suspended, asking the broker anew; after it was lifted there they work."""
    made = Desk()
    by_broker(made)
    (latch,) = made.state.latches.values()
    assert (latch.kind, latch.set_by) == (LatchKind.HALT, "broker")
    made.command(CommandKind.RESUME)
    made.command(CommandKind.CLEAR_LATCH, latch.id)
    assert made.state.trading()[0] is TradingState.HALTED
    made.ledger.trading_suspended = False
    made.advance(2)
    assert made.state.trading()[0] is TradingState.HALTED
    made.command(CommandKind.RESUME)
    assert made.state.trading()[0] is TradingState.ACTIVE


def test_a_forbidden_entry_asks_for_the_account() -> None:
    """The switch was thrown between two looks at the account: the first refused order makes us look, and latch."""
    made = Desk()
    made.quote("AAA", 99.98, 100.00)
    made.ledger.trading_suspended = True
    made.signal("AAA")
    made.advance(2)
    assert [latch.set_by for latch in made.state.latches.values()] == ["broker"]


def test_a_wiped_journal_halts_also_a_simulation() -> None:
    """What this place knows of another journal is enough: nothing is known of earlier orders (invariant 5)."""
    made = Desk()
    made.enter(made._started(wiped=True))
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.NEW_STORE]


def test_a_file_that_was_edited_goes_before_what_was_applied() -> None:
    """A restart with the same file keeps what was applied while running; one with another file takes its limits over."""
    made = Desk()
    by_wish(made)
    made.enter(made._started())
    assert made.state.trading()[0] is TradingState.HALTED
    made.settings = execution_slice(risk={"positionsOpenMax": 1})
    made.enter(made._started())
    assert made.state.live == made.settings.live


def test_a_slice_without_settings_of_its_own_never_goes_before_the_journal() -> None:
    """In pods live settings come through the journal alone: a ConfigMap older than the last edit cannot bring an earlier limit back.

    Until the journal has spoken, the first start is Halted; afterwards a slice that differs in any way changes nothing.
    """
    made = Desk()
    made.settings = told_by_the_journal(made.settings)
    made.enter(made._started())
    assert made.state.trading()[0] is TradingState.HALTED
    applied = execution_slice(risk={"positionsOpenMax": 1}).live
    made.enter(inbox.SpecReceived(received_at_ns=made.now_ns, generation=5, live=applied))
    made.settings = msgspec.structs.replace(made.settings, live=execution_slice(risk={"positionsOpenMax": 9}).live)
    made.enter(made._started())
    assert (made.state.generation, made.state.live) == (5, applied)


OWN = Command(id="7", kind=CommandKind.REDUCE, name="Ada", reason="why")


@pytest.mark.parametrize(
    ("payload", "command"),
    [
        (encode(OWN), OWN),
        (b"HALT", Command(id="plain-1000", kind=CommandKind.HALT, name="", reason="")),
        (b"halt: fire in the hall\n", Command(id="plain-1000", kind=CommandKind.HALT, name="", reason="fire in the hall")),
        (b' {"kind": "Halt"}', Command(id="plain-1000", kind=CommandKind.HALT, name="", reason="")),
        (
            b'{"kind": "ClearLatch", "name": "Ada", "reason": "seen", "latch_id": "x"}',
            Command(id="plain-1000", kind=CommandKind.CLEAR_LATCH, name="Ada", reason="seen", latch_id="x"),
        ),
    ],
)
def test_commands_in_every_form(payload: bytes, command: Command) -> None:
    """Our own, the word, and JSON; what goes into the journal is one form."""
    assert read_command(payload, AT_NS) == command
    entry = inbox.CommandReceived(received_at_ns=AT_NS, command=read_command(payload, AT_NS))
    assert decode(encode(entry), inbox.InboxEntry) == entry


@pytest.mark.parametrize("payload", [b"", b"resume", b"{}", b'{"kind": "Sell"}', b'{"kind": "Halt", "amount": 3}', b"[1"])
def test_anything_else_is_no_command(payload: bytes) -> None:
    """Nothing but a halt can be said in one word."""
    with pytest.raises(Malformed):
        read_command(payload, AT_NS)
