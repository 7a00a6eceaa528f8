"""What the journal, the tape's memory and the cache share: JetStream's API as requests, and one reader that survives everything.

nats-py's ordered consumers read fixed positions of the acknowledgement subject and its pull subscriptions have stopped after server restarts; so reading
here is a plain inbox, a pull consumer that is thrown away and made anew at the next sequence whenever anything looks wrong, and two checks: no gap, no
repeat. Refuses to acknowledge: positions are kept by who reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import structlog
from nats.aio.msg import Msg

from tradingsystem.adapters.nats import NatsConnection, NatsSubscription
from tradingsystem.adapters.nats_client import ended, tell_failure
from tradingsystem.domain.errors import InvalidInput, RequestRefused, TryAgain
from tradingsystem.interfaces import Entry

log = structlog.get_logger()

NOT_FOUND = 10059
NOT_FOUND_MESSAGE = 10037
STORE_FAILED = 10077
WRONG_LAST_SEQUENCE = 10071
DEPENDS_ON_OTHERS = 10164  # a leader cannot compare sequences while entries that matter for it are on their way to the other members
ALREADY_EXISTS = 10058
NO_ROOM = (10047, 10028)  # on disk, in memory
NO_LEADER, OFFLINE, IN_PROCESS = 10009, 10118, 10158
NO_MEMBERS, NO_CLUSTER = 10005, 10074
MADE_MEANWHILE = tuple(str(code) for code in (ALREADY_EXISTS, *NO_ROOM))

ATTEMPTS = 3
ATTEMPT_PAUSE_SECONDS = 0.05
PULL_BATCH = 512
PULL_EXPIRES_SECONDS = 30.0
IDLE_HEARTBEAT_SECONDS = 1.0
SILENT_ROUNDS_MAX = 3
INACTIVE_SECONDS = 30.0
SILENCE_SECONDS = 2.0


class ApiError(msgspec.Struct, frozen=True):
    """JetStream's word on why not."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class PublishAnswer(msgspec.Struct, frozen=True):
    """What JetStream answers to an entry."""

    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


read_publish_answer = msgspec.json.Decoder(PublishAnswer)


async def call(connection: NatsConnection, verb: str, body: dict[str, Any] | None = None, timeout_seconds: float = 5.0) -> dict[str, Any]:
    """One request of JetStream's API. Raises ``RequestRefused`` (code: JetStream's error number) or ``TryAgain``.

    Asked again when no answer came in time: every verb used here may be repeated, and a loop that was busy for seconds has missed the answer.
    """
    payload = msgspec.json.encode(body) if body else b""
    raw = await _asked(connection, f"$JS.API.{verb}", payload, timeout_seconds)
    answer: dict[str, Any] = msgspec.json.decode(raw)
    if error := answer.get("error"):
        if error.get("code") == 503 or error.get("err_code") in (NO_LEADER, OFFLINE):
            raise TryAgain(f"JetStream {verb}: {error.get('description')}")
        raise RequestRefused(str(error.get("err_code")), f"JetStream {verb}: {error.get('description')}", error.get("code"))
    return answer


async def _asked(connection: NatsConnection, subject: str, payload: bytes, timeout_seconds: float) -> bytes:
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(TryAgain):
            return await connection.request(subject, payload, timeout_seconds)
        await asyncio.sleep(ATTEMPT_PAUSE_SECONDS)
    return await connection.request(subject, payload, timeout_seconds)


