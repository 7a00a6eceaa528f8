"""Three real message servers that keep the journal together: the one that leads is killed, two of them are, one is cut off from the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.execution.venue import Running, Venue, played
from tests.faults.proxy import Fault
from tests.promises.cluster import Member, RunningCluster
from tests.promises.waiting import run, until, until_answered
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.errors import OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.execution.protection import cover_of
from tradingsystem.interfaces import Entry, Journal
from tradingsystem.messages.subjects import Subjects, journal_stream
from tradingsystem.process import connecting

SYSTEM = "desk"
SUBJECTS = Subjects(SYSTEM)
STREAM = journal_stream(SYSTEM)
JOURNAL_BYTES = 1 << 27
LATER = 10
NOBODY_WRITES_SECONDS = 2.0
BACK_SECONDS = 60.0

Tell = Callable[[float], None]
T = TypeVar("T")

pytestmark = [pytest.mark.nats, pytest.mark.timeout(180)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    """Three servers of this test's own."""
    running = RunningCluster(tmp_path, SYSTEM)
    running.start()
    yield running
    running.stop()


async def journal_of(cluster: RunningCluster, user: str, members: list[Member] | None = None) -> NatsJournal:
    """A service's journal, through these members."""
    return await connecting.opened(lambda: NatsJournal(cluster.as_user(user, members=members), bytes_max=JOURNAL_BYTES))


async def insisted(ask: Callable[[], Awaitable[T]]) -> T:
    """What is answered once something is, as a caller asks who repeats the same request."""
    async with asyncio.timeout(BACK_SECONDS):
        while True:
            try:
                return await ask()
            except (TryAgain, OutcomeUnknown):
                await asyncio.sleep(0)


async def intents_of(journal: Journal) -> list[str]:
    """The names of all intents there are."""
    return [entry.subject.rpartition(".")[2] async for entry in journal.read(SUBJECTS.journal_intents)]


async def created(journal: NatsJournal, name: str, fence: int) -> None:
    """An intent is in the journal. Of an answer that was lost only the refusal of a second one tells that it is."""

    async def ask() -> int:
        try:
            return await journal.append(SUBJECTS.journal_intent(name), name.encode(), create=True, fence_seq=fence)
        except RequestRefused as refused:
            if refused.code != "exists":
                raise
            return 0

    await insisted(ask)


def test_the_leader_of_three_killed(cluster: RunningCluster, back_after: Tell) -> None:
    """By SIGKILL in the middle of writing: writing goes on by itself; no entry is lost, doubled or out of order; fence and create-if-absent still hold."""

    async def story() -> None:
        journal = await journal_of(cluster, "execution")
        old = await journal.append(SUBJECTS.journal_fence, b"old owner", fence_seq=0)
        fence = await journal.append(SUBJECTS.journal_fence, b"owner", fence_seq=old)
        heard: list[Entry] = []
        following = await journal.follow(SUBJECTS.journal_inbox, 1, heard.append)
        names = [f"intent-{number}" for number in range(40)]
        for number, name in enumerate(names):
            for part in range(LATER):
                journal.append_later(SUBJECTS.journal_inbox, b"%d" % (LATER * number + part), fence_seq=fence)
            if number == 20:
                leader = cluster.leader(STREAM)
                assert leader is not None
                leader.kill()
                killed = time.monotonic()
            await created(journal, name, fence)
            if number == 20:
                back_after(time.monotonic() - killed)
        await journal.flush()
        for name in names:
            with pytest.raises(RequestRefused):
                await journal.append(SUBJECTS.journal_intent(name), b"again", create=True, fence_seq=fence)
        with pytest.raises(RequestRefused):
            await journal.append(SUBJECTS.journal_intent("of-the-old-owner"), b"x", create=True, fence_seq=old)
        everything = [int(entry.payload) async for entry in journal.read(SUBJECTS.journal_inbox)]
        assert everything == list(range(LATER * len(names)))
        assert [entry.payload async for entry in journal.read(SUBJECTS.journal_intents)] == [name.encode() for name in names]
        await until(lambda: len(heard) >= len(everything))
        assert [int(entry.payload) for entry in heard] == everything
        await following.close()
        await journal.close()

    run(story())


