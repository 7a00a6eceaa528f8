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

from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.signals import Cut, CutOutcome, Regime, Signal
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.filter import step as stepping
from tradingsystem.filter.deciding import Decider, Serving
from tradingsystem.filter.inbox import Inbox
from tradingsystem.filter.marks import marks_of, rows_to_mark
from tradingsystem.filter.storing import Chain, recall
from tradingsystem.filter.tradability import Stage
from tradingsystem.filter.wanted import Wanted
from tradingsystem.filter.warming import warm_up
from tradingsystem.interfaces import Bus, Clock, Delivery, Journal, Scores, Tape
from tradingsystem.market.snapshot import Unreadable
from tradingsystem.messages.batch import Batch
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec.slices import FilterSlice
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

PENDING_MAX = 1 << 16
CUTS_PER_ENTRY = 64
CUTS_LAG_NS = 20 * NS_PER_MILLISECOND  # machine time a recorded cut may wait for others to be written with
MARKS_INTERVAL_NS = 50 * NS_PER_MILLISECOND  # machine time
WANT_INTERVAL_NS = NS_PER_SECOND  # machine time
SNAPSHOT_INTERVAL_NS = 2 * NS_PER_SECOND  # machine time, since a fast simulation's minutes are short


class FilterService:
    """One per system. ``load`` gives the bundle of a version that the tape names; ``folder`` is where snapshots lie, None for no memory."""

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
        folder: Path | None,
    ) -> None:
        self._subjects = Subjects(system)
        self._spec = spec
        self._clock = clock
        self._bus = bus
        self._journal = journal
        self._tape = tape
        self._load = load
        self._chain = Chain(folder) if folder is not None else None
        self.state = stepping.create(spec)
        self.decider = Decider(spec, serving)
        self._inbox = Inbox()
        self._wake = asyncio.Event()
        self._wanted = Wanted()
        self._published_wanted: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        self._cuts: list[Cut] = []
        self._oldest_cut_ns = 0
        self._marked_ns = self._wanted_ns = self._stored_ns = 0
        self._stored_minute = 0
        self._journal_seq = 0
        self._storing: asyncio.Task[None] | None = None
        self._signals = 0
        self._late = 0
        self._sweep_us = 0.0
        self._bytes_told = (0, 0)
        self._refused_models: set[int] = set()
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
            "late": float(self._late),
            "gaps": float(state.gaps),
            "warm": float(stepping.may_enter(state)),
            "model": float(self.decider.serving.manifest.version),
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
            if self._storing is not None:
                await self._storing
            await self._write_cuts()
            await self._journal.flush()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    def _on_batch(self, delivery: Delivery) -> None:
        try:
            self._inbox.put(delivery.payload)
        except Malformed as error:
            metrics.bus_malformed.labels(kind="tape").inc()
            log.warning("batch_malformed", reason=str(error))
            return
        self._wake.set()

    def _on_held(self, delivery: Delivery) -> None:
        try:
            self._held = frozenset(decode(delivery.payload, list[str]))
        except Malformed as error:
            metrics.bus_malformed.labels(kind="want").inc()
            log.warning("held_malformed", reason=str(error))

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
        try:
            return self._inbox.take(stepping.BATCHES_MAX)
        except Malformed as error:
            metrics.bus_malformed.labels(kind="tape").inc()
            log.error("batch_unreadable", reason=str(error))
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
        self._switch_model()
        scores, outcome = await self._ask(swept)
        cut, signals = self.decider.decide(self.state, swept, scores, outcome)
        await self._record(cut, signals)
        self.progress_ns = swept.sealed_at_ns
        metrics.cut_time.observe((self._clock.monotonic() - started_ns) / 1e9)
        self._publish_marks(swept)
        if swept.full:
            self._count(swept)
            self._publish_wanted()
            await self._store()

    async def _ask(self, swept: stepping.Swept) -> tuple[Scores | None, CutOutcome]:
        if not self.decider.asks_model(swept):
            return None, CutOutcome.NONE
        inference = self.decider.serving.inference
        started_ns = self._clock.monotonic()
        try:
            scores = await inference.infer(swept.features.values)
        except TryAgain as error:
            self._late += 1
            metrics.inference_outcomes.labels(runtime=inference.runtime, outcome="late").inc()
            log.warning("inference_late", rows=len(swept.features.rows), reason=str(error))
            return None, CutOutcome.LATE
        metrics.inference_time.labels(runtime=inference.runtime).observe((self._clock.monotonic() - started_ns) / 1e9)
        metrics.inference_rows.labels(runtime=inference.runtime).observe(len(swept.features.rows))
        metrics.inference_outcomes.labels(runtime=inference.runtime, outcome="ok").inc()
        return scores, CutOutcome.OK

    def _switch_model(self) -> None:
        """The version that the tape names decides from this cut on; while it cannot be loaded, the previous one goes on."""
        version = self.state.model
        if version in (0, self.decider.serving.manifest.version) or version in self._refused_models:
            return
        try:
            self.decider.switch(self._load(version))
        except (ValueError, OSError) as error:
            self._refused_models.add(version)
            log.error("model_refused", version=version, serving=self.decider.serving.manifest.version, reason=str(error))
            return
        log.info("model_switched", version=version)

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
        self._switch_model()
        recall(memory, self.decider, self._wanted)
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
            self._switch_model()
            cut, signals = self.decider.decide(self.state, swept, None, CutOutcome.LATE)
            await self._record(cut, signals)
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
        """Repeat a recorded cut for its effect on the state; its signals are in the journal already."""
        swept = stepping.step(self.state, batches, full=cut.full)
        self._switch_model()
        scores = None
        if cut.outcome in (CutOutcome.OK, CutOutcome.FALLBACK):
            scores, _ = await self._ask(swept)
        self.decider.decide(self.state, swept, scores, cut.outcome)
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
        written = self._chain.prepare(self.state, self.decider, self._wanted, await self._journal.last_seq())
        encoded = msgspec.msgpack.encode(written.memory)
        chain = self._chain

        async def write() -> None:
            try:
                await asyncio.to_thread(chain.write, encoded, written)
            except OSError as error:
                log.warning("snapshot_not_written", reason=str(error))

        self._storing = asyncio.create_task(write())
