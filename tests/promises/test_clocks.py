"""The clocks keep the promises, and the follower never runs ahead of the player."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.promises.clock import ClockPromises
from tests.promises.waiting import run, until
from tradingsystem.adapters.clocks import TICK_INTERVAL_NS, FollowerClock, ReplayClock, SystemClock
from tradingsystem.adapters.in_process_bus import InProcessBus
from tradingsystem.domain.control import ClockTick
from tradingsystem.interfaces import Clock
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects

START_NS = 1_772_000_000_000_000_000


@asynccontextmanager
async def repeated(act: Callable[[], None], seconds: float) -> AsyncIterator[None]:
    """``act`` again and again from the loop while entered."""
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []

    def once() -> None:
        act()
        handles[:] = [loop.call_later(seconds, once)]

    once()
    yield
    handles[0].cancel()


class TestSystemClock(ClockPromises):
    """The machine's."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Clock]:
        """It runs by itself."""
        yield SystemClock()


class TestFollowerClock(ClockPromises):
    """Follows a player at sixty times the machine's speed."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Clock]:
        """A player that ticks fifty times a second."""
        bus, clock = InProcessBus(), FollowerClock("testing")
        await clock.attach(bus)
        loop, started = asyncio.get_running_loop(), asyncio.get_running_loop().time()

        def tick() -> None:
            market_ns = START_NS + int((loop.time() - started) * 60e9)
            bus.publish(Subjects("testing").clock, encode(ClockTick(market_ns, 60.0, running=True)))

        async with repeated(tick, 0.02):
            await clock.started()
            yield clock
        await clock.close()

    def test_a_silent_player_stops_the_market(self) -> None:
        """After one interval without a word market time stands: an invented minute would expire orders and stale quotes."""

        async def main() -> None:
            clock = FollowerClock("testing")
            clock.follow(ClockTick(START_NS, 60.0, running=True))
            limit = START_NS + TICK_INTERVAL_NS * 60
            await until(lambda: clock.now() == limit)
            for _ in range(100):
                await asyncio.sleep(0)
                assert clock.now() == limit
            clock.follow(ClockTick(START_NS + 1, 60.0, running=False))
            assert clock.now() == limit
            assert not clock.finished

        run(main())

    def test_garbage_on_its_subject_is_dropped(self) -> None:
        """One bad message must not stop time."""

        async def main() -> None:
            bus, clock = InProcessBus(), FollowerClock("testing")
            await clock.attach(bus)
            bus.publish(Subjects("testing").clock, b"\xc1 not a tick")
            bus.publish(Subjects("testing").clock, encode(ClockTick(START_NS, 1.0, running=False, finished=True)))
            await clock.started()
            assert clock.now() == START_NS
            assert clock.finished

        run(main())


class TestReplayClock(ClockPromises):
    """Driven by hand."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Clock]:
        """Somebody advances it a millisecond at a time."""
        clock = ReplayClock(START_NS)
        async with repeated(lambda: clock.advance_to(clock.now() + 1_000_000), 0.0005):
            yield clock

    def test_sleepers_wake_in_the_order_of_their_moments(self) -> None:
        """However far it is advanced at once: a replay depends on nothing else."""

        async def main() -> None:
            clock = ReplayClock(START_NS)
            woken: list[int] = []

            async def wait(after_ns: int) -> None:
                await clock.sleep_until(START_NS + after_ns)
                woken.append(after_ns)

            sleepers = [asyncio.create_task(wait(after_ns)) for after_ns in (30, 10, 20, 10)]
            await asyncio.sleep(0)
            clock.advance_to(START_NS + 25)
            await asyncio.gather(*sleepers[1:])
            assert woken == [10, 10, 20]
            clock.advance_to(START_NS + 5)
            assert clock.now() == START_NS + 25
            clock.advance_to(START_NS + 30)
            await sleepers[0]
            assert woken[-1] == 30

        run(main())
