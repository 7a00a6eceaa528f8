"""The bus on a real NATS server: heard or lost, in order, and never deaf without knowing it.

nats-py's read loop can die while ``is_connected`` stays true and ``flush`` succeeds. So a connection here judges itself by its own heartbeat, echoed
by the server each second, and builds its client anew after three misses; a lost connection takes the same path. Nothing is buffered while there is no
connection: what would leave late does not leave. Refuses to iterate over subscriptions (a task per message); callbacks only.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import random
import re
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from tradingsystem.adapters.certificates import CertificateWatch, reason_of
from tradingsystem.adapters.nats_client import EncryptedWhereAsked, TlsRefused, discarded, ended, finish, flushed, tell_failure
from tradingsystem.adapters.nats_encryption import is_refusal, trusted
from tradingsystem.domain.errors import BrokenInvariant, NotAuthorized, TryAgain
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.subjects import Subjects
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

HEARTBEAT_SECONDS = 1.0
MISSES_MAX = 3
BACKOFF_SECONDS = (0.05, 1.0)
OUTGOING_BYTES_MAX = 32 * 1024 * 1024
DRAIN_SLICE = 256
_FORBIDDEN = re.compile(r'violation for publish to "([^"]+)"', re.IGNORECASE)


class Change(enum.Enum):
    """What happened to a connection."""

    BUILT = "Built"
    LOST = "Lost"


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Where the server is and as whom to speak. ``password`` is never printed.

    ``url``: one address, or several with commas, all of one cluster; ``tls://`` is never spoken to without TLS. ``login``: the user's name at the server,
    where it is another than ours. ``ca_file``: who signs its certificate, else whom this machine trusts. ``replicas``: how many members keep a place.
    """

    url: str
    system: str
    user: str
    password: str = field(default="", repr=False)
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    login: str = ""
    ca_file: Path | None = None
    replicas: int = 1

    @property
    def urls(self) -> tuple[str, ...]:
        """Each address."""
        return tuple(self.url.split(","))


def kind_of(subject: str) -> str:
    """The first token of a subject, and of journal subjects the third: few values, fit for a label."""
    tokens = subject.split(".", 3)
    return tokens[2] if tokens[0] == "journal" and len(tokens) > 2 else tokens[0]


