"""What crosses a process: golden bytes that may not change unseen, and round trips that lose nothing."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.messages.samples import AT_NS, SAMPLES
from tradingsystem.domain.control import ClockTick, ModelsAssigned, SourceState, TapeNote
from tradingsystem.domain.orders import OrderIntent
from tradingsystem.domain.rows import COLUMNS, Rows, empty
from tradingsystem.messages.batch import ROWS_MAX, Batch, decode_batch, encode_batch
from tradingsystem.messages.batch import SCHEMA as BATCH_SCHEMA
from tradingsystem.messages.codec import Malformed, decode, encode, plain, read_json
from tradingsystem.messages.schema import SCHEMA_VERSION
from tradingsystem.messages.subjects import Subjects, symbol_token

GOLDEN = Path(__file__).with_name("golden.json")


def golden_batch() -> Batch:
    """A small batch with a note, a gap and every column different."""
    rows = empty(3)
    for place, (_, column) in enumerate(rows.columns()):
        column[:] = np.arange(3) + place
    return Batch(epoch=AT_NS, seq=7, sealed_at_ns=AT_NS + 1, gap=True, notes=(ModelsAssigned(4),), rows=rows)


def present() -> dict[str, Any]:
    """The bytes of this build, as the golden file holds them."""
    messages = {name: encode(message).hex() for name, (message, _) in SAMPLES.items()}
    return {"schema": SCHEMA_VERSION, "batch": encode_batch(golden_batch()).hex(), **messages}


def test_bytes_are_golden() -> None:
    """Another build reads these bytes: whoever changes them raises SCHEMA_VERSION and writes the file anew (python -m tests.messages.test_codec)."""
    assert present() == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_message_survives(name: str) -> None:
    """What arrives is equal to what was sent, type by type, cents included."""
    message, kind = SAMPLES[name]
    assert decode(encode(message), kind) == message


@pytest.mark.parametrize("name", SAMPLES)
def test_a_cut_message_is_malformed(name: str) -> None:
    """Half a message is counted and dropped, never half applied."""
    message, kind = SAMPLES[name]
    raw = encode(message)
    for end in range(len(raw)):
        with pytest.raises(Malformed):
            decode(raw[:end], kind)


@given(st.binary(max_size=200))
def test_garbage_is_malformed_or_a_message(raw: bytes) -> None:
    """Whatever arrives: the answer is a value of the type or Malformed, nothing else."""
    for kind in (OrderIntent, ClockTick, TapeNote, list[str]):
        try:
            decode(raw, kind)
        except Malformed:
            continue


def test_prices_keep_their_digits() -> None:
    """A decimal is a string on the wire: 0.1 plus 0.2 is not anybody's limit price."""
    price = Decimal("0.10000000000000000001")
    assert decode(encode([price]), list[Decimal]) == [price]
    assert plain({"price": price}) == {"price": price}


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Batches of any size, with any values."""
    count = draw(st.integers(0, ROWS_MAX))
    seed = draw(st.integers(0, 2**32 - 1))
    chance = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for name, kind in COLUMNS:
        dtype = np.dtype(kind)
        raw = chance.bytes(count * dtype.itemsize)
        columns[name] = np.frombuffer(raw, dtype).copy()
    notes = draw(st.sampled_from([(), (SourceState("polygon", True, ""),), (ModelsAssigned(1), ModelsAssigned(2))]))
    signed = st.integers(-(2**63), 2**63 - 1)
    return Batch(draw(signed), draw(signed), draw(signed), draw(st.booleans()), notes, Rows(**columns))


@given(batches())
def test_a_batch_survives_bit_for_bit(batch: Batch) -> None:
    """Every bit of every column, NaN payloads included, and the header: replay hangs on it."""
    again = decode_batch(encode_batch(batch))
    assert (again.epoch, again.seq, again.sealed_at_ns, again.gap, again.notes) == (
        batch.epoch,
        batch.seq,
        batch.sealed_at_ns,
        batch.gap,
        batch.notes,
    )
    for (name, sent), (_, got) in zip(batch.rows.columns(), again.rows.columns(), strict=True):
        assert sent.tobytes() == got.tobytes(), name


def framed_by_arrow(rows: Rows, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    """The rows as Arrow itself writes them, without their schema."""
    arrays = [
        pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column)])
        for kind, (_, column) in zip(BATCH_SCHEMA.types, rows.columns(), strict=True)
    ]
    record, sink = pa.RecordBatch.from_arrays(arrays, schema=BATCH_SCHEMA), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, BATCH_SCHEMA, options=options) as stream:
        stream.write_batch(record)  # the schema is written with the first
        before = sink.tell()
        stream.write_batch(record)
        after = sink.tell()
    return bytes(sink.getvalue()[before:after])


@given(batches())
def test_the_rows_are_framed_as_arrow_frames_them(batch: Batch) -> None:
    """Byte for byte, so that every reader of Arrow can go on reading a tape."""
    payload = encode_batch(batch)
    assert payload.endswith(framed_by_arrow(batch.rows)) or not len(batch.rows)


def test_rows_that_are_framed_in_another_way_are_read_too() -> None:
    """Compressed, say: what is not framed as we do it is left to Arrow."""
    batch = golden_batch()
    ours = framed_by_arrow(batch.rows)
    theirs = framed_by_arrow(batch.rows, pa.ipc.IpcWriteOptions(compression="zstd"))
    payload = encode_batch(batch)
    assert payload.endswith(ours)
    assert theirs != ours
    again = decode_batch(payload.removesuffix(ours) + theirs)
    for (name, sent), (_, got) in zip(batch.rows.columns(), again.rows.columns(), strict=True):
        assert sent.tobytes() == got.tobytes(), name


def test_decoding_copies_nothing() -> None:
    """The columns are views into the message and cannot be written: one reader cannot change what another sees."""
    payload = encode_batch(golden_batch())
    rows = decode_batch(payload).rows
    first = np.frombuffer(payload, np.uint8)
    for name, column in rows.columns():
        assert np.shares_memory(first, column), name
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_a_damaged_batch_is_malformed() -> None:
    """Cut anywhere, or of another schema: Malformed, and no crash in foreign code."""
    payload = encode_batch(golden_batch())
    for end in range(len(payload) - 1):
        with pytest.raises(Malformed):
            decode_batch(payload[:end])
    other = bytearray(payload)
    other[4] += 1
    with pytest.raises(Malformed, match="schema"):
        decode_batch(bytes(other))


def test_too_many_rows_are_refused() -> None:
    """Batches are bounded where they are made."""
    with pytest.raises(ValueError, match="at most"):
        encode_batch(Batch(1, 1, 1, False, (), empty(ROWS_MAX + 1)))


@given(st.text(max_size=12))
def test_a_symbol_is_one_token_and_only_its_own(symbol: str) -> None:
    """BRK.B must not split a subject, and no two symbols may share one."""
    token = symbol_token(symbol)
    assert not set(token) & set(". *>\t\r\n")
    read = [part if place == 0 else chr(int(part[:2], 16)) + part[2:] for place, part in enumerate(token.split("="))]
    if symbol.isascii():
        assert "".join(read) == symbol


def test_subjects_of_two_systems_never_meet() -> None:
    """Every subject carries its system as a token of its own."""
    names = [name for name in dir(Subjects) if not name.startswith("_") and name != "system"]
    one, other = Subjects("one"), Subjects("one-more")
    for name in names:
        first, second = getattr(one, name), getattr(other, name)
        pair = (first("x"), second("x")) if callable(first) else (first, second)
        assert pair[0].split(".")[1] == "one"
        assert pair[0] != pair[1]


if __name__ == "__main__":
    GOLDEN.write_bytes(msgspec.json.format(msgspec.json.encode(present()), indent=2) + b"\n")


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
def test_no_bytes_raise_anything_but_malformed(name: str, data: st.DataObject) -> None:
    """Whatever arrives is a message or ``Malformed``: text that is not UTF-8 must not stop a service."""
    message, kind = SAMPLES[name]
    raw = bytearray(encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for payload in (bytes(raw), data.draw(st.binary(max_size=64)), b"\x91" * 10_000):
        with contextlib.suppress(Malformed):
            assert isinstance(encode(decode(payload, kind)), bytes)


@pytest.mark.parametrize("payload", [b'{"a": "\xff"}', b"[" * 100_000, b"{", b"1"])
def test_json_that_cannot_be_read_is_malformed(payload: bytes) -> None:
    """What a person types is read or refused."""
    with pytest.raises(Malformed):
        read_json(payload, dict[str, str])
