"""What one life of execution holds in its hands: journal, bus and broker, as they are on a bad day.

Each of them is the real thing behind a door that asks the day's plan, at each step, whether something goes wrong there. When the life is over the
doors stay shut: nothing that a dead process still wants to do reaches anybody, and what it had not handed over is gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from tradingsystem.domain.errors import OutcomeUnknown, TryAgain
from tradingsystem.domain.orders import Approved
from tradingsystem.interfaces import Bus, Delivery, Entry, Lease, Subscription
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.imagined import Ask, Carrier, Frame, ImaginedJournal, Line, Reply, unreachable
from tradingsystem.world.trial.plan import Fault, Planned, Step

TRAVEL_SECONDS = 0.002
KEEP_SECONDS = 0.001
RECORD_SECONDS = 0.002  # how far the recorded inbox lags behind
SILENCE_SECONDS = 60.0
DEAF_SECONDS = 15.0  # until a peer that answers no ping is given up
TERMINAL_EVENTS = frozenset({"canceled", "expired", "rejected", "replaced", "done_for_day"})


class Surroundings(Protocol):
    """What a link asks of the day it belongs to."""

    journal_down_until: float
    broker_down_until: float
    stream_seconds: float  # how long an event takes: answers may overtake it

    def seconds(self) -> float:
        """Time since the day began."""

    def strike(self, step: Step, about: str) -> Planned | None:
        """The fault that happens here, told to the story."""

    def crash(self, *, store_lost: bool = False) -> None:
        """End the running life at once."""

    def take(self, ask: Ask) -> Reply:
        """Let the broker take a request."""

    def approved(self, order: Approved) -> None:
        """An order was handed to the order client."""

    def marked(self, payload: bytes) -> None:
        """Marks have reached execution."""

    def spoken(self, step: Step, payload: bytes) -> None:
        """Ingestion's or the operator's word has reached execution."""

    def broker_date(self) -> str:
        """The time of the broker's clock, as its answers tell it."""

    def unheard(self) -> None:
        """The update stream has ended."""


class Life:
    """Whether a process still runs; its doors look here."""

    def __init__(self, day: Surroundings) -> None:
        self.day = day
        self.alive = True
        self.line: StreamLine | None = None

    async def breath(self) -> None:
        """Return while alive, never afterwards."""
        if not self.alive:
            await asyncio.Event().wait()


