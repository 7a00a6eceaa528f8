"""What a broker, a wire and a process can do to an order, one named fault per test."""

from __future__ import annotations

import datetime

import pytest

from tests.execution.desk import HALF_DAY, Desk, execution_slice
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.orders import OrderClass, OrderState, Purpose
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution import actions as act
from tradingsystem.execution import inbox
from tradingsystem.execution.exposure import gross_notional
from tradingsystem.execution.orders import Role
from tradingsystem.execution.protection import cover_of
from tradingsystem.execution.status import status_of
from tradingsystem.simulator.exchange import ExchangeSettings, StopTrigger
from tradingsystem.spec.resource import Mode


def desk(**more: object) -> Desk:
    made = Desk(**more)  # type: ignore[arg-type]
    for symbol in ("AAA", "BBB", "CCC"):
        made.quote(symbol, 99.98, 100.00)
    return made


def test_an_order_that_was_taken_without_an_answer() -> None:
    """POST times out after the broker took it: UNKNOWN, frozen, asked for by our id, found, covered; never posted again (invariants 2, 3)."""
    made = desk()
    made.wire.answers = ["lost-after"]
    made.wire.drop_events = 1_000
    made.signal("AAA")
    assert made.state.book.open("AAA")[0].order_id is not None
    made.wire.drop_events = 0
    made.advance(3)
    assert len(made.posted) == len(set(made.posted)) == 2
    assert made.state.held("AAA") == made.shares("AAA") == 40


def test_an_order_that_never_arrived() -> None:
    """POST times out and the broker does not know the id: the symbol stays frozen until that was said often and late enough, and it is never re-posted."""
    made = desk()
    made.wire.answers = ["lost-before", "lost-before"]
    made.signal("AAA")
    made.advance(20)
    assert status_of(made.state).unknown_orders == 2
    assert made.state.is_frozen("AAA")
    made.signal("AAA")
    assert made.codes() == ["symbol-frozen"]
    made.advance(20)
    assert [record.state for record in made.state.book.of("AAA")] == [OrderState.REJECTED] * 2
    assert not made.state.is_frozen("AAA")
    assert len(made.posted) == 2


def test_an_unknown_order_counts_as_filled() -> None:
    """Five UNKNOWN entries are five positions: the sixth signal is refused (invariant 3)."""
    made = desk(settings=execution_slice(risk={"positionsOpenMax": 2}))
    made.wire.answers = ["lost-before"] * 4
    made.signal("AAA")
    made.signal("BBB")
    made.signal("CCC")
    assert made.codes() == ["positions-open"]


def test_what_is_held_open_or_unknown_counts_against_the_gross_limit() -> None:
    """One position held, one entry UNKNOWN: the third, which alone would fit, is refused; once the UNKNOWN one never was, it passes (invariant 3)."""
    made = desk(settings=execution_slice(risk={"grossNotionalMax": 11_000}))
    made.signal("AAA")
    made.advance(2)
    assert made.state.held("AAA") == 40
    made.wire.answers = ["lost-before"] * 2
    made.signal("BBB")
    assert gross_notional(made.state) == 8_000
    made.signal("CCC")
    assert made.codes() == ["gross-exposure"]
    made.advance(40)
    assert gross_notional(made.state) == 4_000
    for symbol in ("AAA", "CCC"):
        made.quote(symbol, 99.98, 100.00)
    made.signal("CCC")
    assert made.codes() == ["gross-exposure"]
    assert gross_notional(made.state) == 8_000


def test_a_thin_symbol_is_bought_up_to_its_part_of_a_days_volume() -> None:
    """Forty shares in two brackets are one percent of 4,000 a day; of 3,999 they are more, and of a symbol that nobody knows anything of none are bought."""
    made = desk()
    made.signal("AAA", average_volume=3_999.0)
    made.signal("AAA", average_volume=None)
    assert made.codes() == ["daily-volume", "volume-unknown"]
    made.signal("AAA", average_volume=4_000.0)
    made.advance(2)
    assert made.state.held("AAA") == 40


