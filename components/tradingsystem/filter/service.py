"""The filter's shell: batches in, cuts and signals to the journal, marks and wishes to the bus. All decisions are made in ``step`` and ``deciding``.

Every cut is recorded before the signals that came out of it. What is recorded is never remade: after a restart the recorded cuts are followed, the batches
since then are applied without asking the model, and only then it speaks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from tradingsystem.domain.control import ModelsAssigned
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.outcomes import FilterModels, Outcome
from tradingsystem.domain.signals import Cut, CutOutcome, Regime, Signal
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.filter import step as stepping
from tradingsystem.filter.asking import Asking
from tradingsystem.filter.deciding import Answer, Decider, Serving, expired
from tradingsystem.filter.inbox import Inbox
from tradingsystem.filter.marks import marks_of, rows_to_mark
from tradingsystem.filter.roster import Roster
from tradingsystem.filter.storing import Chain, recall
from tradingsystem.filter.tradability import Stage
from tradingsystem.filter.trials import Trials
from tradingsystem.filter.wanted import Wanted
from tradingsystem.filter.warming import warm_up
from tradingsystem.interfaces import Bus, Clock, Delivery, Journal, Tape
from tradingsystem.market.snapshot import Unreadable
from tradingsystem.messages.batch import Batch
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec.slices import FilterSlice
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

log = structlog.get_logger()

PENDING_MAX = 1 << 16
ANSWERED = (CutOutcome.OK, CutOutcome.FALLBACK)
CUTS_PER_ENTRY = 64
CUTS_LAG_NS = 20 * NS_PER_MILLISECOND  # machine time a recorded cut may wait for others to be written with
MARKS_INTERVAL_NS = 50 * NS_PER_MILLISECOND  # machine time
WANT_INTERVAL_NS = NS_PER_SECOND  # machine time
SAY_INTERVAL_NS = NS_PER_SECOND  # machine time
SNAPSHOT_INTERVAL_NS = 2 * NS_PER_SECOND  # machine time, since a fast simulation's minutes are short


class FilterService:
    """One per system. ``load`` gives the bundle of a version that the tape names, ``unload`` hears which one is no longer kept; ``folder`` is where
    snapshots lie, None for no memory."""

    name = "filter"

    def __init__(
        self,
        *,
        system: str,
        spec: FilterSlice,
        clock: Clock,
        bus: Bus,
        journal: Journal,
        tape: Tape,
        serving: Serving,
        load: Callable[[int], Serving],
        unload: Callable[[int], None] = lambda _: None,
        folder: Path | None,
    ) -> None:
        self._subjects = Subjects(system)
        self._spec = spec
        self._clock = clock
        self._bus = bus
        self._journal = journal
        self._tape = tape
        self._chain = Chain(folder) if folder is not None else None
        self.state = stepping.create(spec)
        self.decider = Decider(spec, serving)
        self.trials = Trials(max(len(serving.manifest.members), len(spec.ensemble.members)))
        self._asking = Asking(clock, self.decider, self.trials)
        self._roster = Roster(load, serving, unload)
        self._assigned = self.state.assigned
        self._inbox = Inbox()
        self._wake = asyncio.Event()
        self._wanted = Wanted()
        self._published_wanted: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        self._cuts: list[Cut] = []
        self._oldest_cut_ns = 0
        self._marked_ns = self._wanted_ns = self._stored_ns = self._said_ns = 0
        self._stored_minute = 0
        self._journal_seq = 0
        self._storing: asyncio.Task[None] | None = None
        self._signals = 0
        self._sweep_us = 0.0
        self._bytes_told = (0, 0)
        self.progress_ns = 0

    def detail(self) -> dict[str, float]:
        """Numbers for the beat; ``regime`` counts in the order of ``Regime``: Bull, Bear, Neutral, Unknown."""
        state = self.state
        return {
            **state.statistics.report(),
            "regime": float(list(Regime).index(state.regime.regime)),
            "candidates": float(state.statistics.last_full[Stage.PASSED]),
            "wanted": float(len(self._published_wanted)),
            "signals": float(self._signals),
            "late": float(self._asking.late),
            "gaps": float(state.gaps),
            "warm": float(stepping.may_enter(state)),
            "model": float(self.decider.serving.version),
            "canary": float(self.decider.roles[1]),
            "shadow": float(self.trials.shadow.version if self.trials.shadow is not None else 0),
            "outcomes_open": float(len(self.trials.held)),
            "generation": float(state.generation),
            "queued": float(len(self._inbox)),
            "sweep_us": self._sweep_us,
        }

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Work until told to stop; then every cut that was made is durable. Raises what the journal raises when it cannot keep them."""
        await asyncio.to_thread(warm_up)  # health answers meanwhile: on a processor the image was not built on this takes a minute
        self._restore()
        heard = [
            await self._bus.subscribe(self._subjects.tape, self._on_batch, pending_max=PENDING_MAX),
            await self._bus.subscribe(self._subjects.held, self._on_held),
        ]
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            await self._catch_up()
            ready()
            while not stop.is_set():
                await self._wake.wait()
                self._wake.clear()
                await self._work()
                if len(self._inbox):
                    asyncio.get_running_loop().call_soon(self._wake.set)
        finally:
            stopping.cancel()
            await asyncio.wait([stopping])
            for subscription in heard:
                await subscription.close()
            await self._asking.settle()
            if self._storing is not None:
                await self._storing
            await self._write_cuts()
            await self._journal.flush()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    def _on_batch(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "tape"):
            self._inbox.put(delivery.payload)
            self._wake.set()

    def _on_held(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "want"):
            self._held = frozenset(decode(delivery.payload, list[str]))

    # --- one wake-up -------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """One cut of what waits, and what follows from it."""
        if self._inbox.hole():
            await self._fill_hole()
        batches = self._take()
        if batches:
            await self._cut(batches)
        await self._write_cuts(due_only=True)

    def _take(self) -> list[Batch]:
        with Dropping(Malformed, "tape"):
            return self._inbox.take(stepping.BATCHES_MAX)
        return []

    async def _fill_hole(self) -> None:
        """Ask the tape's memory for what the bus lost; what it does not hold either is a gap, and entries wait until the windows are filled again."""
        missing = self._inbox.hole()
        fetched = self._inbox.merge([payload async for payload in self._tape.recent()])
        left = self._inbox.hole()
        if left:
            metrics.batch_gaps.inc(left)
        log.warning("batches_missing", missing=missing, fetched=fetched, lost=left, after=self._inbox.taken)

    async def _cut(self, batches: list[Batch]) -> None:
        started_ns = self._clock.monotonic()
        swept = stepping.step(self.state, batches)
        if swept.full:
            self._sweep_us = (self._clock.monotonic() - started_ns) / 1e3
            metrics.sweep_time.observe(self._sweep_us / 1e6)
        self._assign(self.state.assigned)
        answer, canary = await self._asking.all(swept)
        cut, signals = self.decider.decide(self.state, swept, answer.scores, answer.outcome, canary)
        await self._record(cut, signals)
        self.progress_ns = swept.sealed_at_ns
        metrics.cut_time.observe((self._clock.monotonic() - started_ns) / 1e9)
        self._publish_marks(swept)
        self._publish_outcomes(self._followed_up(swept))
        self._asking.shadow(self.state.market, swept, len(self._inbox))
        if swept.full:
            self._publish_models()
            if (sample := self.trials.sample()) is not None:
                self._bus.publish(self._subjects.features, encode(sample))
            self._count(swept)
            self._publish_wanted()
            await self._store()

    def _assign(self, wanted: ModelsAssigned) -> None:
        """Whom the tape names decides from this cut on; while a version cannot be loaded, the one before goes on. One that is on its way is asked for again
        at the next cut."""
        if not self._roster.waiting and (wanted is self._assigned or wanted == self._assigned):
            return
        known, self._assigned = wanted == self._assigned, wanted
        self._roster.waiting.clear()
        serving = self._bundle(wanted.serving) or self.decider.serving
        canary, shadow = self._bundle(wanted.canary), self._bundle(wanted.shadow)
        if canary is not None and canary.version == serving.version:
            canary = None
        percent = wanted.canary_percent if canary is not None else 0
        if (serving.version, canary.version if canary is not None else 0, percent) != self.decider.roles:
            self.decider.assign(serving, canary, percent)
        self.trials.assign(self.decider, shadow, self.state.market.now_ns)
        if known and self._roster.waiting:
            return
        log.info("models_assigned", serving=serving.version, canary=wanted.canary, percent=percent, shadow=wanted.shadow)

    def _bundle(self, version: int) -> Serving | None:
        known = version in self._roster.refused
        found = self._roster.bundle(version)
        if version in self._roster.refused and not known:
            log.error("model_refused", version=version, serving=self.decider.serving.version, reason=self._roster.refused[version])
        return found

    # --- beside the decisions ----------------------------------------------------------------------------------------

    def _followed_up(self, swept: stepping.Swept) -> list[Outcome]:
        """Predictions that this cut closes; those it makes are noted."""
        closed = self.trials.swept(self.state.market, swept)
        self.trials.judged(self.state.market, swept, self.decider)
        return closed

    # --- journal -----------------------------------------------------------------------------------------------------

    async def _record(self, cut: Cut, signals: list[Signal]) -> None:
        if not self._cuts:
            self._oldest_cut_ns = self._clock.monotonic()
        self._cuts.append(cut)
        metrics.cuts.labels(outcome=cut.outcome.value).inc()
        if not signals:
            return
        await self._write_cuts()
        for signal in signals:
            await self._append(self._subjects.journal_signal, encode(signal))
            self._signals += 1
            metrics.signals.labels(kind="probe" if signal.probe else "model").inc()
            log.info(
                "signal",
                id=signal.id,
                symbol=signal.symbol,
                p=round(signal.p, 4),
                confidence=round(signal.confidence, 4),
                probe=signal.probe,
            )

    async def _write_cuts(self, *, due_only: bool = False) -> None:
        """Journal the cuts that wait; ``due_only``: unless they may wait for more."""
        if not self._cuts:
            return
        if due_only and len(self._cuts) < CUTS_PER_ENTRY and self._clock.monotonic() - self._oldest_cut_ns < CUTS_LAG_NS:
            return
        cuts, self._cuts = self._cuts, []
        await self._append(self._subjects.journal_cut, encode(cuts))

    async def _append(self, subject: str, payload: bytes) -> None:
        try:
            self._journal.append_later(subject, payload)
        except TryAgain:
            await self._journal.flush()
            self._journal.append_later(subject, payload)

    # --- bus ---------------------------------------------------------------------------------------------------------

    def _publish_marks(self, swept: stepping.Swept) -> None:
        now_ns = self._clock.monotonic()
        regular = swept.full and now_ns - self._marked_ns >= MARKS_INTERVAL_NS
        if regular:
            self._marked_ns = now_ns
        rows = rows_to_mark(self.state, swept, self._held, self.decider.book, regular=regular)
        marks = marks_of(self.state.market, rows)
        if marks:
            self._bus.publish(self._subjects.marks, encode(marks))

    def _publish_outcomes(self, closed: list[Outcome]) -> None:
        if not closed:
            return
        for outcome in closed:
            metrics.outcomes.labels(role=outcome.role.value, label=str(outcome.label)).inc()
        self._bus.publish(self._subjects.outcomes, encode(closed))

    def _publish_models(self) -> None:
        """What is really used of what the tape assigned, for who promotes."""
        now_ns = self._clock.monotonic()
        if now_ns - self._said_ns < SAY_INTERVAL_NS:
            return
        self._said_ns = now_ns
        present = [model for model in (self.decider.serving, self.decider.canary, self.trials.shadow) if model is not None]
        session = self.state.market.session
        serving, canary, percent = self.decider.roles
        state = FilterModels(
            serving=serving,
            canary=canary,
            canary_percent=percent,
            shadow=self.trials.shadow.version if self.trials.shadow is not None else 0,
            refused={str(version): reason for version, reason in self._roster.refused.items()},
            expired=tuple(model.version for model in present if session is not None and expired(model.manifest, session.day)),
            agreements=self.trials.agreements(),
            outcomes=self.trials.told,
            outcomes_open=len(self.trials.held),
            outcomes_dropped=self.trials.held.dropped,
        )
        metrics.models_expired.set(len(state.expired))
        self._bus.publish(self._subjects.state(self.name), encode(state))

    def _publish_wanted(self) -> None:
        wanted = self._wanted.renew(self.state)
        if self.decider.probes is not None:
            wanted |= self.decider.probes.wanted()
        now_ns = self._clock.monotonic()
        if wanted == self._published_wanted and now_ns - self._wanted_ns < WANT_INTERVAL_NS:
            return
        self._wanted_ns = now_ns
        self._published_wanted = wanted
        self._bus.publish(self._subjects.candidates, encode(sorted(wanted)))

    def _count(self, swept: stepping.Swept) -> None:
        for stage in Stage:
            metrics.funnel.labels(stage=stage.name.lower()).inc(int(swept.counts[stage]))
        statistics = self.state.statistics
        metrics.filter_bytes.labels(how="moved").inc(statistics.bytes_moved - self._bytes_told[0])
        metrics.filter_bytes.labels(how="copied").inc(statistics.bytes_copied - self._bytes_told[1])
        self._bytes_told = (statistics.bytes_moved, statistics.bytes_copied)
        metrics.candidates.set(int(swept.counts[Stage.PASSED]))
        metrics.warm.set(int(swept.entries))
        for regime in Regime:
            metrics.regime.labels(regime=regime.value).set(int(regime is swept.regime))

    # --- memory ------------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        if self._chain is None:
            return
        try:
            found = self._chain.newest(self._spec)
        except Unreadable as error:
            log.warning("snapshot_unusable", reason=str(error))
            return
        if found is None:
            return
        memory, self.state = found
        self._assign(self.state.assigned)
        recall(memory, self.decider, self._wanted)
        try:
            self.trials.restore(memory.trials, self.state.market.symbols)
        except ValueError as error:  # the members that vote are others now
            log.warning("open_predictions_dropped", reason=str(error))
        self._inbox = Inbox((memory.epoch, memory.seq))
        self._journal_seq = memory.journal_seq
        log.info("snapshot_restored", epoch=memory.epoch, seq=memory.seq, symbols=self.state.market.count)

    async def _catch_up(self) -> None:
        """Follow the recorded cuts as far as the tape's memory reaches, then apply the rest without a word."""
        self._inbox.merge([payload async for payload in self._tape.recent()])
        if not len(self._inbox):
            return
        followed = 0
        for cut in await self._recorded_cuts():
            batches = self._inbox.take_cut(cut)
            if batches is None:
                break
            await self._follow(cut, batches)
            followed += 1
        silent = 0
        while len(self._inbox) and (batches := self._take()):
            swept = stepping.step(self.state, batches)
            self._assign(self.state.assigned)
            cut, signals = self.decider.decide(self.state, swept, None, CutOutcome.LATE)
            await self._record(cut, signals)
            self._publish_outcomes(self._followed_up(swept))
            self.progress_ns = swept.sealed_at_ns
            silent += 1
        log.info("caught_up", cuts_followed=followed, cuts_silent=silent, to=self._inbox.taken, symbols=self.state.market.count)

    async def _recorded_cuts(self) -> list[Cut]:
        """Cuts after the state's position, oldest first."""
        found: list[Cut] = []
        async for entry in self._journal.read(self._subjects.journal_cut, self._journal_seq + 1):
            cuts: list[Cut] = decode(entry.payload, list[Cut])
            found += [cut for cut in cuts if (cut.epoch, cut.first_seq) > self._inbox.taken]
        return found

    async def _follow(self, cut: Cut, batches: list[Batch]) -> None:
        """Repeat a recorded cut for its effect on the state; its signals are in the journal already, and what it closed was told."""
        swept = stepping.step(self.state, batches, full=cut.full)
        self._assign(ModelsAssigned(cut.model, cut.canary, cut.canary_percent, self.state.assigned.shadow))
        answer, canary = await self._asking.all(swept)
        scores = answer.scores if cut.outcome in ANSWERED else None
        heard = canary.scores if cut.canary_outcome in ANSWERED else None
        self.decider.decide(self.state, swept, scores, cut.outcome, Answer(heard, cut.canary_outcome))
        self._followed_up(swept)
        if swept.full:
            self._wanted.renew(self.state)
        self.progress_ns = swept.sealed_at_ns

    async def _store(self) -> None:
        """A snapshot each minute of market time; one that is still being written is waited for by skipping this one."""
        minute = self.state.market.now_ns // NS_PER_MINUTE
        now_ns = self._clock.monotonic()
        busy = self._storing is not None and not self._storing.done()
        if self._chain is None or minute == self._stored_minute or busy or now_ns - self._stored_ns < SNAPSHOT_INTERVAL_NS:
            return
        self._stored_minute, self._stored_ns = minute, now_ns
        await self._write_cuts()
        await self._journal.flush()
        written = self._chain.prepare(self.state, self.decider, self._wanted, self.trials, await self._journal.last_seq())
        encoded = msgspec.msgpack.encode(written.memory)
        chain = self._chain

        async def write() -> None:
            try:
                await asyncio.to_thread(chain.write, encoded, written)
            except OSError as error:
                log.warning("snapshot_not_written", reason=str(error))

        self._storing = asyncio.create_task(write())
