"""Each kind of latch, reached as it is reached in life: the running service, the broker's wire, a person's hand. Names begin with the kind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.execution.desk import SYMBOLS, execution_slice
from tests.execution.test_ownership import with_account
from tests.execution.venue import Running, Venue, opened
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.trading import Latch, LatchKind, TradingState
from tradingsystem.execution.answers import REFUSALS_MAX
from tradingsystem.execution.latches import ABOUT
from tradingsystem.messages.codec import decode
from tradingsystem.simulator.faults import RestFault, RestFaultKind, Scenario
from tradingsystem.simulator.feed import SECOND_NS

SPEED = 20.0


def played(story: Callable[[Venue], Awaitable[None]], venue: Venue | None = None) -> None:
    async def run() -> None:
        async with opened(venue or Venue(speed=SPEED)) as made:
            for symbol in ("AAA", "BBB"):
                made.quote(symbol, 99.98, 100.00)
            await story(made)

    asyncio.run(run())


async def latched(venue: Venue, running: Running, kind: LatchKind) -> Latch:
    """The latch, once it is set and durable; trading is at least as low as the page says."""
    await venue.until(lambda: any(latch.kind is kind for latch in running.service.state.latches.values()))
    found = next(latch for latch in running.service.state.latches.values() if latch.kind is kind)
    assert found.state is ABOUT[kind].forces
    depth = list(TradingState).index
    assert depth(running.service.state.trading()[0]) >= depth(found.state)
    await running.stop()
    durable = [decode(entry.payload, Latch) async for entry in venue.journal.read(venue.subjects.journal_latch)]
    assert found in durable
    return found


async def held(venue: Venue, *symbols: str, **spec: object) -> Running:
    """A life that holds forty shares of each."""
    running = Running(venue, execution_slice(**spec))
    await running.start()
    for symbol in symbols:
        await venue.signal(symbol)
        await venue.until(lambda symbol=symbol: venue.shares(symbol) == running.service.state.held(symbol) == 40)
    return running


def test_halt_by_a_person() -> None:
    """A command, answered."""

    async def story(venue: Venue) -> None:
        running = await held(venue)
        assert (await venue.command(CommandKind.HALT)).accepted
        assert (await latched(venue, running, LatchKind.HALT)).set_by == "Ada"

    played(story)


def test_halt_by_the_brokers_switch() -> None:
    """A person suspends the account at the broker; execution hears of it when it next asks."""

    async def story(venue: Venue) -> None:
        running = await held(venue)
        await running.broker.suspend(suspended=True)
        assert (await latched(venue, running, LatchKind.HALT)).set_by == "broker"

    played(story)


def test_daily_loss_by_a_falling_price() -> None:
    """What is held is worth less, sold or not."""

    async def story(venue: Venue) -> None:
        running = await held(venue, "AAA", risk={"dailyLossMax": 21})
        venue.quote("AAA", 99.00, 99.02)
        await latched(venue, running, LatchKind.DAILY_LOSS)

    played(story)


def test_drawdown_by_a_gap_through_the_stop() -> None:
    """The stop sells far below its price."""

    async def story(venue: Venue) -> None:
        running = await held(venue, "AAA", risk={"drawdownMaxPercent": 1, "dailyLossMax": 5_000})
        venue.quote("AAA", 85.00, 85.02)
        await latched(venue, running, LatchKind.DRAWDOWN)

    played(story)


def test_repeated_execution_by_a_loop() -> None:
    """Buy, close, buy, close: the fourth time is one too many in ten minutes."""

    async def story(venue: Venue) -> None:
        running = await held(venue)
        for _ in range(3):
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") == running.service.state.held("AAA") == 40)
            await venue.command(CommandKind.FLATTEN)
            await venue.until(lambda: venue.shares("AAA") == running.service.state.held("AAA") == 0)
        await venue.signal("AAA")
        await latched(venue, running, LatchKind.REPEATED_EXECUTION)

    played(story)


def test_refusals_by_a_broker_that_takes_nothing() -> None:
    """Signal after signal, and the broker answers each order with 403."""

    async def story(venue: Venue) -> None:
        running = await held(venue)
        venue.faults.set(Scenario(rest=(RestFault(kind=RestFaultKind.STATUS, path="/v2/orders", method="POST", status=403, times=0),)))
        for number in range(REFUSALS_MAX // 2):
            symbol = SYMBOLS[number % len(SYMBOLS)]
            venue.quote(symbol, 99.98, 100.00)
            await venue.signal(symbol)
            await venue.until(lambda number=number: len(running.service.state.refused_ns) >= 2 * number + 2)
        await latched(venue, running, LatchKind.REFUSALS)

    played(story)


def test_reconciliation_by_two_differences() -> None:
    """Shares of two symbols are gone at the broker, and no order of anybody explains it."""

    async def story(venue: Venue) -> None:
        running = await held(venue, "AAA", "BBB")
        for symbol in ("AAA", "BBB"):
            venue.ledger.positions[symbol].quantity -= 10
        await latched(venue, running, LatchKind.RECONCILIATION)

    played(story)


def test_carried_by_a_halt_over_the_close() -> None:
    """The exchange stops the symbol before the close and not until after it."""

    async def story(venue: Venue) -> None:
        late = {"entryWindow": {"afterOpenMinutes": 5, "beforeCloseMinutes": 6}, "flattenBeforeCloseMinutes": 5}
        running = await held(venue, "AAA", execution=late)
        venue.halt("AAA")
        await venue.until(lambda: venue.now_ns > venue.session.close_ns, 60)
        await latched(venue, running, LatchKind.CARRIED)
        assert venue.shares("AAA") == 40

    start = Venue(speed=1.0).session.close_ns - 8 * 60 * SECOND_NS
    played(story, Venue(speed=60.0, start_ns=start))


def test_new_store_by_a_wiped_journal(tmp_path: Path) -> None:
    """This place has known another journal."""

    async def story(venue: Venue) -> None:
        (tmp_path / "journal-identity").write_text("another", encoding="utf-8")
        running = Running(venue, folder=tmp_path)
        await running.start()
        await latched(venue, running, LatchKind.NEW_STORE)

    played(story)


def test_account_by_keys_that_lead_elsewhere() -> None:
    """The declared number is not the account's."""

    async def story(venue: Venue) -> None:
        running = Running(venue, with_account("PA999999999"))
        await running.start()
        await latched(venue, running, LatchKind.ACCOUNT)

    played(story)


@pytest.mark.parametrize("kind", LatchKind, ids=lambda kind: kind.value)
def test_every_kind_has_a_scenario_and_a_row(kind: LatchKind) -> None:
    """A latch that nothing reaches is either impossible or untested."""
    assert ABOUT[kind].when
    assert any(name.startswith(f"test_{kind.name.lower()}_") for name in vars(sys.modules[__name__]))
