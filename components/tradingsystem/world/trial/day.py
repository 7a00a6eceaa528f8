"""One seeded day of execution in virtual time: the real service, gate and order client against the simulated broker, with faults.

The day is its last nine minutes: entries, then the close; everything in it is drawn from one seed. The filter is not in the loop (its features would cost
twenty seconds a day): signals are a seeded script in the journal, in the filter's own struct. It has no sockets, no threads and no wall clock, and it
decides nothing about orders.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import random
from collections.abc import MutableMapping
from datetime import date
from typing import Any

import msgspec
import structlog

from tradingsystem.domain.control import Command, CommandAnswer
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.orders import Approved
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.domain.trading import Mark
from tradingsystem.execution.service import FEEDS, ExecutionService
from tradingsystem.execution.state import State
from tradingsystem.execution.writer import Owner
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.live_settings import settings_entry
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.imagined import Ask, Frame, ImaginedBroker, ImaginedJournal, Reply, Venue, imagined_bus, imagined_lease
from tradingsystem.spec import canonical_json, from_document
from tradingsystem.spec.slices import ExecutionSlice, slice_of, told_by_the_journal
from tradingsystem.world.trial.invariants import Judge, Sight, Violation
from tradingsystem.world.trial.links import Life, LifeBus, LifeCarrier, LifeJournal, LifeLease
from tradingsystem.world.trial.market import SYMBOLS, Market, Wishes
from tradingsystem.world.trial.neighbours import PATIENT, SPEAKS_SECONDS, Neighbours, meaning
from tradingsystem.world.trial.person import Person
from tradingsystem.world.trial.plan import Fault, Plan, Planned, Step, between, draw
from tradingsystem.world.trial.virtual_time import MachineClock, VirtualLoop, run

SYSTEM = "trial"
DAY = date(2026, 3, 2)
LENGTH_SECONDS = 540.0  # from the first start to the close
FLATTEN_MINUTES = 1
LAST_ENTRY_MINUTES = 2
CALM_BEFORE_CLOSE_SECONDS = 100.0  # nothing new goes wrong in the last minutes: then the account must be flat
HALF_SECONDS = 210.0  # when half of the time for entries is over
HALF_POSITIONS = 5  # who has opened fewer by then gets more signals, else it were no trial
WISHES_AFTER_SECONDS = 20.0  # so long the script goes on after the last entry: those are refused
AFTER_CLOSE_SECONDS = 45.0
CASH = 50_000
FOREVER_NS = 1 << 62
CLOCK_SECONDS = (1.0, 20.0)  # how far a clock is set
STREAM_SECONDS = (0.001, 0.003, 0.03, 0.3)  # of an event, one of them all day long; an answer takes 0.002

UNCALM_SECONDS: dict[Fault, float] = {
    Fault.JOURNAL_LOST: 5.0,
    Fault.JOURNAL_UNKNOWN: 5.0,
    Fault.JOURNAL_LATE: 12.0,
    Fault.JOURNAL_REFUSED: 8.0,
    Fault.TAKEN_500: 12.0,
    Fault.NOT_TAKEN_500: 12.0,
    Fault.TAKEN_SILENT: 15.0,
    Fault.NOT_TAKEN_SILENT: 15.0,
    Fault.UNREADABLE: 12.0,
    Fault.LATE_ANSWER: 10.0,
    Fault.REFUSED_403: 6.0,
    Fault.REFUSED_422: 6.0,
    Fault.REFUSED_429: 8.0,
    Fault.UNREACHABLE: 16.0,
    Fault.STREAM_DROPPED: 3.0,
    Fault.STREAM_SILENT: 18.0,
    Fault.STREAM_REORDERED: 3.0,
    Fault.STREAM_DELAYED: 5.0,
    Fault.STREAM_REPLAYED: 3.0,
    Fault.LATE_FILL: 7.0,
    Fault.CLOCK_AHEAD: 40.0,
    Fault.CLOCK_BEHIND: 40.0,
}
"""For how long after a fault execution or broker count as not up: the fault's own length and the next question."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one seeded day. ``digest`` is that of its story: equal seeds have equal ones."""

    seed: int
    decisions: int
    positions: int
    struck: tuple[tuple[str, str], ...]  # (fault, step), in order
    violations: tuple[tuple[str, str, float], ...]  # (invariant, what, second)
    lives: int
    latches: int
    slowest_cover_seconds: float
    digest: str
    story: tuple[str, ...] = ()


