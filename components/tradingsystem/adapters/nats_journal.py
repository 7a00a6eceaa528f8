"""The journal on one JetStream stream: one sequence, durable before an awaited append returns; and the tape's short memory beside it.

An entry that cannot leave now does not leave later by itself: the connection buffers nothing. Entries that need not be awaited keep their order across
lost connections: those without an answer are sent again from the oldest on, and the server drops what it already has by message id. The server, not this
code, refuses a second entry on a created subject and anything of an owner whose fence record was replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from nats.aio.msg import Msg

from tradingsystem.adapters.jetstream import (
    DEPENDS_ON_OTHERS,
    IN_PROCESS,
    NO_LEADER,
    OFFLINE,
    WRONG_LAST_SEQUENCE,
    PublishAnswer,
    Reader,
    call,
    ensure_stream,
    entries_until,
    read_publish_answer,
    subjects_of,
)
from tradingsystem.adapters.nats import Change, NatsConnection, NatsSettings, kind_of
from tradingsystem.domain.errors import BrokenInvariant, OutcomeUnknown, RequestRefused, TradingSystemError, TryAgain
from tradingsystem.interfaces import Entry
from tradingsystem.messages.subjects import Subjects, journal_stream, tape_stream
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

LATER_MAX = 8192
LATER_SENT_MAX = 256
APPEND_TIMEOUT_SECONDS = 5.0
DUPLICATE_WINDOW_SECONDS = 120
RESEND_MAX_SECONDS = 100.0  # well inside the window in which the server knows an entry again

_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
_MESSAGE_ID = "Nats-Msg-Id"


def journal_config(system: str, bytes_max: int) -> dict[str, Any]:
    """The journal's stream: on disk, never discarding, with an identity that is drawn once."""
    return {
        "name": journal_stream(system),
        "subjects": [Subjects(system).journal],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_bytes": bytes_max,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS * 1_000_000_000,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "metadata": {"identity": secrets.token_hex(16)},
    }


def tape_config(system: str, bytes_max: int) -> dict[str, Any]:
    """The tape's memory: the newest batches within a number of bytes."""
    return {
        "name": tape_stream(system),
        "subjects": [Subjects(system).tape],
        "storage": "memory",
        "retention": "limits",
        "discard": "old",
        "max_bytes": bytes_max,
        "max_age": 600 * 1_000_000_000,
        "no_ack": True,
        "allow_direct": True,
    }


def _count(subject: str, took_ns: int) -> None:
    metrics.journal_append_time.observe(took_ns / 1e9)
    metrics.journal_appended.labels(kind=kind_of(subject)).inc()


@dataclass(slots=True)
class _Later:
    number: int
    subject: str
    payload: bytes
    headers: dict[str, str]
    first_sent_ns: int = 0

    @property
    def fenced(self) -> bool:
        return _EXPECTED_SUBJECT in self.headers