def test_shares_told_filled_count_before_their_execution_is_heard() -> None:
    """A cancelled entry that the broker says has filled in part, whose executions were lost, still counts: neither the end nor a tidy forgets them."""
    made = desk()
    made.wire.hold_events = True
    made.signal("AAA")
    record = next(one for one in made.state.book.of("AAA") if one.role is Role.ENTRY)
    record.told_filled, record.state = record.quantity, OrderState.CANCELED
    made.state.book.tidy()
    others = sum(one.left for one in made.state.book.open("AAA") if one.role is Role.ENTRY)
    assert gross_notional(made.state) == 100 * (record.quantity + others)


def test_an_unknown_exit_is_posted_again_under_its_id() -> None:
    """A lost exit may be repeated, only as the same order (invariant 2)."""
    made = desk(size=7.0)
    made.signal("AAA")
    made.advance(0.5)
    made.wire.answers = ["lost-before"]
    made.advance(8)
    assert made.state.held("AAA") > 0
    covers = [key for key in made.posted if key in {intent.client_order_id for intent in made.sent(Purpose.PROTECT)}]
    assert len(covers) >= 2
    assert len(set(covers)) == 1
    assert cover_of(made.state, "AAA").unprotected == 0


def test_a_duplicate_id_is_not_a_refusal() -> None:
    """422 "must be unique" means that the order is there: it is asked for, not given up."""
    made = desk()
    made.signal("AAA")
    record = next(iter(made.state.book.orders.values()))
    record.state = OrderState.SUBMITTED
    made.enter(
        inbox.AnswerReceived(
            received_at_ns=made.now_ns,
            request=inbox.Request.SUBMIT,
            client_order_id=record.key,
            asked_at_ns=made.now_ns,
            outcome=inbox.Outcome.REFUSED,
            code="duplicate-id",
        )
    )
    assert record.state is not OrderState.REJECTED
    assert isinstance(made.log[-1], act.Lookup)


def test_a_partial_fill_is_cancelled_and_covered() -> None:
    """A half-filled entry has no live legs: the rest is cancelled and an OCO covers what was bought, within three seconds (invariant 8)."""
    made = desk(size=7.0)
    made.signal("AAA")
    made.advance(4)
    held = made.shares("AAA")
    assert 0 < held < 40
    assert cover_of(made.state, "AAA").unprotected == 0
    assert [intent.order_class for intent in made.sent(Purpose.PROTECT)] == [OrderClass.OCO] * len(made.sent(Purpose.PROTECT))
    assert 0 < made.state.statistics.cover_ns.largest <= 3 * NS_PER_SECOND


def test_an_entry_that_does_not_fill_is_cancelled() -> None:
    """Entries live a few seconds: a price that ran away is not chased."""
    made = desk()
    made.prices["AAA"] = (99.98, 100.00)
    made.signal("AAA")
    made.quote("AAA", 100.40, 100.45)
    made.advance(6)
    assert made.shares("AAA") in {0, 40}
    assert not [record for record in made.state.book.open("AAA") if record.role.value == "Entry"]


@pytest.mark.parametrize("trigger", list(StopTrigger))
def test_a_stop_takes_the_shares_over(trigger: StopTrigger) -> None:
    """However the broker spells it (cancel, replaced target, replaced stop), an elected stop leaves us flat, once (invariant 10)."""
    made = desk(exchange=ExchangeSettings(stop_trigger=trigger))
    made.signal("AAA")
    made.advance(2)
    made.quote("AAA", 99.00, 99.02)
    made.advance(3)
    assert made.shares("AAA") == made.state.held("AAA") == 0
    assert not made.state.book.open("AAA")
    assert made.state.equity() == made.ledger.cash


def test_events_before_the_answer() -> None:
    """The fill overtakes the POST's answer: the receipt changes nothing, legs become known (trap 15)."""
    made = desk(exchange=ExchangeSettings(latency_us=0, latency_jitter_us=0))
    made.wire.answers = ["late", "late"]
    made.signal("AAA")
    made.advance(2)
    assert made.state.held("AAA") == made.shares("AAA") == 40
    assert cover_of(made.state, "AAA").unprotected == 0
    assert made.state.book.illegal == 0


