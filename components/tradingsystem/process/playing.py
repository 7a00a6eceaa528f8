"""The venues as a program: the simulator with its market loaded, alone or as the market of a system.

One of the few doors to the simulator, beside ``assembling``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.simulator.server import Simulator, SimulatorSettings
from tradingsystem.simulator.service import SimulatorService


async def simulate_alone(
    *,
    port: int,
    seed: int,
    symbols: int,
    speed: float,
    day: date,
    data: Path | None,
    capture: Path | None,
    capture_everything: bool = False,
    listening: Callable[[str, str], None],
) -> None:
    """The venues without a system, until cancelled; ``listening`` hears their HTTP and WebSocket addresses. Raises ``InvalidInput``."""
    settings = SimulatorSettings(
        seed=seed,
        symbols=symbols,
        speed=speed,
        start_date=day,
        folder=str(data or ""),
        port=port,
        capture_path=str(capture or ""),
        capture_everything=capture_everything,
    )
    service = SimulatorService(playable(settings))

    def ready() -> None:
        if service.address is not None:
            listening(service.address.http, service.address.websocket)

    await service.run(ready, asyncio.Event())


def playable(settings: SimulatorSettings) -> Simulator:
    """The simulator with its market loaded. Raises ``InvalidInput``: file and line of what is damaged, or which days there are."""
    try:
        return Simulator(settings)
    except (ValueError, OSError) as error:
        raise InvalidInput(str(error)) from error


class SimulatedPlayer:
    """``simulated_time.Player`` for the simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.now_ns = simulator.now_ns
        self.hold = simulator.pacer.hold
        self.pace = simulator.pace

    def release(self) -> None:
        """Go on from the moment at which it was held."""
        self._simulator.now_ns()
        self._simulator.pacer.release()

    def speed(self) -> float:
        """Full speed."""
        return self._simulator.pacer.speed

    def finished(self) -> bool:
        """Whether the last slice has been played."""
        return self._simulator.finished