def settings_of(chance: random.Random) -> ExecutionSlice:
    """The day's limits: narrow enough to be met."""
    positions = chance.choice((5, 6, 8))
    risk = {
        "positionsOpenMax": positions,
        "grossNotionalMax": 22_000 if positions == 6 else 40_000,  # of positions up to 4,000: speaks before their number does, or never
        "positionsPerDayMax": chance.choice((24, 60, 60)),
        "dailyLossMax": chance.choice((120, 500)),
        "drawdownMaxPercent": chance.choice((1, 5)),
        "ordersPerMinuteMax": chance.choice((10, 16, 60)),
        "dailyTarget": 0,
    }
    execution = {
        "entryWindow": {"afterOpenMinutes": 5, "beforeCloseMinutes": LAST_ENTRY_MINUTES},
        "flattenBeforeCloseMinutes": FLATTEN_MINUTES,
    }
    spec: dict[str, Any] = {"mode": "Paper", "sizing": {"method": "RiskBased"}, "risk": risk, "execution": execution}
    document = {"apiVersion": "tradingsystem.dev/v1alpha1", "kind": "TradingSystem", "metadata": {"name": SYSTEM}, "spec": spec}
    made = slice_of("execution", from_document(document))
    assert isinstance(made, ExecutionSlice)
    return made


