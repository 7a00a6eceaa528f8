"""The simulator as a service: the loop that lets market time run and plays slice after slice.

The only file of this side that waits. It knows no bus: whoever runs it passes `on_time` and hears every slice's market time and speed (and publishes
clock ticks from it), tells consumers' lag by `pace`, and waits for `finished`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tradingsystem.simulator.server import SLICE_SECONDS, Address, Simulator, SimulatorSettings
from tradingsystem.simulator.server import listening as opened

OnTime = Callable[[int, float], None]


class SimulatorService:
    """Runs a `Simulator`. The day begins with `run`; unless `end_with_day`, venues stay open after it until told to stop."""

    name = "simulator"

    def __init__(self, simulator: Simulator, *, on_time: OnTime | None = None) -> None:
        self.simulator = simulator
        self.finished = asyncio.Event()
        self.listening = asyncio.Event()
        self.address: Address | None = None
        self.slowest_slice_seconds = 0.0
        self._on_time = on_time
        self._rows = 0

    @property
    def progress_ns(self) -> int:
        """Market time up to which everything has been played."""
        return self.simulator.exchange.now_ns

    def detail(self) -> dict[str, float]:
        """For the heartbeat; `finished` is 1 when the day is over."""
        ledger = self.simulator.ledger
        return {
            "finished": float(self.finished.is_set()),
            "rows": float(self._rows),
            "orders": float(len(ledger.orders)),
            "fills": float(len(ledger.executions)),
            "factor": self.simulator.pacer.factor,
            "slowest_slice_seconds": self.slowest_slice_seconds,
        }

    def pace(self, lag_seconds: float) -> float:
        """Tell how far the slowest consumer lags (wall seconds); returns the share of full speed now in force."""
        return self.simulator.pace(lag_seconds)

    async def run(self, ready: Callable[[], None], stop: asyncio.Event, *, end_with_day: bool = False) -> None:
        """Listen, call `ready`, play the day, keep the venues open until `stop`."""
        async with opened(self.simulator) as address:
            self.address = address
            self.listening.set()
            ready()
            self.simulator.begin()
            await self._play(stop)
            if not stop.is_set():
                self.finished.set()
                if not end_with_day:
                    await stop.wait()

    async def _play(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not self.simulator.finished:
            started = time.monotonic()
            self._rows += len(self.simulator.step())
            if self._on_time is not None:
                self._on_time(self.simulator.now_ns(), self.simulator.pacer.speed * self.simulator.pacer.factor)
            elapsed = time.monotonic() - started
            self.slowest_slice_seconds = max(self.slowest_slice_seconds, elapsed)
            # At least once around the loop: sockets are served between slices even when a slice took longer than its time.
            await asyncio.sleep(max(0.0, SLICE_SECONDS - elapsed))


async def serve(
    settings: SimulatorSettings, *, until: asyncio.Event | None = None, listening: Callable[[Address], None] | None = None
) -> dict[str, Any]:
    """Run one simulated day stand-alone and return its summary. `listening` hears the address once; `until` ends the day early."""
    service = SimulatorService(Simulator(settings))

    def ready() -> None:
        if listening is not None and service.address is not None:
            listening(service.address)

    await service.run(ready, until or asyncio.Event(), end_with_day=True)
    return service.simulator.summary()
