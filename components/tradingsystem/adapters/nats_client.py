"""nats-py's client where its own ways do not serve: publish without a task, a barrier that holds, an end that does not hang.

It refuses to keep any state: what a connection is and whether it stands is ``nats.py``'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import nats.errors
from nats.aio.client import Client

from tradingsystem.domain.errors import BrokenInvariant

FLUSH_TURNS_MAX = 10_000


def finish(publication: Coroutine[Any, Any, None]) -> None:
    """Run nats-py's ``publish`` to its end here and now: with ``pending_size=0`` it has nothing to wait for, so no task is needed and order is kept."""
    try:
        publication.send(None)
    except StopIteration:
        return
    publication.close()
    raise BrokenInvariant("nats-py's publish waits for something: this version cannot be used")


async def flushed(client: Client, timeout_seconds: float) -> None:
    """A barrier. nats-py's own ``flush`` sends its ping past what waits to be written, so that is written first."""
    async with asyncio.timeout(timeout_seconds):
        for _ in range(FLUSH_TURNS_MAX):
            if client.pending_data_size == 0 or not client.is_connected:
                break
            await asyncio.sleep(0)
        await client.flush(max(1, int(timeout_seconds)))


async def discarded(client: Client) -> None:
    """Leave a client that may be half dead, without waiting long for its good-bye."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await client.close()
    # A client that was refused, or that closed itself, leaves its socket open.
    if (transport := client._transport) is not None:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            transport.close()  # type: ignore[no-untyped-call]
            async with asyncio.timeout(0.5):
                await transport.wait_closed()  # type: ignore[no-untyped-call]