def test_a_crash_with_everything_in_flight() -> None:
    """kill -9 after the POST, inbox tail lost: intents make the orders known, the broker makes the fills known, nothing is sent twice (invariants 1, 2)."""
    made = desk()
    made.wire.answers = ["lost-after", "lost-after"]
    made.signal("AAA")
    made.crash(lost=5)
    made.advance(3)
    assert made.state.reconciled
    assert made.state.held("AAA") == made.shares("AAA") == 40
    assert len(made.posted) == 2
    assert cover_of(made.state, "AAA").unprotected == 0


def test_after_a_crash_covering_comes_first() -> None:
    """Shares that were filled unprotected while we were dead are covered before anything opens (invariant 8)."""
    made = desk(size=7.0)
    made.signal("AAA")
    made.connected = False
    made.advance(0.5)
    made.exchange.cancel(next(iter(made.ledger.orders)), made.now_ns)
    made.crash(lost=3)
    made.advance(4)
    assert made.state.held("AAA") == made.shares("AAA") > 0
    assert cover_of(made.state, "AAA").unprotected == 0


def test_latches_outlive_everything() -> None:
    """A halt survives crash and lost inbox; nothing opens until a person clears it by name and reason (invariant 5)."""
    made = desk()
    made.command(CommandKind.HALT)
    made.crash(lost=3)
    made.signal("AAA")
    assert made.codes() == ["trading-state"]
    assert made.state.trading()[0] is TradingState.HALTED
    made.command(CommandKind.RESUME)
    made.crash()
    made.advance(1)
    made.signal("AAA")
    made.advance(1)
    assert made.shares("AAA") == 40


def test_halting_cancels_entries_and_keeps_protection() -> None:
    """Halted sends nothing but protection: open entries are cancelled by id, stops stay."""
    made = desk()
    made.signal("AAA")
    made.advance(2)
    made.quote("BBB", 99.98, 100.00, 0.0)
    made.signal("BBB")
    made.command(CommandKind.HALT)
    made.advance(2)
    assert not [record for record in made.state.book.open() if record.role.value == "Entry"]
    assert cover_of(made.state, "AAA").stopped == 40


def test_the_daily_loss_latches() -> None:
    """A loss of dailyLossMax, realised or marked, halts until a person re-arms it; the next day and a restart change nothing (invariant 5)."""
    made = desk(settings=execution_slice(risk={"dailyLossMax": 25}))
    made.signal("AAA")
    made.advance(2)
    made.quote("AAA", 99.60, 99.62)
    made.quote("AAA", 99.20, 99.22)
    made.advance(2)
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.DAILY_LOSS]
    made.crash(lost=3)
    made.signal("BBB")
    assert made.codes() == ["trading-state"]
    latch = next(iter(made.state.latches))
    made.command(CommandKind.RESUME)
    assert latch in made.state.latches
    made.command(CommandKind.CLEAR_LATCH, latch)
    made.advance(2)
    assert not made.state.latches
    made.signal("CCC")
    made.advance(1)
    assert made.shares("CCC") == 40


def test_the_drawdown_latches() -> None:
    """Equity that falls drawdownMaxPercent below its peak halts."""
    sizing = {"method": "RiskBased", "positionMaxPercent": 40}
    risk = {"drawdownMaxPercent": 1, "dailyLossMax": 9_999}
    made = desk(settings=execution_slice(risk=risk, execution={"initialCapital": 10_000}, sizing=sizing))
    made.signal("AAA")
    made.advance(1)
    made.quote("AAA", 96.00, 96.05, 0.0)
    made.advance(1)
    assert LatchKind.DRAWDOWN in [latch.kind for latch in made.state.latches.values()]


def test_the_target_stops_the_day() -> None:
    """Once dailyTarget is realised nothing more is opened, and no size was ever larger for it."""
    made = desk(settings=execution_slice(risk={"dailyTarget": 5}))
    made.signal("AAA")
    made.advance(2)
    made.quote("AAA", 101.20, 101.22)
    made.advance(2)
    made.signal("BBB")
    assert made.codes() == ["target-reached"]


