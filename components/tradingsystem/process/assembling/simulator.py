"""The simulator: every venue in one process, in Simulation only."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from typing import cast
from urllib.parse import urlsplit

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.lifecycle import Service
from tradingsystem.spec.simulation import MarketSource
from tradingsystem.spec.slices import SimulatorSlice

EDGE_DECLARED_BASIS_POINTS = 60  # the resource's default is the simulator's 1.0


async def assemble(parts: Parts) -> Service:
    """The service. Raises ``InvalidInput``."""
    from tradingsystem.process.playing import SimulatedPlayer, market_of, playing
    from tradingsystem.process.simulated_time import PacedSimulator
    from tradingsystem.simulator.server import SimulatorSettings
    from tradingsystem.simulator.service import SimulatorService

    piece, assignment = cast(SimulatorSlice, parts.slice), parts.assignment
    address = urlsplit(assignment.venues)  # where it listens; everybody else's is where they find it
    simulation = piece.simulation
    if simulation.edge_basis_points > EDGE_DECLARED_BASIS_POINTS:
        raise InvalidInput(
            f"spec.simulation.edgeBasisPoints: {simulation.edge_basis_points} is more than the simulator plants (0 to {EDGE_DECLARED_BASIS_POINTS})"
        )
    recorded = simulation.source is MarketSource.RECORDED
    settings = SimulatorSettings(
        seed=simulation.seed,
        symbols=simulation.symbols,
        speed=float(simulation.speed),
        start_date=date.fromisoformat(simulation.start_date),
        folder=str(assignment.data_folder or simulation.data) if recorded else "",
        edge=simulation.edge_basis_points / EDGE_DECLARED_BASIS_POINTS,
        host=address.hostname or "",
        port=address.port or 0,
        capture_path=str(assignment.capture_file or ""),
        capture_everything=assignment.capture_everything,
        starting_cash=Decimal(piece.initial_capital),
    )
    simulator = playing(settings, await asyncio.to_thread(market_of, settings))  # probes are answered while it reads
    return PacedSimulator(system=piece.system, venues=SimulatorService(simulator), player=SimulatedPlayer(simulator), bus=parts.bus)
