"""The watcher with the broker's account."""

from __future__ import annotations

import time
from typing import cast

from tradingsystem.process.assembling.broker import SHORT_REQUEST_SECONDS, alpaca
from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.lifecycle import Service
from tradingsystem.spec.slices import WatcherSlice


async def assemble(parts: Parts) -> Service:
    """The service. Raises ``NotAuthorized``."""
    from tradingsystem.watcher.service import WatcherService

    piece = cast(WatcherSlice, parts.slice)
    secret = piece.broker.watcher_secret_ref.name or piece.broker.secret_ref.name
    broker = alpaca(parts.venues, secret, parts.key, time.time_ns, SHORT_REQUEST_SECONDS)  # no clock that stops with the bus
    parts.later.push_async_callback(broker.close)
    return WatcherService(
        system=piece.system,
        silence_seconds=piece.watcher_silence_seconds,
        clock=parts.clock,
        bus=parts.bus,
        broker=broker,
        halt_file=parts.halt_file(),
    )