class NatsJournal:
    """``interfaces.Journal`` on JetStream, on a connection of its own."""

    def __init__(self, settings: NatsSettings, *, bytes_max: int = 10 * 1024**3) -> None:
        self.connection = NatsConnection(settings, "journal")
        self._system = settings.system
        self._stream = journal_stream(settings.system)
        self._fence_subject = Subjects(settings.system).journal_fence
        self._bytes_max = bytes_max
        self._acks = self.connection.new_inbox()
        self._waiting: dict[str, tuple[str, asyncio.Future[PublishAnswer]]] = {}
        self._number = 0
        self._created: set[str] = set()
        self._created_under = -1
        self._turn = asyncio.Lock()
        self._later = _LaterQueue(self)

    async def open(self, timeout_seconds: float = 10.0) -> None:
        """Connect and make sure that the stream exists. Raises ``TryAgain`` or ``NotAuthorized``."""
        await self.connection.open(timeout_seconds)
        await self.connection.subscribe(f"{self._acks}.*", self._on_ack)
        self.connection.watch(self._on_change)
        self.connection.on_forbidden = self._on_forbidden
        await ensure_stream(self.connection, journal_config(self._system, self._bytes_max))

    async def room(self) -> tuple[int, int]:
        """Bytes used and bytes there are in the stream. Raises ``TryAgain``."""
        info = await call(self.connection, f"STREAM.INFO.{self._stream}")
        return int(info["state"]["bytes"]), int(info["config"]["max_bytes"])

    async def close(self) -> None:
        """Leave. What is under way is not waited for: ``flush`` does that. Idempotent."""
        self._later.close()
        await self.connection.close()

    # --- writing -----------------------------------------------------------------------------------------------------

    async def append(self, subject: str, payload: bytes, *, create: bool = False, fence_seq: int | None = None) -> int:
        """See ``interfaces.Journal``. What was handed over by ``append_later`` before lies before it, while nothing has to be sent again."""
        headers: dict[str, str] = {}
        if create:
            headers[_MESSAGE_ID] = subject
            headers[_EXPECTED] = "0"
        if fence_seq is not None:
            if create:
                await self._refuse_known(subject, fence_seq)
            headers |= self._fenced(fence_seq)
        started_ns = time.perf_counter_ns()
        if fence_seq is not None and self.one_fenced_at_a_time:
            async with self._turn, self._later.behind_what_waits():
                answer = await self._answered(self.dispatch(subject, payload, headers), subject)
        else:
            self._later.send_waiting()
            answer = await self._answered(self.dispatch(subject, payload, headers or None), subject)
        took_ns = time.perf_counter_ns() - started_ns
        seq = self.judge(answer, subject)
        if create and answer.duplicate:
            metrics.journal_refused.labels(reason="exists").inc()
            raise RequestRefused("exists", f"{subject} is in the journal already")
        if create and fence_seq is not None:
            self._created.add(subject)
        asyncio.get_running_loop().call_soon(_count, subject, took_ns)  # an order waits for this entry
        return seq

    @property
    def one_fenced_at_a_time(self) -> bool:
        """Members that agree on each entry first compare with the fence for one entry only; a second one under way is refused unread."""
        return self.connection.settings.replicas > 1

    async def _refuse_known(self, subject: str, fence_seq: int) -> None:
        """A fenced create is checked twice: the server checks the fence, and since that makes this the only writer, its own list is complete."""
        if self._created_under != fence_seq:
            pattern = subject.rsplit(".", 1)[0] + ".>"
            self._created = await subjects_of(self.connection, self._stream, pattern)
            self._created_under = fence_seq
        if subject in self._created:
            metrics.journal_refused.labels(reason="exists").inc()
            raise RequestRefused("exists", f"{subject} is in the journal already")

    def dispatch(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> asyncio.Future[PublishAnswer]:
        """Send now; the future is the server's answer, or fails with ``OutcomeUnknown`` when the connection is lost first. Raises ``TryAgain``."""
        self._number += 1
        number = str(self._number)
        self.connection.send(subject, payload, reply=f"{self._acks}.{number}", headers=headers)
        future: asyncio.Future[PublishAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (subject, future)
        return future

    async def _answered(self, future: asyncio.Future[PublishAnswer], subject: str) -> PublishAnswer:
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_SECONDS):
                return await future
        except TimeoutError as error:
            raise OutcomeUnknown(f"no answer from the journal for {subject} within {APPEND_TIMEOUT_SECONDS:g} s") from error

    def judge(self, answer: PublishAnswer, subject: str) -> int:
        """The entry's seq. Raises ``RequestRefused`` (exists or fenced: a precondition failed; full; ...), ``TryAgain`` or ``OutcomeUnknown``."""
        error = answer.error
        if error is None:
            return answer.seq
        if error.err_code == WRONG_LAST_SEQUENCE:
            metrics.journal_refused.labels(reason="precondition").inc()
            raise RequestRefused("precondition", f"{subject}: the journal has moved on ({error.description})")
        if error.code == 503 or error.err_code in (NO_LEADER, OFFLINE, DEPENDS_ON_OTHERS):
            raise TryAgain(f"the journal cannot store now: {error.description}")
        if error.err_code == IN_PROCESS:
            raise OutcomeUnknown(f"{subject}: the same entry is being stored, by whoever leads or led")
        metrics.journal_refused.labels(reason="store").inc()
        raise RequestRefused(str(error.err_code), f"{subject}: {error.description}", error.code)

    def _on_ack(self, message: Msg) -> None:
        _, future = self._waiting.pop(message.subject.rsplit(".", 1)[1], ("", None))
        if future is None or future.done():
            return
        if message.headers and message.headers.get("Status") == "503":
            future.set_exception(TryAgain("no JetStream stream takes this subject now"))
        else:
            future.set_result(read_publish_answer.decode(message.data))

    def _on_change(self, change: Change) -> None:
        if change is Change.LOST:
            waiting, self._waiting = self._waiting, {}
            for _, future in waiting.values():
                if not future.done():
                    future.set_exception(OutcomeUnknown("the connection to the journal was lost before its answer"))
                    future.exception()  # whoever awaits it sees it; nobody needs to
        self._later.on_change(change)

    def _on_forbidden(self, subject: str) -> None:
        """The server tells who may not write, but answers nothing: without this every such append would wait for its time-out."""
        for waiting_for, future in self._waiting.values():
            if waiting_for == subject and not future.done():
                future.set_exception(RequestRefused("forbidden", f"user {self.connection.settings.user} may not write {subject}"))
                future.exception()

    def append_later(self, subject: str, payload: bytes, *, fence_seq: int | None = None) -> None:
        """See ``interfaces.Journal``."""
        self._later.put(subject, payload, {} if fence_seq is None else self._fenced(fence_seq))

    def _fenced(self, fence_seq: int) -> dict[str, str]:
        return {_EXPECTED: str(fence_seq), _EXPECTED_SUBJECT: self._fence_subject}

    async def flush(self) -> None:
        """See ``interfaces.Journal``."""
        await self._later.flush()

    # --- reading -----------------------------------------------------------------------------------------------------

    async def read(self, subject: str, from_seq: int = 1) -> AsyncIterator[Entry]:
        """See ``interfaces.Journal``."""
        last = await self.last_seq()
        async for entry in entries_until(self.connection, self._stream, subject, from_seq, last):
            yield entry

    async def follow(self, subject: str, from_seq: int, handler: Callable[[Entry], None]) -> Reader:
        """See ``interfaces.Journal``."""
        reader = Reader(self.connection, self._stream, subject, from_seq, handler)
        reader.start()
        return reader

    async def last_seq(self) -> int:
        """See ``interfaces.Journal``. Raises ``TryAgain``."""
        return int((await call(self.connection, f"STREAM.INFO.{self._stream}"))["state"]["last_seq"])

    async def identity(self) -> str:
        """See ``interfaces.Journal``. Raises ``TryAgain``."""
        info = await call(self.connection, f"STREAM.INFO.{self._stream}")
        identity = (info["config"].get("metadata") or {}).get("identity")
        if not identity:
            raise BrokenInvariant(f"stream {self._stream} has no identity: it was not made by this system")
        return str(identity)


class _LaterQueue:
    """Entries that nobody awaits: in order, bounded, sent again from the oldest unanswered one when a connection was lost.

    So it is, too, when an answer stays away: behind a connection that stands, the member that leads may be gone. While in doubt one entry goes at a time: of
    many, those that meet the next leader would be stored before those that met none. That the order held is seen by the numbers, and else nothing goes on.
    """

    def __init__(self, journal: NatsJournal) -> None:
        self._journal = journal
        self._unsent: deque[_Later] = deque()
        self._sent: deque[_Later] = deque()
        self._failed: TradingSystemError | None = None
        self._idle: list[asyncio.Future[None]] = []
        self._prefix = secrets.token_hex(6)
        self._count = 0
        self._epoch = 0
        self._stored_seq = 0
        self._in_doubt = False
        self._last_number: int | None = None  # what was handed over later is kept back
        self._passed = asyncio.Event()
        self._retry: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def put(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        if self._failed is not None:
            raise self._failed
        if len(self._unsent) + len(self._sent) >= LATER_MAX:
            raise TryAgain(f"{LATER_MAX} journal entries are under way already")
        self._count += 1
        self._unsent.append(_Later(self._count, subject, payload, headers | {_MESSAGE_ID: f"{self._prefix}-{self._count}"}))
        self.send_waiting()

    def send_waiting(self) -> None:
        """Send what the window allows; what cannot leave stays first in line."""
        while self._unsent and self._failed is None and self._may_leave(self._unsent[0]):
            entry = self._unsent[0]
            now_ns = time.monotonic_ns()
            if entry.first_sent_ns and now_ns - entry.first_sent_ns > RESEND_MAX_SECONDS * 1e9:
                self._fail(
                    OutcomeUnknown(
                        f"{entry.subject}: sent {RESEND_MAX_SECONDS:g} s ago without an answer, too long to send it again safely"
                    )
                )
                return
            try:
                future = self._journal.dispatch(entry.subject, entry.payload, entry.headers)
            except TryAgain:
                self._try_again_soon()
                return
            entry.first_sent_ns = entry.first_sent_ns or now_ns
            self._sent.append(self._unsent.popleft())
            future.add_done_callback(lambda done, sent=entry, epoch=self._epoch: self._answered(done, sent, epoch))  # type: ignore[misc]
        self._be_patient()
        metrics.journal_under_way.set(len(self._unsent) + len(self._sent))

    def _may_leave(self, entry: _Later) -> bool:
        alone = self._in_doubt or (entry.fenced and self._journal.one_fenced_at_a_time)
        kept_back = self._last_number is not None and entry.number > self._last_number
        return not kept_back and len(self._sent) < (1 if alone else LATER_SENT_MAX)

    @contextlib.asynccontextmanager
    async def behind_what_waits(self) -> AsyncIterator[None]:
        """Inside, everything that was handed over before is stored and nothing else leaves. Raises ``TryAgain`` when that takes too long, or why nothing is
        taken any more."""
        self._last_number = self._count
        self._passed.clear()
        try:
            self._look_whether_passed()
            self.send_waiting()
            async with asyncio.timeout(APPEND_TIMEOUT_SECONDS):
                await self._passed.wait()
            if self._failed is not None:
                raise self._failed
            yield
        except TimeoutError as error:
            raise TryAgain("the journal has not stored what was handed over before") from error
        finally:
            self._last_number = None
            self.send_waiting()

    def _look_whether_passed(self) -> None:
        last = self._last_number
        if self._failed is not None or (last is not None and not self._sent and (not self._unsent or self._unsent[0].number > last)):
            self._passed.set()

    def _be_patient(self) -> None:
        """Wait for the next answer, not longer than for one that is awaited."""
        if self._sent and self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(APPEND_TIMEOUT_SECONDS, self._lose_patience)

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._sent:
            self._again()

    def _answered(self, future: asyncio.Future[PublishAnswer], entry: _Later, epoch: int) -> None:
        if epoch != self._epoch or future.cancelled():
            return
        try:
            seq = self._journal.judge(future.result(), entry.subject)
        except (OutcomeUnknown, TryAgain):
            self._again()
            return
        except RequestRefused as refused:
            self._fail(refused)
            return
        if entry is not self._sent[0] or seq <= self._stored_seq:
            self._fail(BrokenInvariant(f"the journal has {entry.subject} out of order: entry {seq} after {self._stored_seq}"))
            return
        self._stored_seq, self._in_doubt = seq, False
        self._end_patience()
        self._sent.popleft()
        self._look_whether_passed()
        metrics.journal_appended.labels(kind=kind_of(entry.subject)).inc()
        if self._unsent:
            self.send_waiting()
        elif not self._sent:
            self._become_idle()
        self._be_patient()

    def _again(self) -> None:
        """Everything unanswered goes back to the front of the line, in its order; answers to the earlier sending no longer count."""
        self._epoch += 1
        self._in_doubt = True
        self._end_patience()
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self._try_again_soon()

    def _try_again_soon(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(0.1, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self.send_waiting()

    def on_change(self, change: Change) -> None:
        if change is Change.LOST and self._sent:
            self._again()
        elif change is Change.BUILT:
            self.send_waiting()

    def _fail(self, error: TradingSystemError) -> None:
        self._failed = error
        self._look_whether_passed()
        self._become_idle()

    def _become_idle(self) -> None:
        metrics.journal_under_way.set(len(self._unsent) + len(self._sent))
        idle, self._idle = self._idle, []
        for waiter in idle:
            if not waiter.done():
                waiter.set_result(None)

    async def flush(self) -> None:
        if self._failed is None and (self._unsent or self._sent):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter
        if self._failed is not None:
            raise self._failed

    def close(self) -> None:
        self._end_patience()
        if self._retry is not None:
            self._retry.cancel()


class NatsTape:
    """``interfaces.Tape`` on the memory stream, which captures the tape by itself. A restarted server has forgotten it: whoever reads it makes it anew."""

    def __init__(self, connection: NatsConnection, *, bytes_max: int = 256 * 1024**2) -> None:
        self._connection = connection
        self._system = connection.settings.system
        self._bytes_max = bytes_max
        self._making: asyncio.Task[None] | None = None
        connection.watch(self._on_change)

    def _on_change(self, change: Change) -> None:
        if change is Change.BUILT:
            self._making = asyncio.get_running_loop().create_task(self._make_again())

    async def _make_again(self) -> None:
        """At once, not when somebody asks: what is sealed until then is remembered by nobody."""
        try:
            await self.ensure()
        except (TryAgain, RequestRefused) as error:
            log.warning("tape_not_remembered", reason=str(error))

    async def ensure(self) -> None:
        """Make sure that the stream exists. Raises ``TryAgain``."""
        await ensure_stream(self._connection, tape_config(self._system, self._bytes_max))

    async def recent(self) -> AsyncIterator[bytes]:
        """See ``interfaces.Tape``."""
        stream = tape_stream(self._system)
        state = (await ensure_stream(self._connection, tape_config(self._system, self._bytes_max)))["state"]
        async for entry in entries_until(self._connection, stream, Subjects(self._system).tape, state["first_seq"], state["last_seq"]):
            yield entry.payload
