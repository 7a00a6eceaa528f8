"""Carries what was decided to the broker and into the journal, and brings every answer back as an entry.

It decides nothing: an intent and a latch are durable before anything acts on them, nothing is sent by a process whose right to write may have run out,
and every request ends in exactly one answer entry, whatever happens to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from tradingsystem.domain.control import Command, CommandKind
from tradingsystem.domain.errors import BrokenInvariant, NotAuthorized, OutcomeUnknown, RequestRefused, TradingSystemError, TryAgain
from tradingsystem.domain.orders import Approved, BrokerOrder, OrderIntent, Purpose
from tradingsystem.domain.splits import Rebased, Split
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.domain.trading import Latch, LatchCleared
from tradingsystem.execution import actions as act
from tradingsystem.execution import inbox
from tradingsystem.execution.writer import Writer
from tradingsystem.interfaces import Broker, Clock, Journal
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.risk import gate
from tradingsystem.telemetry import metrics

QUESTIONS_MAX = 6  # reads of the broker at once; writes are not made to wait behind them
REQUEST_SECONDS = 5.0  # the broker client's time-out; the lease must last longer than one request
KEEP_RETRY_SECONDS = 0.2
NO_LEASE = "no-lease"
HALTED = "halted"
JOURNAL, APPROVAL = "journal", "approval"

_INTENTS = {purpose: metrics.intents.labels(purpose=purpose.value) for purpose in Purpose}

_log = structlog.get_logger()


class Courier:
    """The way out. ``offer`` takes the answers; ``may_open`` tells whether entries may still leave; ``settled`` hears that no intent is on its way any
    more and what it let leave has left."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        broker: Broker,
        writer: Writer,
        subjects: Subjects,
        offer: Callable[[inbox.InboxEntry], None],
        may_open: Callable[[], bool],
        settled: Callable[[], None],
    ) -> None:
        self._clock, self._journal, self._broker, self._writer = clock, journal, broker, writer
        self._subjects, self._offer, self._may_open = subjects, offer, may_open
        self._settled, self._intending = settled, False
        self._line: deque[Callable[[], object]] = deque()
        self._questions = asyncio.Semaphore(QUESTIONS_MAX)
        self._entries_owed = 0

    @property
    def intending(self) -> bool:
        """Whether an intent is on its way into the journal: whatever else is written now makes an order wait for it."""
        return self._intending

    def in_turn(self, begin: Callable[[], object]) -> None:
        """Call ``begin``, which starts ``write``, when no other intent is on its way: now, or later.

        One at a time: the journal answers for what it was given together only when all of it is on disk, and the first order of a decision must not wait
        for the second's. A crash in between leaves a smaller position, never a second one. And who waits has not begun: whatever runs here after an intent
        was handed over keeps the processor from the server that stores it (decision 0016).
        """
        if self._intending:
            self._line.append(begin)
        else:
            self._intending = True
            begin()

    def _next(self) -> None:
        if self._line:
            self._line.popleft()()
        else:
            self._intending = False
            self._settled()

    def signal_heard(self, entries_most: int) -> None:
        """A signal was read from the journal: so many entries may leave because of it."""
        self._entries_owed += entries_most

    async def write(
        self,
        request: inbox.Request,
        approved: Approved,
        send: Callable[[Approved], Awaitable[BrokerOrder]],
        *,
        journaled: bool = False,
        order_id: str | None = None,
    ) -> None:
        """Durable, still approved, still ours to write, sent: in this order. Exactly one answer comes of it. Begun ``in_turn``, unless ``journaled``.

        Raises ``BrokenInvariant``, after the answer, when the journal knows another writer.
        """
        began_ns, intent = self._clock.monotonic(), approved.intent
        asked_at_ns = self._clock.now()

        def answer(
            outcome: inbox.Outcome, error: TradingSystemError | None = None, code: str = "", order: BrokerOrder | None = None
        ) -> None:
            self._answered(
                request,
                intent.client_order_id,
                outcome,
                order_id=order_id,
                order=order,
                asked_at_ns=asked_at_ns,
                code=code,
                reason="" if error is None else str(error),
                took_us=(self._clock.monotonic() - began_ns) // 1_000,
            )

        if not journaled and (failure := await self._intend(approved)) is not None:
            answer(*failure, JOURNAL)
            if isinstance(failure[1], RequestRefused) and failure[0] is inbox.Outcome.NOT_SENT:
                raise BrokenInvariant(f"{intent.client_order_id} was not sent: {failure[1]}")
            return None
        if (problem := gate.invalid(approved, self._clock.now())) is not None:
            _log.warning("not_sent", order=intent.client_order_id, reason=problem)
            return answer(inbox.Outcome.NOT_SENT, None, APPROVAL)
        if intent.purpose is Purpose.ENTRY and not self._owed(intent):
            return answer(inbox.Outcome.NOT_SENT, None, "out-versus-in")
        if not self._may_write():
            return answer(inbox.Outcome.NOT_SENT, None, NO_LEASE)
        # A halt may have come while the intent was on its way into the journal.
        if intent.purpose is Purpose.ENTRY and not self._may_open():
            return answer(inbox.Outcome.NOT_SENT, None, HALTED)
        asked_at_ns = self._clock.now()
        took_ns = self._clock.monotonic() - began_ns
        try:
            order = await send(approved)
        except OutcomeUnknown as error:
            answer(inbox.Outcome.UNKNOWN, error)
        except TryAgain as error:
            answer(inbox.Outcome.NOT_SENT, error, "not-sent")
        except RequestRefused as error:
            metrics.broker_refusals.labels(code=error.code).inc()
            answer(inbox.Outcome.REFUSED, error, error.code)
        except NotAuthorized as error:
            answer(inbox.Outcome.REFUSED, error, "not-authorized")
        else:
            answer(inbox.Outcome.DONE, order=order)
        finally:
            metrics.decision_to_socket.observe(took_ns / NS_PER_SECOND)  # counting must not hold the order up

    def _owed(self, intent: OrderIntent) -> bool:
        """Count entries out against signals in, apart from whatever decided them: more orders than causes is a strategy that has run away, and halts."""
        self._entries_owed -= 1
        if self._entries_owed >= 0:
            return True
        metrics.alarms.labels(alarm="out_versus_in").inc()
        reason = f"{intent.client_order_id} is one entry more than the signals that were heard account for"
        _log.error("out_versus_in", reason=reason)
        command = Command(id=intent.client_order_id, kind=CommandKind.HALT, name="out-versus-in counter", reason=reason)
        self._offer(inbox.CommandReceived(received_at_ns=self._clock.now(), command=command))
        return False

    def _may_write(self) -> bool:
        """Whether a request that is sent now has had its answer, or its time-out, before anybody else can hold the lease."""
        left = self._writer.left_seconds()
        if left >= REQUEST_SECONDS:
            return True
        metrics.alarms.labels(alarm="no_lease").inc()
        _log.error("not_sent_without_lease", left_seconds=round(left, 3), needed_seconds=REQUEST_SECONDS)
        return False

    async def _intend(self, approved: Approved) -> tuple[inbox.Outcome, TradingSystemError] | None:
        """Make the intent durable; whoever is next in line begins after that."""
        try:
            if gate.expired(approved, self._clock.now()):  # it has waited behind a journal that does not answer
                return inbox.Outcome.NOT_SENT, TryAgain(gate.EXPIRED)
            return await self._append(approved)
        finally:
            asyncio.get_running_loop().call_soon(self._next)  # when what is durable now has left

    async def _append(self, approved: Approved) -> tuple[inbox.Outcome, TradingSystemError] | None:
        """A failure here means that nothing was sent, but one: an intent that exists was perhaps sent by another."""
        try:
            await self._journal.append(
                self._subjects.journal_intent(approved.intent.client_order_id),
                approved.record,
                create=True,
                fence_seq=self._writer.fence_seq,
            )
        except RequestRefused as error:
            return (inbox.Outcome.UNKNOWN if error.code == "exists" else inbox.Outcome.NOT_SENT), error
        except (TryAgain, OutcomeUnknown) as error:
            return inbox.Outcome.NOT_SENT, error
        asyncio.get_running_loop().call_soon(_INTENTS[approved.intent.purpose].inc)  # counting must not hold the order up
        return None

    async def cancel(self, action: act.Cancel, *, entry: bool) -> None:
        """Ask for a cancel. That of an ``entry`` needs no lease: whoever asks, the account is only safer, and a halt must work without a journal."""
        asked_at_ns, outcome, code, reason = self._clock.now(), inbox.Outcome.DONE, "", ""
        try:
            if entry or self._may_write():
                await self._broker.cancel(action.order_id)
            else:
                outcome, code, reason = inbox.Outcome.NOT_SENT, NO_LEASE, "somebody else may hold the right to write"
        except OutcomeUnknown as error:
            outcome, reason = inbox.Outcome.UNKNOWN, str(error)
        except RequestRefused as error:
            outcome, code, reason = inbox.Outcome.REFUSED, error.code, error.reason
        except (TryAgain, NotAuthorized) as error:
            outcome, code, reason = inbox.Outcome.NOT_SENT, "not-sent", str(error)
        key = action.client_order_id
        self._answered(inbox.Request.CANCEL, key, outcome, order_id=action.order_id, asked_at_ns=asked_at_ns, code=code, reason=reason)

    async def look_up(self, action: act.Lookup) -> None:
        """Ask for one order."""
        asked_at_ns, order = self._clock.now(), None
        async with self._questions:
            try:
                by_id, key = action.order_id, action.client_order_id
                order = await (self._broker.order(by_id) if by_id is not None else self._broker.order_by_client_id(key))
                outcome = inbox.Outcome.DONE if order is not None else inbox.Outcome.NOT_FOUND
            except (TryAgain, OutcomeUnknown, RequestRefused, NotAuthorized) as error:
                _log.warning("lookup_failed", order=action.client_order_id, reason=str(error))
                outcome = inbox.Outcome.NOT_SENT
        self._answered(
            inbox.Request.LOOKUP, action.client_order_id, outcome, order_id=action.order_id, order=order, asked_at_ns=asked_at_ns
        )

    def _answered(self, request: inbox.Request, client_order_id: str, outcome: inbox.Outcome, **more: Any) -> None:
        now_ns = self._clock.now()
        self._offer(inbox.AnswerReceived(received_at_ns=now_ns, request=request, client_order_id=client_order_id, outcome=outcome, **more))

    async def snapshot(self, action: act.TakeSnapshot) -> None:
        """Ask for orders, positions and account."""
        asked_at_ns = self._clock.now()
        try:
            async with self._questions:
                listed = {order.order_id: order for order in await self._broker.orders(open_only=True)}
                if action.closed_after_ns is not None:
                    recent = await self._broker.orders(open_only=False, after_ns=action.closed_after_ns)
                    listed = {order.order_id: order for order in recent} | listed
                positions, account = await asyncio.gather(self._broker.positions(), self._broker.account())
        except (TryAgain, OutcomeUnknown, RequestRefused, NotAuthorized) as error:
            metrics.reconciliation.labels(outcome="failed").inc()
            self._offer(inbox.SnapshotReceived(received_at_ns=self._clock.now(), asked_at_ns=asked_at_ns, failed=str(error) or "failed"))
            return
        skew_ns = self._broker.clock_skew_ns
        metrics.broker_clock_skew.set(skew_ns / NS_PER_SECOND)
        self._offer(
            inbox.SnapshotReceived(
                received_at_ns=self._clock.now(),
                asked_at_ns=asked_at_ns,
                orders=tuple(listed.values()),
                positions=positions,
                account=account,
                clock_skew_ns=skew_ns,
            )
        )

    async def ask_session(self, action: act.AskSession) -> None:
        """Ask for a day's session."""
        session, failed = None, ""
        try:
            session = await self._broker.session(action.day)
        except (TryAgain, OutcomeUnknown, RequestRefused, NotAuthorized) as error:
            failed = str(error) or "failed"
        self._offer(inbox.SessionReceived(received_at_ns=self._clock.now(), day=action.day, session=session, failed=failed))

    async def ask_splits(self, action: act.AskSplits) -> None:
        """Ask for splits of what is carried."""
        splits: tuple[Split, ...] = ()
        failed = ""
        try:
            async with self._questions:
                splits = await self._broker.splits(action.symbols, action.first, action.last)
        except (TryAgain, OutcomeUnknown, RequestRefused, NotAuthorized) as error:
            failed = str(error) or "failed"
        self._offer(inbox.SplitsReceived(received_at_ns=self._clock.now(), splits=splits, failed=failed))

    async def keep(self, latch: Latch | LatchCleared) -> None:
        """Until it is durable: a latch that was lost would be a halt that ends by itself."""
        await self._keep(self._subjects.journal_latch, encode(latch), f"latch {latch.id}")

    async def keep_rebased(self, rebased: Rebased) -> None:
        """Until it is durable: without it whoever counts a journal's executions finds shares that nobody bought."""
        await self._keep(self._subjects.journal_split, encode(rebased), f"split of {rebased.symbol}")

    async def _keep(self, subject: str, payload: bytes, what: str) -> None:
        while True:
            try:
                await self._journal.append(subject, payload, fence_seq=self._writer.fence_seq)
                return
            except (TryAgain, OutcomeUnknown) as error:
                _log.error("not_durable", what=what, reason=str(error))
                await asyncio.sleep(KEEP_RETRY_SECONDS)
