"""Segment files: Arrow IPC streams that are only ever appended to.

A crash leaves at most one torn record batch at the end of the newest segment; reading stops there and says how many bytes were dropped. A new writer
never touches an old segment: it opens the next number. Payloads are the exact messages, so that replay decodes what the services decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tradingsystem.domain.errors import InvalidInput

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
_SUFFIX = ".arrows"

SCHEMA = pa.schema([("epoch", pa.int64()), ("seq", pa.int64()), ("at_ns", pa.int64()), ("subject", pa.string()), ("payload", pa.binary())])


class DamagedSegment(InvalidInput):
    """A segment holds something that no writer of ours left, not even by crashing."""


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded message. ``epoch`` is 0 and ``seq`` the journal's for journal entries; ``at_ns`` is market time at recording."""

    epoch: int
    seq: int
    at_ns: int
    subject: str
    payload: bytes


class SegmentWriter:
    """Appends records of one kind (tape, journal) to numbered segments in a directory."""

    def __init__(self, directory: Path, kind: str, *, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._kind = kind
        self._segment_bytes_max = segment_bytes_max
        self._number = len(segment_paths(directory, kind))
        self._open()

    def write(self, records: list[Record]) -> None:
        """Append as one record batch and hand it to the operating system. Raises ``OSError`` on a full disk."""
        if not records:
            return
        columns = [[getattr(record, name) for record in records] for name in SCHEMA.names]
        self._stream.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self._file.flush()
        if self._file.tell() >= self._segment_bytes_max:
            self.close()
            self._open()

    def close(self) -> None:
        """End the stream and make it durable."""
        self._stream.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _open(self) -> None:
        path = self._directory / f"{self._kind}-{self._number:05d}{_SUFFIX}"
        self._number += 1
        self._file = path.open("xb")
        self._stream = pa.ipc.new_stream(self._file, SCHEMA)
        self._file.flush()


def segment_paths(directory: Path, kind: str) -> list[Path]:
    """The segments of one kind, oldest first."""
    return sorted(directory.glob(f"{kind}-*{_SUFFIX}"))


def read_records(directory: Path, kind: str) -> Iterator[Record]:
    """Every whole record, oldest first; a torn tail ends its segment. Raises ``DamagedSegment`` naming file and place."""
    for path in segment_paths(directory, kind):
        yield from _read_segment(path)


def _read_segment(path: Path) -> Iterator[Record]:
    with pa.memory_map(str(path)) as source:
        if source.size() == 0:
            return
        try:
            stream = pa.ipc.open_stream(source)
        except pa.ArrowInvalid as error:
            if source.size() < 1024:  # the crash came before the schema was written
                return
            raise DamagedSegment(f"{path}: not a segment ({error})") from error
        if stream.schema != SCHEMA:
            raise DamagedSegment(f"{path}: columns are {stream.schema.names}, expected {SCHEMA.names}")
        while (batch := _next_batch(stream)) is not None:
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield Record(*row)


def _next_batch(stream: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return stream.read_next_batch()
    except (StopIteration, OSError, pa.ArrowInvalid):  # the end, or a batch that a crash has torn
        return None


def last_position(directory: Path, kind: str) -> tuple[int, int]:
    """Epoch and seq of the newest whole record, (0, 0) when there is none."""
    for path in reversed(segment_paths(directory, kind)):
        last: Record | None = None
        for record in _read_segment(path):
            last = record
        if last is not None:
            return last.epoch, last.seq
    return 0, 0
