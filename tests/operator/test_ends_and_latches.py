"""Deletion in order, and the annotation that clears a latch: what is decided from what execution says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.systems import EVENING_NS, NOON_NS, position, trading
from tradingsystem.domain.control import Command, CommandKind
from tradingsystem.domain.trading import TradingState, TradingStatus
from tradingsystem_operator.deletion import FLATTEN_SECONDS, HALT_SECONDS, UNHEARD_SECONDS, Act, Asked, next_step
from tradingsystem_operator.events import TOLD
from tradingsystem_operator.latches import Refused, asked_for

HALTED, ACTIVE = TradingState.HALTED, TradingState.ACTIVE


def asked(status: TradingStatus | None, *, seconds: float = 1.0, ever_ran: bool = True, flatten_sent: bool = False) -> Asked:
    return Asked(seconds=seconds, ever_ran=ever_ran, status=status, flatten_sent=flatten_sent)


def test_a_system_that_never_ran_is_let_go_at_once() -> None:
    """A resource that was created by mistake must not hang for a minute."""
    step = next_step(asked(None, ever_ran=False))
    assert (step.act, step.reason) == (Act.LET_GO, "DeletedBeforeItRan")


def test_trading_is_halted_before_anything_else() -> None:
    """Nothing may be opened between the deletion and the last pod's end."""
    assert next_step(asked(trading(ACTIVE, positions=(position(),)))).act is Act.HALT


def test_positions_in_session_are_sold_once_and_waited_for() -> None:
    """One order to sell, not one a second."""
    status = trading(HALTED, positions=(position(),))
    assert next_step(asked(status)).act is Act.FLATTEN
    assert next_step(asked(status, flatten_sent=True)).act is Act.WAIT
    assert next_step(asked(trading(HALTED), flatten_sent=True)).reason == "DeletedFlat"


def test_with_the_market_closed_stops_stay_and_the_event_names_them() -> None:
    """Nobody can sell at night: the person learns what is held and that it is protected."""
    step = next_step(asked(trading(HALTED, at_ns=EVENING_NS, positions=(position("AAA", 10, 10), position("BBB", 5, 0)))))
    assert (step.act, step.reason, step.warning) == (Act.LET_GO, "DeletedWithStops", True)
    assert "10 AAA (10 under a stop)" in step.message
    assert "5 BBB (0 under a stop)" in step.message


def test_an_unconfirmed_halt_is_waited_for_and_then_told() -> None:
    """An entry that is still open at the broker would be filled with nobody there."""
    status = trading(HALTED, confirmed=False)
    assert next_step(asked(status)).act is Act.WAIT
    step = next_step(asked(status, seconds=HALT_SECONDS))
    assert (step.act, step.reason, step.warning) == (Act.LET_GO, "DeletedUnconfirmed", True)


def test_silence_is_waited_for_and_then_told() -> None:
    """A dead execution must not hold the resource for ever, and must not look like a flat one."""
    assert next_step(asked(None)).act is Act.WAIT
    step = next_step(asked(None, seconds=UNHEARD_SECONDS))
    assert (step.act, step.reason, step.warning) == (Act.LET_GO, "DeletedUnheard", True)


@given(
    st.one_of(
        st.none(),
        st.builds(
            trading,
            st.sampled_from(TradingState),
            at_ns=st.sampled_from([NOON_NS, EVENING_NS]),
            positions=st.sampled_from([(), (position(),)]),
            confirmed=st.booleans(),
        ),
    ),
    st.booleans(),
    st.booleans(),
    st.floats(0, 2 * FLATTEN_SECONDS),
)
def test_it_never_goes_on_trading_and_never_hangs(status: TradingStatus | None, ran: bool, sent: bool, seconds: float) -> None:
    """Whatever is said and however long it takes: not let go while it trades, let go in the end once it is halted, and every word is in the table."""
    step = next_step(asked(status, seconds=seconds, ever_ran=ran, flatten_sent=sent))
    assert step.reason in TOLD
    if ran and status is not None and status.state is not HALTED:
        assert step.act is Act.HALT
    elif seconds >= FLATTEN_SECONDS:
        assert step.act is Act.LET_GO
    if step.act is Act.FLATTEN:
        assert status is not None
        assert status.positions
        assert not sent


def test_an_annotation_is_one_command_however_often_it_is_read() -> None:
    """An operator that dies between sending and removing sends the same command, which execution can tell."""
    first, second = (asked_for("latch-1; Ada ; checked; the account, twice", "uid") for _ in range(2))
    assert isinstance(first, Command)
    assert first == second
    assert (first.kind, first.latch_id, first.name, first.reason) == (
        CommandKind.CLEAR_LATCH,
        "latch-1",
        "Ada",
        "checked; the account, twice",
    )
    other = asked_for("latch-1; Ada ; checked; the account, twice", "another uid")
    assert isinstance(other, Command)
    assert other.id != first.id


@pytest.mark.parametrize(
    "value", ["", "latch-1", "latch-1;Ada", "latch-1;;why", ";Ada;why", "latch-1;Ada;", "a;b;c\x07", f"a;b;{'x' * 2_000}"]
)
def test_without_a_name_and_a_reason_nothing_is_cleared(value: str) -> None:
    """The journal keeps both for ever; the answer says what the form is."""
    refused = asked_for(value, "uid")
    assert isinstance(refused, Refused)
    assert refused.why


@given(st.text(max_size=300))
def test_no_annotation_whatever_makes_it_fall(value: str) -> None:
    """An annotation is anybody's text."""
    found = asked_for(value, "uid")
    assert isinstance(found, Refused) or (found.name and found.reason and found.latch_id)
