"""A TCP proxy between a client and its venue that breaks the way networks break: silently.

It runs in a thread of its own and is steered from the test's. It reads nothing but bytes: which fault is in force decides what becomes of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

PIECE_BYTES = 65_536


class Fault(enum.Enum):
    """What becomes of bytes."""

    NONE = "none"
    BLACK_HOLE = "black hole"  # connections stand, are even made, and nothing arrives on either side
    NO_ANSWERS = "no answers"  # what the client says arrives; what it is told does not


@dataclass(eq=False)
class _Pair:
    """One connection, both sides. ``severed``: half open, it carries nothing more, and neither side is told."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    severed: bool = False
    swallowed: bool = False


@dataclass
class FaultProxy:
    """Listens on a loopback port and carries to ``target_port``."""

    target_port: int
    port: int = 0
    lost_bytes: int = 0
    delay_seconds: float = 0.0  # of each piece that a client says: a far or a busy server
    _fault: Fault = Fault.NONE
    _trigger: bytes = b""
    _triggered: threading.Event = field(default_factory=threading.Event)
    _expected: bytes = b""
    _came: threading.Event = field(default_factory=threading.Event)
    _pairs: set[_Pair] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _listening: threading.Event = field(default_factory=threading.Event)

    def start(self) -> FaultProxy:
        """Return when it listens."""
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self._thread.start()
        assert self._listening.wait(10)
        return self

    async def _serve(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        server = await asyncio.start_server(self._carry, sock=listener)
        self._listening.set()
        await self._end.wait()
        server.close()
        for pair in list(self._pairs):
            for writer in pair.writers:
                writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """End it and every connection."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()

    # --- steering ----------------------------------------------------------------------------------------------------

    def _now(self, do: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            do()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(10)

    def set(self, fault: Fault) -> None:
        """From now on, for all connections. What was swallowed stays lost, so connections that lost bytes are cut when the fault ends."""

        def change() -> None:
            self._fault = fault
            for pair in list(self._pairs):
                if fault is Fault.NONE and pair.swallowed and not pair.severed:
                    for writer in pair.writers:
                        writer.transport.abort()

        self._now(change)

    def sever(self) -> None:
        """Every connection that stands now is half open from here on; new ones work."""

        def change() -> None:
            for pair in self._pairs:
                pair.severed = True

        self._now(change)

    def swallow_answer_to(self, request: bytes) -> threading.Event:
        """The next connection that carries ``request`` arrives with it and is never answered; the event is set when that has happened."""
        self._triggered = threading.Event()
        self._now(lambda: setattr(self, "_trigger", request))
        return self._triggered

    def carries(self, request: bytes) -> threading.Event:
        """The event is set when ``request`` goes through, on a connection that works."""
        self._came = threading.Event()
        self._now(lambda: setattr(self, "_expected", request))
        return self._came

    # --- carrying ----------------------------------------------------------------------------------------------------

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair((writer, far_writer))
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(pair, reader, far_writer, asked=True), self._pump(pair, far_reader, writer, asked=False))
        finally:
            self._pairs.discard(pair)
            for each in pair.writers:
                each.transport.abort()

    async def _pump(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asked: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(PIECE_BYTES):
                if asked and self.delay_seconds:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self.delay_seconds):
                            await self._end.wait()
                if asked and self._trigger and self._trigger in piece:
                    self._trigger = b""
                    writer.write(piece)
                    pair.severed = True
                    self._triggered.set()
                elif self._is_lost(pair, asked=asked):
                    pair.swallowed = True
                    self.lost_bytes += len(piece)
                else:
                    if asked and self._expected and self._expected in piece:
                        self._expected = b""
                        self._came.set()
                    writer.write(piece)
                    await writer.drain()
        if not self._is_lost(pair, asked=asked):
            writer.close()

    def _is_lost(self, pair: _Pair, *, asked: bool) -> bool:
        return pair.severed or self._fault is Fault.BLACK_HOLE or (self._fault is Fault.NO_ANSWERS and not asked)
