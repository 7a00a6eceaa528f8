"""How every command reads a resource from a file: all its mistakes at once, or the resource."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tradingsystem.spec import TradingSystem
from tradingsystem.spec.load import load_file


def read_system(path: Path, *, speed: int | None = None) -> TradingSystem:
    """The resource in ``path``; ``speed`` replaces the simulation's. Raises ``InvalidSpec``."""
    system = load_file(path)
    if speed is None:
        return system
    simulation = msgspec.structs.replace(system.spec.simulation, speed=speed)
    return msgspec.structs.replace(system, spec=msgspec.structs.replace(system.spec, simulation=simulation))
