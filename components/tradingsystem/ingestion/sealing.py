"""When a batch is sealed, and what is in it: the one place where the order of all input is decided.

Sealed at once when the last seal is 1 ms old or older, else at that moment; at 256 rows; and an empty batch after 100 ms of market time without one,
since time passes. Quotes are conflated to the last per symbol within a seal; trades, bars, bands and halts never. The order of rows is never changed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from tradingsystem.domain.control import TapeNote
from tradingsystem.domain.rows import Rows, concatenate, empty
from tradingsystem.domain.time import NS_PER_MILLISECOND
from tradingsystem.ingestion import kernels
from tradingsystem.messages.batch import ROWS_MAX, Batch

SEAL_INTERVAL_NS = NS_PER_MILLISECOND  # machine time
SILENCE_NS = 100 * NS_PER_MILLISECOND  # market time
SILENCE_MACHINE_NS = 10 * NS_PER_MILLISECOND  # machine time: scaled market time must not flood the bus with empty batches


class SealedBy(enum.Enum):
    """Why a batch was sealed: the label of its counter."""

    TIME = "time"
    FULL = "full"
    NOTE = "note"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Moment:
    """Both times at once: market ns and machine ns."""

    market_ns: int
    machine_ns: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch, why it was sealed, and how many quotes it replaced."""

    batch: Batch
    by: SealedBy
    conflated: int


class Sealer:
    """Collects rows and notes of one epoch and gives back sealed batches. Holds at most ``ROWS_MAX`` rows."""

    def __init__(self, epoch: int, symbols: int) -> None:
        self.epoch = epoch
        self.seq = 0
        self.sealed_at_ns = 0
        self.conflated = 0
        self._sealed_machine_ns = -SEAL_INTERVAL_NS
        self._parts: list[Rows] = []
        self._count = 0
        self._notes: list[TapeNote] = []
        self._gap = False
        self._stamps = np.zeros(symbols + 1, np.int64)
        self._mark = kernels.mark_last_quotes()

    @property
    def pending(self) -> int:
        """Rows that wait for their seal."""
        return self._count

    def due_machine_ns(self) -> int | None:
        """The machine time at which waiting rows must be sealed; None when nothing waits."""
        return self._sealed_machine_ns + SEAL_INTERVAL_NS if self._count or self._notes else None

    def mark_gap(self) -> None:
        """Input was lost before the next batch."""
        self._gap = True

    def note(self, *notes: TapeNote) -> None:
        """Put notes into the next batch, after the rows that wait: callers seal first when the order matters to them."""
        self._notes.extend(notes)

    def add(self, rows: Rows, moment: Moment) -> list[Sealed]:
        """Append rows, which the caller no longer changes; the batches that became due by it."""
        sealed: list[Sealed] = []
        while self._count + len(rows) >= ROWS_MAX:
            room = ROWS_MAX - self._count
            self._append(rows.slice(0, room))
            rows = rows.slice(room, len(rows))
            sealed.append(self._seal(moment, SealedBy.FULL))
        if len(rows):
            self._append(rows)
        sealed.extend(self.advance(moment))
        return sealed

    def _append(self, rows: Rows) -> None:
        self._parts.append(rows)
        self._count += len(rows)

    def advance(self, moment: Moment) -> list[Sealed]:
        """The batch that is due at this moment, if any: waiting rows or notes after 1 ms, nothing at all after the silence."""
        elapsed_ns = moment.machine_ns - self._sealed_machine_ns
        if self._notes:
            return [self._seal(moment, SealedBy.NOTE)]
        if self._count and elapsed_ns >= SEAL_INTERVAL_NS:
            return [self._seal(moment, SealedBy.TIME)]
        silent = moment.market_ns - self.sealed_at_ns >= SILENCE_NS and elapsed_ns >= SILENCE_MACHINE_NS
        if silent and not self._count:
            return [self._seal(moment, SealedBy.SILENCE)]
        return []

    def finish(self, moment: Moment) -> list[Sealed]:
        """Seal what waits, however young: the epoch ends."""
        return [self._seal(moment, SealedBy.TIME)] if self._count or self._notes else []

    def _seal(self, moment: Moment, by: SealedBy) -> Sealed:
        rows, conflated = self._take()
        self.seq += 1
        self.sealed_at_ns = max(self.sealed_at_ns, moment.market_ns)  # a clock that steps back must not make the tape do so
        self._sealed_machine_ns = moment.machine_ns
        self.conflated += conflated
        batch = Batch(epoch=self.epoch, seq=self.seq, sealed_at_ns=self.sealed_at_ns, gap=self._gap, notes=tuple(self._notes), rows=rows)
        self._gap = False
        self._notes = []
        return Sealed(batch, by, conflated)

    def _take(self) -> tuple[Rows, int]:
        if self._count == 0:
            return empty(), 0
        rows = concatenate(self._parts)
        self._parts = []
        self._count = 0
        if len(rows) == 1:
            return rows, 0
        keep = np.empty(len(rows), np.bool_)
        dropped = self._mark(rows.kind, rows.symbol, self._stamps, self.seq + 1, keep)
        return (rows.take(np.flatnonzero(keep)), dropped) if dropped else (rows, 0)