def test_a_loop_latches() -> None:
    """Entry after entry of one symbol is a loop: the throttle refuses and latches until a person has looked."""
    made = desk()
    for _ in range(4):
        made.signal("AAA")
        made.advance(3)
        made.command(CommandKind.FLATTEN)
        made.advance(6)
        made.quote("AAA", 99.98, 100.00)
    assert made.codes() == ["repeated-execution"]
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.REPEATED_EXECUTION]


def test_paper_starts_halted_and_resumes_once() -> None:
    """Paper does nothing before a person resumes; a restart does not ask again, a wiped journal does (invariant 5)."""
    made = desk(settings=execution_slice(mode="Paper"))
    assert made.state.mode is Mode.PAPER
    made.signal("AAA", simulated_model=False)
    assert made.codes() == ["trading-state"]
    made.command(CommandKind.RESUME)
    made.crash()
    made.advance(1)
    made.signal("AAA", simulated_model=False)
    made.advance(1)
    assert made.shares("AAA") == 40
    made.inbox.clear()
    made.intents.clear()
    made.latches.clear()
    made.state.store = "another"
    made.enter(made._started())
    assert made.state.trading()[0] is TradingState.HALTED


def test_simulated_models_open_nothing_in_paper() -> None:
    """A bundle trained on simulated data, and a probe, are refused outside Simulation."""
    made = desk(settings=execution_slice(mode="Paper"))
    made.command(CommandKind.RESUME)
    made.signal("AAA", simulated_model=True)
    made.signal("BBB", simulated_model=False, probe=True)
    assert made.codes() == ["model-simulated", "probe"]


def test_a_lost_connection_opens_nothing() -> None:
    """While updates are not heard nothing opens; after the account was compared it does (invariant 7)."""
    made = desk()
    made.disconnect()
    made.signal("AAA")
    made.connect()
    made.signal("BBB")
    assert made.codes() == ["not-connected"]
    made.advance(1)
    assert made.shares("BBB") == 40


def test_shares_nobody_can_explain_freeze_and_halt() -> None:
    """A position that is not ours freezes its symbol when seen twice, two seconds apart; a second one halts (invariant 10)."""
    made = desk()
    for symbol in ("BBB", "CCC"):
        made.exchange.submit({"symbol": symbol, "qty": "5", "side": "buy", "type": "market", "time_in_force": "day"}, made.now_ns)
        made._stream(made.exchange.take_events())
    made.advance(45)
    assert set(made.state.frozen) == {"BBB", "CCC"}
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.RECONCILIATION]
    assert made.state.held("BBB") == 0
    assert not made.sent(Purpose.FLATTEN)


def test_a_difference_that_passes_is_none() -> None:
    """An event that is late for a second is not a mismatch."""
    made = desk()
    made.wire.hold_events = True
    made.signal("AAA")
    made.advance(1.5)
    made.state.snapshot_due_ns = 0
    made.advance(1)
    made.release()
    made.advance(40)
    assert not made.state.frozen
    assert not made.state.latches
    assert made.state.held("AAA") == made.shares("AAA")


def test_half_days_are_short() -> None:
    """On the day after Thanksgiving everything is flat before 13:00 New York (invariant 9)."""
    made = desk(day=HALF_DAY, before_close_minutes=35)
    assert made.session.date == datetime.date(2026, 11, 27)
    made.signal("AAA")
    made.advance(2)
    made.to(made.session.close_ns - 14 * NS_PER_MINUTE)
    assert made.shares("AAA") == 0
    made.signal("BBB")
    assert made.codes() == ["entry-window"]