async def ensure_stream(connection: NatsConnection, config: dict[str, Any]) -> dict[str, Any]:
    """The stream's info; created with ``config`` when it does not exist, left as it is when it does, on as many members as the settings say.

    In memory too: a place on one member would keep whoever needs it from starting while that member is away. Raises ``TryAgain`` while the server has
    fewer members, ``InvalidInput`` when it is no cluster, or an existing stream is kept by fewer; no user of ours may change one.

    Services find it missing at the same time. The server counts what a stream would reserve before it looks whether the stream is there, so whoever asks
    second may hear that there is no room, which is the truth only when the stream is still missing then.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _replicated(await _found_or_made(connection, config), connection.settings.replicas)
        except RequestRefused as refused:
            if refused.code not in MADE_MEANWHILE:
                raise
        await asyncio.sleep(ATTEMPT_PAUSE_SECONDS)
    return _replicated(await _found_or_made(connection, config), connection.settings.replicas)


async def _found_or_made(connection: NatsConnection, config: dict[str, Any]) -> dict[str, Any]:
    name, replicas = config["name"], connection.settings.replicas
    try:
        return await call(connection, f"STREAM.INFO.{name}")
    except RequestRefused as refused:
        if refused.code != str(NOT_FOUND):
            raise
    try:
        return await call(connection, f"STREAM.CREATE.{name}", config | {"num_replicas": replicas}, timeout_seconds=10.0)
    except RequestRefused as refused:
        if refused.code == str(NO_CLUSTER):
            raise InvalidInput(
                f"{name} is to be kept by {replicas}, and the message server is no cluster; spec.messaging.replicas"
            ) from refused
        if refused.code != str(NO_MEMBERS):
            raise
        why = f"the message server has fewer members up, with room for {name}, than the {replicas} of spec.messaging.replicas"
        raise TryAgain(f"{why}: {refused.reason}") from refused


def _replicated(info: dict[str, Any], replicas: int) -> dict[str, Any]:
    name, kept = info["config"]["name"], info["config"]["num_replicas"]
    if kept < replicas:
        raise InvalidInput(
            f"stream {name} is there already and kept by {kept}, not by the {replicas} that are asked for; as the message server's administrator: "
            f"nats stream edit {name} --replicas {replicas}"
        )
    return info


async def subjects_of(connection: NatsConnection, stream: str, pattern: str) -> set[str]:
    """Every subject under ``pattern`` that has an entry, page by page."""
    found: set[str] = set()
    while True:
        answer = await call(connection, f"STREAM.INFO.{stream}", {"subjects_filter": pattern, "offset": len(found)})
        page = answer["state"].get("subjects") or {}
        found |= page.keys()
        if not page or len(found) >= answer.get("total", 0):
            return found


class Reader:
    """Delivers a stream's entries from a sequence on, in order, once each, for ever; it starts over at the next sequence whenever in doubt.

    With ``last_seq``, the number of an entry of ``subject``, it ends there: ``at_end`` is called once, after that one or a later one that took its place.
    What the server calls the end is not trusted: the member that delivers may lag behind the one that leads.
    """

    def __init__(
        self,
        connection: NatsConnection,
        stream: str,
        subject: str,
        from_seq: int,
        handler: Callable[[Entry], None],
        *,
        last_seq: int | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._handler = handler
        self._last_seq = last_seq
        self._at_end = at_end or _nothing
        self._next_seq = max(from_seq, 1)
        self._wake = asyncio.Event()
        self._inbox = ""
        self._consumer = ""
        self._subscription: NatsSubscription | None = None
        self._consumer_seq = 0
        self._credit = 0
        self._heard_ns = 0
        self._doubt = ""
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._unwatch: Callable[[], None] = _nothing

    def start(self) -> None:
        """Begin; entries arrive by the handler."""
        self._unwatch = self._connection.watch(lambda _: self._start_over("connection"))
        self._task = asyncio.create_task(self._run(), name=f"read {self._subject}")
        self._task.add_done_callback(tell_failure)

    @property
    def running(self) -> bool:
        """Whether more may come."""
        return not self._closed

    async def close(self) -> None:
        """Stop. Idempotent."""
        self._closed = True
        self._unwatch()
        if self._task is not None:
            await ended(self._task)
        await self._leave()

    async def _leave(self) -> None:
        """Let the present consumer go; the server forgets it by itself when it cannot be told."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
        consumer, self._consumer = self._consumer, ""
        if consumer:
            with contextlib.suppress(TryAgain):
                self._connection.send(f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", b"")

    def _start_over(self, why: str) -> None:
        self._doubt = self._doubt or why
        self._wake.set()

    async def _run(self) -> None:
        while not self._closed:
            try:
                await self._begin()
                await self._watch()
            except (TryAgain, RequestRefused) as error:
                self._doubt = str(error)
                await asyncio.sleep(0.1)
            log.debug("reader_starts_over", stream=self._stream, subject=self._subject, reason=self._doubt, next_seq=self._next_seq)
            await self._leave()

    async def _begin(self) -> None:
        """A new inbox, so that nothing of an older consumer is heard, and a new consumer at the next sequence."""
        self._doubt = ""
        self._wake.clear()
        self._inbox = self._connection.new_inbox()
        inbox = self._inbox
        self._subscription = await self._connection.subscribe(inbox, lambda message: self._hear(inbox, message))
        config: dict[str, Any] = {
            "filter_subject": self._subject,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next_seq,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(INACTIVE_SECONDS * 1e9),
        }
        answer = await call(self._connection, f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config})
        self._consumer = answer["name"]
        self._consumer_seq = 0
        self._credit = 0
        self._heard_ns = time.monotonic_ns()
        self._ask()

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._start_over("end")
            self._at_end()

    def _ask(self) -> None:
        pull = {
            "batch": PULL_BATCH,
            "expires": int(PULL_EXPIRES_SECONDS * 1e9),
            "idle_heartbeat": int(IDLE_HEARTBEAT_SECONDS * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        self._connection.send(subject, msgspec.json.encode(pull), reply=self._inbox)
        self._credit += PULL_BATCH

    async def _watch(self) -> None:
        """Return when in doubt; rounds without a heartbeat are one (counted, since a loop that was busy has not listened)."""
        silent_rounds = 0
        while not self._doubt:
            since_ns = time.monotonic_ns()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_HEARTBEAT_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            silent_rounds = 0 if self._heard_ns >= since_ns else silent_rounds + 1
            if silent_rounds > SILENT_ROUNDS_MAX:
                self._doubt = "silence"

    def _hear(self, inbox: str, message: Msg) -> None:
        if inbox != self._inbox or self._doubt or self._closed:
            return
        self._heard_ns = time.monotonic_ns()
        if message.reply.startswith("$JS.ACK."):
            self._take(message)
        elif message.headers:
            self._status(message.headers.get("Status", ""), message.headers)

    def _take(self, message: Msg) -> None:
        tokens = message.reply.split(".")
        base = 2 if len(tokens) == 9 else 4  # the newer form carries a domain and an account before the stream's name
        stream_seq, consumer_seq = int(tokens[base + 3]), int(tokens[base + 4])
        if consumer_seq != self._consumer_seq + 1:
            self._start_over(f"gap: {consumer_seq} after {self._consumer_seq}")
            return
        self._consumer_seq = consumer_seq
        self._credit -= 1
        if self._credit <= PULL_BATCH // 2:
            self._more()
        if stream_seq < self._next_seq:
            return
        self._next_seq = stream_seq + 1
        if self._last_seq is None or stream_seq <= self._last_seq:
            self._handler(Entry(stream_seq, message.subject, message.data))
        if self._last_seq is not None and stream_seq >= self._last_seq:
            self._end()

    def _status(self, status: str, headers: dict[str, str]) -> None:
        if status == "408":  # a pull expired with some of its credit unused
            self._credit -= int(headers.get("Nats-Pending-Messages", PULL_BATCH))
            if self._credit <= PULL_BATCH // 2:
                self._more()
        elif status != "100":
            self._start_over(f"{status} {headers.get('Description', '')}")

    def _more(self) -> None:
        try:
            self._ask()
        except TryAgain as error:
            self._start_over(str(error))


async def entries_until(connection: NatsConnection, stream: str, subject: str, from_seq: int, last_seq: int) -> AsyncIterator[Entry]:
    """Entries of ``subject`` up to ``last_seq``, every one that the leading member has."""
    last = min(last_seq, await _last_of(connection, stream, subject))
    if max(from_seq, 1) > last:
        return
    arrived: asyncio.Queue[Entry | None] = asyncio.Queue()
    reader = Reader(connection, stream, subject, from_seq, arrived.put_nowait, last_seq=last, at_end=lambda: arrived.put_nowait(None))
    reader.start()
    try:
        while (entry := await _next(arrived)) is not None or reader.running:
            if entry is not None:
                yield entry
            elif await _last_of(connection, stream, subject) < last:  # what was the last is gone meanwhile
                return
    finally:
        await reader.close()


async def _last_of(connection: NatsConnection, stream: str, subject: str) -> int:
    """The newest entry of a subject, 0 without one: by the member that leads."""
    try:
        answer = await call(connection, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    except RequestRefused as refused:
        if refused.code != str(NOT_FOUND_MESSAGE):
            raise
        return 0
    return int(answer["message"]["seq"])


async def _next(arrived: asyncio.Queue[Entry | None]) -> Entry | None:
    """The next entry; None at the end, or when none has come for long."""
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            return await arrived.get()
    except TimeoutError:
        return None


def _nothing() -> None:
    """Before a reader started there is nothing to undo."""
