"""One writer: whoever may not write any more cannot, whatever he believes."""

from __future__ import annotations

import asyncio

import pytest

from tests.execution.venue import Running, Venue, opened
from tests.promises.waiting import run, until
from tradingsystem.adapters.in_process_bus import InProcessJournal, InProcessLease
from tradingsystem.domain.errors import BrokenInvariant, RequestRefused, TryAgain
from tradingsystem.execution.writer import Owner, Writer
from tradingsystem.interfaces import Journal
from tradingsystem.messages.subjects import Subjects

SUBJECTS = Subjects("testing")
SECOND_NS = 1_000_000_000


class Machine:
    """The machine's clock as a test sets it; ``interfaces.Clock``."""

    speed = 1.0

    def __init__(self) -> None:
        self.at_ns = 0

    def now(self) -> int:
        return self.at_ns

    def monotonic(self) -> int:
        return self.at_ns

    async def sleep_until(self, market_ns: int) -> None:
        raise NotImplementedError


class Scene:
    """A lease and a journal, and whoever wants to write."""

    def __init__(self, life_seconds: float = 10.0) -> None:
        self.machine = Machine()
        self.lease = InProcessLease(life_seconds=life_seconds, monotonic_ns=self.machine.monotonic)
        self.journal: Journal = InProcessJournal("testing")

    def writer(self, name: str, place: str = "") -> Writer:
        return Writer(owner=Owner(name, place), lease=self.lease, journal=self.journal, subjects=SUBJECTS, clock=self.machine)

    async def takes(self, writer: Writer) -> bool:
        """Whether it gets the lease without waiting."""
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, stop.set)
        return await writer.take(stop)


def test_the_second_waits_until_the_first_is_over() -> None:
    """While the first's life runs nobody else writes; when it has run out, the first knows by its own clock before anybody can take over."""

    async def main() -> None:
        scene = Scene()
        first, second = scene.writer("first"), scene.writer("second")
        assert await scene.takes(first)
        assert not await scene.takes(second)
        scene.machine.at_ns = 10 * SECOND_NS - 1
        assert not await scene.takes(second)
        assert first.left_seconds() > 0
        scene.machine.at_ns = 10 * SECOND_NS
        assert first.left_seconds() <= 0
        assert await scene.takes(second)
        assert second.fence_seq > first.fence_seq

    run(main())


def test_who_was_replaced_can_write_nothing() -> None:
    """A frozen process that wakes up believing in its lease is refused by the journal: intents, latches and inbox entries alike."""

    async def main() -> None:
        scene = Scene()
        first, second = scene.writer("first"), scene.writer("second")
        assert await scene.takes(first)
        scene.machine.at_ns = 10 * SECOND_NS
        assert await scene.takes(second)
        with pytest.raises(RequestRefused):
            await scene.journal.append(SUBJECTS.journal_intent("one"), b"x", create=True, fence_seq=first.fence_seq)
        with pytest.raises(RequestRefused):
            scene.journal.append_later(SUBJECTS.journal_inbox, b"x", fence_seq=first.fence_seq)
        scene.journal.append_later(SUBJECTS.journal_inbox, b"x", fence_seq=second.fence_seq)

    run(main())


def test_who_stands_where_the_dead_one_stood_need_not_wait() -> None:
    """A restarted process takes over at once, since only one living process can occupy the place; another place has to wait."""

    async def main() -> None:
        scene = Scene()
        assert await scene.takes(scene.writer("first", "place"))
        assert not await scene.takes(scene.writer("elsewhere", "other place"))
        assert not await scene.takes(scene.writer("nowhere"))
        assert await scene.takes(scene.writer("second", "place"))

    run(main())


def test_an_empty_place_proves_nothing() -> None:
    """Two processes without a place are not taken for one."""

    async def main() -> None:
        scene = Scene()
        assert await scene.takes(scene.writer("first", ""))
        assert not await scene.takes(scene.writer("second", ""))

    run(main())


def test_a_lease_that_was_given_back_is_free() -> None:
    """An ordered end makes nobody wait, and whoever gave it back writes no more."""

    async def main() -> None:
        scene = Scene()
        first = scene.writer("first")
        assert await scene.takes(first)
        await first.leave()
        assert first.left_seconds() <= 0
        assert await scene.takes(scene.writer("second"))

    run(main())


def test_a_lease_that_ran_out_is_won_back_when_nobody_took_it() -> None:
    """The message server was away: the owner hears that it may not write, and writes again once it is back, under the same fence."""

    async def main() -> None:
        scene = Scene(life_seconds=0.05)
        writer = scene.writer("first")
        assert await scene.takes(writer)
        away, lost = scene.lease.write, asyncio.Event()

        async def unreachable(value: bytes, revision: int) -> int:
            raise TryAgain("no server")

        scene.lease.write = unreachable  # type: ignore[method-assign]
        keeping = asyncio.create_task(writer.keep(lost.set))
        scene.machine.at_ns = SECOND_NS
        await asyncio.wait_for(lost.wait(), 5)
        assert writer.left_seconds() < 0
        scene.lease.write = away  # type: ignore[method-assign]
        await until(lambda: writer.left_seconds() > 0)
        await scene.journal.append(SUBJECTS.journal_intent("one"), b"x", create=True, fence_seq=writer.fence_seq)
        keeping.cancel()

    run(main())


def test_who_finds_another_owner_stops() -> None:
    """Two are alive: the one that was replaced ends instead of going on beside the other."""

    async def main() -> None:
        scene = Scene(life_seconds=0.05)
        first = scene.writer("first")
        assert await scene.takes(first)
        scene.machine.at_ns = SECOND_NS
        assert await scene.takes(scene.writer("second"))
        with pytest.raises(BrokenInvariant, match="second"):
            await asyncio.wait_for(first.keep(lambda: None), 5)

    run(main())


def test_two_executions_never_trade_together() -> None:
    """A second service waits, unready, while the first trades; it takes over after the first was killed, with the first's positions."""

    async def main() -> None:
        async with opened(Venue(speed=4.0)) as venue:
            venue.lease = InProcessLease(life_seconds=6.0)
            venue.quote("AAA", 99.98, 100.0)
            first = Running(venue, place="here")
            await first.start()
            second = Running(venue, place="there")
            starting = asyncio.create_task(second.start())
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") > 0)
            assert not second.ready.is_set()
            await first.kill()
            await asyncio.wait_for(starting, 20)
            assert second.service.state.held("AAA") == venue.shares("AAA") > 0
            assert len(venue.ledger.orders) == len({order.client_order_id for order in venue.ledger.orders.values()})
            await second.stop()

    run(main())