def test_a_halted_symbol_is_carried() -> None:
    """What cannot be sold gets a stop that outlives the day and the latch CARRIED; nothing opens until a person clears it (invariant 9)."""
    made = desk(before_close_minutes=35)
    made.signal("AAA")
    made.advance(2)
    made.halt("AAA")
    made.to(made.session.close_ns + 5 * NS_PER_SECOND)
    assert made.shares("AAA") == 40
    assert [latch.kind for latch in made.state.latches.values()] == [LatchKind.CARRIED]
    resting = [order for order in made.ledger.open_orders() if order.symbol == "AAA"]
    assert [(str(order.time_in_force), str(order.type), int(order.remaining)) for order in resting] == [("gtc", "stop", 40)]


def test_a_refused_move_falls_back_to_cancel_and_sell() -> None:
    """When the broker will not move the target, the group is cancelled, its end awaited, and only then the free shares are sold (invariant 6)."""
    made = desk()
    made.signal("AAA")
    made.advance(2)
    made.wire.answers = ["refuse"] * 4
    made.command(CommandKind.FLATTEN)
    made.advance(30)
    assert made.shares("AAA") == 0
    assert any(isinstance(action, act.Cancel) for action in made.log)
    assert made.state.equity() == made.ledger.cash


def test_flattening_twice_sells_once() -> None:
    """Two owners that flatten the same position cannot go short (invariant 6)."""
    made = desk(before_close_minutes=35)
    made.signal("AAA")
    made.advance(2)
    made.command(CommandKind.FLATTEN)
    made.command(CommandKind.FLATTEN)
    made.to(made.session.close_ns - 14 * NS_PER_MINUTE)
    assert made.shares("AAA") == 0


def test_a_refusal_of_one_bracket_is_a_refusal_of_both() -> None:
    """Brackets of one signal are approved together: half a position has half a plan."""
    made = desk(settings=execution_slice(risk={"ordersPerMinuteMax": 1}))
    made.signal("AAA")
    assert made.codes() == ["order-rate"]
    assert not made.posted
    assert not made.state.day.entries


def test_one_share_has_one_bracket() -> None:
    """A single share cannot be split over two targets."""
    made = desk()
    made.quote("DDD", 2_500.00, 2_500.10)
    made.signal("DDD")
    assert [intent.quantity for intent in made.sent(Purpose.ENTRY)] == [1]


def test_the_same_signal_twice_is_one_decision() -> None:
    """A signal that is delivered again after a restart is not bought again (invariant 2)."""
    made = desk()
    signal = made.signal("AAA")
    made.advance(2)
    made.enter(inbox.SignalReceived(received_at_ns=made.now_ns, signal=signal, mark=made.mark("AAA")))
    assert made.codes() == ["decided-before"]
    assert len(made.posted) == 2


def test_live_limits_apply_at_once() -> None:
    """A lower limit of a newer generation is in force with the next signal; an older generation is ignored."""
    made = desk()
    lower = execution_slice(risk={"positionsOpenMax": 1}).live
    made.enter(inbox.SpecReceived(received_at_ns=made.now_ns, generation=2, live=lower))
    made.enter(inbox.SpecReceived(received_at_ns=made.now_ns, generation=1, live=made.settings.live))
    made.signal("AAA")
    made.signal("BBB")
    assert made.codes() == ["positions-open"]


def test_the_wish_can_only_lower() -> None:
    """trading.state Reducing stops entries; Active does not lift a latch (invariant 5)."""
    made = desk()
    made.enter(inbox.SpecReceived(received_at_ns=made.now_ns, generation=1, live=execution_slice(trading={"state": "Reducing"}).live))
    made.signal("AAA")
    assert made.codes() == ["trading-state"]
    made.command(CommandKind.HALT)
    made.enter(inbox.SpecReceived(received_at_ns=made.now_ns, generation=2, live=execution_slice().live))
    assert made.state.trading()[0] is TradingState.HALTED


def test_stopping_opens_nothing_and_keeps_stops() -> None:
    """An ordered end cancels entries and leaves covered what is held."""
    made = desk()
    made.signal("AAA")
    made.advance(2)
    made.enter(inbox.Stopping(received_at_ns=made.now_ns))
    made.signal("BBB")
    assert made.codes() == ["trading-state"]
    assert cover_of(made.state, "AAA").stopped == 40
