"""One market data socket, kept alive for ever: connect, greet, read, watch, and begin again.

What is said on the socket is the venue's (a ``Dialogue``); when to give up on a connection is decided here, by the data that came and not by the
socket's word, since a half-open connection answers pings or nothing for hours. It never buffers for later and never raises but ``NotAuthorized``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tradingsystem.adapters.certificates import CertificateWatch
from tradingsystem.adapters.pacing import Backoff, DataWatch, WatchLimits
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.interfaces import Clock, SourceEvent, SourceSink
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

FRAME_BYTES_MAX = 16 * 1024 * 1024
WATCH_SECONDS = 0.25
GREETING_SECONDS = 15.0
UNTRUSTED_SECONDS = 10.0  # a certificate is not mended within a moment
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ConnectionLost(Exception):
    """This connection is given up. ``label`` is one of few words for the counter; ``patience_seconds`` a wait the other side deserves."""

    def __init__(self, label: str, reason: str, patience_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.label = label
        self.patience_seconds = patience_seconds


@dataclass(frozen=True, slots=True)
class Heard:
    """What one frame brought: whether it was data, the newest moment its events tell of (ns, 0 for none), and whether a subscription holds."""

    data: bool = False
    newest_ns: int = 0
    subscribed: bool = False


class Dialogue(Protocol):
    """A venue's side of the conversation on one socket. It raises ``ConnectionLost`` or ``NotAuthorized`` as it hears so."""

    async def greet(self, socket: ClientConnection) -> None:
        """Authenticate on a fresh socket. Bounded by the caller."""

    async def subscribe(self, socket: ClientConnection) -> None:
        """Send whatever subscriptions are wanted and not yet requested; called again and again."""

    def hear(self, payload: bytes, received_ns: int) -> Heard:
        """Take one frame and deliver its rows."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a socket leads. ``headers`` may hold credentials and are never printed."""

    source: str
    url: str
    credential: str
    headers: Mapping[str, str] | None = None
    compression: bool = False  # costs more than it saves unless the line is thin


