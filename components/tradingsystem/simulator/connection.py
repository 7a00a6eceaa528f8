"""One client's WebSocket, for every simulated venue: a bounded send buffer, capture, and the scenario's stream faults.

A wire server calls `Connection.accept`, reads `messages()`, answers with `answer` and publishes with `offer`; it never touches the socket. `offer` does
not wait: a reader that falls behind fills its own buffer and is disconnected, it cannot hold up the others. Market time is not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

from tradingsystem.simulator.capture import Capture
from tradingsystem.simulator.faults import Faults, StreamFault, StreamFaultKind, rewrite

SLOW_CONSUMER_GRACE_SECONDS = 1.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Wire:
    """What all wire servers of one simulator share."""

    faults: Faults
    capture: Capture
    now_ns: Callable[[], int]  # market time
    connections: set[Connection] = field(default_factory=set)

    async def close(self) -> None:
        """Close every socket with 1001; clients that do not answer are cut."""
        open_connections = list(self.connections)
        await asyncio.gather(*(connection.shut_down() for connection in open_connections))


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


def reset(transport: asyncio.Transport | None) -> None:
    """Cut a TCP connection with RST instead of FIN."""
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    if peer is not None:
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Connection:
    """A client that has completed the WebSocket handshake."""

    def __init__(self, request: web.Request, endpoint: str, wire: Wire, slow_frame: bytes | None) -> None:
        self.request = request
        self.endpoint = endpoint
        self.silent = False  # accepted, never gets data (`ConnectionLimit.SILENT_NEW`)
        self.name = wire.capture.connection(f"ws{endpoint}", endpoint)
        self._wire = wire
        self._slow_frame = slow_frame
        self._socket = web.WebSocketResponse(autoping=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=2.0)
        self._queue: deque[tuple[bytes, bool] | _Close] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._held: tuple[bytes, bool] | None = None
        self._mute = False
        self._doomed = False
        self._mute_answers = False
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    async def accept(cls, request: web.Request, endpoint: str, wire: Wire, *, slow_frame: bytes | None = None) -> Connection | web.Response:
        """Complete the handshake, or return the HTTP response that the scenario refuses it with.

        `slow_frame` is the text frame sent before a reader that is too slow is closed with 1008.
        """
        refusal = wire.faults.on_connection(endpoint, StreamFaultKind.REFUSE_HANDSHAKE)
        if refusal is not None:
            wire.capture.event(wire.capture.connection(f"ws{endpoint}", endpoint), "out", "refused", str(refusal.code))
            return web.Response(status=refusal.code)
        connection = cls(request, endpoint, wire, slow_frame)
        await connection._socket.prepare(request)
        wire.connections.add(connection)
        wire.capture.event(connection.name, "in", "open", request.path)
        connection._mute_answers = wire.faults.on_connection(endpoint, StreamFaultKind.MUTE_ANSWERS) is not None
        if wire.faults.on_connection(endpoint, StreamFaultKind.PING_FIRST) is not None:
            await connection._socket.ping(b"simulator")
        connection._writer = asyncio.create_task(connection._write())
        return connection

    @property
    def response(self) -> web.WebSocketResponse:
        """What the request handler has to return in the end."""
        return self._socket

    @property
    def refuse_auth(self) -> bool:
        """True when the scenario wants these credentials refused, whatever they are."""
        return self._wire.faults.on_connection(self.endpoint, StreamFaultKind.REFUSE_AUTH) is not None

    async def messages(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Data frames of the client as (payload, is text) until the connection ends."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.PING:
                if not self._mute:
                    await self._socket.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                if self._mute:
                    continue
                text = message.type is WSMsgType.TEXT
                payload = message.data.encode() if text else message.data
                self._wire.capture.frame(self.name, "in", payload, text=text)
                yield payload, text
            elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return

    def answer(self, payload: bytes, *, text: bool = True) -> None:
        """Queue a control frame: never hit by faults other than `MuteAnswers` and a mute connection."""
        if not self._mute_answers:
            self._put(payload, text)

    def live(self) -> None:
        """Say that the client is authenticated and subscribed: a `Replay` fault sends old frames again from here."""
        for payload, text in self._wire.faults.replay(self.endpoint):
            self._put(payload, text)

    def offer(self, payload: bytes, *, text: bool = True) -> None:
        """Queue a data frame, subject to the scenario. Does not wait."""
        if self.silent or self._mute or self._doomed:
            return
        if self._wire.faults.quiet:
            self._put(payload, text)
            return
        fault = self._wire.faults.on_frame(self.endpoint, payload, text=text)
        if fault is not None:
            self._suffer(fault, payload, text)
            return
        self._put(payload, text)
        if self._held is not None:
            late, self._held = self._held, None
            self._put(*late)

    def close(self, code: int, reason: str = "") -> None:
        """Close after what is queued has left."""
        self._queue.append(_Close(code, reason))
        self._wake.set()

    def drop_tcp(self) -> None:
        """Cut the TCP connection with RST."""
        self._wire.capture.event(self.name, "out", "reset", "")
        self._doomed = True
        reset(self.request.transport)

    async def finish(self) -> None:
        """Release the connection; the handler calls it when `messages` has ended."""
        self._wire.connections.discard(self)
        self._wire.capture.event(self.name, "in", "close", str(self._socket.close_code))
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer

    async def shut_down(self) -> None:
        self._doomed = True
        with contextlib.suppress(ConnectionError):
            await self._socket.close(code=WSCloseCode.GOING_AWAY)

    def _suffer(self, fault: StreamFault, payload: bytes, text: bool) -> None:
        kind = fault.kind
        if kind is StreamFaultKind.DUPLICATE:
            for _ in range(1 + fault.count):
                self._put(payload, text)
        elif kind is StreamFaultKind.REORDER:
            self._held = (payload, text)
        elif kind is StreamFaultKind.DELAY:
            asyncio.get_running_loop().call_later(fault.delay_ms / 1000, self._put, payload, text)
        elif kind is StreamFaultKind.REWRITE:
            self._put(rewrite(payload, fault), text)
        elif kind is StreamFaultKind.RAW:
            self._put(str(fault.value).encode() * fault.count, text)
        elif kind is StreamFaultKind.TRUNCATE:
            self._put(payload[: len(payload) // 2], text)
        elif kind is StreamFaultKind.CLOSE:
            self.close(fault.code, "simulated")
        elif kind is StreamFaultKind.RESET:
            self.drop_tcp()
        elif kind is StreamFaultKind.HALF_OPEN:
            self._mute = True
            self._queue.clear()
            self._wire.capture.event(self.name, "out", "mute", "")

    def _put(self, payload: bytes, text: bool) -> None:
        if self._mute or self._doomed:
            return
        if self._queued_bytes + len(payload) > self._wire.faults.scenario.send_buffer_bytes:
            self._disconnect_slow()
            return
        self._queue.append((payload, text))
        self._queued_bytes += len(payload)
        self._wake.set()

    def _disconnect_slow(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0
        if self._slow_frame is not None and not self._wire.faults.scenario.slow_consumer_silent:
            self._queue.append((self._slow_frame, True))
        self.close(WSCloseCode.POLICY_VIOLATION, "slow_consumer")
        self._doomed = True
        asyncio.get_running_loop().call_later(SLOW_CONSUMER_GRACE_SECONDS, self.drop_tcp)

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    item = self._queue.popleft()
                    if isinstance(item, _Close):
                        self._doomed = True
                        self._wire.capture.event(self.name, "out", "close", f"{item.code} {item.reason}")
                        await self._socket.close(code=item.code, message=item.reason.encode())
                        return
                    payload, text = item
                    self._queued_bytes = max(0, self._queued_bytes - len(payload))
                    self._wire.capture.frame(self.name, "out", payload, text=text)
                    await self._socket.send_frame(payload, WSMsgType.TEXT if text else WSMsgType.BINARY)
        except (ClientConnectionResetError, ConnectionError):
            self._doomed = True  # the reader sees the end of the connection and finishes it
