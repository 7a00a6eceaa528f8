"""The recorder with the folder of this run."""

from __future__ import annotations

from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.lifecycle import Service


async def assemble(parts: Parts) -> Service:
    """The service."""
    from tradingsystem.recorder.service import RecorderService

    directory = parts.assignment.run_folder / "recording"
    directory.mkdir(parents=True, exist_ok=True)
    return RecorderService(
        system=parts.slice.system, directory=directory, clock=parts.clock, bus=parts.bus, journal=parts.journal, tape=parts.tape
    )
