"""Alpaca's trade updates: authenticate, listen, deliver, and do so again for ever.

The stream has no sequence and replays nothing, so every loss is told: ``connected(False)`` the moment anything is doubtful, ``connected(True)`` only after
listening was confirmed. It refuses to be deaf: a missing answer, a silent peer and an unreadable event each end the connection.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import OrderedDict
from collections.abc import Callable

import aiohttp
import msgspec
import structlog

from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.alpaca.errors import CREDENTIAL
from tradingsystem.adapters.alpaca.models import WireAuthorization, WireListening, WireMessage, WireUpdate
from tradingsystem.adapters.alpaca.parse import Unreadable, read, update
from tradingsystem.adapters.certificates import CertificateWatch
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.orders import OrderUpdate
from tradingsystem.telemetry import metrics

ANSWER_SECONDS = 10.0
HEARTBEAT_SECONDS = 10.0  # a ping; without a pong in half of it the connection is dead
BACKOFF_SECONDS = (0.2, 30.0)
REMEMBERED_MAX = 10_000
UPDATES = "trade_updates"

_log = structlog.get_logger()


class Lost(ConnectionError):
    """The connection ended or cannot be trusted any more."""


class UpdateStream:
    """One account's update stream. ``url`` is the whole address, ending in ``/stream``."""

    def __init__(
        self,
        url: str,
        credentials: Callable[[], Credentials],
        certificate: CertificateWatch,
        session: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession,
    ) -> None:
        self.url = url
        self._credentials = credentials
        self._session = session
        self._certificate = certificate
        self._seen: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self.repeated = 0

    async def run(self, handler: Callable[[OrderUpdate], None], connected: Callable[[bool], None]) -> None:
        """Deliver until cancelled. Raises ``NotAuthorized`` when the first key is refused, since trying again cannot help; a key that was accepted once
        is being exchanged, and is tried again."""
        async with self._session() as session:
            await self._run(session, handler, connected)

    async def _run(self, session: aiohttp.ClientSession, handler: Callable[[OrderUpdate], None], connected: Callable[[bool], None]) -> None:
        wait_seconds = BACKOFF_SECONDS[0]
        accepted = False
        while True:
            listening = False

            def up() -> None:
                nonlocal listening, accepted
                listening = accepted = True
                connected(True)  # noqa: FBT003 - the port's callback has one flag

            try:
                await self._once(session, handler, up)
            except NotAuthorized as error:
                if not accepted:
                    raise
                metrics.alarms.labels(alarm="key_refused").inc()
                _log.error("key_refused", credential=error.credential, reason=str(error))
            except aiohttp.ClientConnectorCertificateError as error:
                _log.warning("updates_lost", reason=self._certificate.refused(_certificate_error(error)))
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                _log.warning("updates_lost", reason=str(error) or type(error).__name__)
            finally:
                if listening:
                    connected(False)  # noqa: FBT003
            wait_seconds = BACKOFF_SECONDS[0] if listening else min(wait_seconds * 2, BACKOFF_SECONDS[1])
            await asyncio.sleep(wait_seconds * random.uniform(0.5, 1.0))

    async def _once(self, session: aiohttp.ClientSession, handler: Callable[[OrderUpdate], None], up: Callable[[], None]) -> None:
        connecting = session.ws_connect(self.url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=4 << 20, compress=0)
        async with asyncio.timeout(ANSWER_SECONDS):
            socket = await connecting
        self._certificate.seen_peer(socket.get_extra_info("peercert"))
        try:
            await self._introduce(socket)
            up()
            async for frame in socket:
                self._deliver(_payload(frame), handler)
            raise Lost(f"closed with {socket.close_code}")
        finally:
            await socket.close()

    async def _introduce(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        pair = self._credentials()
        await socket.send_json({"action": "authenticate", "data": {"key_id": pair.key, "secret_key": pair.secret}})
        authorization = read(await self._answer(socket, "authorization"), WireAuthorization)
        if authorization.status != "authorized":
            raise NotAuthorized(CREDENTIAL, f"Alpaca's update stream answers {authorization.status!r}")
        await socket.send_json({"action": "listen", "data": {"streams": [UPDATES]}})
        listening = read(await self._answer(socket, "listening"), WireListening)
        if UPDATES not in listening.streams:
            raise Lost(f"listening to {listening.streams} only")

    async def _answer(self, socket: aiohttp.ClientWebSocketResponse, stream: str) -> msgspec.Raw:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                frame = await socket.receive()
                try:
                    message = read(_payload(frame), WireMessage)
                except Unreadable as error:
                    raise Lost(str(error)) from error
                if message.stream == stream:
                    return message.data

    def _deliver(self, payload: bytes, handler: Callable[[OrderUpdate], None]) -> None:
        """Hand one event on, once. An event that cannot be read may have been a fill: the connection ends, and reconciliation finds out."""
        try:
            message = read(payload, WireMessage)
            if message.stream != UPDATES:
                return
            event = update(read(message.data, WireUpdate))
        except Unreadable as error:
            raise Lost(f"an event cannot be read: {error}") from error
        if event.execution_id is not None:
            identity = (event.order.order_id, event.event, event.execution_id)
            if identity in self._seen:
                self.repeated += 1
                return
            self._seen[identity] = None
            if len(self._seen) > REMEMBERED_MAX:
                self._seen.popitem(last=False)
        handler(event)


def _payload(frame: aiohttp.WSMessage) -> bytes:
    if frame.type is aiohttp.WSMsgType.TEXT:
        return frame.data.encode()  # type: ignore[no-any-return]
    if frame.type is aiohttp.WSMsgType.BINARY:
        return frame.data  # type: ignore[no-any-return]
    raise Lost(f"the socket ended: {frame.type.name}")


def _certificate_error(error: aiohttp.ClientConnectorCertificateError) -> ssl.SSLError:
    """TLS' own word inside the library's."""
    inner = error.certificate_error
    return inner if isinstance(inner, ssl.SSLError) else ssl.SSLError(str(inner))
