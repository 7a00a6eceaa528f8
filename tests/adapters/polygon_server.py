"""A small real WebSocket server that speaks as much Polygon as a test needs; what it does wrong is the test's choice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

KEY = "made-up-key"


def frame(*events: dict[str, Any]) -> str:
    return json.dumps(events)


def status(name: str, message: str = "") -> dict[str, Any]:
    return {"ev": "status", "status": name, "message": message}


@dataclass
class PolygonServer:
    """``after`` runs once the first subscription of a connection was answered; ``refused`` params get no confirmation."""

    after: Callable[[ServerConnection, int], Awaitable[None]] | None = None
    refused: frozenset[str] = frozenset()
    auth: str = "auth_success"
    port: int = 0
    connections: int = 0
    held: list[set[str]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds after something was received."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def _serve(self, socket: ServerConnection) -> None:
        number = self.connections
        self.connections += 1
        held: set[str] = set()
        self.held.append(held)
        begun = False
        with contextlib.suppress(ConnectionClosed):
            await socket.send(frame(status("connected", "Connected Successfully")))
            async for text in socket:
                message = json.loads(text)
                self.messages.append(message)
                if message["action"] == "auth":
                    await socket.send(frame(status(self.auth if message["params"] == KEY else "auth_failed")))
                else:
                    await self._change(socket, message, held)
                    if not begun and self.after is not None:
                        begun = True
                        await self.after(socket, number)
                self.changed.set()
        self.changed.set()

    async def _change(self, socket: ServerConnection, message: dict[str, Any], held: set[str]) -> None:
        params = set(message["params"].split(","))
        if message["action"] == "subscribe":
            answers = [status("error", "not authorized") for _ in params & self.refused]
            answers += [status("success", f"subscribed to: {param}") for param in sorted(params - self.refused - held)]
            held |= params - self.refused
        else:
            answers = [status("success", f"unsubscribed to: {param}") for param in sorted(params & held)]
            held -= params
        if answers:
            await socket.send(frame(*answers))


@contextlib.asynccontextmanager
async def running(server: PolygonServer) -> AsyncIterator[PolygonServer]:
    """The server on a free port."""
    async with serve(server._serve, "127.0.0.1", 0) as listening:
        server.port = next(iter(listening.sockets)).getsockname()[1]
        yield server
