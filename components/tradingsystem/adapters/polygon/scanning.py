"""The common frame, read by compiled code straight into columns: trades, quotes and second bars as Polygon writes them, and nothing else.

It exists because three quarters of what a tick costs was building an object per event and taking it apart again. It never decides what is wrong with a
frame: whatever is not plainly written - another event, an escape, white space, a sign, an exponent, more digits than a double holds exactly, a symbol
not in the table, a time out of range, a missing key - makes it answer ``NOT_PLAIN``, and ``parse`` reads that frame with the decoder that knows all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tradingsystem.adapters.polygon.conditions import EVERYTHING, FLAGS_BY_CONDITION, VOLUME
from tradingsystem.domain.rows import I32, I64, U8, U64, RowKind
from tradingsystem.market.compiling import compiled

NOT_PLAIN = -1
_EVENT_BYTES_MIN = 20  # from brace to brace; what is shorter need not be looked at letter by letter
_TRADE, _QUOTE, _SECOND = int(RowKind.TRADE), int(RowKind.QUOTE), int(RowKind.SECOND_BAR)
_MS_EARLIEST, _MS_LATEST = 946_684_800_000, 4_102_444_800_000
_QUOTE_MARK, _BACKSLASH, _COMMA, _COLON, _POINT, _ZERO, _NINE = (ord(mark) for mark in '"\\,:.09')
_OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _CLOSE_OBJECT = (ord(mark) for mark in "[]{}")
_SPACE, _DELETE = 0x20, 0x7F
_EXACT = 1 << 53  # integers below are doubles; divided by an exact power of ten they are rounded once, as the decimal is
_POWERS = np.array([10.0**power for power in range(23)])
_SYMBOL_BYTES_MAX = 16
_CODES = 256
_FLAGS = np.full(_CODES, VOLUME, np.uint8)
for _code, _its in FLAGS_BY_CONDITION.items():
    _FLAGS[_code] = _its


def _key(name: str) -> int:
    """A key of one or two letters as the number it is compared as."""
    return int.from_bytes(name.encode(), "little")


_NAME, _TIME, _PRICE, _SIZE, _CONDITIONS = _key("ev"), _key("t"), _key("p"), _key("s"), _key("c")
_BID, _BID_SIZE, _ASK, _ASK_SIZE = _key("bp"), _key("bs"), _key("ap"), _key("as")
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _VWAP = _key("o"), _key("h"), _key("l"), _key("c"), _key("v"), _key("vw")
_SIZE_TEXT, _VOLUME_TEXT = _key("ds"), _key("dv")
_EV_T, _EV_Q, _EV_A = ord("T"), ord("Q"), ord("A")


class SymbolHash(NamedTuple):
    """Positions by symbol, open addressing: a symbol is its bytes as two numbers; position -1 is an empty place."""

    first: U64
    second: U64
    position: I32


def symbol_hash(symbols: Sequence[str]) -> SymbolHash:
    """Symbols longer than 16 bytes are left out: their frames are read the other way."""
    size = 1 << max(4, (2 * len(symbols)).bit_length())
    made = SymbolHash(np.zeros(size, np.uint64), np.zeros(size, np.uint64), np.full(size, -1, np.int32))
    encoded = [symbol.encode() for symbol in symbols]
    halves = b"".join(name[:_SYMBOL_BYTES_MAX].ljust(_SYMBOL_BYTES_MAX, b"\0") for name in encoded)
    short = np.array([len(name) <= _SYMBOL_BYTES_MAX for name in encoded], np.bool_)
    _fill(made, np.frombuffer(halves, np.uint64).reshape(-1, 2), short)
    return made


@compiled
def _place(table: SymbolHash, first: np.uint64, second: np.uint64) -> int:
    """Where that symbol is, or the empty place where it would be."""
    mask = np.uint64(len(table.position) - 1)
    mixed = (first ^ (second * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)
    place = (mixed >> np.uint64(32)) & mask
    while table.position[place] >= 0 and (table.first[place] != first or table.second[place] != second):
        place = (place + np.uint64(1)) & mask
    return int(place)


@compiled
def _fill(table: SymbolHash, halves: U64, short: npt.NDArray[np.bool_]) -> None:
    for position in range(len(short)):
        if short[position]:
            place = _place(table, halves[position, 0], halves[position, 1])
            table.first[place] = halves[position, 0]
            table.second[place] = halves[position, 1]
            table.position[place] = position


@compiled
def _text_end(frame: U8, at: int) -> int:
    """Where the text that begins at ``at`` ends (its quotation mark); NOT_PLAIN when it holds anything but plain letters."""
    while at < len(frame):
        letter = frame[at]
        if letter == _QUOTE_MARK:
            return at
        if letter < _SPACE or letter >= _DELETE or letter == _BACKSLASH:
            return NOT_PLAIN
        at += 1
    return NOT_PLAIN


@compiled
def _number(frame: U8, at: int) -> tuple[int, int, int]:
    """End, digits as an integer, and how many of them stand after the point."""
    begun = at
    digits = 0
    while _ZERO <= frame[at] <= _NINE:
        digits = digits * 10 + (int(frame[at]) - _ZERO)
        at += 1
    if at == begun or at - begun > 16 or (frame[begun] == _ZERO and at - begun > 1):
        return NOT_PLAIN, 0, 0
    if frame[at] != _POINT:
        return (at if digits < _EXACT else NOT_PLAIN), digits, 0
    at += 1
    point = at
    while _ZERO <= frame[at] <= _NINE:
        digits = digits * 10 + (int(frame[at]) - _ZERO)
        at += 1
    if at == point or at - begun > 17 or digits >= _EXACT:
        return NOT_PLAIN, 0, 0
    return at, digits, at - point


@compiled
def _skipped(frame: U8, at: int) -> int:
    """The end of a value that nobody asks for: a plain text, number or list of numbers."""
    if frame[at] == _QUOTE_MARK:
        end = _text_end(frame, at + 1)
        return end + 1 if end >= 0 else NOT_PLAIN
    if frame[at] == _OPEN_LIST:
        at, _ = _conditions(frame, at)
        return at
    at, _, _ = _number(frame, at)
    return at


@compiled
def _conditions(frame: U8, at: int) -> tuple[int, int]:
    """End and flags of a list of condition ids."""
    flags = EVERYTHING
    at += 1
    if frame[at] == _CLOSE_LIST:
        return at + 1, flags
    while True:
        at, code, places = _number(frame, at)
        if at < 0 or places > 0 or code >= _CODES:
            return NOT_PLAIN, 0
        flags &= int(_FLAGS[code])
        if frame[at] == _CLOSE_LIST:
            return at + 1, flags
        if frame[at] != _COMMA:
            return NOT_PLAIN, 0
        at += 1


@compiled
def _symbol(frame: U8, at: int, end: int, table: SymbolHash) -> int:
    """Its position in the table, -1 when it is not there."""
    if end - at > _SYMBOL_BYTES_MAX:
        return -1
    first, second = np.uint64(0), np.uint64(0)
    for k in range(at, min(end, at + 8)):
        first |= np.uint64(frame[k]) << np.uint64(8 * (k - at))
    for k in range(at + 8, end):
        second |= np.uint64(frame[k]) << np.uint64(8 * (k - at - 8))
    return int(table.position[_place(table, first, second)])


@compiled
def _column(kind: int, key: int) -> int:
    """Which of the six values a key is; 6 is the time, 7 the conditions, 8 a text that must be one, 9 a second name, -1 what nobody
    asks for."""
    if key == _NAME:
        return 9
    if kind == _QUOTE:
        return 6 if key == _TIME else 0 if key == _BID else 1 if key == _ASK else 2 if key == _BID_SIZE else 3 if key == _ASK_SIZE else -1
    if kind == _TRADE:
        if key == _CONDITIONS:
            return 7
        return 6 if key == _TIME else 0 if key == _PRICE else 1 if key == _SIZE else 8 if key == _SIZE_TEXT else -1
    if key == _SIZE:
        return 6
    if key in (_VOLUME, _VWAP):
        return 4 if key == _VOLUME else 5
    return 0 if key == _OPEN else 1 if key == _HIGH else 2 if key == _LOW else 3 if key == _CLOSE else 8 if key == _VOLUME_TEXT else -1


@compiled
def _fields(frame: U8, at: int, kind: int, values: npt.NDArray[np.float64], found: I64, table: SymbolHash) -> int:
    """The rest of an event from the comma after its name to behind its brace. ``found`` gets position, time and flags; values their columns."""
    found[0], found[1], found[2] = -1, 0, EVERYTHING if kind == _TRADE else 0
    while frame[at] == _COMMA:
        if frame[at + 1] != _QUOTE_MARK:
            return NOT_PLAIN
        begun = at + 2
        end = _text_end(frame, begun)
        if end <= begun or frame[end + 1] != _COLON:
            return NOT_PLAIN
        at = end + 2
        if at >= len(frame):
            return NOT_PLAIN
        length = end - begun
        if length == 3 and frame[begun] == ord("s") and frame[begun + 1] == ord("y") and frame[begun + 2] == ord("m"):
            if frame[at] != _QUOTE_MARK:
                return NOT_PLAIN
            end = _text_end(frame, at + 1)
            if end < 0:
                return NOT_PLAIN
            found[0] = _symbol(frame, at + 1, end, table)
            at = end + 1
        else:
            column = _column(kind, int(frame[begun]) + (int(frame[begun + 1]) << 8 if length == 2 else 0)) if length <= 2 else -1
            if column == -1:
                at = _skipped(frame, at)
            elif column == 9:
                at = NOT_PLAIN
            elif column == 8:
                at = _skipped(frame, at) if frame[at] == _QUOTE_MARK else NOT_PLAIN
            elif column == 7:
                at, found[2] = _conditions(frame, at) if frame[at] == _OPEN_LIST else (NOT_PLAIN, 0)
            else:
                at, digits, places = _number(frame, at)
                if column == 6:
                    found[1] = digits
                    at = at if places == 0 else NOT_PLAIN
                elif at >= 0:
                    values[column] = digits / _POWERS[places]
        if at < 0 or at >= len(frame):
            return NOT_PLAIN
    return at + 1 if frame[at] == _CLOSE_OBJECT else NOT_PLAIN


@compiled
def _complete(kind: int, values: npt.NDArray[np.float64], found: I64) -> bool:
    """Whether nothing is missing that the other way would have to think about."""
    if found[0] < 0 or found[1] < _MS_EARLIEST or found[1] >= _MS_LATEST:
        return False
    if kind == _TRADE:
        return values[0] == values[0] and values[1] > 0.0
    if kind == _SECOND:
        return values[0] == values[0] and values[1] == values[1] and values[2] == values[2] and values[3] == values[3] and values[4] > 0.0
    return True


@compiled
def scan(frame: U8, table: SymbolHash, kinds: U8, flags: U8, symbols: I32, at_ns: I64, values: npt.NDArray[np.float64]) -> int:
    """Write the frame's rows into columns (values F64[6, n]); returns how many there are, or NOT_PLAIN."""
    size = len(frame)
    if size < 2 or frame[0] != _OPEN_LIST or frame[size - 1] != _CLOSE_LIST:
        return NOT_PLAIN
    found, event = np.empty(3, np.int64), np.empty(6)
    rows, at = 0, 1
    while True:
        if at + _EVENT_BYTES_MIN > size or rows >= len(kinds) or frame[at] != _OPEN_OBJECT:
            return NOT_PLAIN
        named = frame[at + 1] == _QUOTE_MARK and frame[at + 2] == ord("e") and frame[at + 3] == ord("v") and frame[at + 4] == _QUOTE_MARK
        if not (named and frame[at + 5] == _COLON and frame[at + 6] == _QUOTE_MARK and frame[at + 8] == _QUOTE_MARK):
            return NOT_PLAIN
        letter = frame[at + 7]
        kind = _QUOTE if letter == _EV_Q else _TRADE if letter == _EV_T else _SECOND if letter == _EV_A else 0
        if kind == 0:
            return NOT_PLAIN
        event[:] = np.nan
        if kind == _QUOTE:
            event[:4] = 0.0
        at = _fields(frame, at + 9, kind, event, found, table)
        if at < 0 or not _complete(kind, event, found) or at >= size:
            return NOT_PLAIN
        kinds[rows], flags[rows], symbols[rows], at_ns[rows] = kind, found[2], found[0], found[1] * 1_000_000
        for column in range(6):
            values[column, rows] = event[column]
        rows += 1
        if frame[at] == _CLOSE_LIST:
            return rows if at == size - 1 else NOT_PLAIN
        if frame[at] != _COMMA:
            return NOT_PLAIN
        at += 1
