"""Bus, journal, lease and tape memory for one process: the same promises as the real ones, without a server. The journal is forgotten with the process.

For tests, the world, and all services in one process. Handlers run from the loop, never inside ``publish``: a service must not be re-entered, here no
more than over a network.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.interfaces import Delivery, Entry
from tradingsystem.messages.subjects import Subjects
from tradingsystem.telemetry import metrics

SLICE = 256


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject fits a pattern with NATS' wildcards: ``*`` one token, ``>`` one or more at the end."""
    wanted, given = pattern.split("."), subject.split(".")
    for position, token in enumerate(wanted):
        if token == ">":
            return len(given) > position
        if position >= len(given) or token not in ("*", given[position]):
            return False
    return len(wanted) == len(given)


class _Mailbox:
    """One subscriber: bounded, oldest out first."""

    def __init__(self, bus: InProcessBus, pattern: str, handler: Callable[[Delivery], None], pending_max: int) -> None:
        self.pattern = pattern
        self._bus = bus
        self._handler = handler
        self._waiting: deque[Delivery] = deque()
        self._pending_max = pending_max
        self._scheduled = False
        self._closed = False
        self._dropped = metrics.bus_dropped.labels(kind=pattern.split(".", 1)[0], reason="slow_consumer")

    def put(self, delivery: Delivery) -> None:
        if len(self._waiting) >= self._pending_max:
            self._waiting.popleft()
            self._dropped.inc()
        self._waiting.append(delivery)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._empty)

    def _empty(self) -> None:
        try:
            for _ in range(min(len(self._waiting), SLICE)):
                if self._closed:
                    return
                self._handler(self._waiting.popleft())
        finally:
            self._scheduled = bool(self._waiting) and not self._closed
            if self._scheduled:
                asyncio.get_running_loop().call_soon(self._empty)

    async def close(self) -> None:
        """Stop hearing. Idempotent."""
        self._closed = True
        self._waiting.clear()
        self._bus.forget(self)


class InProcessBus:
    """``interfaces.Bus`` for publishers and subscribers of one event loop."""

    def __init__(self) -> None:
        self._mailboxes: list[_Mailbox] = []
        self._routes: dict[str, tuple[_Mailbox, ...]] = {}

    def publish(self, subject: str, payload: bytes) -> None:
        """See ``interfaces.Bus``."""
        self._deliver(Delivery(subject, payload))

    def _deliver(self, delivery: Delivery) -> int:
        mailboxes = self._routes.get(delivery.subject)
        if mailboxes is None:
            mailboxes = tuple(mailbox for mailbox in self._mailboxes if matches(mailbox.pattern, delivery.subject))
            if len(self._routes) < 10_000:
                self._routes[delivery.subject] = mailboxes
        for mailbox in mailboxes:
            mailbox.put(delivery)
        return len(mailboxes)

    async def subscribe(self, subject: str, handler: Callable[[Delivery], None], *, pending_max: int = 4096) -> _Mailbox:
        """See ``interfaces.Bus``."""
        mailbox = _Mailbox(self, subject, handler, pending_max)
        self._mailboxes.append(mailbox)
        self._routes.clear()
        return mailbox

    def forget(self, mailbox: _Mailbox) -> None:
        """Deliver nothing more to it."""
        if mailbox in self._mailboxes:
            self._mailboxes.remove(mailbox)
            self._routes.clear()

    async def request(self, subject: str, payload: bytes, timeout_seconds: float) -> bytes:
        """See ``interfaces.Bus``."""
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answer(reply: bytes) -> None:
            if not answered.done():
                answered.set_result(reply)

        if not self._deliver(Delivery(subject, payload, answer)):
            raise TryAgain(f"nobody answers on {subject}")
        try:
            async with asyncio.timeout(timeout_seconds):
                return await answered
        except TimeoutError as error:
            raise TryAgain(f"no answer on {subject} within {timeout_seconds:g} s") from error

    async def flush(self) -> None:
        """See ``interfaces.Bus``: what was published is with its subscribers already."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Forget every subscriber. Idempotent."""
        for mailbox in tuple(self._mailboxes):
            await mailbox.close()


class _Following:
    """One follower: a position in the sequence, moved from the loop."""

    def __init__(self, journal: InProcessJournal, pattern: str, from_seq: int, handler: Callable[[Entry], None]) -> None:
        self._journal = journal
        self._pattern = pattern
        self._next_seq = max(from_seq, 1)
        self._handler = handler
        self._scheduled = False
        self._closed = False

    def wake(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._move)

    def _move(self) -> None:
        self._scheduled = False
        entries = self._journal.entries
        end = min(len(entries), self._next_seq - 1 + SLICE)
        try:
            while self._next_seq <= end and not self._closed:
                entry = entries[self._next_seq - 1]
                self._next_seq += 1
                if matches(self._pattern, entry.subject):
                    self._handler(entry)
        finally:
            if self._next_seq <= len(entries):
                self.wake()

    async def close(self) -> None:
        """Stop hearing. Idempotent."""
        self._closed = True
        self._journal.leave(self)