class NatsConnection:
    """One client, kept alive: opened for ever, watched by echo, its subscriptions carried over to each successor."""

    def __init__(self, settings: NatsSettings, purpose: str = "bus") -> None:
        self.settings = settings
        self.purpose = purpose
        self.inbox = f"_INBOX_{settings.user}.{secrets.token_hex(6)}"
        self._client: EncryptedWhereAsked | None = None
        self._subscriptions: list[NatsSubscription] = []
        self._watchers: list[Callable[[Change], None]] = []
        self._lost = asyncio.Event()
        self._opened, self._decided = False, asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._problems: dict[str, Exception] = {}  # by address, why it is of no use
        self._urls = itertools.cycle(random.sample(settings.urls, len(settings.urls)))
        self._url = ""
        self._certificate = CertificateWatch("the message server")
        self._trust = trusted(settings.urls, settings.ca_file)
        self._echo = Subjects(settings.system).echo(settings.user)
        self._echo_token = secrets.token_bytes(8)
        self._heard_ns = 0
        self._numbers = itertools.count(1)
        self.on_forbidden: Callable[[str], None] = lambda _: None

    # --- life --------------------------------------------------------------------------------------------------------

    async def open(self, timeout_seconds: float = 10.0) -> None:
        """Connect, and keep connected until ``close``. Raises ``TryAgain`` (no server in time) or, at once when no address takes it, ``NotAuthorized``."""
        self._keeper = asyncio.create_task(self._keep(), name=f"nats {self.purpose}")
        self._keeper.add_done_callback(tell_failure)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._decided.wait()
        if self._opened:
            return
        await self.close()
        if refusal := next(filter(is_refusal, self._problems.values()), None):
            raise NotAuthorized(f"NATS user {self.settings.login or self.settings.user}", "the server refused it") from refusal
        why = "; ".join(f"{url}: {problem}" for url, problem in self._problems.items()) or self.settings.url
        raise TryAgain(f"no message server within {timeout_seconds:g} s: {why}")

    async def close(self) -> None:
        """Flush and leave. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            if self.up:
                with contextlib.suppress(TryAgain):
                    await self.flush()
            await ended(keeper)
        await self._drop_client()

    @property
    def up(self) -> bool:
        """Whether there is a client that believes to be connected and has heard its own heartbeat of late."""
        return self._client is not None and self._client.is_connected and not self._lost.is_set()

    @property
    def message_bytes_max(self) -> int:
        """The largest message that the server takes, by its word; 0 while disconnected."""
        return self._client.max_payload if self._client is not None else 0

    def watch(self, watcher: Callable[[Change], None]) -> Callable[[], None]:
        """Tell ``watcher`` of each change; what is returned ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def _tell(self, change: Change) -> None:
        for watcher in tuple(self._watchers):
            watcher(change)

    def mark_lost(self, reason: str) -> None:
        """Give the present client up; a new one is built at once."""
        if self._client is None or self._lost.is_set():
            return
        log.warning("nats_connection_lost", purpose=self.purpose, reason=reason)
        metrics.bus_rebuilds.labels(connection=self.purpose, reason=reason).inc()
        self._lost.set()
        self._tell(Change.LOST)

    async def _keep(self) -> None:
        while True:
            client = await self._build()
            self._lost.clear()
            self._client = client
            for subscription in tuple(self._subscriptions):
                await subscription.attach(client)
            with contextlib.suppress(TryAgain):  # if it is lost again already, its watch says so
                await self.flush()
            self._opened = True
            self._decided.set()
            metrics.bus_connected.labels(connection=self.purpose).set(1)
            self._tell(Change.BUILT)
            await self._listen_to_itself(client)
            metrics.bus_connected.labels(connection=self.purpose).set(0)
            await self._drop_client()

    async def _build(self) -> EncryptedWhereAsked:
        wait_seconds, longest = BACKOFF_SECONDS
        while True:
            client, self._url = EncryptedWhereAsked(), next(self._urls)
            try:
                await client.connect(self._url, **self._options())
                await client.subscribe(self._echo, cb=self._on_echo)
                await flushed(client, 2.0)
                self._certificate.seen_peer(client.peer_certificate())
                self._problems.clear()
                return client
            except (OSError, nats.errors.Error, TimeoutError) as error:
                self._note(error)
                await discarded(client)
            if all(url in self._problems and is_refusal(self._problems[url]) for url in self.settings.urls):
                self._decided.set()
            await asyncio.sleep(wait_seconds * random.uniform(0.5, 1.0))
            wait_seconds = min(wait_seconds * 2, longest)

    def _note(self, error: Exception) -> None:
        """Why the present address is of no use; that a password was refused is not forgotten for what comes after it."""
        before = self._problems.get(self._url)
        if (before is not None and is_refusal(before)) or isinstance(error, nats.errors.NoServersError):
            return
        if isinstance(error, ssl.SSLError):
            refused = TlsRefused(f"its certificate is refused: {reason_of(error)}")
            if str(before) != str(refused):
                self._certificate.refused(error)
            error = refused
        self._problems[self._url] = error

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "name": f"{settings.system}/{settings.user}/{self.purpose}",
            "user": (settings.login or settings.user) if settings.password else None,
            "password": settings.password or None,
            "tls": self._trust,
            "inbox_prefix": f"_INBOX_{self.settings.user}",
            "allow_reconnect": False,  # a lost connection and a deaf one take the same path: a new client
            "max_reconnect_attempts": 1,  # else an address where nobody listens is asked for ever, and never the next one
            "reconnect_time_wait": 0,
            "pending_size": 0,  # raises while disconnected instead of buffering
            "ping_interval": 5,
            "max_outstanding_pings": 2,
            "connect_timeout": 2,
            "error_cb": self._on_error,
            "closed_cb": self._on_closed,
        }

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, (nats.errors.Error, OSError)):
            self._note(error)
            if self._client is not None:
                log.warning("nats_error", purpose=self.purpose, error=str(error))
            if forbidden := _FORBIDDEN.search(str(error)):
                self.on_forbidden(forbidden[1])
            return
        context = {"message": "a handler of the bus failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    async def _on_closed(self) -> None:
        self.mark_lost("closed")

    async def _listen_to_itself(self, client: Client) -> None:
        """Return when the client is lost: closed, or three heartbeats in a row unheard.

        Heartbeats are counted, not seconds: a loop that was busy for long has not listened, which makes nobody deaf.
        """
        misses = 0
        while not self._lost.is_set():
            sent_ns = time.monotonic_ns()
            if client.is_connected:
                with contextlib.suppress(nats.errors.Error):  # its socket is closing, which it has not noticed: what is not heard is missed
                    finish(client.publish(self._echo, self._echo_token + time.monotonic_ns().to_bytes(8, "big")))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.heartbeat_seconds):
                    await self._lost.wait()
            misses = 0 if self._heard_ns >= sent_ns else misses + 1
            if misses >= MISSES_MAX:
                self.mark_lost("deaf")
            elif not client.is_connected:
                self.mark_lost("closed")

    async def _on_echo(self, message: Msg) -> None:
        if message.data[:8] != self._echo_token:
            return
        self._heard_ns = time.monotonic_ns()
        metrics.bus_round_trip.observe((self._heard_ns - int.from_bytes(message.data[8:], "big")) / 1e9)

    async def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await discarded(client)

    # --- speaking ----------------------------------------------------------------------------------------------------

    def send(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Hand over at once. Raises ``TryAgain`` when there is no connection or too much is waiting to leave it; then nothing leaves later."""
        client = self._client
        if client is None or not self.up:
            raise TryAgain(f"not connected to NATS at {self.settings.url}")
        if client.pending_data_size > OUTGOING_BYTES_MAX:
            raise TryAgain("the NATS server does not take what is sent")
        try:
            finish(client.publish(subject, payload, reply=reply, headers=headers))
        except nats.errors.MaxPayloadError as error:
            raise BrokenInvariant(f"{subject}: {len(payload)} bytes are more than the server takes") from error
        except nats.errors.Error as error:
            raise TryAgain(f"cannot send: {error}") from error

    async def request(self, subject: str, payload: bytes, timeout_seconds: float, headers: dict[str, str] | None = None) -> bytes:
        """One question, one answer. Raises ``TryAgain`` when none comes."""
        client = self._client
        if client is None or not self.up:
            raise TryAgain(f"not connected to NATS at {self.settings.url}")
        try:
            answer = await client.request(subject, payload, timeout=timeout_seconds, headers=headers)
        except nats.errors.NoRespondersError as error:
            raise TryAgain(f"nobody answers on {subject}") from error
        except nats.errors.MaxPayloadError as error:
            raise BrokenInvariant(f"{subject}: {len(payload)} bytes are more than the server takes") from error
        except (nats.errors.Error, TimeoutError) as error:
            raise TryAgain(f"no answer on {subject} within {timeout_seconds:g} s") from error
        return bytes(answer.data)

    async def flush(self, timeout_seconds: float = 5.0) -> None:
        """Return when the server has processed what was sent. Raises ``TryAgain``."""
        client = self._client
        if client is None or not self.up:
            raise TryAgain(f"not connected to NATS at {self.settings.url}")
        try:
            await flushed(client, timeout_seconds)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise TryAgain(f"the NATS server does not confirm: {error}") from error

    def new_inbox(self) -> str:
        """A subject only this connection hears."""
        return f"{self.inbox}.{next(self._numbers)}"

    # --- hearing -----------------------------------------------------------------------------------------------------

    async def subscribe(self, subject: str, on_message: Callable[[Msg], None]) -> NatsSubscription:
        """Call ``on_message`` at once for each message, also on every later client. The server knows of it when this returns, unless disconnected."""
        subscription = NatsSubscription(self, subject, on_message)
        self._subscriptions.append(subscription)
        if self._client is not None and self.up:
            await subscription.attach(self._client)
            with contextlib.suppress(TryAgain):  # a lost client is replaced, and the subscription with it
                await self.flush()
        return subscription

    def forget(self, subscription: NatsSubscription) -> None:
        """Do not carry it over any more."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


class NatsSubscription:
    """A subject and who hears it; lives longer than the client it is attached to."""

    def __init__(self, connection: NatsConnection, subject: str, on_message: Callable[[Msg], None]) -> None:
        self._connection = connection
        self._subject = subject
        self._on_message = on_message
        self._attached: Any = None
        self._client: EncryptedWhereAsked | None = None

    async def attach(self, client: EncryptedWhereAsked) -> None:
        """Subscribe on this client. A client that dies meanwhile is noticed by its watch, not here."""
        try:
            self._attached = await client.hear(self._subject, self._on_message)
            self._client = client
        except (nats.errors.Error, OSError) as error:
            self._connection.mark_lost(f"subscribe: {type(error).__name__}")

    async def close(self) -> None:
        """Stop hearing. Idempotent."""
        self._connection.forget(self)
        attached, self._attached = self._attached, None
        if attached is not None and self._client is not None and self._client.is_connected:
            with contextlib.suppress(nats.errors.Error):
                await attached.unsubscribe()


class _Mailbox:
    """Between the socket and one handler. A slice of messages per turn of the loop is handled at once; what comes faster waits: bounded, oldest out
    first, so that the loop stays free and what is heard is new."""

    def __init__(self, bus: NatsBus, subject: str, handler: Callable[[Delivery], None], pending_max: int) -> None:
        self._bus = bus
        self._handler = handler
        self._waiting: deque[Delivery] = deque()
        self._pending_max = pending_max
        self._at_once = DRAIN_SLICE
        self._scheduled = False
        self._closed = False
        self._received = metrics.bus_received.labels(kind=kind_of(subject))
        self._dropped = metrics.bus_dropped.labels(kind=kind_of(subject), reason="slow_consumer")
        self._loop = asyncio.get_running_loop()
        self.subscription: NatsSubscription | None = None

    def put(self, message: Msg) -> None:
        if self._closed:
            return
        answer = self._bus.answer_to(message.reply) if message.reply else None
        delivery = Delivery(message.subject, message.data, answer)
        if self._at_once > 0 and not self._waiting:
            if self._at_once == DRAIN_SLICE:
                self._loop.call_soon(self._refill)
            self._at_once -= 1
            self._received.inc()
            self._handler(delivery)
            return
        if len(self._waiting) >= self._pending_max:
            self._waiting.popleft()
            self._dropped.inc()
        self._waiting.append(delivery)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._empty)

    def _refill(self) -> None:
        self._at_once = DRAIN_SLICE

    def _empty(self) -> None:
        count = min(len(self._waiting), DRAIN_SLICE)
        self._received.inc(count)
        try:
            for _ in range(count):
                if self._closed:
                    return
                self._handler(self._waiting.popleft())
        finally:
            self._scheduled = bool(self._waiting) and not self._closed
            if self._scheduled:
                self._loop.call_soon(self._empty)

    async def close(self) -> None:
        """Stop hearing. Idempotent."""
        self._closed = True
        self._waiting.clear()
        if self.subscription is not None:
            await self.subscription.close()


