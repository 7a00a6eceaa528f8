"""The shell around ``step``: it orders and journals the inbox and hands actions to the courier, whose answers come back as entries.

It decides nothing, and begins only when it is the only writer. Entries are applied in one order and journaled in that order, a bounded number behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from tradingsystem.domain.agreement import Peers
from tradingsystem.domain.control import Beat, CommandAnswer, SpecApplied
from tradingsystem.domain.errors import BrokenInvariant, RequestRefused, TryAgain
from tradingsystem.domain.orders import Approved, BrokerOrder, OrderUpdate
from tradingsystem.domain.signals import Signal
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND
from tradingsystem.domain.trading import Latch, LatchCleared, Mark, TradingState
from tradingsystem.execution import actions as act
from tradingsystem.execution import halting, inbox
from tradingsystem.execution.ages import PATIENCE, Ages, FeedsTold, Heard, Patience
from tradingsystem.execution.courier import Courier
from tradingsystem.execution.exposure import gross_notional
from tradingsystem.execution.orders import Role
from tradingsystem.execution.protection import safe_to_leave
from tradingsystem.execution.recovery import CHECKPOINT_ENTRIES, Recovered
from tradingsystem.execution.restoring import rebuild_from
from tradingsystem.execution.state import State
from tradingsystem.execution.status import publish_metrics, status_of
from tradingsystem.execution.step import begin, step
from tradingsystem.execution.writer import Owner, Writer
from tradingsystem.interfaces import Broker, Bus, Clock, Delivery, Entry, Journal, Lease, Subscription
from tradingsystem.messages.codec import Malformed, decode, encode, read_json
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec.slices import ExecutionSlice, LiveSettings
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

TICK_NS = NS_PER_SECOND
TICK_MACHINE_NS = 50 * NS_PER_MILLISECOND
STILL_SECONDS = 1.5  # longer than a market second ever is while it runs
STATUS_MACHINE_NS = 250 * NS_PER_MILLISECOND
WAITING_MAX = 20_000
LAG_MAX = 64  # applied entries that may wait for an intent before they are journaled
DRAIN_SECONDS = 5.0
WATCH_SECONDS = 1.0
FEEDS = "ingestion"
KEPT_SECONDS = 3.0  # how long a person waits for a latch to be durable, less than a command's own time-out
NOT_DURABLE = "NOT durable yet, a restart would forget it: the journal does not answer"
TELL_SECONDS = 0.002  # what is held is told after what was decided has left

_log = structlog.get_logger()


class ExecutionService:
    """Execution of one system. ``broker`` is one account's."""

    name = "execution"

    def __init__(
        self,
        *,
        system: str,
        spec: ExecutionSlice,
        clock: Clock,
        bus: Bus,
        journal: Journal,
        lease: Lease,
        broker: Broker,
        owner: Owner,
        peers: tuple[str, ...] = (),
        halt_file: Callable[[], str | None] = lambda: None,
        folder: Path | None = None,
        patience: Mapping[Heard, Patience] = PATIENCE,
    ) -> None:
        """``peers``: the services that have to be heard and to agree before anything opens; none when there is nobody else. ``halt_file``: the text of
        a person's HALT file, None while there is none. ``folder``: where the identity of the journal is remembered beside the journal. ``patience``: how
        long each of what is listened for may be silent."""
        self.progress_ns = 0
        self._spec, self._clock, self._bus, self._journal, self._broker = spec, clock, bus, journal, broker
        self._subjects = Subjects(system)
        self._halt_file, self._known_store = halt_file, None if folder is None else folder / "journal-identity"
        self._peers, self._peer_names = Peers(peers), peers
        self._peers_told = self._peers.problem()
        expected = {Heard.RESOURCE: spec.live_from_journal, Heard.MARKET_DATA: FEEDS in peers}
        self._ages = Ages((heard for heard, is_expected in expected.items() if is_expected), clock.monotonic(), patience)
        self._writer = Writer(owner=owner, lease=lease, journal=journal, subjects=self._subjects, clock=clock)
        self._courier = Courier(
            clock=clock,
            journal=journal,
            broker=broker,
            writer=self._writer,
            subjects=self._subjects,
            offer=self._offer,
            may_open=lambda: self.state.trading()[0] is TradingState.ACTIVE,
            settled=self._settle,
        )
        self._state: State | None = None
        self._waiting: deque[inbox.InboxEntry] = deque()
        self._unrecorded: deque[inbox.InboxEntry] = deque()
        self._blocked = True
        self._ended = False
        self._settling = self._telling = False
        self._recorded = 0
        self._marks: dict[str, Mark] = {}
        self._held: frozenset[str] = frozenset()
        self._answers: dict[str, Callable[[bytes], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeping: set[asyncio.Task[None]] = set()  # latches on their way into the journal
        self._failed: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._status_at_ns = 0
        self._shown: tuple[object, ...] = ()

    @property
    def state(self) -> State:
        """What is known; only after ``run`` has begun."""
        assert self._state is not None
        return self._state

    @property
    def live_generation(self) -> int:
        """Generation of the live settings in force."""
        return self._state.generation if self._state is not None else 0

    def detail(self) -> dict[str, float]:
        """Few numbers for the beat."""
        if self._state is None:
            return {}
        return {"open_orders": float(len(self._state.book.open())), "waiting": float(len(self._waiting) + len(self._unrecorded))}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Become the only writer, recover, hear the broker, compare, then work until ``stop``; raises what made it fail."""
        self._failed = asyncio.get_running_loop().create_future()
        if not await self._writer.take(stop):
            return
        recovered = await rebuild_from(self._journal, self._subjects)
        store = await self._journal.identity()
        self._begin(recovered, store)
        subscriptions = await self._subscribe()
        self._spawn(self._broker.updates(self._on_update, self._on_connection))
        self._spawn(self._tick())
        self._spawn(self._watch())
        self._spawn(self._remember(store))
        self._spawn(self._writer.keep(self._on_lease_lost))
        try:
            if await self._until(lambda: self.state.able, stop):
                ready()
                await self._stopped(stop)
            await self._drain()
        finally:
            self._ended = True
            for subscription in subscriptions:
                await subscription.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._writer.leave()

    def _on_lease_lost(self) -> None:
        metrics.alarms.labels(alarm="lease_lost").inc()
        _log.error("lease_lost", means="nothing is sent but cancels of entries until it is won back")

    def _begin(self, recovered: Recovered, store: str) -> None:
        now_ns, speed = self._clock.now(), self._clock.speed
        beyond = {"intents": recovered.intents, "latches": recovered.latches, "cleared": recovered.cleared}
        known = self._known_store.read_text() if self._known_store is not None and self._known_store.exists() else ""
        about = inbox.Started(
            received_at_ns=now_ns, settings=self._spec, speed=speed, store=store, wiped=known not in {"", store}, peers=self._peer_names
        )
        started = msgspec.structs.replace(about, **beyond)
        self._state = recovered.state if recovered.state is not None else begin(started)
        self._blocked = False
        self._offer(started)

    async def _subscribe(self) -> list[Subscription]:
        subjects = self._subjects
        return [
            await self._bus.subscribe(subjects.marks, self._on_marks),
            await self._bus.subscribe(subjects.command, self._on_command),
            *[await self._bus.subscribe(subjects.beat(name), self._on_beat) for name in self._peer_names],
            await self._bus.subscribe(subjects.state(FEEDS), self._on_feeds),
            await self._bus.subscribe(subjects.resource, lambda _: self._ages.hear(Heard.RESOURCE, self._clock.monotonic())),
            await self._journal.follow(subjects.journal_spec, 1, self._on_spec),
            await self._journal.follow(subjects.journal_signal, self.state.signal_seq + 1, self._on_signal),
        ]

    def _offer(self, entry: inbox.InboxEntry) -> None:
        if self._ended:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._fail(BrokenInvariant(f"{WAITING_MAX} inbox entries wait for the journal"))
            return
        self._waiting.append(entry)
        self._pump()

    def _pump(self) -> None:
        """Apply and act in the order of arrival; pause while the journal is too far behind."""
        while self._waiting and not self._blocked:
            entry = self._waiting.popleft()
            for action in step(self.state, entry):
                self._carry_out(action)
            self._unrecorded.append(entry)
            self.progress_ns = max(self.progress_ns, entry.received_at_ns)
            if not isinstance(entry, inbox.MarksReceived | inbox.TimerTicked):
                self._changed.set()
        if not self._settling:  # after the loop's next round: an intent that was decided must not wait behind the fsync of its own cause
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        """What was applied goes into the journal when no order waits for its intent there, or when it is much."""
        self._settling = False
        if not self._courier.intending or len(self._unrecorded) >= LAG_MAX:
            self._record()
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_held)

    def _record(self) -> None:
        """Hand applied entries to the journal, in order."""
        while self._unrecorded:
            try:
                self._journal.append_later(self._subjects.journal_inbox, encode(self._unrecorded[0]), fence_seq=self._writer.fence_seq)
            except RequestRefused as refused:
                self._fail(refused)
                return
            except TryAgain as reason:
                if not self._blocked:
                    _log.warning("inbox_paused", reason=str(reason), waiting=len(self._waiting))
                    self._blocked = True
                    self._spawn(self._unblock())
                return
            self._unrecorded.popleft()
            self._recorded += 1
        if self._recorded >= CHECKPOINT_ENTRIES:  # everything applied is recorded, so the state is that of the entries before this one
            self._recorded = 0
            with contextlib.suppress(TryAgain):  # the next one is as good
                self._journal.append_later(self._subjects.journal_checkpoint, encode(self.state), fence_seq=self._writer.fence_seq)

    async def _unblock(self) -> None:
        while self._unrecorded:
            try:
                await self._journal.flush()
            except TryAgain as reason:
                await asyncio.sleep(reason.after_seconds)
                continue
            self._record()
        self._blocked = False
        self._pump()

    def _on_signal(self, entry: Entry) -> None:
        with Dropping(Malformed, "signal", seq=entry.seq):
            signal: Signal = decode(entry.payload, Signal)
            self._courier.signal_heard(len(self._spec.execution.take_profits))
            mark = self._marks.get(signal.symbol)
            self._offer(inbox.SignalReceived(received_at_ns=self._clock.now(), signal=signal, mark=mark, seq=entry.seq))

    def _on_marks(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "mark"):
            marks: list[Mark] = decode(delivery.payload, list[Mark])
            self._marks.update((mark.symbol, mark) for mark in marks)
            wanted = tuple(mark for mark in marks if mark.symbol in self._held)
            if wanted:
                self._offer(inbox.MarksReceived(received_at_ns=self._clock.now(), marks=wanted))

    def _on_command(self, delivery: Delivery) -> None:
        try:
            command = inbox.read_command(delivery.payload, self._clock.now())
        except Malformed as error:
            metrics.bus_malformed.labels(kind="command").inc()
            if delivery.answer is not None:
                delivery.answer(encode(CommandAnswer(id="", accepted=False, reason=str(error))))
            return
        if delivery.answer is not None:
            self._answers[command.id] = delivery.answer
        self._offer(inbox.CommandReceived(received_at_ns=self._clock.now(), command=command))

    def _on_beat(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "beat") as beat:
            self._peers.hear(decode(delivery.payload, Beat))
        if beat.dropped:
            self._peers.lose(delivery.subject.rsplit(".", 1)[1])
        problem = self._peers.problem()
        if problem != self._peers_told:
            self._peers_told = problem
            self._offer(inbox.PeersHeard(received_at_ns=self._clock.now(), problem=problem))

    def _on_feeds(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "feeds"):
            told: FeedsTold = decode(delivery.payload, FeedsTold)
            if told.fresh:
                self._ages.hear(Heard.MARKET_DATA, self._clock.monotonic())

    def _on_spec(self, entry: Entry) -> None:
        try:
            applied: SpecApplied = decode(entry.payload, SpecApplied)
            live = read_json(applied.spec, LiveSettings)
        except Malformed as error:
            _log.error("spec_refused", seq=entry.seq, in_force=self.live_generation, reason=str(error))
            return
        self._offer(inbox.SpecReceived(received_at_ns=self._clock.now(), generation=applied.generation, live=live))

    def _on_update(self, update: OrderUpdate) -> None:
        metrics.orders.labels(state=update.order.state.value).inc()
        if update.execution_id is not None:
            metrics.fills.labels(side=update.order.side.value).inc()
        self._offer(inbox.UpdateReceived(received_at_ns=self._clock.now(), update=update))

    def _on_connection(self, connected: bool) -> None:
        metrics.broker_connected.set(float(connected))
        _log.info("broker_connection", connected=connected)
        self._offer(inbox.ConnectionChanged(received_at_ns=self._clock.now(), connected=connected))

    async def _tick(self) -> None:
        """Once a market second, at most twenty times a machine second; now and then, too, while market time stands still, as it does after a simulated
        day: a halt is still confirmed, and people still ask what is held."""
        while True:
            before_ns = self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STILL_SECONDS):
                    await self._clock.sleep_until(self._clock.now() + TICK_NS)
            early_ns = before_ns + TICK_MACHINE_NS - self._clock.monotonic()
            if early_ns > 0:
                await asyncio.sleep(early_ns / NS_PER_SECOND)
            self._offer(inbox.TimerTicked(received_at_ns=self._clock.now()))
            self._tell_status()

    async def _watch(self) -> None:
        """Once a machine second, whatever the market's time does: a halt must work when nothing else does, and silence is only noticed by who looks."""
        while True:
            for judged in self._ages.changes(self._clock.monotonic()):
                self._offer(inbox.AgeJudged(received_at_ns=self._clock.now(), **judged._asdict()))
            if (reason := self._halt_file()) is not None and not any(
                latch.set_by == halting.BY_FILE for latch in self.state.latches.values()
            ):
                self._offer(inbox.HaltFileSeen(received_at_ns=self._clock.now(), reason=reason))
            await asyncio.sleep(WATCH_SECONDS)

    async def _remember(self, store: str) -> None:
        """Beside the journal, so that a wiped one is noticed; not before the latch that says so is durable."""
        if self._keeping:
            await asyncio.wait(tuple(self._keeping))
        if self._known_store is not None:
            self._known_store.write_text(store)

    def _carry_out(self, action: act.Action) -> None:
        match action:
            case act.Submit(approved) | act.Resubmit(approved):
                self._write(approved, self._broker.submit, journaled=isinstance(action, act.Resubmit))
            case act.Replace(order_id, approved, journaled):
                self._write(approved, functools.partial(self._broker.replace, order_id), journaled=journaled, order_id=order_id)
            case act.Cancel(_, key):
                record = self.state.book.orders.get(key)
                self._spawn(self._courier.cancel(action, entry=record is not None and record.role is Role.ENTRY))
            case act.Lookup():
                self._spawn(self._courier.look_up(action))
            case act.TakeSnapshot():
                self._spawn(self._courier.snapshot(action))
            case act.AskSession():
                self._spawn(self._courier.ask_session(action))
            case act.AskSplits():
                self._spawn(self._courier.ask_splits(action))
            case act.Rebase(rebased):
                _log.warning("rebased_by_split", reason=rebased.text)
                self._spawn(self._courier.keep_rebased(rebased))
            case act.SetLatch(latch):
                _log.error("latched", latch=latch.id, kind=latch.kind.value, state=latch.state.value, reason=latch.reason, by=latch.set_by)
                self._keep(latch)
            case act.ClearLatch(cleared):
                _log.warning("latch_cleared", latch=cleared.id, name=cleared.name, reason=cleared.reason)
                self._keep(cleared)
            case act.Answer(answer):
                if (reply := self._answers.pop(answer.id, None)) is not None:
                    self._spawn(self._answer(reply, answer, tuple(self._keeping)))
            case act.Refused(refusal):
                metrics.order_refusals.labels(code=refusal.code).inc()
                _log.info("signal_refused", symbol=refusal.symbol, code=refusal.code, reason=refusal.reason)
            case act.Covered():
                metrics.fill_to_cover.observe(action.took_ns / NS_PER_SECOND)
            case act.Alert():
                metrics.alarms.labels(alarm=action.code).inc()
                _log.error(action.code.replace("-", "_"), reason=action.reason)

    def _write(
        self, approved: Approved, send: Callable[[Approved], Awaitable[BrokerOrder]], *, journaled: bool, order_id: str | None = None
    ) -> None:
        request = inbox.Request.SUBMIT if order_id is None else inbox.Request.REPLACE

        def begin() -> None:
            if not self._ended:  # who stands in line has no task that the end cancels
                self._spawn(self._courier.write(request, approved, send, journaled=journaled, order_id=order_id))

        if journaled:
            begin()
        else:
            self._courier.in_turn(begin)

    def _keep(self, latch: Latch | LatchCleared) -> None:
        task = self._spawn(self._courier.keep(latch))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _answer(self, reply: Callable[[bytes], None], answer: CommandAnswer, keeping: tuple[asyncio.Task[None], ...]) -> None:
        """A person is told of a latch when a restart would know of it; when the journal does not answer, that it would not."""
        if keeping and (await asyncio.wait(keeping, timeout=KEPT_SECONDS))[1]:
            answer = msgspec.structs.replace(answer, reason=f"{answer.reason}; {NOT_DURABLE}")
        reply(encode(answer))

    def _tell_held(self) -> None:
        self._telling = False
        held = frozenset(self.state.interesting())
        if held != self._held:
            fresh = held - self._held
            self._held = held
            self._bus.publish(self._subjects.held, encode(sorted(held)))
            known = tuple(self._marks[symbol] for symbol in sorted(fresh) if symbol in self._marks)
            if known:
                self._offer(inbox.MarksReceived(received_at_ns=self._clock.now(), marks=known))

    def _tell_status(self) -> None:
        now_ns = self._clock.monotonic()
        shown = (self.state.trading(), tuple(self.state.latches), self._held)
        if now_ns - self._status_at_ns < STATUS_MACHINE_NS and shown == self._shown:
            return
        self._status_at_ns, self._shown = now_ns, shown
        status = status_of(self.state)
        publish_metrics(status, gross_notional(self.state))
        self._bus.publish(self._subjects.state(self.name), encode(status))
        self._bus.publish(self._subjects.held, encode(sorted(self._held)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _stopped(self, stop: asyncio.Event) -> None:
        """Wait for ``stop`` alone, not woken up by entries as ``_until`` is: that would be work beside each intent. Raises what failed."""
        assert self._failed is not None
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({stopped, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self._failed.done():
            self._failed.result()

    async def _until(self, condition: Callable[[], bool], stop: asyncio.Event, timeout_seconds: float | None = None) -> bool:
        """Wait for a condition that entries make true; False when ``stop`` or the time-out came first. Raises what failed."""
        assert self._failed is not None
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        changed: asyncio.Future[Any] = stopped
        try:
            async with asyncio.timeout(timeout_seconds):
                while not condition():
                    if stop.is_set():
                        return False
                    self._changed.clear()
                    changed = asyncio.ensure_future(self._changed.wait())
                    await asyncio.wait({stopped, changed, self._failed}, return_when=asyncio.FIRST_COMPLETED)
                    changed.cancel()
                    if self._failed.done():
                        self._failed.result()
        except TimeoutError:
            return False
        finally:
            stopped.cancel()
            changed.cancel()
        return True

    async def _drain(self) -> None:
        """Cancel what may still open, see filled shares covered, then make the inbox durable."""
        self._offer(inbox.Stopping(received_at_ns=self._clock.now()))
        if not await self._until(lambda: safe_to_leave(self.state), asyncio.Event(), DRAIN_SECONDS):
            _log.error("stopped_unsafe", open_entries=[record.key for record in self.state.book.open() if record.role is Role.ENTRY])
        self._tell_status()
        self._record()
        await self._journal.flush()
