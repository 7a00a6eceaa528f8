"""A stock splits over the night while it is held: what is rebased, when, and what stays a person's to explain. Tried with the simulated broker's account."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from tests.execution.desk import Desk
from tests.execution.test_carried import NEXT, resting
from tradingsystem.domain.orders import Purpose
from tradingsystem.domain.trading import LatchKind
from tradingsystem.execution import actions as act
from tradingsystem.execution import inbox
from tradingsystem.execution.recovery import fold
from tradingsystem.execution.state import State
from tradingsystem.messages.codec import decode, encode
from tradingsystem.simulator.ledger import Side, TimeInForce


def carrying(ask: float = 100.00) -> Desk:
    """Shares of AAA after a close over which the exchange had halted them: 4,000 dollars' worth, so 40 at a hundred."""
    made = Desk(before_close_minutes=40)
    made.quote("AAA", ask - 0.02, ask)
    made.signal("AAA")
    made.advance(2)
    made.halt("AAA")
    made.to(made.session.close_ns + 300 * 10**9)
    assert made.shares("AAA") == made.state.held("AAA") > 0
    return made


def over_the_night(made: Desk, old_rate: int, new_rate: int, *, announced: bool = True, carried_out: bool = True) -> None:
    """Up to the next open, with a split before it."""
    if announced:
        made.announce("AAA", old_rate, new_rate, NEXT)

    def morning() -> None:
        if carried_out:
            made.split("AAA", old_rate, new_rate)

    made.next_session(NEXT, morning)


def rebased(made: Desk) -> list[act.Rebase]:
    return [action for action in made.log if isinstance(action, act.Rebase)]


def asked(made: Desk) -> int:
    return sum(isinstance(action, act.AskSplits) for action in made.log)


@pytest.mark.parametrize(
    ("ask", "held", "old_rate", "new_rate", "left"),
    [(100.00, 40, 1, 2, 80), (97.50, 41, 2, 3, 61), (88.80, 45, 10, 1, 4), (100.00, 40, 1, 20, 800)],
    ids=["2-for-1", "3-for-2 with a fraction", "1-for-10 with a fraction", "20-for-1"],
)
def test_announced_and_carried_out(ask: float, held: int, old_rate: int, new_rate: int, left: int) -> None:
    """Shares, average price and the resting stop are those after the split, money is what it was, and nobody is called (invariants 8, 10)."""
    made = carrying(ask)
    before = made.state.positions["AAA"]
    assert before.quantity == held
    price, cost, profit = before.average_price, before.cost, made.state.day_profit()
    over_the_night(made, old_rate, new_rate)
    position = made.state.positions["AAA"]
    assert (position.quantity, made.shares("AAA")) == (left, left)
    assert position.average_price == pytest.approx(price * old_rate / new_rate)
    whole = left * old_rate == held * new_rate
    assert position.cost == cost if whole else position.cost < cost
    assert resting(made) == [(left, TimeInForce.GTC)]
    (stop,) = (order.stop_price for order in made.ledger.open_orders("AAA") if order.side is Side.SELL)
    assert stop is not None
    assert stop < position.average_price
    assert stop == pytest.approx(position.average_price * Decimal("0.995"), abs=Decimal("0.02"))
    assert made.state.reconciled
    assert not made.state.frozen
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.CARRIED]
    assert len(rebased(made)) == 1
    assert abs(made.state.day_profit() - profit) <= abs(profit) + Decimal("0.02") * held  # unrealised alone, and that of a fraction
    assert made.ledger.cash == made.ledger.cash_expected()