class Stream:
    """Keeps one socket alive and tells the sink of its health. Times of the limits are market time, of the waits machine time."""

    def __init__(self, endpoint: Endpoint, clock: Clock, *, limits: WatchLimits | None = None, backoff: Backoff | None = None) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._watch = DataWatch(limits or WatchLimits())
        self._backoff = backoff or Backoff(random.Random())
        self._healthy: bool | None = None
        self._certificate = CertificateWatch(urlsplit(endpoint.url).hostname or endpoint.source)

    async def run(self, dialogue: Dialogue, sink: SourceSink) -> None:
        """Deliver until cancelled. Raises ``NotAuthorized``."""
        while True:
            try:
                await self._connection(dialogue, sink)
            except ConnectionLost as lost:
                metrics.source_reconnects.labels(source=self._endpoint.source, reason=lost.label).inc()
                self._tell(sink, healthy=False, reason=str(lost))
                wait = max(self._backoff.next_seconds(), lost.patience_seconds)
                log.warning(
                    "source_lost", source=self._endpoint.source, label=lost.label, reason=str(lost), again_in_seconds=round(wait, 2)
                )
                await asyncio.sleep(wait)

    async def _connection(self, dialogue: Dialogue, sink: SourceSink) -> None:
        with self._foreign_errors():
            async with self._connect() as socket:
                self._certificate.seen(socket.transport)
                self._watch.connected(self._clock.now(), self._clock.monotonic())
                async with asyncio.timeout(GREETING_SECONDS):
                    await dialogue.greet(socket)
                await self._converse(socket, dialogue, sink)

    async def _converse(self, socket: ClientConnection, dialogue: Dialogue, sink: SourceSink) -> None:
        reader = asyncio.create_task(self._read(socket, dialogue, sink))
        keeper = asyncio.create_task(self._keep(socket, dialogue))
        try:
            done, _ = await asyncio.wait((reader, keeper), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (reader, keeper):
                task.cancel()
            await asyncio.gather(reader, keeper, return_exceptions=True)
            socket.transport.abort()  # a dead peer would keep the closing handshake waiting

    async def _read(self, socket: ClientConnection, dialogue: Dialogue, sink: SourceSink) -> None:
        source = self._endpoint.source
        frames = metrics.frames_received.labels(source=source)
        while True:
            payload = await socket.recv(decode=False)
            machine_ns = self._clock.monotonic()
            market_ns = self._clock.now()
            sink.frame(source, payload, market_ns)
            frames.inc()
            heard = dialogue.hear(payload, market_ns)
            if heard.data:
                self._watch.heard(heard.newest_ns, market_ns, machine_ns)
                self._backoff.delivered(machine_ns)
            if heard.data or (heard.subscribed and not self._watch.expects_data(market_ns)):
                self._judge_lag(sink, market_ns)

    async def _keep(self, socket: ClientConnection, dialogue: Dialogue) -> None:
        while True:
            await dialogue.subscribe(socket)
            await asyncio.sleep(WATCH_SECONDS)
            silent_ns = self._watch.silent_ns(self._clock.now(), self._clock.monotonic(), self._clock.speed)
            if silent_ns:
                raise ConnectionLost("stale", f"no data for {silent_ns / NS_PER_SECOND:.1f} s of market time while the session runs")

    def _judge_lag(self, sink: SourceSink, market_ns: int) -> None:
        behind_ns = self._watch.behind_ns(market_ns, self._clock.speed)
        if behind_ns:
            self._tell(
                sink, healthy=False, reason=f"data is {behind_ns / NS_PER_SECOND:.1f} s behind the clock: a delayed feed, or a slow reader"
            )
        else:
            self._tell(sink, healthy=True, reason="data arrives")

    def _tell(self, sink: SourceSink, *, healthy: bool, reason: str) -> None:
        if healthy != self._healthy:
            self._healthy = healthy
            metrics.source_healthy.labels(source=self._endpoint.source).set(1.0 if healthy else 0.0)
            sink.health(self._endpoint.source, SourceEvent(healthy, reason))

    def _connect(self) -> connect:
        url = self._endpoint.url
        return connect(
            url,
            additional_headers=dict(self._endpoint.headers or {}),
            compression="deflate" if self._endpoint.compression else None,
            max_size=FRAME_BYTES_MAX,
            open_timeout=GREETING_SECONDS,
            close_timeout=1.0,
            proxy=None if urlsplit(url).hostname in LOOPBACK else True,
        )

    @contextlib.contextmanager
    def _foreign_errors(self) -> Iterator[None]:
        """Translate what sockets throw; texts name the place, never the URL's query or the headers."""
        place = urlsplit(self._endpoint.url).netloc
        try:
            yield
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403):
                raise NotAuthorized(self._endpoint.credential, f"{place} answered {status} to the handshake") from error
            raise ConnectionLost("handshake", f"{place} answered {status} to the handshake", 5.0 if status == 429 else 0.0) from error
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
            reason = error.rcvd.reason if error.rcvd else "no closing handshake"
            patience = MAX_CONNECTIONS_SECONDS if reason == "max_connections" else 0.0
            raise ConnectionLost("closed", f"{place} closed the connection with {code} ({reason})", patience) from error
        except TimeoutError as error:
            raise ConnectionLost("timeout", f"{place} did not finish the greeting in {GREETING_SECONDS:.0f} s") from error
        except ssl.SSLError as error:
            raise ConnectionLost("certificate", self._certificate.refused(error), UNTRUSTED_SECONDS) from error
        except (OSError, WebSocketException, EOFError) as error:
            raise ConnectionLost("network", f"{place}: {type(error).__name__}") from error


MAX_CONNECTIONS_SECONDS = 20.0
"""Wait before fighting for the one connection a key may have: two owners would evict each other for ever."""