class Day:
    """One day while it is played; it is the ``Surroundings`` of every life in it."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self._loop, self._seed = loop, seed
        chance = random.Random(f"trial-{seed}")
        self._chance = chance
        self._settings = settings_of(chance)
        self._boot = told_by_the_journal(self._settings)
        self._subjects = Subjects(SYSTEM)
        self._neighbours = Neighbours(self._subjects)
        self.venue = Venue(SYMBOLS, DAY, seed, CASH, self._published)
        self.start_ns = self.venue.session.close_ns - int(LENGTH_SECONDS) * NS_PER_SECOND
        self.judge = Judge(self.venue, self._settings, self._subjects)
        self.plan = Plan(draw(random.Random(f"faults-{seed}"), 20.0, LENGTH_SECONDS - CALM_BEFORE_CLOSE_SECONDS))
        self.market = Market(random.Random(f"market-{seed}"))
        self._wishes = Wishes(random.Random(f"wishes-{seed}"), SYSTEM, random.Random(f"volumes-{seed}"))
        self.story: list[str] = []
        self.told: list[str] = []
        self.journal_down_until = self.broker_down_until = 0.0
        self.stream_seconds = chance.choice(STREAM_SECONDS)
        self._uncalm_until = 0.0
        self._bus = imagined_bus()
        self._lease = imagined_lease(lambda: round(loop.time() * NS_PER_SECOND))
        self._stores = 0
        self._store_is_new = True
        self.store = self._new_store()
        self._history: list[Frame] = []
        self._sight = Sight()
        self._trusted = False
        self._lives = 0
        self._stop = asyncio.Event()  # never set: lives end by faults, the last one with the day
        self._over = False
        self._replay_next = False
        self._wake: asyncio.TimerHandle | None = None
        self.life = Life(self)
        self._clock = MachineClock(loop, self.start_ns)
        self._person = Person(self, random.Random(f"person-{seed}"))
        self._task: asyncio.Task[None] | None = None

    # --- what people ask -------------------------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the day has ended."""
        return self._over

    def shown(self) -> State | None:
        """What a person sees of execution; None while it is not there."""
        return self._sight.state if self._sight.able else None

    async def command(self, command: Command) -> CommandAnswer | None:
        """Send a command and wait for its answer; None when none comes."""
        about = f"{command.kind.value} {command.latch_id or ''}"
        try:
            answer: CommandAnswer = decode(await self._bus.request(self._subjects.command, encode(command), 5.0), CommandAnswer)
        except TryAgain:
            self.say(f"{about}: no answer")
            return None
        self.say(f"{about}: {answer.reason}")
        return answer

    # --- what links ask --------------------------------------------------------------------------------------------------------------------

    def seconds(self) -> float:
        """See ``Surroundings``."""
        return self._loop.time()

    def now_ns(self) -> int:
        """The true time."""
        return self.start_ns + round(self._loop.time() * NS_PER_SECOND)

    def say(self, what: str) -> None:
        """One line of the story."""
        line = f"{self._loop.time():9.3f} {what}"
        self.story.append(line)
        self.told.append(line)

    def log(self, level: str, event: dict[str, Any]) -> None:
        """What execution logs, between the lines of the story; it is not part of what must repeat."""
        about = " ".join(f"{key}={value}" for key, value in event.items() if key != "event")
        self.told.append(f"{self._loop.time():9.3f}     {level} {event.get('event', '')} {about}")

    def strike(self, step: Step, about: str) -> Planned | None:
        """See ``Surroundings``."""
        struck = self.plan.strike(step, self._loop.time())
        if struck is None:
            return None
        self.say(f"FAULT {struck.fault} at {step}: {about}")
        self._uncalm_until = max(self._uncalm_until, self._loop.time() + UNCALM_SECONDS.get(struck.fault, 0.0))
        if struck.fault is Fault.THIN_BOOK:
            for symbol in SYMBOLS:
                self.market.thin(symbol, self._loop.time() + 20.0 + 20.0 * struck.size)
        elif struck.fault in {Fault.CLOCK_AHEAD, Fault.CLOCK_BEHIND}:
            self._set_clock(struck)
        elif not self._neighbours.strike(struck, self._loop.time()):
            self._replay_next = self._replay_next or struck.fault is Fault.STREAM_REPLAYED
            return struck
        return None

    def _set_clock(self, struck: Planned) -> None:
        clock, far_ns = self._clock, int(between(CLOCK_SECONDS, struck.size) * NS_PER_SECOND)
        clock.wrong_by_ns = far_ns if struck.fault is Fault.CLOCK_AHEAD else -far_ns

        def correct() -> None:
            clock.wrong_by_ns = 0

        self._loop.call_later(4.0 + 10.0 * struck.size, correct)

    def crash(self, *, store_lost: bool = False) -> None:
        """See ``Surroundings``."""
        self.say(f"execution is killed{', and the journal lost' if store_lost else ''}")
        self.life.alive = self._sight.able = False
        self.unheard()
        if self._task is not None:
            self._task.cancel()
        if store_lost:
            self.judge.read(self.store)
            self.store = self._new_store()
            self.judge.new_store()

    def take(self, ask: Ask) -> Reply:
        """See ``Surroundings``."""
        self.venue.move(self.now_ns())
        self.judge.read(self.store)
        write = ask.method in ("POST", "PATCH")
        if write:
            self.judge.arriving(ask, self._look())
        reply = self.venue.answer(ask)
        if write:
            self.judge.answered(ask, reply)
            self.say(f"{ask.method} {ask.body.decode()} -> {reply.status} {reply.body[:60].decode() if reply.status >= 300 else ''}")
        elif ask.method == "DELETE":
            self.say(f"DELETE {ask.path} -> {reply.status}")
        elif ask.path == "/v2/positions" and self.life.line is not None and self.life.line.listening and not self._trusted:
            self._trusted = True
            self._sight.trusted_ns.append((self.now_ns(), FOREVER_NS))
        self._moved()
        return reply

    def approved(self, order: Approved) -> None:
        """See ``Surroundings``."""
        self.judge.approved(order, self._clock.now())

    def marked(self, payload: bytes) -> None:
        """See ``Surroundings``."""
        self.judge.marked(decode(payload, list[Mark]))

    def spoken(self, step: Step, payload: bytes) -> None:
        """See ``Surroundings``."""
        if (heard := meaning(step, payload)) is not None:
            self.judge.spoken(heard.value, self._loop.time())

    def broker_date(self) -> str:
        """See ``Surroundings``."""
        return self._neighbours.date(self.now_ns(), self._loop.time())

    def unheard(self) -> None:
        """See ``Surroundings``."""
        if self._trusted:
            self._trusted = False
            self._sight.trusted_ns[-1] = (self._sight.trusted_ns[-1][0], self.now_ns())

    # --- the venue -------------------------------------------------------------------------------------------------------------------------

    def _published(self, frames: list[Frame]) -> None:
        line = self.life.line
        for frame in frames:
            self._history.append(frame)
            self.say(f"event {frame.event} {frame.order_id[:8]}")
            if line is not None and self.life.alive:
                line.send(frame)

    def _moved(self) -> None:
        """The venue has done something: judge it, and wake it when it has something to do by itself."""
        self.judge.after(self._loop.time(), self._look())
        self._tell_violations()
        due_ns = self.venue.next_due_ns
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if due_ns is not None:
            self._wake = self._loop.call_at(max((due_ns - self.start_ns) / NS_PER_SECOND, self._loop.time()), self._due)

    def _due(self) -> None:
        self._wake = None
        self.venue.move(max(self.now_ns(), self.venue.next_due_ns or 0))
        self._moved()

    async def _trade(self) -> None:
        """Quotes and marks once a second."""
        while not self._over:
            now_ns, seconds = self.now_ns(), self._loop.time()
            self.venue.move(now_ns, self.market.move(now_ns, seconds))
            self._moved()
            self._bus.publish(self._subjects.marks, encode(self.market.marks(now_ns)))
            self.judge.read(self.store)
            self.judge.glance(self._look())
            self._tell_violations()
            await asyncio.sleep(1.0)

    async def _speak(self) -> None:
        """Ingestion's and the operator's words."""
        while not self._over:
            for subject, payload in self._neighbours.words(self._loop.time()):
                self._bus.publish(subject, payload)
            await asyncio.sleep(SPEAKS_SECONDS)

    async def _wish(self) -> None:
        """Signals, as the filter would journal them."""
        hurried = False
        while self._loop.time() < LENGTH_SECONDS - 60.0 * LAST_ENTRY_MINUTES + WISHES_AFTER_SECONDS:
            await asyncio.sleep(self._wishes.wait_seconds(hurried=hurried))
            hurried = hurried or (self._loop.time() >= HALF_SECONDS and self.judge.count() < HALF_POSITIONS)
            signal = self._wishes.next(self.market, self.now_ns(), self._loop.time())
            if signal is not None:
                self.say(f"signal {signal.id} {signal.bid}/{signal.ask}")
                self.store.keep(self._subjects.journal_signal, encode(signal))
        await asyncio.Event().wait()

    # --- execution and people --------------------------------------------------------------------------------------------------------------

    def _look(self) -> Sight:
        sight, line = self._sight, self.life.line
        sight.alive = self.life.alive
        sight.listening = line is not None and line.listening and not line.closed
        sight.calm = self._loop.time() >= self._uncalm_until
        sight.clock_right = self._clock.now() == self.now_ns()
        sight.clocks_agree = sight.clock_right and not self._neighbours.clock_error_ns(self._loop.time())
        sight.now_ns = self.now_ns()
        return sight

    def _new_store(self) -> ImaginedJournal:
        self._stores += 1
        self._store_is_new = True
        store = ImaginedJournal(SYSTEM, f"store-{self._seed}-{self._stores}")
        store.keep(self._subjects.journal_spec, settings_entry(1, canonical_json(self._settings.live)))
        return store

    async def _live(self) -> None:
        """Start execution, and again whenever it has ended."""
        while not self._over:
            await self._one_life()
            await asyncio.sleep(0.3 + 4.0 * self._chance.random())

    async def _one_life(self) -> None:
        self._lives += 1
        self.say(f"execution starts, life {self._lives}")
        life = self.life = Life(self)
        store_lost, self._store_is_new = self._store_is_new and self._stores > 1, False
        self._clock = MachineClock(self._loop, self.start_ns)
        self.judge.new_watch(self._loop.time())
        carrier = LifeCarrier(life, self._clock.now, self._history)
        if self._replay_next:
            carrier.replay_next, self._replay_next = True, False
        broker = ImaginedBroker(carrier, self._clock.now)
        service = ExecutionService(
            system=SYSTEM,
            spec=self._boot,
            clock=self._clock,
            bus=LifeBus(life, self._bus, self._subjects),
            journal=LifeJournal(life, self.store, self._subjects),
            lease=LifeLease(life, self._lease),
            broker=broker,
            owner=Owner(f"life-{self._lives}", "this machine"),
            peers=(FEEDS,),
            patience=PATIENT,
        )

        def ready() -> None:
            self.say("execution is ready")
            self._sight.able, self._sight.state = True, service.state
            self.judge.read(self.store)
            self.judge.new_life(service.state, store_lost=store_lost)

        task = self._task = self._loop.create_task(service.run(ready, self._stop))
        await asyncio.wait({task})
        if life.alive:
            life.alive = self._sight.able = False
            if not task.cancelled() and (error := task.exception()) is not None:
                self.judge.failed(f"{type(error).__name__}: {error}")
                self._tell_violations()

    def _tell_violations(self) -> None:
        for violation in self.judge.found:
            self.say(f"VIOLATION {violation.invariant}: {violation.what}")
        self.judge.found.clear()

    async def play(self) -> Verdict:
        """The whole day. Raises what the day itself, not execution, has done wrong."""
        random.seed(self._seed)  # the order client's backoff draws from it
        self.venue.move(self.start_ns - NS_PER_SECOND)
        workers = [self._loop.create_task(work()) for work in (self._trade, self._live, self._speak, self._wish, self._person.work)]
        ends = self._loop.create_task(asyncio.sleep(LENGTH_SECONDS + AFTER_CLOSE_SECONDS))
        done, _ = await asyncio.wait({*workers, ends}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        self._over = True
        self.judge.closed(self._look())
        self._tell_violations()
        self.life.alive = False
        for task in workers:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*workers, return_exceptions=True)
        return self._verdict()

    def _verdict(self) -> Verdict:
        judge = self.judge
        return Verdict(
            seed=self._seed,
            decisions=len(judge.intents),
            positions=judge.count(),
            struck=tuple((str(fault), str(step)) for fault, step in self.plan.struck),
            violations=tuple(_row(violation) for violation in judge.violations),
            lives=self._lives,
            latches=len(self._person.latches),
            slowest_cover_seconds=judge.slowest_cover,
            digest=hashlib.sha256("\n".join(self.story).encode()).hexdigest()[:16],
            story=tuple(self.told),
        )


def _row(violation: Violation) -> tuple[str, str, float]:
    return violation.invariant, violation.what, violation.at_seconds


def play(seed: int, *, told: bool = False) -> Verdict:
    """One seeded day, from beginning to end, in a loop of its own. ``told``: with what execution logs between the lines of the story."""
    days: list[Day] = []

    async def one(loop: VirtualLoop) -> Verdict:
        days.append(Day(seed, loop))
        return await days[0].play()

    def logged(_: Any, level: str, event: MutableMapping[str, Any]) -> str:
        days[0].log(level, dict(event))
        raise structlog.DropEvent

    gc.collect()
    gc.disable()  # a day is short and its garbage small: collecting it while it runs costs a tenth of it
    lowest = logging.INFO if told else logging.CRITICAL
    structlog.configure(processors=[logged], wrapper_class=structlog.make_filtering_bound_logger(lowest), cache_logger_on_first_use=False)
    try:
        return run(one)
    finally:
        gc.enable()
        structlog.reset_defaults()
