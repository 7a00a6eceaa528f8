"""The update stream over a real socket: it tells when it hears, it tells when it may have missed something, and it never stays deaf."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.adapters.alpaca_server import ORDER, alpaca, event, say, streaming
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.orders import OrderUpdate

Script = Callable[[web.WebSocketResponse, int], Awaitable[None]]


async def heard(
    script: Script, *, until: Callable[[list[OrderUpdate], list[bool]], bool], **more: Any
) -> tuple[list[OrderUpdate], list[bool]]:
    """Read until enough was heard, at most five seconds."""
    updates: list[OrderUpdate] = []
    connections: list[bool] = []
    enough = asyncio.Event()

    def check() -> None:
        if until(updates, connections):
            enough.set()

    def update(one: OrderUpdate) -> None:
        updates.append(one)
        check()

    def connected(state: bool) -> None:
        connections.append(state)
        check()

    async with alpaca(("GET", "/stream", streaming(script, **more))) as broker:
        reading = asyncio.ensure_future(broker.updates(update, connected))
        done, _ = await asyncio.wait({reading, asyncio.ensure_future(enough.wait())}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        if reading in done:
            reading.result()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert enough.is_set()
    return updates, connections


async def forever(socket: web.WebSocketResponse, number: int) -> None:
    await socket.receive()


def test_binary_and_text_are_read() -> None:
    """Frames of either kind hold the same JSON; ``connected`` comes before the first event."""

    async def script(socket: web.WebSocketResponse, number: int) -> None:
        await say(socket, "trade_updates", event("new"))
        await socket.send_str(json.dumps({"stream": "trade_updates", "data": event("fill", execution="e1", total=7)}))
        await forever(socket, number)

    updates, connections = asyncio.run(heard(script, until=lambda updates, _: len(updates) == 2))
    assert [one.event for one in updates] == ["new", "fill"]
    assert connections[0] is True


def test_a_repeated_execution_is_heard_once() -> None:
    """A replayed batch after a reconnect brings no execution twice (invariant 10)."""

    async def script(socket: web.WebSocketResponse, number: int) -> None:
        for _ in range(3):
            await say(socket, "trade_updates", event("fill", execution="e1", total=7))
        await say(socket, "trade_updates", event("fill", execution=f"after-{number}", total=7))
        if number > 1:
            await forever(socket, number)

    updates, connections = asyncio.run(heard(script, until=lambda updates, _: len(updates) == 3))
    assert [one.execution_id for one in updates] == ["e1", "after-1", "after-2"]
    assert connections[:3] == [True, False, True]


@pytest.mark.parametrize("garbage", [b"not json", b'{"stream":"trade_updates","data":{"event":"fill"}}', b"[]", b"\xff\xfe"])
def test_an_unreadable_event_is_a_loss_that_is_told(garbage: bytes) -> None:
    """It may have been a fill: the connection is given up, so that execution asks for everything again."""

    async def script(socket: web.WebSocketResponse, number: int) -> None:
        if number == 1:
            await socket.send_bytes(garbage)
        await forever(socket, number)

    asyncio.run(heard(script, until=lambda _, connections: connections == [True, False, True]))


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011])
def test_every_close_is_followed_by_a_new_connection(code: int) -> None:
    """Clean or not, a closed socket is opened again."""

    async def script(socket: web.WebSocketResponse, number: int) -> None:
        if number == 1:
            await socket.close(code=code)
        await forever(socket, number)

    asyncio.run(heard(script, until=lambda _, connections: connections == [True, False, True]))


def test_a_refused_key_stops() -> None:
    """``unauthorized`` is not tried again: a person must look."""
    with pytest.raises(NotAuthorized):
        asyncio.run(heard(forever, until=lambda *_: False, authorized=False))


def test_unknown_streams_and_events_pass() -> None:
    """What we do not know is delivered if it is an update and skipped if it is not."""

    async def script(socket: web.WebSocketResponse, number: int) -> None:
        await say(socket, "weather", {"rain": True})
        await say(socket, "trade_updates", event("restated", order=ORDER | {"status": "quantum"}))
        await forever(socket, number)

    updates, _ = asyncio.run(heard(script, until=lambda updates, _: len(updates) == 1))
    assert updates[0].order.raw_status == "quantum"
