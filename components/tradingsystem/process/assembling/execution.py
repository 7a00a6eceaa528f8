"""Execution with its broker and its right to write."""

from __future__ import annotations

import secrets
from typing import cast

from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.process.assembling.broker import alpaca
from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.connecting import ensured
from tradingsystem.process.lifecycle import Service
from tradingsystem.process.place import occupied
from tradingsystem.spec.slices import ExecutionSlice


async def assemble(parts: Parts) -> Service:
    """The service. Raises ``InvalidInput``, ``NotAuthorized``, ``TryAgain``."""
    from tradingsystem.execution.courier import REQUEST_SECONDS
    from tradingsystem.execution.service import ExecutionService
    from tradingsystem.execution.writer import Owner

    piece = cast(ExecutionSlice, parts.slice)
    secret = piece.execution.broker.secret_ref.name
    broker = alpaca(parts.venues, secret, parts.key, parts.clock.now, REQUEST_SECONDS)
    parts.later.push_async_callback(broker.close)
    lease = await ensured(NatsLease(parts.connection))
    place = parts.later.enter_context(occupied(parts.assignment.state_folder / "writer.lock"))
    return ExecutionService(
        system=piece.system,
        spec=piece,
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
        lease=lease,
        broker=broker,
        owner=Owner(secrets.token_hex(8), place),
        peers=("ingestion", "filter", "execution"),
        halt_file=parts.halt_file(),
        folder=parts.assignment.state_folder,
    )