def test_it_is_closed_at_the_open_in_shares_after_the_split() -> None:
    """The first act of the session sells every share there is, and what the day earned is what the price did, not the split (invariants 6, 9)."""
    made = carrying()
    over_the_night(made, 1, 2)
    made.quote("AAA", 50.49, 50.51)
    made.to(made.session.open_ns)
    opened_ns = made.now_ns
    made.advance(20)
    assert made.shares("AAA") == made.state.held("AAA") == 0
    first = next(intent for intent in made.sent(Purpose.FLATTEN) if intent.decided_at_ns >= opened_ns)
    assert (first.symbol, first.quantity) == ("AAA", 80)
    assert made.state.day.realised == pytest.approx(Decimal("39.2"), abs=Decimal(1))
    assert made.state.statistics.closed[-1].quantity == 80
    assert made.state.statistics.closed[-1].profit > 0


def test_prices_after_the_split_that_come_before_its_shares_are_no_loss() -> None:
    """Marks at half the price while our shares are still those of yesterday latch neither a day's loss nor a drawdown; nor does the change itself."""
    made = carrying()
    profit = made.state.day_profit()
    made.announce("AAA", 1, 2, NEXT)
    seen: list[Decimal] = []

    def morning() -> None:
        made.quote("AAA", 49.99, 50.00)
        made.advance(5)
        seen.append(made.state.day_profit())
        made.split("AAA", 1, 2)

    made.next_session(NEXT, morning)
    assert seen == [profit]
    assert made.state.held("AAA") == 80
    assert abs(made.state.day_profit()) < 2
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.CARRIED]
    assert made.state.peak_equity < 50_010


def test_an_announcement_alone_changes_nothing() -> None:
    """The broker still has the shares of before: they are what is held, rested over and sold."""
    made = carrying()
    over_the_night(made, 1, 2, carried_out=False)
    assert asked(made) >= 1
    assert made.state.held("AAA") == made.shares("AAA") == 40
    assert resting(made) == [(40, TimeInForce.GTC)]
    assert made.state.reconciled
    assert not rebased(made)
    made.quote("AAA", 101.00, 101.02)
    made.to(made.session.open_ns + 20 * 10**9, tick=0.25)
    assert made.shares("AAA") == made.state.held("AAA") == 0
    assert not made.state.splits.announced
    assert not made.state.splits.standing


@pytest.mark.parametrize("announced", [(), (1, 3)], ids=["nothing announced", "another ratio announced"])
def test_shares_that_no_announcement_explains_are_a_persons(announced: tuple[int, ...]) -> None:
    """As any difference: the symbol is frozen, and nothing is rebased (invariant 10)."""
    made = carrying()
    if announced:
        made.announce("AAA", announced[0], announced[1], NEXT)
    over_the_night(made, 1, 2, announced=False)
    assert made.state.held("AAA") == 40
    assert "AAA" in made.state.frozen
    assert "reconciliation" in made.alerts()
    assert not rebased(made)


def test_an_announcement_that_comes_late_still_explains() -> None:
    """The host that knows does not answer: the symbol is frozen as today. When it answers, the frozen symbol is rebased and free."""
    made = carrying()
    made.splits_refused = True
    over_the_night(made, 1, 2)
    assert "splits-failed" in made.alerts()
    assert "AAA" in made.state.frozen
    made.splits_refused = False
    made.to(made.session.open_ns - 1, tick=1.0)
    assert made.state.held("AAA") == 80
    assert not made.state.frozen
    assert resting(made) == [(80, TimeInForce.GTC)]
    assert made.state.reconciled


def test_one_announcement_is_applied_once() -> None:
    """Told twice in one answer, and again every time it is asked: shares double once."""
    made = carrying()
    made.announce("AAA", 1, 2, NEXT)
    over_the_night(made, 1, 2)
    assert made.state.held("AAA") == 80
    again = asked(made)
    made.crash()
    made.to(made.session.open_ns - 1, tick=1.0)
    assert asked(made) > again
    assert made.state.held("AAA") == 80
    assert len(rebased(made)) == 1
    made.split("AAA", 1, 2)  # shares double again, and nobody has announced that
    made.to(made.session.open_ns + 8 * 10**9, tick=0.25)
    assert len(rebased(made)) == 1
    assert "reconciliation" in made.alerts()


