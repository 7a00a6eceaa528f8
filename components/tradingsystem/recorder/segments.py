"""Segment files: Arrow IPC streams that are only ever appended to, each batch sealed by a chain over everything before it.

A crash leaves at most one torn record batch at the end of a segment; reading stops there and says so. A new writer never touches an old segment: it opens
the next number and notes where the old one ended. So what is altered, removed or cut off inside a recording is an error with file and place. It refuses to
judge the very end of the newest segment, which a crash and a pair of scissors leave alike: that is told, not raised. Payloads are the exact messages, so
that replay decodes what the services decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tradingsystem.domain.errors import InvalidInput

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
_SUFFIX = ".arrows"
_SEAL, _AFTER = b"seal", b"after"  # of a batch: the chain up to and with it; of a segment: the chain that it goes on from
_BEGINNING = b""
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # what an ordered close writes
_NUMBERS = struct.Struct("<qqqqq")
_BODY_LENGTH_FIELD = 3

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
    """Appends records of one kind (tape, journal) to numbered segments in a directory. ``after``: ``last_position`` when it began."""

    def __init__(self, directory: Path, kind: str, *, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._kind = kind
        self._segment_bytes_max = segment_bytes_max
        paths = segment_paths(directory, kind)
        self._number = _number(paths[-1]) + 1 if paths else 0
        last, self._seal = _newest(directory, kind)
        self.after = (last.epoch, last.seq) if last is not None else (0, 0)
        self._open()

    def write(self, records: list[Record]) -> None:
        """Append as one record batch and hand it to the operating system. Raises ``OSError`` on a full disk."""
        if not records:
            return
        self._seal = seal_of(self._seal, records)
        self._stream.write_batch(_columns(records), custom_metadata={_SEAL: self._seal})
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
        self._stream = pa.ipc.new_stream(self._file, SCHEMA.with_metadata({_AFTER: self._seal.hex()}))
        self._file.flush()


def _columns(records: list[Record]) -> pa.RecordBatch:
    """The records by their buffers: from lists, Arrow loads pandas where it is installed, which costs the recorder a second and 55 MB."""
    arrays = [_numbers([getattr(record, name) for record in records]) for name in ("epoch", "seq", "at_ns")]
    arrays.append(_texts(pa.string(), [record.subject.encode() for record in records]))
    arrays.append(_texts(pa.binary(), [record.payload for record in records]))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _numbers(values: list[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.array(values, np.int64))])


def _texts(kind: pa.DataType, values: list[bytes]) -> pa.Array:
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=ends[1:])
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{ends[-1]:,} bytes in one record batch, at most 2 GB can be written")
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(values))])


def seal_of(before: bytes, records: list[Record]) -> bytes:
    """The chain's next link: a hash over the last one and everything in these records."""
    link = hashlib.blake2b(before, digest_size=32)
    for record in records:
        subject = record.subject.encode()
        link.update(_NUMBERS.pack(record.epoch, record.seq, record.at_ns, len(subject), len(record.payload)))
        link.update(subject)
        link.update(record.payload)
    return link.digest()


def segment_paths(directory: Path, kind: str) -> list[Path]:
    """The segments of one kind, oldest first."""
    return sorted(directory.glob(f"{kind}-*{_SUFFIX}"))


def _number(path: Path) -> int:
    return int(path.stem.rsplit("-", 1)[1])


def read_records(directory: Path, kind: str, tell: Callable[[str], None] = lambda _: None) -> Iterator[Record]:
    """Every whole record, oldest first. Raises ``DamagedSegment`` naming file and place; ``tell`` hears of ends that nobody wrote."""
    yield from _Chain(kind, tell).read(segment_paths(directory, kind))


def last_position(directory: Path, kind: str) -> tuple[int, int]:
    """Epoch and seq of the newest whole record, (0, 0) when there is none."""
    last, _ = _newest(directory, kind)
    return (last.epoch, last.seq) if last is not None else (0, 0)


def _newest(directory: Path, kind: str) -> tuple[Record | None, bytes]:
    """The newest record that can be read and the seal that the next segment goes on from. A writer goes on behind damage, which readers name."""
    for path in reversed(segment_paths(directory, kind)):
        chain, last = _Chain(kind, trusting=True), None
        with contextlib.suppress(DamagedSegment):
            for record in chain.segment(path, newest=True):
                last = record
        if last is not None:
            return last, chain.seal
    return None, _BEGINNING


