"""What an order waits for on its way to the broker: its own intent, on disk, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.execution.venue import Running, Venue, opened
from tradingsystem.adapters.in_process_bus import InProcessJournal
from tradingsystem.domain.orders import Approved, BrokerOrder
from tradingsystem.execution.inbox import TimerTicked
from tradingsystem.execution.protection import cover_of
from tradingsystem.execution.service import LAG_MAX
from tradingsystem.messages.codec import encode
from tradingsystem.simulator.feed import SECOND_NS


class Written(InProcessJournal):
    """The journal, with a note of when each kind of entry was handed over and when it was durable."""

    def __init__(self, story: list[str]) -> None:
        super().__init__("desk")
        self._story = story
        self.answering = asyncio.Event()
        self.answering.set()

    async def append(self, subject: str, payload: bytes, *, create: bool = False, fence_seq: int | None = None) -> int:
        kind = subject.split(".")[2]
        self._story.append(f"{kind} handed over")
        for _ in range(20):  # a disk takes its time: whatever is ready to run does
            await asyncio.sleep(0)
        await self.answering.wait()
        seq = await super().append(subject, payload, create=create, fence_seq=fence_seq)
        self._story.append(f"{kind} durable")
        return seq

    def append_later(self, subject: str, payload: bytes, *, fence_seq: int | None = None) -> None:
        self._story.append(subject.split(".")[2])
        super().append_later(subject, payload, fence_seq=fence_seq)


@asynccontextmanager
async def first_intent_under_way(story: list[str]) -> AsyncIterator[tuple[Venue, Written, Running]]:
    """A decision of two orders was made, and the journal does not answer for the first one's intent until its ``answering`` is set."""
    venue = Venue(speed=1.0)
    journal = Written(story)
    venue.journal = venue.signals = journal
    async with opened(venue):
        venue.quote("AAA", 99.98, 100.00)
        running = Running(venue)
        await running.start()
        journal.answering.clear()
        await InProcessJournal.append(journal, venue.subjects.journal_signal, encode(venue.next_signal("AAA")))
        await venue.until(lambda: "intent handed over" in story)
        yield venue, journal, running


def test_an_order_waits_for_its_own_intent_alone() -> None:
    """Of a decision's two orders the first leaves when its intent is durable, before the second's is handed over; the inbox follows them (invariant 1)."""
    story: list[str] = []

    async def played() -> None:
        venue = Venue(speed=1.0)
        venue.journal = venue.signals = Written(story)
        async with opened(venue):
            venue.quote("AAA", 99.98, 100.00)
            running = Running(venue)
            await running.start()
            submit = running.broker.submit

            async def noted(order: Approved) -> BrokerOrder:
                story.append("order sent")
                return await submit(order)

            running.broker.submit = noted  # type: ignore[method-assign]
            story.clear()
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") == 40)
            await running.stop()

    asyncio.run(played())
    path = story[story.index("intent handed over") :]
    once = ["intent handed over", "intent durable", "order sent"]
    assert path[:6] == once * 2
    assert "inbox" in path[6:]


def test_who_waits_for_an_intent_has_not_begun() -> None:
    """While the first order's intent is being stored the second's has no task: work beside the journal would hold the first one up (decision 0016)."""
    story: list[str] = []

    async def played() -> None:
        async with first_intent_under_way(story) as (venue, journal, running):
            assert sum(task.get_coro().__qualname__ == "Courier.write" for task in running.service._tasks) == 1
            journal.answering.set()
            await venue.until(lambda: venue.shares("AAA") == 40)
            await running.stop()

    asyncio.run(played())


def test_who_stands_in_line_at_the_end_never_begins() -> None:
    """Ended while the first order's intent is being stored: the second, which waits behind it, is neither written down nor sent afterwards (invariant 4)."""
    story: list[str] = []

    async def played() -> None:
        async with first_intent_under_way(story) as (venue, journal, running):
            await running.kill()
            journal.answering.set()
            for _ in range(100):
                await asyncio.sleep(0)
            assert story.count("intent handed over") == 1
            assert not [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "Courier.write"]
            assert venue.shares("AAA") == 0

    asyncio.run(played())


def test_a_crash_between_two_orders_leaves_a_smaller_position() -> None:
    """Killed when the first order had left and the second's intent was on its way: the next life has one covered order, and makes no second (1, 2, 8)."""
    story: list[str] = []

    async def played() -> None:
        venue = Venue(speed=20.0)
        journal = Written(story)
        venue.journal = venue.signals = journal
        async with opened(venue):
            venue.quote("AAA", 99.98, 100.00)
            first = Running(venue)
            await first.start()
            submit = first.broker.submit

            async def last(order: Approved) -> BrokerOrder:
                journal.answering.clear()
                return await submit(order)

            first.broker.submit = last  # type: ignore[method-assign]
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") == 20)
            await first.kill()
            journal.answering.set()
            again = Running(venue)
            await again.start()
            await venue.until(lambda: again.service.state.held("AAA") == 20 and cover_of(again.service.state, "AAA").unprotected == 0)
            until_ns = venue.now_ns + 10 * SECOND_NS
            await venue.until(lambda: venue.now_ns > until_ns)
            assert sum(order.side == "buy" for order in venue.ledger.orders.values()) == 1
            await again.stop()

    asyncio.run(played())


def test_the_inbox_waits_for_intents_only_so_long() -> None:
    """A journal that answers no intent does not keep the inbox out of it: what was applied lags by a bounded number."""
    story: list[str] = []

    async def played() -> None:
        async with first_intent_under_way(story) as (venue, journal, running):
            story.clear()
            for _ in range(LAG_MAX):
                running.service._offer(TimerTicked(received_at_ns=venue.now_ns))
            await venue.until(lambda: story.count("inbox") >= LAG_MAX)
            assert "intent durable" not in story
            journal.answering.set()
            await venue.until(lambda: venue.shares("AAA") == 40)
            await running.stop()

    asyncio.run(played())
