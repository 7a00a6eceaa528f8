"""A batch of the tape: header, notes and rows in one message.

Layout: a header (magic, schema, epoch, seq, sealed_at_ns, row count, length of the notes, flags), the notes as MessagePack padded to 64
bytes, then one Arrow record batch without its schema (the schema is a constant here, so it is sent never instead of once). Decoding copies nothing:
the columns are views into the payload, read-only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tradingsystem.domain.control import TapeNote
from tradingsystem.domain.rows import COLUMNS, Rows, empty
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.schema import SCHEMA_VERSION

ROWS_MAX = 256
_HEADER = struct.Struct("<4sHHqqqIII")
_MAGIC = b"TSB1"
_ALIGN = 64
_FLAG_GAP = 1

_DTYPES = [np.dtype(kind) for _, kind in COLUMNS]
_TYPES = [pa.from_numpy_dtype(dtype) for dtype in _DTYPES]
SCHEMA = pa.schema(list(zip((name for name, _ in COLUMNS), _TYPES, strict=True)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Input in the one order there is. ``seq`` rises by one within an epoch; ``gap`` says that input before this batch was lost."""

    epoch: int
    seq: int
    sealed_at_ns: int
    gap: bool
    notes: tuple[TapeNote, ...]
    rows: Rows


def encode_batch(batch: Batch) -> bytes:
    """The batch as one message. Raises ``ValueError`` above ``ROWS_MAX`` rows."""
    count = len(batch.rows)
    if count > ROWS_MAX:
        raise ValueError(f"{count} rows in a batch, at most {ROWS_MAX}")
    notes = encode(batch.notes) if batch.notes else b""
    padding = -(len(notes) + _HEADER.size) % _ALIGN
    flags = _FLAG_GAP if batch.gap else 0
    header = _HEADER.pack(_MAGIC, SCHEMA_VERSION, flags, batch.epoch, batch.seq, batch.sealed_at_ns, count, len(notes), padding)
    parts = [header, notes, bytes(padding)]
    if count:
        frame = _frame(count)
        parts.append(frame.head)
        for (_, column), gap in zip(batch.rows.columns(), frame.gaps, strict=True):
            parts += column.tobytes(), gap
    return b"".join(parts)


def read_position(payload: bytes) -> tuple[int, int, int]:
    """Epoch, seq and sealed_at_ns of an encoded batch, without decoding the rest. Raises ``Malformed``."""
    if len(payload) < _HEADER.size:
        raise Malformed(f"a batch of {len(payload)} bytes is shorter than its header")
    magic, _, _, epoch, seq, sealed_at_ns, *_ = _HEADER.unpack_from(payload)
    if magic != _MAGIC:
        raise Malformed("not a batch")
    return epoch, seq, sealed_at_ns


def decode_batch(payload: bytes) -> Batch:
    """The batch whose columns are views into ``payload``. Raises ``Malformed``."""
    if len(payload) < _HEADER.size:
        raise Malformed(f"a batch of {len(payload)} bytes is shorter than its header")
    magic, schema, flags, epoch, seq, sealed_at_ns, count, notes_length, padding = _HEADER.unpack_from(payload)
    if magic != _MAGIC or schema != SCHEMA_VERSION:
        raise Malformed(f"batch of schema {schema}, this build reads {SCHEMA_VERSION}")
    start = _HEADER.size + notes_length + padding
    if start > len(payload):
        raise Malformed("the batch's notes end after the message")
    notes = decode(payload[_HEADER.size : _HEADER.size + notes_length], tuple[TapeNote, ...]) if notes_length else ()
    rows = _rows(payload, start, count) if count else empty()
    return Batch(epoch=epoch, seq=seq, sealed_at_ns=sealed_at_ns, gap=bool(flags & _FLAG_GAP), notes=notes, rows=rows)


# Columns go by their buffers, in and out: ``pa.array`` and ``to_numpy`` load pandas where it is installed, which costs a process a second at its start.


class _Frame(NamedTuple):
    """What Arrow writes around the columns of so many rows, whatever is in them."""

    head: bytes
    gaps: tuple[bytes, ...]  # behind each column
    places: tuple[int, ...]  # of each column
    size: int


@cache
def _frame(count: int) -> _Frame:
    """Read off a batch that Arrow itself has written: making one anew for each message, and reading it, would be half of a message's way."""
    columns = [np.zeros(count, dtype) for dtype in _DTYPES]
    arrays = [pa.Array.from_buffers(kind, count, [None, pa.py_buffer(column)]) for kind, column in zip(_TYPES, columns, strict=True)]
    written = pa.RecordBatch.from_arrays(arrays, schema=SCHEMA).serialize()
    read = pa.ipc.read_record_batch(written, SCHEMA).columns
    places = [array.buffers()[1].address - written.address for array in read]
    ends = [place + column.nbytes for place, column in zip(places, columns, strict=True)]
    image = written.to_pybytes()
    gaps = [image[end:following] for end, following in zip(ends, (*places[1:], len(image)), strict=True)]
    return _Frame(image[: places[0]], tuple(gaps), tuple(places), len(image))


def _rows(payload: bytes, start: int, count: int) -> Rows:
    if 0 < count <= ROWS_MAX:
        frame = _frame(count)
        if len(payload) - start >= frame.size and payload[start : start + len(frame.head)] == frame.head:
            return Rows(*(np.frombuffer(payload, dtype, count, start + place) for dtype, place in zip(_DTYPES, frame.places, strict=True)))
    return _rows_by_arrow(payload, start, count)


def _rows_by_arrow(payload: bytes, start: int, count: int) -> Rows:
    """Rows that somebody else framed."""
    try:
        record = pa.ipc.read_record_batch(pa.py_buffer(payload).slice(start), SCHEMA)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise Malformed(f"the batch's rows cannot be read: {error}") from error
    if record.num_rows != count:
        raise Malformed(f"the batch announces {count} rows and holds {record.num_rows}")
    columns = []
    for dtype, array in zip(_DTYPES, record.columns, strict=True):
        values = array.buffers()[1]
        if array.null_count or values is None or values.size < count * dtype.itemsize:
            raise Malformed(f"a column of the batch holds fewer than its {count} rows")
        columns.append(np.frombuffer(values, dtype, count))
    return Rows(*columns)
