"""Market time for a whole simulated system: nobody misses the opening, nobody is overrun, and everybody hears what time it is.

The simulator owns market time and knows no bus. This stands between: it holds the market until every consumer is ready, tells the clock fifty times a
second, and slows the player by the lag that consumers report in their heartbeats. One whose loop is busy makes the market wait for a while; one that is
gone or starting again does not: markets do not wait for crashed traders, and a simulation that did would prove nothing about restarts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from tradingsystem.domain.control import Beat, ClockTick
from tradingsystem.interfaces import Bus, Delivery
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.lifecycle import Phase
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

log = structlog.get_logger()

CONSUMERS = ("ingestion", "filter", "execution")
TICK_SECONDS = 0.02
SILENCE_SECONDS = 0.6
GONE_SECONDS = 4.0  # silent for longer: not busy but gone
WAITING_TOLD_SECONDS = 10.0


class Player(Protocol):
    """What is asked of the simulator."""

    def now_ns(self) -> int:
        """Market time now."""

    def hold(self) -> None:
        """Stand still until ``release``."""

    def release(self) -> None:
        """Go on; what was held is not caught up."""

    def pace(self, lag_seconds: float) -> float:
        """Slow down by a lag in machine seconds; the share of full speed that is left."""

    def speed(self) -> float:
        """Full speed."""

    def finished(self) -> bool:
        """Whether the day is over."""


class Venues(Protocol):
    """The simulator's own service."""

    @property
    def progress_ns(self) -> int:
        """Market time up to which it has played."""

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Play the day; venues stay open until ``stop``."""

    def detail(self) -> dict[str, float]:
        """Numbers for the heartbeat."""


class PacedSimulator:
    """The simulator as a service of a system."""

    name = "simulator"

    def __init__(self, *, system: str, venues: Venues, player: Player, bus: Bus, consumers: tuple[str, ...] = CONSUMERS) -> None:
        self._subjects = Subjects(system)
        self._venues = venues
        self._player = player
        self._bus = bus
        self._consumers = consumers
        self._heard: dict[str, tuple[Beat, float]] = {}
        self._lags: dict[str, float] = {}
        self._begun = False
        self._factor = 0.0

    @property
    def progress_ns(self) -> int:
        """Market time up to which everything has been played."""
        return self._venues.progress_ns

    def detail(self) -> dict[str, float]:
        """The simulator's own numbers, and the worst lag."""
        return {**self._venues.detail(), "lag_seconds": max(self._lags.values(), default=0.0)}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Open the venues, wait for the consumers, let the day run."""
        self._player.hold()
        heard = await self._bus.subscribe(self._subjects.beat("*"), self._on_beat)
        timing = asyncio.create_task(self._keep_time())
        try:
            await self._venues.run(ready, stop)
        finally:
            timing.cancel()
            await asyncio.gather(timing, return_exceptions=True)
            await heard.close()

    def _on_beat(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "beat"):
            self._hear(decode(delivery.payload, Beat))

    def _hear(self, beat: Beat) -> None:
        if beat.service not in self._consumers:
            return
        now = time.monotonic()
        self._heard[beat.service] = (beat, now)
        self._lags.pop(beat.service, None)
        if beat.phase == Phase.READY.value and beat.applied_ns > 0:
            self._lags[beat.service] = max(0.0, (self._player.now_ns() - beat.applied_ns) / 1e9 / self._player.speed())

    async def _keep_time(self) -> None:
        told = time.monotonic()
        while True:
            if not self._begun:
                waiting = [name for name in self._consumers if not self._is_ready(name)]
                if not waiting:
                    self._begun = True
                    self._player.release()
                    log.info("market_begins", market_ns=self._player.now_ns())
                elif time.monotonic() - told > WAITING_TOLD_SECONDS:
                    told = time.monotonic()
                    log.info("market_waits", waits_for=waiting)
            if self._begun:
                lag = self._lag_seconds()
                metrics.simulated_lag.set(lag)
                self._factor = self._player.pace(lag)
            self._tick()
            await asyncio.sleep(TICK_SECONDS)

    def _is_ready(self, name: str) -> bool:
        heard = self._heard.get(name)
        return heard is not None and heard[0].phase == Phase.READY.value

    def _lag_seconds(self) -> float:
        """The worst of the consumers that work: what it last reported, and how long it has been silent since."""
        now = time.monotonic()
        worst = 0.0
        for name in self._consumers:
            beat, at = self._heard[name]
            silent = now - at
            if beat.phase == Phase.READY.value and silent < GONE_SECONDS:
                worst = max(worst, self._lags.get(name, 0.0) + max(0.0, silent - SILENCE_SECONDS))
        return worst

    def _tick(self) -> None:
        finished = self._player.finished()
        running = self._begun and self._factor > 0 and not finished
        speed = self._player.speed() * (self._factor if running else 1.0)
        tick = ClockTick(self._player.now_ns(), speed, running=running, finished=finished)
        self._bus.publish(self._subjects.clock, encode(tick))
