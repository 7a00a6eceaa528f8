"""The recorder's shell: tape and journal to disk, in the background of everything, never in anybody's way.

The journal is followed by sequence, so a restart leaves no gap; now and then a seal over what has come is put into it.
The tape is heard or lost: what was missed is fetched from the tape's short memory and
written later, and readers put it in order again. What stays missing is counted; replaying a cut that needs it will say so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from tradingsystem.domain.errors import OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.domain.frames import Frame
from tradingsystem.domain.seals import Seal, Sealer
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND
from tradingsystem.interfaces import Bus, Clock, Delivery, Entry, Journal, Subscription, Tape
from tradingsystem.messages.batch import read_position
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.recorder.segments import Record, SegmentWriter
from tradingsystem.recorder.sequence import TapeSequence
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

log = structlog.get_logger()

FLUSH_SECONDS = 0.1
SEAL_SECONDS = 2.0
SEAL_ENTRIES = 512
LAST_SEAL_SECONDS = 2.0
KINDS = ("tape", "journal", "state", "frame")


class RecorderService:
    """Writes ``tape-*``, ``journal-*``, ``state-*`` and ``frame-*.arrows`` into one run's directory. Replay needs the first two; states and beats are
    for the report, frames for who plays the day again over the wire."""

    name = "recorder"

    def __init__(self, *, system: str, directory: Path, clock: Clock, bus: Bus, journal: Journal, tape: Tape) -> None:
        self._subjects = Subjects(system)
        self._directory = directory
        self._clock = clock
        self._bus = bus
        self._journal = journal
        self._tape = tape
        self._records: dict[str, list[Record]] = {kind: [] for kind in KINDS}
        self._sequence = TapeSequence(0, 0)
        self._frame_seq = self._sealed_ns = self._seal_seq = self._newest_seq = 0
        self._came = asyncio.Event()
        self._recorded = dict.fromkeys(KINDS, 0)
        self.progress_ns = 0

    def detail(self) -> dict[str, float]:
        """Counts for the beat."""
        return {**self._recorded, "missing": len(self._sequence.missing)}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Record until told to stop; the last flush is durable."""
        writers = {kind: SegmentWriter(self._directory, kind) for kind in KINDS}
        self._sequence = TapeSequence(*writers["tape"].after)
        self._frame_seq = writers["frame"].after[1]
        heard = [
            await self._bus.subscribe(self._subjects.tape, self._on_batch),
            await self._bus.subscribe(self._subjects.frames, self._on_frames),
            await self._bus.subscribe(self._subjects.state("*"), self._on_state),
            await self._bus.subscribe(self._subjects.beat("*"), self._on_state),
        ]
        followed = await self._journal.follow(self._subjects.journal, writers["journal"].after[1] + 1, self._on_entry)
        sealer, sealing = await self._begin_sealing()
        await self._fetch_missed()
        ready()
        try:
            while not stop.is_set():
                await self._pause(stop)
                await self._seal(sealer)
                if self._sequence.missing:
                    await self._fetch_missed()
                self._flush(writers)
            await self._end(sealer)
        finally:
            for subscription in heard:
                await subscription.close()
            await followed.close()
            await sealing.close()
            self._flush(writers)
            for writer in writers.values():
                writer.close()

    async def _pause(self, stop: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(stop.wait(), FLUSH_SECONDS)
        except TimeoutError:
            return

    async def _begin_sealing(self) -> tuple[Sealer, Subscription]:
        """Go on behind the newest seal, whoever made it."""
        newest: Seal | None = None
        async for entry in self._journal.read(self._subjects.journal_seal):
            try:
                newest = decode(entry.payload, Seal)
            except Malformed as error:
                log.error("seal_unreadable", seq=entry.seq, reason=str(error))
        sealer = Sealer(await self._journal.identity(), newest)

        def add(entry: Entry) -> None:
            sealer.add(entry.seq, entry.subject, entry.payload)

        return sealer, await self._journal.follow(self._subjects.journal, sealer.last_seq + 1, add)

    async def _seal(self, sealer: Sealer, *, everything: bool = False) -> None:
        """One seal when there is much to seal, or something and the last one is a while ago; a seal that is not taken leaves its entries to the next."""
        old = self._clock.monotonic() - self._sealed_ns >= SEAL_SECONDS * NS_PER_SECOND
        if sealer.unsealed < SEAL_ENTRIES and not ((old or everything) and sealer.unsealed > 1):  # the one is the last seal itself
            return
        self._sealed_ns = self._clock.monotonic()
        try:
            self._seal_seq = await self._journal.append(self._subjects.journal_seal, encode(sealer.seal()))
        except (TryAgain, OutcomeUnknown, RequestRefused) as error:
            metrics.journal_seals.labels(outcome="failed").inc()
            log.warning("not_sealed", reason=str(error))
            return
        metrics.journal_seals.labels(outcome="written").inc()

    async def _end(self, sealer: Sealer) -> None:
        """In order: what came is sealed, and the newest seal, made now or a moment ago, is recorded."""
        await self._seal(sealer, everything=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SEAL_SECONDS):
                while self._newest_seq < self._seal_seq:
                    self._came.clear()
                    await self._came.wait()

    def _on_batch(self, delivery: Delivery) -> None:
        self._take_batch(delivery.payload)

    def _take_batch(self, payload: bytes) -> None:
        with Dropping(Malformed, "tape"):
            epoch, seq, sealed_at_ns = read_position(payload)
            if self._sequence.take(epoch, seq):
                self._records["tape"].append(Record(epoch, seq, sealed_at_ns, self._subjects.tape, payload))
                self.progress_ns = max(self.progress_ns, sealed_at_ns)

    def _on_entry(self, entry: Entry) -> None:
        self._newest_seq = entry.seq
        self._came.set()
        self._records["journal"].append(Record(0, entry.seq, self._clock.now(), entry.subject, entry.payload))

    def _on_frames(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "frame"):
            frames: list[Frame] = decode(delivery.payload, list[Frame])
            for frame in frames:
                self._frame_seq += 1
                self._records["frame"].append(Record(0, self._frame_seq, frame.received_ns, frame.source, frame.payload))

    def _on_state(self, delivery: Delivery) -> None:
        self._records["state"].append(Record(0, 0, self._clock.now(), delivery.subject, delivery.payload))

    async def _fetch_missed(self) -> None:
        async for payload in self._tape.recent():
            self._take_batch(payload)
        lost = self._sequence.give_up()
        if lost:
            metrics.batch_gaps.inc(len(lost))
            log.error("batches_lost", count=len(lost), first=lost[0], last=lost[-1])

    def _flush(self, writers: dict[str, SegmentWriter]) -> None:
        begun_ns = self._clock.monotonic()
        for kind, records in self._records.items():
            writers[kind].write(records)
            self._recorded[kind] += len(records)
            records.clear()
        took_ns = self._clock.monotonic() - begun_ns
        if took_ns > 500 * NS_PER_MILLISECOND:
            log.warning("disk_slow", took_ms=took_ns // NS_PER_MILLISECOND)
