"""Polygon's frames become rows; nothing that a socket can deliver makes the parser raise."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.adapters.polygon import samples
from tradingsystem.adapters.polygon.conditions import flags_of
from tradingsystem.adapters.polygon.parse import FrameParser, time_ns
from tradingsystem.domain.rows import VIX_SYMBOL, RowFlag, RowKind

FIXTURES = Path(__file__).parents[1] / "fixtures" / "polygon"
MS = 1_795_186_800_000
LAST, HIGH_LOW, VOLUME = RowFlag.UPDATES_LAST, RowFlag.UPDATES_HIGH_LOW, RowFlag.UPDATES_VOLUME


def parser() -> FrameParser:
    return FrameParser(("ABC", "XYZ"))


def test_a_mixed_frame_becomes_rows_in_its_order() -> None:
    """Every event kind of the golden frame is one row with its own times, sizes and flags, in the frame's order."""
    parsed = parser().parse((FIXTURES / "mixed.json").read_bytes())
    rows = parsed.rows
    kinds = [RowKind(kind).name for kind in rows.kind]
    assert kinds == ["TRADE", "TRADE", "QUOTE", "SECOND_BAR", "MINUTE_BAR", "LULD", "HALT", "RESUME", "INDEX"]
    assert rows.symbol.tolist() == [0, 0, 1, 0, 1, 0, 0, 0, VIX_SYMBOL]
    ms = [123, 124, 125, -1000, -60000, 126, 127, 128, 129]
    assert rows.at_ns.tolist() == [(MS + offset) * 1_000_000 for offset in ms]
    assert rows.flags[:2].tolist() == [VOLUME, LAST | HIGH_LOW | VOLUME]
    assert (rows.v0[0], rows.v1[0]) == (10.25, 100.0)
    assert rows.v1[1] == 0.25, "a size of 0 has its truth in the decimal text"
    assert [column[2] for column in (rows.v0, rows.v1, rows.v2, rows.v3)] == [99.5, 99.52, 200.0, 300.0]
    assert [column[3] for column in (rows.v0, rows.v1, rows.v2, rows.v3, rows.v4, rows.v5)] == [10.24, 10.26, 10.24, 10.25, 1234.0, 10.2488]
    assert rows.v4[4] == 1234.5
    assert (rows.v0[5], rows.v1[5]) == (9.75, 10.75)
    assert np.isnan(rows.v0[6])
    assert np.isnan(rows.v2[0])
    assert rows.v0[8] == 17.42
    assert [status.message for status in parsed.statuses] == ["subscribed to: T.ABC"]
    assert not parsed.malformed


def test_what_cannot_be_read_is_counted_and_the_rest_is_kept() -> None:
    """One damaged event costs itself, not its frame, and its reason is told."""
    parsed = parser().parse((FIXTURES / "damaged.json").read_bytes())
    assert parsed.rows.kind.tolist() == [RowKind.QUOTE]
    assert parsed.malformed == {
        "bad_field": 1,
        "bad_time": 1,
        "unknown_symbol": 1,
        "unknown_event": 1,
        "no_event_name": 2,
        "not_requested": 1,
    }


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.just(b"[" * 5_000) | st.just(b'[{"ev":"T","x":' + b"[" * 5_000))
def test_no_bytes_make_the_parser_raise(frame: bytes) -> None:
    """A frame is data from outside: whatever it holds, the answer is rows and counts."""
    parsed = parser().parse(frame)
    assert len(parsed.rows) == 0 or not parsed.malformed.get("not_an_array")


_values = st.one_of(
    st.none(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.sampled_from(["ABC", "XYZ", "I:VIX", "0.5", "nan", "1e999"]),
    st.integers(MS, MS + 10_000),
)
_events = st.fixed_dictionaries(
    {"ev": st.sampled_from(["T", "Q", "A", "AM", "LULD", "V", "status", "NOI", "?"])},
    optional=dict.fromkeys(("sym", "T", "p", "s", "ds", "c", "t", "bp", "ap", "bs", "as", "o", "h", "l", "v", "vw", "i", "val"), _values),
)


@given(st.lists(_events, max_size=6))
def test_events_are_neither_lost_nor_invented(events: list[dict[str, object]]) -> None:
    """Every event of a frame ends as exactly one row, one status or one count, and every row has a readable time and a known symbol."""
    parsed = parser().parse(msgspec.json.encode(events))
    rows = parsed.rows
    assert len(rows) + len(parsed.statuses) + sum(parsed.malformed.values()) == len(events)
    assert all(time_ns(int(at)) == int(at) for at in rows.at_ns)
    assert ((rows.symbol >= 0) & (rows.symbol < 2) | (rows.kind == RowKind.INDEX)).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_795_186_800, MS * 1_000_000),
        (MS, MS * 1_000_000),
        (MS * 1_000, MS * 1_000_000),
        (MS * 1_000_000, MS * 1_000_000),
        (0, 0),
        (-5, 0),
        (10**25, 0),
    ],
)
def test_units_of_time_are_told_by_magnitude(value: int, expected: int) -> None:
    """Seconds, milliseconds, microseconds and nanoseconds all come; what fits none is refused."""
    assert time_ns(value) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((), LAST | HIGH_LOW | VOLUME),
        ((14, 41), LAST | HIGH_LOW | VOLUME),
        ((37,), VOLUME),
        ((12, 14), VOLUME),
        ((10,), HIGH_LOW | VOLUME),
        ((38,), LAST | HIGH_LOW),
        ((15,), 0),
        ((16, 0), 0),
        ((999,), VOLUME),
    ],
)
def test_conditions_combine_with_and(conditions: tuple[int, ...], expected: int) -> None:
    """Any "no" wins, and an unknown condition moves no price."""
    assert flags_of(conditions) == expected


def test_quote_sizes_in_round_lots_become_shares() -> None:
    """Before 2025-11-03 a quote's size was in lots of 100; trades never were."""
    rows = FrameParser(("ABC", "XYZ"), quote_lot=100).parse((FIXTURES / "mixed.json").read_bytes()).rows
    assert (rows.v2[2], rows.v3[2]) == (20_000.0, 30_000.0)
    assert rows.v1[0] == 100.0


def test_sample_frames_are_read_completely() -> None:
    """The benchmark's frames hold nothing that would be skipped: the speed measured is that of accepted rows."""
    frames = samples.frames(1, symbol_count=20, events=500, events_per_frame=50)
    reader = FrameParser(samples.symbols(20))
    parsed = [reader.parse(frame) for frame in frames]
    assert sum(len(one.rows) for one in parsed) == 500
    assert json.loads(frames[0])[0]["ev"] in ("T", "Q", "A")