class NatsBus:
    """``interfaces.Bus`` on one connection."""

    def __init__(self, settings: NatsSettings) -> None:
        self.connection = NatsConnection(settings, "bus")

    async def open(self, timeout_seconds: float = 10.0) -> None:
        """Connect. Raises ``TryAgain`` or ``NotAuthorized``."""
        await self.connection.open(timeout_seconds)

    async def close(self) -> None:
        """Flush and leave. Idempotent."""
        await self.connection.close()

    def publish(self, subject: str, payload: bytes) -> None:
        """Hand over, or drop and count while disconnected."""
        try:
            self.connection.send(subject, payload)
        except TryAgain:
            metrics.bus_dropped.labels(kind=kind_of(subject), reason="disconnected").inc()
            return
        metrics.bus_published.labels(kind=kind_of(subject)).inc()

    async def subscribe(self, subject: str, handler: Callable[[Delivery], None], *, pending_max: int = 4096) -> _Mailbox:
        """Call ``handler`` in order; beyond ``pending_max`` the oldest waiting message is dropped and counted."""
        mailbox = _Mailbox(self, subject, handler, pending_max)
        mailbox.subscription = await self.connection.subscribe(subject, mailbox.put)
        return mailbox

    async def request(self, subject: str, payload: bytes, timeout_seconds: float) -> bytes:
        """Ask and wait for one answer. Raises ``TryAgain``."""
        return await self.connection.request(subject, payload, timeout_seconds)

    async def flush(self) -> None:
        """Return when what was published has reached the server. Raises ``TryAgain`` while disconnected."""
        await self.connection.flush()

    def answer_to(self, reply: str) -> Callable[[bytes], None]:
        """What a handler calls with its answer."""
        return lambda payload: self.publish(reply, payload)