def test_two_of_three_gone(cluster: RunningCluster, back_after: Tell) -> None:
    """The one that is left cannot store an intent, so not even an exit is sent; stops hold at the broker; when they are back, it goes on by itself."""

    async def story(venue: Venue) -> None:
        venue.journal, venue.signals = await journal_of(cluster, "execution"), await journal_of(cluster, "filter")
        venue.lease = await connecting.ensured(NatsLease(venue.journal.connection))
        running = Running(venue)
        await running.start()
        await venue.signal("AAA")
        await venue.until(lambda: venue.shares("AAA") == 40)
        await venue.until(lambda: running.service.state.held("AAA") == 40 and cover_of(running.service.state, "AAA").unprotected == 0)
        orders = set(venue.ledger.orders)
        gone = cluster.members[1:]
        for member in gone:
            member.kill()
        with pytest.raises((TryAgain, OutcomeUnknown)):
            await venue.signal("BBB")
        await venue.command(CommandKind.FLATTEN)
        until_ns = venue.now_ns + int(NOBODY_WRITES_SECONDS * venue.speed * 1e9)
        await venue.until(lambda: venue.now_ns > until_ns)
        assert set(venue.ledger.orders) == orders
        stops = [order for order in venue.ledger.open_orders() if order.stop_price]
        assert sum(int(order.quantity - order.filled) for order in stops) == venue.shares("AAA") == 40
        back = time.monotonic()
        for member in gone:
            member.launch()
        await venue.until(lambda: venue.shares("AAA") == 0, BACK_SECONDS)
        back_after(time.monotonic() - back)
        assert venue.shares("BBB") == 0
        intents = await insisted(lambda: intents_of(venue.journal))
        assert len(intents) == len(set(intents))
        await running.stop()
        for journal in (venue.journal, venue.signals):
            await journal.close()

    played(story)


def test_the_leader_cut_off_from_the_others(cluster: RunningCluster, back_after: Tell) -> None:
    """Whoever writes through the smaller side stores nothing, then or later; the larger side goes on with another owner; healed, the old one is fenced."""

    async def story() -> None:
        first, *others = cluster.members
        old, new = await journal_of(cluster, "execution", [first]), await journal_of(cluster, "execution", others)
        await cluster.let_lead(first, STREAM)
        fence = await insisted(lambda: old.append(SUBJECTS.journal_fence, b"old owner", fence_seq=0))
        await created(old, "before", fence)
        cluster.between.set(Fault.BLACK_HOLE)
        cut = time.monotonic()
        with pytest.raises((TryAgain, OutcomeUnknown)):
            await old.append(SUBJECTS.journal_intent("by-the-smaller-side"), b"x", create=True, fence_seq=fence)
        newer = await insisted(lambda: new.append(SUBJECTS.journal_fence, b"new owner", fence_seq=fence))
        back_after(time.monotonic() - cut)
        await created(new, "by-the-larger-side", newer)
        with pytest.raises((TryAgain, OutcomeUnknown)):
            await old.append(SUBJECTS.journal_intent("by-the-smaller-side-later"), b"x", create=True, fence_seq=fence)
        cluster.between.set(Fault.NONE)
        with pytest.raises(RequestRefused) as refused:
            await insisted(lambda: old.append(SUBJECTS.journal_intent("healed"), b"x", create=True, fence_seq=fence))
        assert refused.value.code == "precondition"
        kept = ["before", "by-the-larger-side"]
        for journal in (new, old):  # what a member missed it shows a moment later; nobody who was fenced decides by it

            async def shows_what_was_kept(through: NatsJournal = journal) -> bool:
                return await insisted(lambda: intents_of(through)) == kept

            await until_answered(shows_what_was_kept)
            await journal.close()

    run(story())