class LifeJournal:
    """``interfaces.Journal`` of one life."""

    def __init__(self, life: Life, store: ImaginedJournal, subjects: Subjects) -> None:
        self._life, self._store, self._subjects = life, store, subjects
        self._pending: deque[tuple[str, bytes, int | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._intents = subjects.journal_intents[:-1]

    async def append(self, subject: str, payload: bytes, *, create: bool = False, fence_seq: int | None = None) -> int:
        """See ``interfaces.Journal``."""
        life, day = self._life, self._life.day
        await life.breath()
        if day.seconds() < day.journal_down_until:
            raise TryAgain("the journal cannot be reached")
        step = self._step(subject)
        fault = day.strike(step, subject) if step is not None else None
        kind = fault.fault if fault is not None else None
        size = fault.size if fault is not None else 0.0
        if kind is Fault.CRASH:
            day.crash()
            await life.breath()
        elif kind is Fault.JOURNAL_REFUSED:
            day.journal_down_until = day.seconds() + 0.5 + 5.0 * size
            raise TryAgain("the journal cannot be reached")
        elif kind is Fault.JOURNAL_LOST:
            await asyncio.sleep(0.5 + 1.5 * size)
            raise OutcomeUnknown("the journal has not answered")
        elif kind is Fault.JOURNAL_LATE:
            await asyncio.sleep(0.5 + 7.5 * size)
        await asyncio.sleep(KEEP_SECONDS)
        await life.breath()
        seq = await self._store.append(subject, payload, create=create, fence_seq=fence_seq)
        if kind is Fault.JOURNAL_UNKNOWN:
            await asyncio.sleep(0.5 + 1.5 * size)
            raise OutcomeUnknown("the journal has not answered")
        if step is Step.INTENT and (after := day.strike(Step.DURABLE, subject)) is not None:
            day.crash(store_lost=after.fault is Fault.STORE_LOST)
        await life.breath()
        return seq

    def _step(self, subject: str) -> Step | None:
        if subject.startswith(self._intents):
            return Step.INTENT
        return Step.LATCH if subject == self._subjects.journal_latch else None

    def append_later(self, subject: str, payload: bytes, *, fence_seq: int | None = None) -> None:
        """See ``interfaces.Journal``; kept a moment later, and lost with the process until then."""
        life, day = self._life, self._life.day
        if not life.alive:
            return
        if day.seconds() >= day.journal_down_until and (fault := day.strike(Step.INBOX, subject)) is not None:
            day.journal_down_until = day.seconds() + 0.5 + 5.0 * fault.size
        if day.seconds() < day.journal_down_until:
            raise TryAgain("the journal cannot be reached", 0.2)
        self._pending.append((subject, payload, fence_seq))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RECORD_SECONDS, self._record)

    def _record(self) -> None:
        self._timer = None
        while self._pending and self._life.alive:
            subject, payload, fence_seq = self._pending.popleft()
            self._store.append_later(subject, payload, fence_seq=fence_seq)

    async def flush(self) -> None:
        """See ``interfaces.Journal``."""
        await self._life.breath()
        if self._life.day.seconds() < self._life.day.journal_down_until:
            raise TryAgain("the journal cannot be reached", 0.2)
        if self._timer is not None:
            self._timer.cancel()
        self._record()

    async def read(self, subject: str, from_seq: int = 1) -> AsyncIterator[Entry]:
        """See ``interfaces.Journal``."""
        async for entry in self._store.read(subject, from_seq):
            yield entry

    async def follow(self, subject: str, from_seq: int, handler: Callable[[Entry], None]) -> Subscription:
        """See ``interfaces.Journal``."""
        return await self._store.follow(subject, from_seq, lambda entry: handler(entry) if self._life.alive else None)

    async def last_seq(self) -> int:
        """See ``interfaces.Journal``."""
        return await self._store.last_seq()

    async def identity(self) -> str:
        """See ``interfaces.Journal``."""
        return await self._store.identity()


class LifeLease:
    """``interfaces.Lease`` of one life: it lies beside the journal and is out of reach together with it."""

    def __init__(self, life: Life, lease: Lease) -> None:
        self._life, self._lease = life, lease

    @property
    def life_seconds(self) -> float:
        """See ``interfaces.Lease``."""
        return self._lease.life_seconds

    async def read(self) -> tuple[bytes, int] | None:
        """See ``interfaces.Lease``."""
        await self._reach()
        return await self._lease.read()

    async def write(self, value: bytes, revision: int) -> int:
        """See ``interfaces.Lease``."""
        await self._reach()
        return await self._lease.write(value, revision)

    async def _reach(self) -> None:
        await self._life.breath()
        if self._life.day.seconds() < self._life.day.journal_down_until:
            raise TryAgain("the journal's server cannot be reached")
        await asyncio.sleep(KEEP_SECONDS)
        await self._life.breath()


class LifeBus:
    """``interfaces.Bus`` of one life; what it hears may be lost, come twice, late or in another order."""

    def __init__(self, life: Life, bus: Bus, subjects: Subjects) -> None:
        self._life, self._bus, self._subjects = life, bus, subjects

    def publish(self, subject: str, payload: bytes) -> None:
        """See ``interfaces.Bus``."""
        if self._life.alive:
            self._bus.publish(subject, payload)

    async def subscribe(self, subject: str, handler: Callable[[Delivery], None], *, pending_max: int = 4096) -> Subscription:
        """See ``interfaces.Bus``."""
        subjects = self._subjects
        step = {
            subjects.marks: Step.MARKS,
            subjects.command: Step.COMMAND,
            subjects.state("ingestion"): Step.FEEDS,
            subjects.resource: Step.RESOURCE,
        }.get(subject)
        heard = handler if step is None else _Ear(self._life, step, handler).hear
        return await self._bus.subscribe(subject, heard, pending_max=pending_max)

    async def request(self, subject: str, payload: bytes, timeout_seconds: float) -> bytes:
        """See ``interfaces.Bus``."""
        await self._life.breath()
        return await self._bus.request(subject, payload, timeout_seconds)

    async def flush(self) -> None:
        """See ``interfaces.Bus``."""
        await self._bus.flush()


class _Ear:
    """One subscription on a bus that may lose, repeat, delay and reorder."""

    def __init__(self, life: Life, step: Step, handler: Callable[[Delivery], None]) -> None:
        self._life, self._step, self._handler = life, step, handler
        self._deaf_until = 0.0
        self._held: Delivery | None = None

    def hear(self, delivery: Delivery) -> None:
        day = self._life.day
        if not self._life.alive or day.seconds() < self._deaf_until:
            return
        fault = day.strike(self._step, delivery.subject)
        if fault is None:
            self._hand_on(delivery)
            if self._held is not None:
                late, self._held = self._held, None
                self._hand_on(late)
        elif fault.fault is Fault.BUS_LOST:
            self._deaf_until = day.seconds() + (9.0 * fault.size if self._step is Step.MARKS else 0.0)
        elif fault.fault is Fault.BUS_REPEATED:
            self._hand_on(delivery)
            self._hand_on(delivery)
        elif fault.fault is Fault.BUS_DELAYED:
            asyncio.get_running_loop().call_later(0.5 + 4.0 * fault.size, self._hand_on, delivery)
        else:
            self._held = delivery

    def _hand_on(self, delivery: Delivery) -> None:
        if self._life.alive:
            if self._step is Step.MARKS:
                self._life.day.marked(delivery.payload)
            elif self._step is not Step.COMMAND:
                self._life.day.spoken(self._step, delivery.payload)
            self._handler(delivery)


class StreamLine(Line):
    """An update stream that carries frames in order, a moment after they were sent, unless the plan has something else in mind."""

    def __init__(self, life: Life, replayed: list[Frame]) -> None:
        super().__init__()
        self._life = life
        self._free_at = 0.0
        self._silent = False
        self._late: list[Frame] = []  # held until the order they are about has ended
        self._overtaken: Frame | None = None
        self._old = replayed

    def send(self, frame: Frame) -> None:
        """The broker sends a frame."""
        if not self.listening or self.closed or self._silent:
            return
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time() + self._life.day.stream_seconds)
        loop.call_at(self._free_at, self._arrive, frame)

    def cut(self) -> None:
        """See ``Line``."""
        if not self.closed and self._life.alive and self._life.line is self:
            self._life.day.unheard()
        super().cut()

    async def send_json(self, message: dict[str, object]) -> None:
        """See ``Line``; a broker that replays does so once it is listened to."""
        await super().send_json(message)
        if self.listening:
            for frame in self._old:
                self.send(frame)
            self._old = []

    def _arrive(self, frame: Frame) -> None:
        if self.closed or self._silent or not self._life.alive:
            return
        fault = self._life.day.strike(Step.FILL if frame.fill else Step.EVENT, frame.event)
        if fault is None:
            self._hand_on(frame)
        else:
            self._suffer(fault, frame)

    def _hand_on(self, frame: Frame) -> None:
        if not self._life.alive:
            return
        self.deliver(frame.payload)
        if self._overtaken is not None:
            late, self._overtaken = self._overtaken, None
            self.deliver(late.payload)
        if frame.event in TERMINAL_EVENTS:
            for late in [late for late in self._late if late.order_id == frame.order_id]:
                self._late.remove(late)
                asyncio.get_running_loop().call_later(0.3, self.deliver, late.payload)

    def _suffer(self, fault: Planned, frame: Frame) -> None:
        loop, day, kind = asyncio.get_running_loop(), self._life.day, fault.fault
        if kind in {Fault.CRASH, Fault.STORE_LOST}:
            lost = kind is Fault.STORE_LOST
            if fault.size < 0.5:
                day.crash(store_lost=lost)
            else:  # applied, and not recorded yet
                self._hand_on(frame)
                loop.call_later(RECORD_SECONDS / 4, lambda: day.crash(store_lost=lost) if self._life.alive else None)
        elif kind is Fault.STREAM_DROPPED or kind is Fault.STREAM_REPLAYED:
            self.cut()
        elif kind is Fault.STREAM_SILENT:
            self._silent = True
            loop.call_later(DEAF_SECONDS, self.cut)
        elif kind is Fault.STREAM_REPEATED:
            self._hand_on(frame)
            loop.call_later(2.0 * fault.size, self._hand_on, frame)
        elif kind is Fault.STREAM_DELAYED:
            self._free_at = loop.time() + 0.2 + 2.5 * fault.size
            loop.call_at(self._free_at, self._hand_on, frame)
        elif kind is Fault.STREAM_REORDERED:
            self._overtaken = frame
            loop.call_later(1.0, self._give_up_overtaking)
        else:
            self._late.append(frame)
            loop.call_later(4.0, self._give_up_waiting, frame)

    def _give_up_overtaking(self) -> None:
        if self._overtaken is not None:
            late, self._overtaken = self._overtaken, None
            self._hand_on(late)

    def _give_up_waiting(self, frame: Frame) -> None:
        if frame in self._late:
            self._late.remove(frame)
            self._hand_on(frame)


