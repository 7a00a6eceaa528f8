"""Execution and the simulator's Alpaca over real sockets: the thin path, the close, crashes and a lying broker."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.execution.venue import Running, Venue, opened
from tests.promises.server import RunningServer
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.orders import OrderIntent
from tradingsystem.domain.splits import Rebased
from tradingsystem.domain.trading import LatchKind, TradingState, TradingStatus
from tradingsystem.execution import inbox, recovery, restoring, service
from tradingsystem.execution.protection import cover_of
from tradingsystem.execution.recovery import fold
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.codec import decode, encode
from tradingsystem.simulator.alpaca_corporate_actions import StockSplit
from tradingsystem.simulator.faults import RestFault, RestFaultKind, Scenario

MINUTE_NS = 60 * 10**9


def played(venue: Venue, story: Callable[[Venue], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(venue):
            for symbol in ("AAA", "BBB", "CCC"):
                venue.quote(symbol, 99.98, 100.00)
            await story(venue)

    asyncio.run(run())


def test_a_halt_is_confirmed_while_market_time_stands_still() -> None:
    """After a simulated day no market second ends any more; the broker is asked all the same, or a deletion would wait for a word that never comes."""

    async def story(venue: Venue) -> None:
        running = Running(venue)
        await running.start()
        await venue.signal("AAA")
        await venue.until(lambda: venue.shares("AAA") == 40)
        venue.stop()
        confirmed = asyncio.Event()

        def hear(delivery: Delivery) -> None:
            status = decode(delivery.payload, TradingStatus)
            if status.state is TradingState.HALTED and status.halt_confirmed:
                confirmed.set()

        await venue.bus.subscribe(venue.subjects.state("execution"), hear)
        assert (await venue.command(CommandKind.HALT)).accepted
        await asyncio.wait_for(confirmed.wait(), 20.0)
        await running.stop()

    played(Venue(speed=1.0), story)


def test_signal_to_flat_over_the_wire() -> None:
    """Signals become covered positions, the close leaves none, our money is the broker's, and the status says so (invariants 1, 8, 9, 10)."""

    async def story(venue: Venue) -> None:
        running = Running(venue)
        await running.start()
        await venue.signal("AAA")
        await venue.signal("BBB")
        await venue.until(lambda: venue.shares("AAA") == venue.shares("BBB") == 40)
        await venue.until(lambda: all(cover_of(running.service.state, name).unprotected == 0 for name in ("AAA", "BBB")))
        await venue.until(lambda: venue.now_ns > venue.session.close_ns - 13 * MINUTE_NS)
        await venue.until(lambda: not venue.shares("AAA") and not venue.shares("BBB"))
        await venue.until(lambda: bool(venue.statuses) and not venue.statuses[-1].positions)
        state = running.service.state
        await running.stop()
        assert not list(venue.ledger.open_orders())
        assert state.equity() == venue.ledger.cash
        last = venue.statuses[-1]
        crossed = last.orders_refused.get(
            "already-ended", 0
        )  # an exit that was replaced while it filled: the broker says so, and no share is lost by it
        assert (last.orders_sent - crossed, last.signals_seen, last.reconciled) == (8, 2, True)
        assert last.statistics["fill_rate_percent"] == 100.0
        intents = [decode(entry.payload, OrderIntent) async for entry in venue.journal.read(venue.subjects.journal_intents)]
        ours = {order.client_order_id for order in venue.ledger.orders.values() if order.client_order_id.startswith("t")}
        assert {intent.client_order_id for intent in intents} >= ours

    start = Venue(speed=1.0).session.close_ns - 32 * MINUTE_NS
    played(Venue(speed=240.0, start_ns=start), story)


def test_what_is_held_is_told_when_market_time_stands_still() -> None:
    """After a simulated day the clock stops; the status goes on, so that whoever asks later learns whether anything is held."""

    async def story(venue: Venue) -> None:
        running = Running(venue)
        await running.start()
        venue.stop()
        told, arrived = len(venue.statuses), asyncio.Event()
        subscription = await venue.bus.subscribe(venue.subjects.state("execution"), lambda _: arrived.set())
        for _ in range(5):  # by the second the last piece of market time has been taken over
            arrived.clear()
            await asyncio.wait_for(arrived.wait(), 10)
        assert len(venue.statuses) >= told + 5
        assert venue.statuses[-1].at_ns == venue.statuses[-2].at_ns
        await subscription.close()
        venue.step()
        await running.stop()

    played(Venue(speed=1.0), story)


def test_kill_and_come_back() -> None:
    """Killed right after its orders left, a new process knows them from the journal, asks the broker, and sends nothing twice (invariants 1, 2, 10)."""

    async def story(venue: Venue) -> None:
        first = Running(venue)
        await first.start()
        await venue.signal("AAA")
        await venue.until(lambda: len(venue.ledger.orders) >= 3)
        await first.kill()
        second = Running(venue)
        await second.start()
        await venue.until(lambda: second.service.state.held("AAA") == venue.shares("AAA") == 40)
        await venue.until(lambda: cover_of(second.service.state, "AAA").unprotected == 0)
        buys = [order for order in venue.ledger.orders.values() if order.side == "buy"]
        assert len(buys) == 2
        await second.stop()
        recorded = [decode(entry.payload, inbox.InboxEntry) async for entry in venue.journal.read(venue.subjects.journal_inbox)]
        replayed = fold(recorded)
        assert encode(replayed) == encode(second.service.state)

    played(Venue(speed=20.0), story)


