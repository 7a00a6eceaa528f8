"""The three clocks: the machine's, one that follows the simulated market's owner, and one that a tape drives.

``now`` is market time and never goes back; ``monotonic`` is the machine's and is never scaled. Nobody but the player decides simulated market time: the
follower interpolates between its ticks and stops after one interval, so that a silent player means a standing market and not an invented one.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time

import structlog

from tradingsystem.domain.control import ClockTick
from tradingsystem.domain.steady_time import SteadyTime
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.interfaces import Bus, Delivery, Subscription
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

TICK_INTERVAL_NS = NS_PER_SECOND // 50
SLEEP_SLICE_SECONDS = 0.5

_log = structlog.get_logger()


class SystemClock:
    """The machine's clock is the market's: Paper and Live."""

    speed = 1.0

    def __init__(self) -> None:
        self._steady = SteadyTime()

    def now(self) -> int:
        """See ``interfaces.Clock``; a small step back of the machine's clock stands still here until it is caught up, a leap is doubted."""
        before = self._steady.doubted
        now_ns = self._steady.now(time.time_ns(), time.monotonic_ns())
        if self._steady.doubted and not before:
            metrics.alarms.labels(alarm="clock_leapt").inc()
            _log.error("clock_leapt", means="market time goes on by the monotonic clock, for a minute at most")
        return now_ns

    def monotonic(self) -> int:
        """See ``interfaces.Clock``."""
        return time.monotonic_ns()

    async def sleep_until(self, market_ns: int) -> None:
        """See ``interfaces.Clock``; wakes now and then, since the machine's clock may be set."""
        while True:
            left_ns = market_ns - self.now()
            if left_ns <= 0:
                return
            await asyncio.sleep(min(left_ns / NS_PER_SECOND, SLEEP_SLICE_SECONDS))


class FollowerClock:
    """Market time as the player tells it on the bus, 50 times a second of machine time."""

    def __init__(self, system: str) -> None:
        self._subject = Subjects(system).clock
        self._market_ns = 0
        self._heard_monotonic_ns = 0
        self._speed = 1.0
        self._running = False
        self._finished = False
        self._latest_ns = 0
        self._changed = asyncio.Event()
        self._first = asyncio.Event()
        self._subscription: Subscription | None = None

    async def attach(self, bus: Bus) -> None:
        """Begin to follow."""
        self._subscription = await bus.subscribe(self._subject, self._on_tick, pending_max=16)

    async def close(self) -> None:
        """Stop following: market time stands."""
        if self._subscription is not None:
            await self._subscription.close()

    async def started(self) -> None:
        """Return once the player has spoken: before that there is no market time."""
        await self._first.wait()

    @property
    def finished(self) -> bool:
        """Whether the player has said that nothing more comes."""
        return self._finished

    @property
    def speed(self) -> float:
        """See ``interfaces.Clock``."""
        return self._speed

    def _on_tick(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "clock"):
            self.follow(decode(delivery.payload, ClockTick))

    def follow(self, tick: ClockTick) -> None:
        """Take over the player's word."""
        self._market_ns = tick.market_ns
        self._heard_monotonic_ns = time.monotonic_ns()
        self._speed = tick.speed
        self._running = tick.running
        self._finished = tick.finished
        self._first.set()
        self._changed.set()
        self._changed.clear()

    def now(self) -> int:
        """See ``interfaces.Clock``. 0 before the player's first word."""
        market_ns = self._market_ns
        if self._running:
            elapsed_ns = min(time.monotonic_ns() - self._heard_monotonic_ns, TICK_INTERVAL_NS)
            market_ns += int(elapsed_ns * self._speed)
        self._latest_ns = max(self._latest_ns, market_ns)
        return self._latest_ns

    def monotonic(self) -> int:
        """See ``interfaces.Clock``."""
        return time.monotonic_ns()

    async def sleep_until(self, market_ns: int) -> None:
        """See ``interfaces.Clock``."""
        while (left_ns := market_ns - self.now()) > 0:
            if self._running and left_ns <= TICK_INTERVAL_NS * self._speed:
                await asyncio.sleep(left_ns / self._speed / NS_PER_SECOND)
                if self.now() >= market_ns:
                    return
            await self._changed.wait()


class ReplayClock:
    """Market time as a tape or a test sets it; ``monotonic`` advances with it, so that a replay depends on nothing else."""

    speed = 1.0

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> int:
        """See ``interfaces.Clock``."""
        return self._now_ns

    def monotonic(self) -> int:
        """See ``interfaces.Clock``."""
        return self._now_ns

    def advance_to(self, market_ns: int) -> None:
        """Move to that moment and wake who waited for it, in the order of their moments; an earlier one changes nothing."""
        self._now_ns = max(self._now_ns, market_ns)
        while self._sleepers and self._sleepers[0][0] <= self._now_ns:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep_until(self, market_ns: int) -> None:
        """See ``interfaces.Clock``."""
        if market_ns <= self._now_ns:
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (market_ns, next(self._order), sleeper))
        await sleeper