def test_two_splits_in_one_night() -> None:
    """Both are announced, the broker has carried out both: so do we."""
    made = carrying()
    made.announce("AAA", 4, 1, NEXT)
    made.announce("AAA", 1, 2, NEXT)

    def morning() -> None:
        made.split("AAA", 4, 1)
        made.split("AAA", 1, 2)

    made.next_session(NEXT, morning)
    assert made.state.held("AAA") == made.shares("AAA") == 20
    assert len(rebased(made)[0].rebased.splits) == 2


def test_less_than_one_share_is_a_persons() -> None:
    """Forty shares in a hundred: the broker has none and has paid cash. There is nothing to count further: it is a difference."""
    made = carrying()
    over_the_night(made, 100, 1)
    assert made.shares("AAA") == 0
    assert made.state.held("AAA") == 40
    assert "AAA" in made.state.frozen


@pytest.mark.parametrize("lost", [0, 3])
def test_whoever_starts_again_knows_it(lost: int) -> None:
    """A crash after the split: the journal gives the same position, average price and stop (invariant 12); nothing is rebased twice."""
    made = carrying()
    over_the_night(made, 2, 3)
    before = made.state.positions["AAA"]
    made.crash(lost=lost)
    made.to(made.session.open_ns - 1, tick=1.0)
    assert encode(made.state.positions["AAA"]) == encode(before)
    assert resting(made) == [(60, TimeInForce.GTC)]
    assert made.state.reconciled


def test_a_crash_before_the_broker_carried_it_out() -> None:
    """What was asked has no answer in this life any more: the new one asks again, and rebases."""
    made = carrying()
    made.announce("AAA", 1, 2, NEXT)

    def morning() -> None:
        made.crash(lost=5)
        made.split("AAA", 1, 2)

    made.next_session(NEXT, morning)
    assert made.state.held("AAA") == 80
    assert made.state.reconciled


def test_a_start_in_the_middle_of_the_session_sells_nothing_before_it_knows() -> None:
    """The system was down over the night and the open: it rebases first, then sells all of it, and never more than is there (invariant 6)."""
    made = carrying()
    made.announce("AAA", 10, 1, NEXT)
    made.disconnect()

    def morning() -> None:
        made.split("AAA", 10, 1)
        made.now_ns = made.session.open_ns + 3_600 * 10**9
        made.crash()
        made.quote("AAA", 1_000.00, 1_000.20)

    made.next_session(NEXT, morning)
    opened_ns = made.session.open_ns
    made.advance(30)
    assert made.shares("AAA") == made.state.held("AAA") == 0
    assert [intent.quantity for intent in made.sent(Purpose.FLATTEN) if intent.decided_at_ns >= opened_ns] == [4]
    assert "reconciliation" not in made.alerts()


def test_nobody_asks_when_nothing_is_carried() -> None:
    """A flat account has no splits to know of."""
    made = Desk(before_close_minutes=40)
    made.to(made.session.close_ns + 300 * 10**9)
    made.next_session(NEXT)
    assert asked(made) == 0


def test_the_recording_gives_the_same_decisions() -> None:
    """(inbox) -> decisions is a function, splits included (invariant 12)."""
    made = carrying()
    over_the_night(made, 1, 2)
    entries = [decode(payload, inbox.InboxEntry) for payload in made.inbox]
    again: State | None = fold(entries)
    assert again is not None
    assert encode(again) == encode(made.state)


def test_the_day_of_a_split_bought_on_it_is_no_split() -> None:
    """Shares that were bought at prices after the split are counted as they were bought."""
    made = Desk(before_close_minutes=40)
    made.announce("AAA", 1, 2, datetime.date(2026, 3, 2))
    made.quote("AAA", 99.98, 100.00)
    made.signal("AAA")
    made.advance(2)
    made.halt("AAA")
    made.to(made.session.close_ns + 300 * 10**9)
    made.next_session(NEXT)
    assert asked(made) >= 1
    assert not made.state.splits.announced
    assert made.state.held("AAA") == made.shares("AAA") == 40
