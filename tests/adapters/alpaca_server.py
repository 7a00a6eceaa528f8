"""A tiny loopback server that says what a test tells it to say; the simulator's Alpaca is tested elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.adapters.alpaca.credentials import Credentials

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEYS = Credentials("KEY", "SECRET")
ORDER = {
    "id": "o-1",
    "client_order_id": "t-ABC-e1",
    "symbol": "ABC",
    "side": "buy",
    "status": "pending_new",
    "qty": "7",
    "filled_qty": "0",
    "order_class": "",
    "type": "limit",
    "submitted_at": "2026-03-02T15:00:00.000001Z",
}


@asynccontextmanager
async def alpaca(*routes: tuple[str, str, Handler], timeout_seconds: float = 5.0) -> AsyncIterator[AlpacaBroker]:
    """A broker client whose server has these routes (method, path, handler)."""
    app = web.Application()
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    broker = AlpacaBroker(f"http://{host}:{port}", lambda: KEYS, lambda: 1_000 * 10**9, timeout_seconds=timeout_seconds)
    try:
        yield broker
    finally:
        await broker.close()
        await runner.cleanup()


def answering(status: int, body: Any, headers: dict[str, str] | None = None) -> Handler:
    """A handler that always says this."""

    async def handle(request: web.Request) -> web.StreamResponse:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=payload, headers=headers)

    return handle


async def silent(request: web.Request) -> web.StreamResponse:
    """Takes the request and never answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Takes the request and cuts the connection."""
    await request.read()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def streaming(script: Callable[[web.WebSocketResponse, int], Awaitable[None]], *, authorized: bool = True, listens: bool = True) -> Handler:
    """An update stream: binary JSON, then the script with the number of the connection, from 1."""
    connections = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal connections
        connections += 1
        number = connections
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        login = json.loads((await socket.receive()).data)
        assert login == {"action": "authenticate", "data": {"key_id": "KEY", "secret_key": "SECRET"}}
        status = "authorized" if authorized else "unauthorized"
        await say(socket, "authorization", {"status": status, "action": "authenticate"})
        frame = await socket.receive()
        if frame.type is not WSMsgType.TEXT:
            return socket
        if listens:
            await say(socket, "listening", {"streams": ["trade_updates"]})
            await script(socket, number)
        await socket.close()
        return socket

    return handle


async def say(socket: web.WebSocketResponse, stream: str, data: Any) -> None:
    """One binary frame of JSON."""
    await socket.send_bytes(json.dumps({"stream": stream, "data": data}).encode())


def event(name: str, *, execution: str | None = None, total: int = 0, **more: Any) -> dict[str, Any]:
    """The data of a trade update."""
    order = ORDER | {"status": "filled" if name == "fill" else "new", "filled_qty": str(total)}
    return {
        "event": name,
        "timestamp": "2026-03-02T15:00:01Z",
        "execution_id": execution,
        "order": order,
        "price": "10",
        "qty": str(total),
    } | more