class InProcessJournal:
    """``interfaces.Journal`` in memory: kept as long as the object."""

    def __init__(self, system: str) -> None:
        self.entries: list[Entry] = []
        self._fence = Subjects(system).journal_fence
        self._last: dict[str, int] = {}
        self._followers: list[_Following] = []
        self._identity = secrets.token_hex(16)

    async def append(self, subject: str, payload: bytes, *, create: bool = False, fence_seq: int | None = None) -> int:
        """See ``interfaces.Journal``."""
        await asyncio.sleep(0)
        if create and subject in self._last:
            raise RequestRefused("exists", f"{subject} is in the journal already")
        self._refuse_fenced(subject, fence_seq)
        return self._store(subject, payload)

    def _refuse_fenced(self, subject: str, fence_seq: int | None) -> None:
        if fence_seq is not None and self._last.get(self._fence, 0) != fence_seq:
            raise RequestRefused("precondition", f"{subject}: the journal has moved on (the fence has another sequence)")

    def _store(self, subject: str, payload: bytes) -> int:
        seq = len(self.entries) + 1
        self.entries.append(Entry(seq, subject, payload))
        self._last[subject] = seq
        for follower in self._followers:
            follower.wake()
        return seq

    def append_later(self, subject: str, payload: bytes, *, fence_seq: int | None = None) -> None:
        """See ``interfaces.Journal``; here it is kept at once."""
        self._refuse_fenced(subject, fence_seq)
        self._store(subject, payload)

    async def flush(self) -> None:
        """See ``interfaces.Journal``."""
        await asyncio.sleep(0)

    async def read(self, subject: str, from_seq: int = 1) -> AsyncIterator[Entry]:
        """See ``interfaces.Journal``."""
        for entry in self.entries[max(from_seq, 1) - 1 : len(self.entries)]:
            if matches(subject, entry.subject):
                yield entry

    async def follow(self, subject: str, from_seq: int, handler: Callable[[Entry], None]) -> _Following:
        """See ``interfaces.Journal``."""
        following = _Following(self, subject, from_seq, handler)
        self._followers.append(following)
        following.wake()
        return following

    def leave(self, following: _Following) -> None:
        """Wake it no more."""
        if following in self._followers:
            self._followers.remove(following)

    async def last_seq(self) -> int:
        """See ``interfaces.Journal``."""
        return len(self.entries)

    async def identity(self) -> str:
        """See ``interfaces.Journal``."""
        return self._identity


class InProcessLease:
    """``interfaces.Lease`` in memory: kept as long as the object."""

    def __init__(self, *, life_seconds: float = 10.0, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._life_seconds, self._monotonic_ns = life_seconds, monotonic_ns
        self._kept: tuple[bytes, int, int] | None = None
        self._revision = 0

    @property
    def life_seconds(self) -> float:
        """See ``interfaces.Lease``."""
        return self._life_seconds

    def _living(self) -> tuple[bytes, int] | None:
        if self._kept is None or self._monotonic_ns() >= self._kept[2]:
            return None
        return self._kept[0], self._kept[1]

    async def read(self) -> tuple[bytes, int] | None:
        """See ``interfaces.Lease``."""
        await asyncio.sleep(0)
        return self._living()

    async def write(self, value: bytes, revision: int) -> int:
        """See ``interfaces.Lease``."""
        await asyncio.sleep(0)
        held = self._living()
        if (0 if held is None else held[1]) != revision:
            raise RequestRefused("precondition", "the lease has another revision")
        self._revision += 1
        self._kept = (value, self._revision, self._monotonic_ns() + int(self._life_seconds * 1e9))
        return self._revision


class InProcessTape:
    """``interfaces.Tape`` over an in-process bus: hears the tape itself and keeps the newest batches within a number of bytes."""

    def __init__(self, system: str, *, bytes_max: int = 64 * 1024**2) -> None:
        self._subject = Subjects(system).tape
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: deque[bytes] = deque()

    async def attach(self, bus: InProcessBus) -> None:
        """Begin to keep."""
        await bus.subscribe(self._subject, self._keep, pending_max=1 << 20)

    def _keep(self, delivery: Delivery) -> None:
        self._kept.append(delivery.payload)
        self._bytes += len(delivery.payload)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._kept.popleft())

    async def recent(self) -> AsyncIterator[bytes]:
        """See ``interfaces.Tape``."""
        for payload in tuple(self._kept):
            yield payload