_REFUSALS = {
    Fault.REFUSED_403: (403, b'{"code":40310000,"message":"insufficient buying power","buying_power":"0"}'),
    Fault.REFUSED_422: (422, b'{"code":42210000,"message":"order cannot be taken"}'),
    Fault.REFUSED_429: (429, b'{"code":42910000,"message":"too many requests."}'),
}


class LifeCarrier(Carrier):
    """The wire between the order client and the broker."""

    def __init__(self, life: Life, market_ns: Callable[[], int], history: list[Frame]) -> None:
        self._life, self._market_ns, self._history = life, market_ns, history
        self.replay_next = False

    def approved(self, order: Approved) -> None:
        """See ``Carrier``."""
        if self._life.alive:
            self._life.day.approved(order)

    async def open_line(self) -> Line:
        """See ``Carrier``."""
        await self._life.breath()
        await asyncio.sleep(TRAVEL_SECONDS)
        if self._life.day.seconds() < self._life.day.broker_down_until:
            raise unreachable()
        self._life.line = StreamLine(self._life, self._history[-20:] if self.replay_next else [])
        self.replay_next = False
        return self._life.line

    async def carry(self, ask: Ask) -> Reply:
        """See ``Carrier``."""
        life, day = self._life, self._life.day
        await life.breath()
        await asyncio.sleep(TRAVEL_SECONDS)
        await life.breath()
        if day.seconds() < day.broker_down_until:
            raise unreachable()
        step = {"GET": Step.QUESTION, "DELETE": Step.CANCEL}.get(ask.method, Step.SENT)
        date = day.broker_date()
        fault = day.strike(step, f"{ask.method} {ask.path}")
        reply = day.take(ask) if fault is None else await self._suffer(fault, ask)
        if step is Step.SENT and fault is None and (lost := day.strike(Step.ANSWER, f"{reply.status}")) is not None:
            day.crash(store_lost=lost.fault is Fault.STORE_LOST)
        await asyncio.sleep(TRAVEL_SECONDS)
        await life.breath()
        return Reply(reply.status, reply.body, {**reply.headers, "Date": date})

    async def _suffer(self, fault: Planned, ask: Ask) -> Reply:
        day, kind = self._life.day, fault.fault
        if kind in _REFUSALS:
            status, body = _REFUSALS[kind]
            reset = self._market_ns() / 1e9 + 1.0 + 4.0 * fault.size
            limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{reset:.3f}"} if status == 429 else {}
            return Reply(status, body, limits)
        if kind is Fault.UNREACHABLE:
            day.broker_down_until = day.seconds() + 1.0 + 9.0 * fault.size
            if self._life.line is not None:
                self._life.line.cut()
            raise unreachable()
        taken = kind not in {Fault.NOT_TAKEN_500, Fault.NOT_TAKEN_SILENT} and not (kind is Fault.CRASH and fault.size < 0.5)
        reply = day.take(ask) if taken else Reply(500, b"", {})
        if kind is Fault.CRASH:
            day.crash()
            await self._life.breath()
        elif kind in {Fault.TAKEN_SILENT, Fault.NOT_TAKEN_SILENT}:
            await asyncio.sleep(SILENCE_SECONDS)
        elif kind is Fault.LATE_ANSWER:
            await asyncio.sleep(0.3 + 5.0 * fault.size)
        elif kind in {Fault.TAKEN_500, Fault.NOT_TAKEN_500}:
            return Reply((500, 503, 504)[int(fault.size * 3)], b"<html>error</html>", {})
        elif kind is Fault.UNREADABLE:
            return Reply(200, b"<html>welcome</html>", {})
        return reply
