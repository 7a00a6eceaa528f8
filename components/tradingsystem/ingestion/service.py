"""Runs ingestion: sources in, one tape out. All that is decided is decided in the pure modules; here are the clock, the bus and the waiting.

An epoch is one start or one day: a symbol table, a sequence from 1, and nothing of the epoch before. It is ready once a source of prices delivers, and stays
unready, without restarting, while keys are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta

import msgspec
import structlog

from tradingsystem.domain import calendar
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import (
    ModelsAssigned,
    SessionOpened,
    SpecApplied,
    SpecSwitched,
    SymbolFact,
    SymbolTable,
    TapeNote,
    WeightsUpdated,
)
from tradingsystem.domain.errors import NotAuthorized, TradingSystemError, TryAgain
from tradingsystem.domain.frames import Frame
from tradingsystem.domain.rows import Rows
from tradingsystem.domain.time import EARLIEST_NS, NS_PER_MINUTE, NS_PER_SECOND, new_york_date
from tradingsystem.ingestion import freshness
from tradingsystem.ingestion.failover import carriers_of
from tradingsystem.ingestion.frames import FrameTray
from tradingsystem.ingestion.intake import Intake
from tradingsystem.ingestion.sealing import SILENCE_MACHINE_NS, SILENCE_NS, Moment, Sealed
from tradingsystem.ingestion.status import IngestionStatus, KeptEpoch
from tradingsystem.ingestion.symbols import (
    HISTORY_SESSIONS,
    PROFILE_SESSIONS,
    REFERENCE_SYMBOL,
    build_table,
    by_turnover,
    volume_profile,
)
from tradingsystem.ingestion.tiers import Tiers
from tradingsystem.ingestion.validation import Limits, scaled
from tradingsystem.interfaces import Bus, Cache, Clock, Delivery, Entry, History, Journal, Source, SourceEvent
from tradingsystem.messages.batch import encode_batch
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec.slices import IngestionSlice
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

log = structlog.get_logger()

CACHE_KEY = "ingestion.epoch"
BACKFILL_SYMBOLS_MAX = 2_000
BACKFILL_AT_ONCE = 8
BACKFILL_MIN_NS = NS_PER_MINUTE
ROLLOVER_BEFORE_OPEN_NS = 5 * 60 * NS_PER_MINUTE + 30 * NS_PER_MINUTE  # 04:00 in New York: premarket begins, snapshots are refilled
RETRY_SECONDS = (1.0, 60.0)
REFUSED_KEY_SECONDS = 15.0


class IngestionService:
    """Market data in order. ``chosen`` restricts the universe (None: all that is listed); ``history`` and ``cache`` are asked at the start of an epoch,
    ``journal`` for what switches the filter."""

    name = "ingestion"

    def __init__(
        self,
        *,
        system: str,
        spec: IngestionSlice,
        chosen: frozenset[str] | None,
        clock: Clock,
        bus: Bus,
        journal: Journal,
        history: History,
        sources: Sequence[Source],
        cache: Cache,
    ) -> None:
        self._subjects = Subjects(system)
        self._spec = spec
        self._chosen = chosen
        self._clock = clock
        self._bus = bus
        self._journal = journal
        self._history = history
        self._sources = tuple(sources)
        self._cache = cache
        self._epoch: _Epoch | None = None
        self._wishes: dict[str, tuple[str, ...]] = {}
        self._switches: dict[str, TapeNote] = {}  # the newest of each kind: a new epoch begins with them
        self._healthy = asyncio.Event()

    @property
    def progress_ns(self) -> int:
        """Market time up to which input has been applied."""
        return self._epoch.intake.progress_ns(self._moment()) if self._epoch else 0

    def detail(self) -> dict[str, float]:
        """Numbers for the beat."""
        if self._epoch is None:
            return {}
        intake = self._epoch.intake
        return {"rows": float(intake.accepted), "refused": float(intake.refused.total()), "seq": float(intake.sealer.seq)}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """One epoch after another until ``stop``; then the rows that wait are sealed and flushed."""
        heard = [await self._bus.subscribe(subject, self._on_wish) for subject in (self._subjects.held, self._subjects.candidates)]
        heard += [
            await self._journal.follow(subject, 1, self._on_switch)
            for subject in (self._subjects.journal_spec, self._subjects.journal_model, self._subjects.journal_weights)
        ]
        announce = asyncio.create_task(self._announce(ready))
        try:
            while not stop.is_set():
                await self._run_epoch(stop)
        finally:
            announce.cancel()
            for subscription in heard:
                await subscription.close()
            await self._bus.flush()

    async def _announce(self, ready: Callable[[], None]) -> None:
        await self._healthy.wait()
        ready()

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())

    async def _run_epoch(self, stop: asyncio.Event) -> None:
        kept = await self._prepare(stop)
        if kept is None:
            return
        session = kept.opened.session
        epoch = _Epoch(kept, self._spec, self._clock, self._publish, self._on_source, self._record)
        self._epoch = epoch
        epoch.begin(tuple(self._switches.values()), self._wishes)
        log.info("epoch_begins", epoch=kept.epoch, symbols=len(kept.table.facts), day=str(session.day))
        symbols = [fact.symbol for fact in kept.table.facts]
        tasks = [asyncio.create_task(self._run_source(source, symbols, epoch)) for source in self._sources]
        tasks += [asyncio.create_task(self._seal_silence(epoch)), asyncio.create_task(self._backfill_start(epoch))]
        try:
            await self._keep_house(epoch, stop, tasks)
        finally:
            for task in [*tasks, *epoch.tasks]:
                task.cancel()
            await asyncio.gather(*tasks, *epoch.tasks, return_exceptions=True)
            epoch.end()

    async def _run_source(self, source: Source, symbols: Sequence[str], epoch: _Epoch) -> None:
        """For ever: a key that was refused is named and tried seldom, since a person may exchange it."""
        while True:
            try:
                await source.run(symbols, epoch)
                return
            except NotAuthorized as error:
                log.error("source_not_authorized", source=source.name, credential=error.credential, reason=str(error))
                metrics.alarms.labels(alarm="source_not_authorized").inc()
                epoch.health(source.name, SourceEvent(healthy=False, reason=str(error)))
            await asyncio.sleep(REFUSED_KEY_SECONDS)

    async def _keep_house(self, epoch: _Epoch, stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Once a machine second: sources, tiers, status; until the next session's epoch is due. A task that died takes the service with it."""
        rollover_ns = _morning_ns(epoch.session)
        if epoch.loaded_at_ns >= rollover_ns:
            rollover_ns = _morning_ns(calendar.next_session(_day_after(epoch.session.day)))
        while not stop.is_set() and self._clock.now() < rollover_ns:
            for task in [*tasks, *epoch.tasks]:
                if task.done():
                    task.result()
            moment = self._moment()
            epoch.publish(epoch.intake.review(moment))
            detailed = epoch.tiers.detailed(moment.machine_ns)
            for source in self._sources:
                source.want(detailed)
            self._bus.publish(self._subjects.state(self.name), encode(epoch.status(detailed, moment)))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)

    async def _seal_silence(self, epoch: _Epoch) -> None:
        while True:
            period_ns = max(SILENCE_MACHINE_NS, SILENCE_NS / max(1.0, self._clock.speed))
            await asyncio.sleep(period_ns / 4 / NS_PER_SECOND)
            moment = self._moment()
            epoch.publish(epoch.intake.sealer.advance(moment))
            self._record(epoch.tray.due(moment.machine_ns))

    def _record(self, frames: Sequence[Frame]) -> None:
        if frames:
            self._bus.publish(self._subjects.frames, encode(list(frames)))

    def _publish(self, sealed: Sequence[Sealed]) -> None:
        for item in sealed:
            self._bus.publish(self._subjects.tape, encode_batch(item.batch))
            metrics.batches_sealed.labels(reason=item.by.value).inc()
            metrics.batch_rows.observe(len(item.batch.rows))
            if item.conflated:
                metrics.rows_conflated.inc(item.conflated)

    def _on_wish(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "want"):
            wanted: list[str] = decode(delivery.payload, list[str])
            publisher = delivery.subject.rsplit(".", 1)[-1]
            self._wishes[publisher] = tuple(wanted)
            if self._epoch is not None:
                self._epoch.tiers.heard(publisher, wanted, self._clock.monotonic())

    def _on_switch(self, entry: Entry) -> None:
        """Live settings and promotions become notes, so that the filter meets them at one place in its input."""
        note: TapeNote
        try:
            if entry.subject == self._subjects.journal_spec:
                applied: SpecApplied = decode(entry.payload, SpecApplied)
                note = SpecSwitched(generation=applied.generation, spec=applied.spec)
            else:
                note = decode(entry.payload, WeightsUpdated if entry.subject == self._subjects.journal_weights else ModelsAssigned)
        except Malformed as error:
            log.error("switch_unreadable", subject=entry.subject, seq=entry.seq, reason=str(error))
            metrics.bus_malformed.labels(kind="journal").inc()
            return
        self._switches[entry.subject] = note
        if self._epoch is not None:
            self._epoch.publish(self._epoch.intake.note(note, gap=False, moment=self._moment()))

    def _on_source(self, epoch: _Epoch, source: str, event: SourceEvent, lost_since_ns: int | None) -> None:
        log.info("source_health", source=source, healthy=event.healthy, reason=event.reason)
        if epoch.intake.failover.prices():
            self._healthy.set()
        if lost_since_ns is not None and self._clock.now() - lost_since_ns >= BACKFILL_MIN_NS:
            epoch.tasks.append(asyncio.create_task(self._backfill(epoch, lost_since_ns)))

    # The start of an epoch: table, session, profile.

    async def _prepare(self, stop: asyncio.Event) -> KeptEpoch | None:
        """What the epoch needs, from the cache when it is today's, else from history, asked again and again; None when stopped meanwhile."""
        await self._clock.sleep_until(EARLIEST_NS)  # a follower's clock shows nothing until the player has spoken
        day = calendar.next_session(new_york_date(self._clock.now()))
        kept = await self._recall()
        now_ns = self._clock.now()
        epoch_number = max(now_ns, kept.epoch + 1 if kept else 0)
        if kept is None or kept.opened.session.day != day.day or _early(kept, now_ns) or not self._covers(kept.table):
            loaded = await self._load_until(day, stop)
            if loaded is None:
                return None
            fresh = KeptEpoch(epoch=epoch_number, loaded_at_ns=now_ns, table=loaded[0], opened=loaded[1])
        else:
            fresh = msgspec.structs.replace(kept, epoch=epoch_number)
        await self._remember(fresh)
        return fresh

    def _covers(self, table: SymbolTable) -> bool:
        return self._chosen is None or self._chosen <= {fact.symbol for fact in table.facts}

    async def _load_until(self, session: Session, stop: asyncio.Event) -> tuple[SymbolTable, SessionOpened] | None:
        wait_seconds = RETRY_SECONDS[0]
        while not stop.is_set():
            try:
                return await self._load(session)
            except TradingSystemError as error:
                log.error("history_unavailable", reason=str(error), again_in_seconds=wait_seconds)
                asked = error.after_seconds if isinstance(error, TryAgain) else RETRY_SECONDS[1]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(wait_seconds, asked))
                wait_seconds = min(RETRY_SECONDS[1], wait_seconds * 2)
        return None

    async def _load(self, session: Session) -> tuple[SymbolTable, SessionOpened]:
        listed: tuple[SymbolFact, ...] = await self._history.symbols()
        past = calendar.previous_sessions(session.day, HISTORY_SESSIONS)
        table = build_table(listed, await self._history.daily(past), self._chosen, self._spec.universe.symbols_max)
        told = await self._history.session(session.day)
        if told is not None and told.close_ns != session.close_ns:
            log.error("calendars_differ", ours=session.close_ns, venue=told.close_ns, day=str(session.day))
            metrics.alarms.labels(alarm="calendars_differ").inc()
            session = told if told.close_ns < session.close_ns else session  # the earlier close is the safe one
        days = [(day, await self._history.minutes(REFERENCE_SYMBOL, day.open_ns, day.close_ns)) for day in past[-PROFILE_SESSIONS:]]
        return table, SessionOpened(session=session, volume_profile=volume_profile(days, session))

    async def _recall(self) -> KeptEpoch | None:
        try:
            value = await self._cache.get(CACHE_KEY)
            return KeptEpoch.unpack(value) if value else None
        except (TradingSystemError, Malformed) as error:
            log.warning("cache_unreadable", key=CACHE_KEY, reason=str(error))
            return None

    async def _remember(self, kept: KeptEpoch) -> None:
        try:
            await self._cache.put(CACHE_KEY, kept.pack(), self._spec.cache.ttl_seconds.ticker_details)
        except TradingSystemError as error:
            log.warning("cache_unwritable", key=CACHE_KEY, reason=str(error))

    # Backfill: minute bars for what was missed.

    async def _backfill_start(self, epoch: _Epoch) -> None:
        now_ns = self._clock.now()
        if epoch.session.open_ns + BACKFILL_MIN_NS < now_ns and now_ns < epoch.session.close_ns:
            await self._backfill(epoch, epoch.session.open_ns)

    async def _backfill(self, epoch: _Epoch, from_ns: int) -> None:
        """Fetch minutes from then until now: wanted symbols first, then by turnover, a bounded number at a time."""
        to_ns = self._clock.now()
        queue = epoch.backfill_order(BACKFILL_SYMBOLS_MAX)
        log.info("backfill_begins", symbols=len(queue), minutes=(to_ns - from_ns) // NS_PER_MINUTE)
        places = iter(queue)
        fetched = await asyncio.gather(*(self._backfill_some(epoch, places, from_ns, to_ns) for _ in range(BACKFILL_AT_ONCE)))
        log.info("backfill_ended", symbols=sum(fetched), of=len(queue))

    async def _backfill_some(self, epoch: _Epoch, places: Iterator[int], from_ns: int, to_ns: int) -> int:
        fetched = 0
        for position in places:
            try:
                rows: Rows = await self._history.minutes(epoch.intake.table.facts[position].symbol, from_ns, to_ns)
            except TradingSystemError as error:
                log.warning("backfill_failed", symbol=epoch.intake.table.facts[position].symbol, reason=str(error))
                continue
            epoch.publish(epoch.intake.backfill(position, rows, self._moment()))
            epoch.backfilled += len(rows)
            fetched += 1
        return fetched


class _Epoch:
    """The sink of one epoch's sources: synchronous, so that order is the order of arrival."""

    def __init__(
        self,
        kept: KeptEpoch,
        spec: IngestionSlice,
        clock: Clock,
        publish: Callable[[Sequence[Sealed]], None],
        on_health: Callable[[_Epoch, str, SourceEvent, int | None], None],
        record: Callable[[Sequence[Frame]], None],
    ) -> None:
        self._kept = kept
        self._clock = clock
        self._on_health = on_health
        self._record = record
        self.tray = FrameTray(spec.sources)
        self.publish = publish
        self.session = kept.opened.session
        self.loaded_at_ns = kept.loaded_at_ns
        carriers = carriers_of(spec.sources)
        self.intake = Intake(kept.epoch, kept.table, carriers, scaled(Limits(), clock.speed), self._moment())
        self._index = {fact.symbol: position for position, fact in enumerate(kept.table.facts)}
        self.tiers = Tiers(("execution", "filter"), self._index)
        self.tasks: list[asyncio.Task[None]] = []
        self.backfilled = 0
        self._conflated = 0
        self._lost_since_ns: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())

    def begin(self, switches: tuple[TapeNote, ...], wishes: Mapping[str, tuple[str, ...]]) -> None:
        """Seal the first batch: the table, the session, and what was switched before."""
        moment = self._moment()
        for publisher, symbols in wishes.items():
            self.tiers.heard(publisher, symbols, moment.machine_ns)
        self.intake.sealer.note(self._kept.table, self._kept.opened, *switches)
        self.publish(self.intake.sealer.advance(moment))

    def end(self) -> None:
        """Seal what waits; nothing comes after."""
        if self._timer is not None:
            self._timer.cancel()
        self.publish(self.intake.sealer.finish(self._moment()))
        self._record(self.tray.take())

    def rows(self, source: str, rows: Rows, received_ns: int) -> None:
        """As ``SourceSink``."""
        moment = Moment(received_ns, self._clock.monotonic())
        sealed, refused = self.intake.rows(source, rows, moment)
        for reason, count in refused.items():
            metrics.rows_refused.labels(source=source, reason=reason).inc(count)
        if sealed:
            self.publish(sealed)
        if self._timer is None and self.intake.sealer.pending:
            self._arm(moment.machine_ns)

    def malformed(self, source: str, reason: str, count: int) -> None:
        """As ``SourceSink``."""
        self.intake.refused[reason] += count
        metrics.rows_refused.labels(source=source, reason=reason).inc(count)

    def health(self, source: str, event: SourceEvent) -> None:
        """As ``SourceSink``."""
        moment = self._moment()
        if not event.healthy:
            self._lost_since_ns.setdefault(source, moment.market_ns)
        sealed, returned = self.intake.health(source, healthy=event.healthy, reason=event.reason, moment=moment)
        self.publish(sealed)
        lost_since_ns = self._lost_since_ns.pop(source, None) if event.healthy else None
        self._on_health(self, source, event, lost_since_ns if returned else None)

    def frame(self, source: str, payload: bytes, received_ns: int) -> None:
        """As ``SourceSink``: for the recorder, where the source asks for that."""
        if self.tray.keeps(source):
            self._record(self.tray.put(Frame(source, received_ns, payload), self._clock.monotonic()))

    def _arm(self, machine_ns: int) -> None:
        due_ns = self.intake.sealer.due_machine_ns()
        if due_ns is not None:
            self._timer = self._loop.call_later(max(0.0, (due_ns - machine_ns) / NS_PER_SECOND), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        moment = self._moment()
        self.publish(self.intake.sealer.advance(moment))
        if self.intake.sealer.pending:
            self._arm(moment.machine_ns)

    def backfill_order(self, symbols_max: int) -> list[int]:
        """Positions to fetch history for: wanted first, then by turnover."""
        wanted = sorted(self._index[symbol] for symbol in self.tiers.detailed(self._clock.monotonic()))
        return list(dict.fromkeys([*wanted, *by_turnover(self.intake.table)]))[:symbols_max]

    def status(self, detailed: frozenset[str], moment: Moment) -> IngestionStatus:
        """What ingestion says of itself."""
        intake, speed = self.intake, self._clock.speed
        last_at_ns = intake.validator.last_at_ns
        stale = freshness.stale_symbols(last_at_ns, (self._index[symbol] for symbol in detailed), moment.market_ns, self.session, speed)
        return IngestionStatus(
            at_ns=moment.market_ns,
            epoch=intake.sealer.epoch,
            seq=intake.sealer.seq,
            symbols=len(intake.table.facts),
            detailed=len(detailed),
            stale_detailed=tuple(intake.table.facts[position].symbol for position in stale[:20]),
            turned_away=self.tiers.turned_away,
            feeds=freshness.feeds(last_at_ns, moment.market_ns, self.session, speed),
            sources=dict(intake.unhealthy),
            heard=intake.failover.all_heard(),
            rows=intake.accepted,
            refused=dict(intake.refused),
            conflated=intake.sealer.conflated,
            backfilled=self.backfilled,
        )


def _morning_ns(session: Session) -> int:
    """When a session's epoch begins. Only then is the history what it is that day: a split is in force from that day on, and prices and volumes of the
    days before are told in its shares no earlier."""
    return session.open_ns - ROLLOVER_BEFORE_OPEN_NS


def _early(kept: KeptEpoch, now_ns: int) -> bool:
    """Whether history was loaded before its session's morning, and that has come: on a weekend, or on the evening before."""
    return kept.loaded_at_ns < _morning_ns(kept.opened.session) <= now_ns


def _day_after(day: date) -> date:
    return day + timedelta(days=1)