def test_a_split_over_the_night() -> None:
    """Killed while it holds, started on the day of a split: the broker's announcement is asked for over the wire, the journal tells readers what became of
    the shares, and all of them are sold (invariants 6, 9, 10)."""
    first, next_day = Venue(speed=20.0), datetime.date(2026, 3, 3)

    async def bought(venue: Venue) -> None:
        running = Running(venue)
        await running.start()
        await venue.signal("AAA")
        await venue.until(lambda: running.service.state.held("AAA") == 40)
        await venue.until(lambda: cover_of(running.service.state, "AAA").unprotected == 0)
        await running.kill()

    async def split(venue: Venue) -> None:
        venue.exchange.split("AAA", Decimal(2), Decimal(3), Decimal("66.66"))
        venue.quote("AAA", 67.00, 67.02)
        running = Running(venue)
        await running.start()
        await venue.until(
            lambda: running.service.state.day.opened == {} and not venue.shares("AAA") and not running.service.state.held("AAA")
        )
        await running.stop()
        kept = [decode(entry.payload, Rebased) async for entry in venue.journal.read(venue.subjects.journal_split)]
        assert [(one.symbol, one.quantity_before, one.quantity) for one in kept] == [("AAA", 40, 60)]
        assert not running.service.state.frozen
        assert running.service.state.day.realised > 0

    played(first, bought)
    assert first.shares("AAA") == 40
    second = Venue(speed=20.0, day=next_day, before=first)
    second.splits.append(StockSplit(symbol="AAA", ex_date=next_day, old_rate=Decimal(2), new_rate=Decimal(3)))
    played(second, split)
    assert second.ledger.position("AAA").quantity == 0


def test_a_broker_that_accepts_and_answers_504() -> None:
    """Each POST is carried out and answered 504: every order is found by our id, none is sent twice (invariants 2, 3)."""

    async def story(venue: Venue) -> None:
        running = Running(venue)
        await running.start()
        venue.faults.set(Scenario(rest=(RestFault(kind=RestFaultKind.ANSWER_LOST, path="/v2/orders", method="POST", times=0),)))
        await venue.signal("AAA")
        await venue.until(lambda: running.service.state.held("AAA") == 40)
        await venue.until(lambda: cover_of(running.service.state, "AAA").unprotected == 0)
        buys = [order for order in venue.ledger.orders.values() if order.side == "buy"]
        assert len(buys) == 2
        await running.stop()

    played(Venue(speed=20.0), story)


def test_a_halt_by_message_is_answered_and_durable() -> None:
    """A halt takes effect before its answer, survives a new process, and is resumed by name and reason (invariant 5)."""

    async def story(venue: Venue) -> None:
        first = Running(venue)
        await first.start()
        assert (await venue.command(CommandKind.HALT)).accepted
        await venue.signal("AAA")
        await venue.until(lambda: first.service.state.statistics.refused.get("trading-state") == 1)
        await first.kill()
        second = Running(venue)
        await second.start()
        assert second.service.state.trading()[0] is TradingState.HALTED
        assert [latch.kind for latch in second.service.state.latches.values()] == [LatchKind.HALT]
        assert (await venue.command(CommandKind.RESUME)).accepted
        await venue.signal("BBB")
        await venue.until(lambda: venue.shares("BBB") == 40)
        await second.stop()
        assert not venue.shares("AAA")

    played(Venue(speed=20.0), story)


@pytest.mark.nats
def test_killed_three_times_on_the_real_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real, fsyncing nats-server: three lives from checkpoint, inbox tail and intents; one decision stays one order, the day ends flat."""
    monkeypatch.setattr(service, "CHECKPOINT_ENTRIES", 40)
    server = RunningServer(tmp_path, system="desk")
    server.start()

    async def story(venue: Venue) -> None:
        filtering, own = (NatsJournal(server.as_user(name), bytes_max=1 << 28) for name in ("filter", "execution"))
        await own.open()
        await filtering.open()
        venue.journal, venue.signals = own, filtering
        for symbol in ("AAA", "BBB", "CCC"):
            running = Running(venue)
            await running.start()
            await venue.signal(symbol)
            await venue.until(
                lambda name=symbol: sum(order.symbol == name and order.side == "buy" for order in venue.ledger.orders.values()) == 2
            )
            await running.kill()
        last = Running(venue)
        await last.start()
        await venue.until(lambda: all(last.service.state.held(name) == venue.shares(name) == 40 for name in ("AAA", "BBB", "CCC")))
        await venue.command(CommandKind.FLATTEN)
        await venue.until(lambda: not any(venue.shares(name) for name in ("AAA", "BBB", "CCC")))
        await venue.until(lambda: not any(last.service.state.held(name) for name in ("AAA", "BBB", "CCC")))
        await last.stop()
        assert sum(1 for order in venue.ledger.orders.values() if order.side == "buy") == 6
        checkpoints = [entry async for entry in own.read(venue.subjects.journal_checkpoint)]
        assert checkpoints
        again = await restoring.rebuild_from(own, venue.subjects)
        assert encode(again.state) == encode(last.service.state)
        assert again.intents == again.latches == again.cleared == ()
        everything = [decode(entry.payload, inbox.InboxEntry) async for entry in own.read(venue.subjects.journal_inbox)]
        assert encode(recovery.fold(everything)) == encode(last.service.state)
        await own.close()
        await filtering.close()

    try:
        played(Venue(speed=20.0), story)
    finally:
        server.stop()
