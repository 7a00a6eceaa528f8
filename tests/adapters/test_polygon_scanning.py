"""Compiled scanning and the decoder that knows everything give the same rows, or scanning says that a frame is not its own."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingsystem.adapters.polygon import samples
from tradingsystem.adapters.polygon.parse import FrameParser, Parsed

SYMBOLS = (*samples.symbols(60), "BRK.A", "ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOPQ", "")
PARSER = FrameParser(SYMBOLS)
FRAMES = samples.frames(3, symbol_count=60, events=600, events_per_frame=6)


def the_same(frame: bytes) -> Parsed:
    """What ``parse`` answers, which is what the decoder answers, to the bit."""
    found, expected = PARSER.parse(frame), PARSER.parse_any(frame)
    for (name, column), (_, other) in zip(found.rows.columns(), expected.rows.columns(), strict=True):
        assert column.tobytes() == other.tobytes() or np.array_equal(column, other, equal_nan=True), name
    assert [msgspec.structs.asdict(status) for status in found.statuses] == [msgspec.structs.asdict(status) for status in expected.statuses]
    assert found.malformed == expected.malformed
    return found


def test_ordinary_frames_are_scanned_and_nothing_is_lost() -> None:
    """Quotes, trades with and without conditions and second bars need no decoder, and become the decoder's rows."""
    for frame in FRAMES:
        assert PARSER._scan(frame) is not None
        assert len(the_same(frame).rows) == 6


@given(st.sampled_from(FRAMES), st.data())
def test_damaged_bytes_change_nothing_between_the_two(frame: bytes, data: st.DataObject) -> None:
    """Cut, doubled, exchanged or inserted bytes: both ways read them alike."""
    damaged = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        if not damaged:
            break
        at = data.draw(st.integers(0, len(damaged) - 1))
        what = data.draw(st.sampled_from(["cut", "insert", "change", "truncate", "double"]))
        if what == "cut":
            del damaged[at : at + data.draw(st.integers(1, 12))]
        elif what == "truncate":
            del damaged[at:]
        elif what == "double":
            damaged[at:at] = damaged[at : at + data.draw(st.integers(1, 40))]
        else:
            letter = data.draw(st.sampled_from(list(b'"\\,:.0123456789-+eE[]{} \n\x00\x7f\x80\xc3tsqQTA')))
            damaged[at : at + (what == "change")] = bytes([letter])
    the_same(bytes(damaged))


_numbers = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(0, 10**9, places=4, allow_nan=False, allow_infinity=False).map(float),
    st.integers(1_795_186_800_000, 1_795_186_900_000),
    st.sampled_from([0, 0.1, 1e22, 9_007_199_254_740_993, 123456789.123456789, 5e-324]),
)
_values = st.one_of(
    _numbers, st.none(), st.booleans(), st.text(max_size=6), st.lists(st.integers(-1, 300), max_size=4), st.sampled_from(SYMBOLS)
)
_keys = st.sampled_from(
    ["sym", "t", "p", "s", "c", "ds", "bp", "bs", "ap", "as", "o", "h", "l", "v", "vw", "dv", "z", "q", "ev", "zz", "x"]
)
_events = [event for frame in FRAMES[:20] for event in msgspec.json.decode(frame)]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(_events), st.dictionaries(_keys, _values, max_size=3), st.sets(_keys, max_size=1)), max_size=4))
def test_odd_events_change_nothing_between_the_two(made: list[tuple[dict[str, object], dict[str, object], set[str]]]) -> None:
    """Missing keys, other types, numbers no double holds, unknown symbols: both ways read them alike."""
    events = [{key: value for key, value in {**event, **odd}.items() if key not in missing} for event, odd, missing in made]
    the_same(msgspec.json.encode(events))


@given(st.decimals("0.0001", "999999.9999", places=4))
def test_prices_are_the_nearest_doubles(price: object) -> None:
    """A decimal price is rounded once, as every other reader of JSON rounds it."""
    frame = f'[{{"ev":"T","sym":"BRK.A","p":{price},"s":100,"t":1795186800000}}]'.encode()
    assert PARSER._scan(frame) is not None
    assert the_same(frame).rows.v0[0] == float(str(price))


def test_a_key_that_comes_twice_is_judged_twice() -> None:
    """The last one counts, and one that cannot be read makes the event unreadable wherever it stands."""
    for times, count in (('1795186800000,"t":1795186800001', 1), ('17.5,"t":1795186800001', 0)):
        found = the_same(f'[{{"ev":"T","sym":"BRK.A","p":1,"s":100,"t":{times}}}]'.encode())
        assert found.rows.at_ns.tolist() == [1_795_186_800_001_000_000] * count


def test_symbols_are_told_apart_by_all_their_letters() -> None:
    """A symbol of sixteen letters, of seventeen, none at all, and one that is not there."""
    for symbol, follows in itertools.product(("BRK.A", "ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOPQ", "", "BRK", "BRK.AA"), (b"", b" ")):
        frame = f'[{{"ev":"Q","sym":"{symbol}","bp":1.5,"t":1795186800000}}]'.encode() + follows
        found = the_same(frame)
        assert found.rows.symbol.tolist() == ([SYMBOLS.index(symbol)] if symbol in SYMBOLS else [])
