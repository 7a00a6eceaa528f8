"""nats-py's client where its own ways do not serve: no word in clear where TLS is asked for, speaking and hearing without a task in between, a barrier, an
end that does not hang.

nats-py goes on in clear when a server does not ask for TLS, password included, whatever the address says. The client here looks before it says who it is.
It refuses to judge whether a connection stands: that is its owner's business. The operator, which imports nothing else from here, speaks by it as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tradingsystem.domain.errors import BrokenInvariant
from tradingsystem.spec.messaging import is_encrypted

BEHIND_BYTES = 1 << 16  # as many as the loop lets wait before it asks to pause
FLUSH_TURNS_MAX = 10_000
CANCEL_AGAIN_SECONDS = 0.2


class TlsRefused(nats.errors.Error):
    """A server that does not show what TLS asks of it. Nothing was told to it."""


class EncryptedWhereAsked(Client):
    """A client that says nothing to a server without TLS where its address asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[int, Callable[[Msg], None]] = {}
        self._has_spoken = False  # in this turn of the loop

    async def hear(self, subject: str, handler: Callable[[Msg], None]) -> Subscription:
        """Call ``handler`` for each message when it is read. nats-py hands it to a task of the subscription, which is the loop's next turn: between the
        journal's answer and the order that waits for it, whatever else is due runs first."""

        async def told(message: Msg) -> None:
            handler(message)

        subscription = await self.subscribe(subject, cb=told)  # nats-py wants a coroutine; nothing comes before the next line
        self._handlers[subscription._id] = handler
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """nats-py's, for a subscription by ``hear``; what its handler raises is told as nats-py does."""
        handler = self._handlers.get(sid)
        if handler is None or sid not in self._subs:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        message = self._build_message(sid, subject, reply, data, await self._process_headers(headers))
        try:
            handler(message)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            await self._error_cb(error)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._handlers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    def _connect_command(self) -> bytes:
        """What nats-py says first, with name and password in it."""
        assert self._current_server is not None, "nats-py chose a server before it greets it"
        if is_encrypted(self._current_server.uri.geturl()) and self._encrypted() is None:
            raise TlsRefused("it does not ask for TLS, which its address does; nothing was told to it")
        command: bytes = super()._connect_command()
        return command

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """nats-py's flusher ends when the socket closes under it. Whoever publishes before its reader has noticed would write to that socket himself: to
        uvloop that is a mistake of the program, and it would end the service."""
        writer = self._writer()
        if self.is_connected and (self._flusher_task is None or self._flusher_task.done() or writer is None or writer.is_closing()):
            raise nats.errors.ConnectionClosedError
        if writer is None or not self.is_connected or force_flush or self._has_spoken or is_behind(writer):
            return await super()._flush_pending(force_flush)
        # What is published first in a turn of the loop is written now. nats-py leaves it to its flusher, which is the next turn, after whatever else is due
        # in this one; what follows in the same turn goes that way, together.
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        writer.writelines(pending)
        self._has_spoken = True
        asyncio.get_running_loop().call_soon(self._turn_over)
        return None

    def _turn_over(self) -> None:
        self._has_spoken = False

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        """The same of a ping, which nats-py writes past what waits."""
        writer = self._writer()
        if writer is None or writer.is_closing():
            raise nats.errors.ConnectionClosedError
        await super()._send_ping(future)

    async def _process_pong(self) -> None:
        """nats-py answers whoever asked, also who has given up: when the answer to a flush came that was cancelled or took too long, its reader ended, and
        the connection was deaf."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    def peer_certificate(self) -> Mapping[str, Any] | None:
        """What the server showed; None without TLS."""
        encrypted = self._encrypted()
        return encrypted.getpeercert() if encrypted is not None else None

    def _encrypted(self) -> ssl.SSLObject | None:
        writer = self._writer()
        return writer.get_extra_info("ssl_object") if writer is not None else None

    def _writer(self) -> asyncio.StreamWriter | None:
        """Of the socket; None while there is none."""
        return getattr(self._transport, "_io_writer", None)


def is_behind(writer: asyncio.StreamWriter) -> bool:
    """Whether as much waits to be written as makes the loop ask for a pause."""
    return writer.transport.get_write_buffer_size() >= BEHIND_BYTES


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


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task that uses a client, until it has ended. Once is not enough: ``asyncio.wait_for`` of Python 3.11, by which nats-py connects and asks, drops
    a cancellation that comes in the same turn as what it waits for."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(task, return_exceptions=True)  # what it failed with, nobody waits for any more


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


def tell_failure(task: asyncio.Task[None]) -> None:
    """Who reads, or keeps a connection, and died of it must not look like silence: the loop's exception handler hears of it, which ends a service."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": f"{task.get_name()} failed", "exception": error})