class _Chain:
    """Reads segments in their order and holds each batch against its seal."""

    def __init__(self, kind: str, tell: Callable[[str], None] = lambda _: None, *, trusting: bool = False) -> None:
        """``trusting``: the first segment's word on what it goes on from is believed, since nothing before it is read."""
        self._kind, self._tell, self._trusting = kind, tell, trusting
        self.seal = _BEGINNING
        self._open_end = ""  # where the segment before ended without having been closed

    def read(self, paths: list[Path]) -> Iterator[Record]:
        """All whole records."""
        for number, path in enumerate(paths):
            if _number(path) != number:
                raise DamagedSegment(f"{path.parent}: {self._kind}-{number:05d}{_SUFFIX} is missing, {path.name} is there")
            yield from self.segment(path, newest=path is paths[-1])

    def segment(self, path: Path, *, newest: bool) -> Iterator[Record]:
        """The whole records of one segment."""
        with pa.memory_map(str(path)) as source:
            stream = self._begin(path, source)
            if stream is None:
                self._torn(path, 0, source.size(), newest=newest)
                return
            count = 0
            while True:
                place = source.tell()
                try:
                    batch, told = stream.read_next_batch_with_custom_metadata()
                except StopIteration:
                    break
                except (OSError, pa.ArrowException) as error:
                    left = source.size() - place
                    if not _is_torn(source, place):
                        raise DamagedSegment(f"{path}: batch {count + 1}, at byte {place}, cannot be read ({error})") from error
                    self._torn(path, count, left, newest=newest)
                    return
                count += 1
                yield from self._sealed(path, count, place, batch, told)
            if source.size() < len(_END) or source.read_at(len(_END), source.size() - len(_END)) != _END:
                self._torn(path, count, 0, newest=newest)

    def _begin(self, path: Path, source: pa.MemoryMappedFile) -> pa.RecordBatchStreamReader | None:
        if source.size() == 0:
            return None
        try:
            stream = pa.ipc.open_stream(source)
        except (OSError, pa.ArrowException) as error:
            if source.size() < 1024:  # the crash came before the schema was written
                return None
            raise DamagedSegment(f"{path}: not a segment ({error})") from error
        if stream.schema != SCHEMA:
            raise DamagedSegment(f"{path}: its columns are not {', '.join(SCHEMA.names)}")
        after = (stream.schema.metadata or {}).get(_AFTER)
        if self._trusting:
            self.seal = bytes.fromhex((after or b"").decode("ascii", "replace"))
        elif after != self.seal.hex().encode():
            where = self._open_end or "the end of the segment before"
            raise DamagedSegment(f"{path}: does not go on from {where}: something was removed, added or cut off there")
        return stream

    def _sealed(self, path: Path, count: int, place: int, batch: pa.RecordBatch, told: pa.KeyValueMetadata | None) -> Iterator[Record]:
        where = f"{path}: batch {count}, at byte {place}"
        try:
            batch.validate(full=True)  # altered lengths and offsets would be followed out of the file
            records = [Record(*row) for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)]
            seal = seal_of(self.seal, records)
        except (pa.ArrowException, UnicodeDecodeError, TypeError, AttributeError) as error:
            raise DamagedSegment(f"{where}, cannot be read ({error})") from error
        if (told or {}).get(_SEAL) != seal:
            seqs = f"{records[0].seq} to {records[-1].seq}" if records else "none"
            raise DamagedSegment(
                f"{where} (entries {seqs}), is not what was recorded: something in it was altered, or a batch before it removed"
            )
        self.seal = seal
        yield from records

    def _torn(self, path: Path, count: int, left: int, *, newest: bool) -> None:
        end = f"{path} after batch {count}"
        self._open_end = end
        dropped = f"{left} bytes behind it are no whole batch" if left else "it was not closed"
        if newest:
            self._tell(f"the recording ends at {end}, and {dropped}: it goes on, or a crash ended it, or its end was cut off")
        else:
            self._tell(f"{end}: {dropped}; the next segment goes on from there")


def _is_torn(source: pa.MemoryMappedFile, place: int) -> bool:
    """Whether what begins at ``place`` announces more bytes than the file has: the only thing a crash leaves."""
    left = source.size() - place
    if left < 8:
        return True
    mark, length = struct.unpack("<Ii", source.read_at(8, place))
    if mark != 0xFFFFFFFF or length <= 0:
        return False
    if left < 8 + length:
        return True
    return int(left) < 8 + int(length) + _body_length(source.read_at(length, place + 8))


def _body_length(message: bytes) -> int:
    """The length of the body behind an Arrow message's head; 0 when the head says none."""
    try:
        (root,) = struct.unpack_from("<I", message, 0)
        (back,) = struct.unpack_from("<i", message, root)
        (offset,) = struct.unpack_from("<H", message, root - back + 4 + 2 * _BODY_LENGTH_FIELD)
        (length,) = struct.unpack_from("<q", message, root + offset)
    except struct.error:
        return 0
    return int(length) if offset else 0
