"""Market time waits for who is not ready and slows down for who is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.promises.waiting import run, until
from tradingsystem.adapters.in_process_bus import InProcessBus
from tradingsystem.domain.control import Beat, ClockTick
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.simulated_time import PacedSimulator

SUBJECTS = Subjects("testing")
NOW_NS = 1_772_000_000_000_000_000


class HandPlayer:
    """A player whose market time a test moves by hand; it keeps what it was told."""

    def __init__(self) -> None:
        self.market_ns = NOW_NS
        self.held = False
        self.lag_seconds = -1.0
        self.over = False

    def now_ns(self) -> int:
        return self.market_ns

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def pace(self, lag_seconds: float) -> float:
        self.lag_seconds = lag_seconds
        return 0.0 if lag_seconds > 2 else 1.0

    def speed(self) -> float:
        return 60.0

    def finished(self) -> bool:
        return self.over


class OpenVenues:
    """Venues that are ready at once and stay open."""

    progress_ns = NOW_NS

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        ready()
        await stop.wait()

    def detail(self) -> dict[str, float]:
        return {"rows": 1.0}


def beat(service: str, applied_ns: int, phase: str = "ready") -> bytes:
    """A heartbeat as the process would send it."""
    return encode(Beat(service, "1-a", "b", 1, "h", 0, phase, applied_ns, {}))


def test_the_market_waits_and_slows_down() -> None:
    """Held until both consumers are ready; full speed while they keep up; a stand-still once one lags, and on again after; then the end is told."""

    async def main() -> None:
        bus, player, stop = InProcessBus(), HandPlayer(), asyncio.Event()
        ticks: list[ClockTick] = []
        await bus.subscribe(SUBJECTS.clock, lambda delivery: ticks.append(decode(delivery.payload, ClockTick)))
        service = PacedSimulator(system="testing", venues=OpenVenues(), player=player, bus=bus, consumers=("filter", "execution"))
        running = asyncio.create_task(service.run(lambda: None, stop))

        async def told(*services: tuple[str, int, str]) -> None:
            seen = len(ticks)
            for name, applied_ns, phase in services:
                bus.publish(SUBJECTS.beat(name), beat(name, applied_ns, phase))
            await until(lambda: len(ticks) > seen + 2)

        await told(("filter", NOW_NS, "ready"), ("execution", 0, "starting"))
        assert player.held
        assert not ticks[-1].running
        assert ticks[-1].market_ns == NOW_NS
        await told(("filter", NOW_NS, "ready"), ("execution", NOW_NS, "ready"))
        assert not player.held
        assert ticks[-1].running
        assert ticks[-1].speed == 60.0
        player.market_ns = NOW_NS + 600_000_000_000
        await told(("filter", NOW_NS, "ready"), ("execution", player.market_ns, "ready"))
        assert player.lag_seconds >= 10
        assert not ticks[-1].running
        await told(("filter", player.market_ns, "ready"), ("execution", player.market_ns, "ready"))
        assert player.lag_seconds < 1
        assert ticks[-1].running
        await told(("filter", 0, "starting"), ("execution", player.market_ns, "ready"))
        assert ticks[-1].running, "the market does not wait for one that starts again"
        player.over = True
        await told(("filter", player.market_ns, "ready"))
        assert ticks[-1].finished
        assert service.detail()["rows"] == 1.0
        stop.set()
        await running

    run(main())
