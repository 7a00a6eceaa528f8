"""Where each venue answers: the real addresses, or the simulator's for all of them. A mistake here would send simulated orders to a broker, so the
choice is made once, by mode, and Simulation without a simulator's address is refused."""

from __future__ import annotations

from dataclasses import dataclass

from tradingsystem.domain.errors import BrokenInvariant
from tradingsystem.spec import Mode

SIMULATED_KEY = "simulation"


@dataclass(frozen=True, slots=True)
class Venues:
    """Base addresses without a trailing slash."""

    polygon_stream: str
    polygon_rest: str
    alpaca_trading: str
    alpaca_data: str
    alpaca_data_stream: str
    unusual_whales: str


def venues_of(mode: Mode, simulator: str) -> Venues:
    """The addresses for a mode. Raises ``BrokenInvariant`` when mode and the simulator's address contradict each other."""
    if (mode is Mode.SIMULATION) != bool(simulator):
        raise BrokenInvariant(f"mode {mode.value} with {'a' if simulator else 'no'} simulator's address")
    if simulator:
        base = simulator.rstrip("/")
        sockets = base.replace("http", "ws", 1)
        return Venues(sockets, base, base, base, f"{sockets}/v2", base)
    return Venues(
        polygon_stream="wss://socket.polygon.io",
        polygon_rest="https://api.polygon.io",
        alpaca_trading="https://api.alpaca.markets" if mode is Mode.LIVE else "https://paper-api.alpaca.markets",
        alpaca_data="https://data.alpaca.markets",
        alpaca_data_stream="wss://stream.data.alpaca.markets/v2",
        unusual_whales="https://api.unusualwhales.com",
    )
