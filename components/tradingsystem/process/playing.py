"""The venues as a program: the simulator with its market loaded, alone or as the market of a system.

One of the few doors to the simulator, beside ``assembling``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path

from tradingsystem.domain.errors import InvalidInput, Unplayable
from tradingsystem.simulator.feed import Feed
from tradingsystem.simulator.player import days_in_words
from tradingsystem.simulator.recorded import DamagedFile
from tradingsystem.simulator.server import Simulator, SimulatorSettings, make_feed
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
    service = SimulatorService(playing(settings, market_of(settings)))

    def ready() -> None:
        if service.address is not None:
            listening(service.address.http, service.address.websocket)

    await service.run(ready, asyncio.Event())


def market_of(settings: SimulatorSettings) -> Feed:
    """The market, loaded. A recorded day of many symbols takes a while: who serves meanwhile does this in a thread. Raises ``InvalidInput``: file and line
    of what is damaged, or which days there are, with a code of ``Unplayable``."""
    try:
        return make_feed(settings)
    except FileNotFoundError as error:
        raise InvalidInput(
            f"{settings.folder} has nothing of {settings.start_date}: {days_in_words(Path(settings.folder))}", Unplayable.NO_DAY
        ) from error
    except DamagedFile as error:
        raise InvalidInput(str(error), Unplayable.DAMAGED) from error
    except OSError as error:
        raise InvalidInput(f"{settings.folder}: cannot be read ({error})", Unplayable.UNREADABLE) from error
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def playing(settings: SimulatorSettings, market: Feed) -> Simulator:
    """The simulator of a market that is loaded. Raises ``InvalidInput``."""
    try:
        return Simulator(settings, market)
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
