"""Polygon's frames to rows. Pure: bytes in; rows, statuses and counts of what could not be read out. It never raises, whatever the bytes.

Judging whether a readable row is plausible is ingestion's work; here only what cannot be expressed as a row is refused, by reason.
Speed decides the shape: frames of plain trades, quotes and second bars, which is nearly all there is, are scanned by compiled code; for every other frame
there is one typed decode of the whole and one pass over its events. Both give the same rows; a test holds them against each other.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from tradingsystem.adapters.polygon import scanning
from tradingsystem.adapters.polygon.conditions import EVERYTHING, FLAGS_BY_CONDITION, VOLUME, flags_of
from tradingsystem.adapters.polygon.models import (
    KNOWN,
    Event,
    IndexValue,
    LimitBand,
    MinuteBar,
    Name,
    Quote,
    SecondBar,
    Status,
    Trade,
)
from tradingsystem.domain.rows import COLUMNS, VIX_SYMBOL, RowKind, Rows, empty
from tradingsystem.domain.time import plausible

VIX_TICKER = "I:VIX"
INDICATOR_HALT = 17
INDICATOR_RESUME = 18

_ROW = struct.Struct("<BBiqdddddd")
_TRADE_ROW = struct.Struct("<BBiqdd")  # a row's beginning: what follows stays NaN
_QUOTE_ROW = struct.Struct("<BBiqdddd")
_BLANK = _ROW.pack(0, 0, 0, 0, *(math.nan,) * 6)
_DTYPE = np.dtype([(name, f"<{kind}") for name, kind in COLUMNS])
_TRADE, _QUOTE, _SECOND = int(RowKind.TRADE), int(RowKind.QUOTE), int(RowKind.SECOND_BAR)
_MS_EARLIEST = 946_684_800_000  # 2000-01-01 in milliseconds, as `plausible`
_MS_LATEST = 4_102_444_800_000

_UNITS = (1_000_000, 1, 1_000, 1_000_000_000)  # ms is what is documented, ns what is seen; the ranges cannot overlap
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)


@dataclass(slots=True)
class Parsed:
    """What one frame held. ``malformed`` counts by reason what is in neither ``rows`` nor ``statuses``."""

    rows: Rows
    statuses: list[Status] = field(default_factory=list)
    malformed: Mapping[str, int] = field(default_factory=dict)


def time_ns(value: int) -> int:
    """A venue's time as ns, its unit (s, ms, us, ns) judged by magnitude; 0 when no unit puts it between 2000 and 2100."""
    for factor in _UNITS:
        if plausible(value * factor):
            return value * factor
    return 0


class FrameParser:
    """Reads frames for one symbol table; ``symbols[i]`` becomes row symbol ``i``. Holds no other state, so frames may come in any order.

    ``quote_lot`` is how many shares one unit of a quote's size means: 100 before 2025-11-03, when the tapes changed to shares.
    """

    def __init__(self, symbols: Sequence[str], *, quote_lot: int = 1) -> None:
        self._quote_lot = quote_lot
        self._hash = scanning.symbol_hash(symbols)
        self._index = {symbol: position for position, symbol in enumerate(symbols)}
        self._frame = msgspec.json.Decoder(list[Event])
        self._event = msgspec.json.Decoder(Event)
        self._pieces = msgspec.json.Decoder(list[msgspec.Raw])
        self._name = msgspec.json.Decoder(Name)
        self._scan(b"[{}]")  # compiled or loaded now: a first frame must not wait for it, nor everything else on its loop

    def parse(self, frame: bytes) -> Parsed:
        """Rows in the frame's order."""
        rows = self._scan(frame)
        if rows is not None:
            return Parsed(rows)
        return self.parse_any(frame)

    def _scan(self, frame: bytes) -> Rows | None:
        """The rows of a plain frame."""
        count = frame.count(b"{")
        if count == 0:
            return None
        kind, flags = np.empty((2, count), np.uint8)
        symbol, at_ns, values = np.empty(count, np.int32), np.empty(count, np.int64), np.empty((6, count))
        found = scanning.scan(np.frombuffer(frame, np.uint8), self._hash, kind, flags, symbol, at_ns, values)
        if found != count:
            return None
        return self._in_shares(Rows(kind, flags, symbol, at_ns, *values))

    def _in_shares(self, rows: Rows) -> Rows:
        if self._quote_lot != 1:
            quotes = rows.kind == _QUOTE
            rows.v2[quotes] *= self._quote_lot
            rows.v3[quotes] *= self._quote_lot
        return rows

    def parse_any(self, frame: bytes) -> Parsed:
        """The same for whatever a frame may hold."""
        try:
            events: list[Event] = self._frame.decode(frame)
        except _UNREADABLE:
            return self._parse_piecewise(frame)
        return self._pack(events, Counter())

    def _parse_piecewise(self, frame: bytes) -> Parsed:
        """A frame with something wrong in it: keep what can be read, count the rest."""
        malformed: Counter[str] = Counter()
        try:
            pieces = self._pieces.decode(frame)
        except _UNREADABLE:
            return Parsed(empty(), malformed={"not_an_array": 1})
        events: list[Event] = []
        for piece in pieces:
            try:
                events.append(self._event.decode(piece))
            except _UNREADABLE:
                malformed[self._why(piece)] += 1
        return self._pack(events, malformed)

    def _why(self, piece: msgspec.Raw) -> str:
        try:
            return "bad_field" if self._name.decode(piece).ev in KNOWN else "unknown_event"
        except _UNREADABLE:
            return "no_event_name"

    def _pack(self, events: list[Any], malformed: Counter[str]) -> Parsed:
        """Rows of the events. The one loop of the hot path: common kinds are packed in place, because a call per event costs a third of it."""
        size = _ROW.size
        buffer = bytearray(_BLANK * len(events))
        pack_trade, pack_quote, pack_bar = _TRADE_ROW.pack_into, _QUOTE_ROW.pack_into, _ROW.pack_into
        index_of, flags_by = self._index.get, FLAGS_BY_CONDITION.get
        offset = 0
        statuses: list[Status] = []
        for event in events:
            kind = type(event)
            if kind is Quote:
                index, at = index_of(event.sym), event.t
                if index is not None and _MS_EARLIEST <= at < _MS_LATEST:
                    pack_quote(buffer, offset, _QUOTE, 0, index, at * 1_000_000, event.bp, event.ap, event.bs, event.ask_size)
                    offset += size
                    continue
            elif kind is Trade:
                index, at, codes, shares = index_of(event.sym), event.t, event.c, event.s
                if index is not None and _MS_EARLIEST <= at < _MS_LATEST and shares:
                    flags = EVERYTHING if not codes else flags_by(codes[0], VOLUME) if len(codes) == 1 else flags_of(codes)
                    pack_trade(buffer, offset, _TRADE, flags, index, at * 1_000_000, event.p, shares)
                    offset += size
                    continue
            elif kind is SecondBar:
                index, at, shares = index_of(event.sym), event.s, event.v
                if index is not None and _MS_EARLIEST <= at < _MS_LATEST and shares:
                    pack_bar(buffer, offset, _SECOND, 0, index, at * 1_000_000, event.o, event.h, event.l, event.c, shares, event.vw)
                    offset += size
                    continue
            elif kind is Status:
                statuses.append(event)
                continue
            refusal = self._pack_other(event, buffer, offset)
            if refusal:
                malformed[refusal] += 1
            else:
                offset += size
        return Parsed(self._in_shares(_columns(buffer, offset)), statuses, malformed)

    def _pack_other(self, event: Event, buffer: bytearray, offset: int) -> str:
        """Pack what is rare or odd: other kinds, other units of time, fractional sizes. The reason when it cannot be a row."""
        kind, ticker, at, flags, values = _row_of(event)
        if kind == 0:
            return "not_requested"
        is_index = kind == RowKind.INDEX
        index = (VIX_SYMBOL if ticker == VIX_TICKER else None) if is_index else self._index.get(ticker)
        if index is None:
            return "unknown_symbol"
        at_ns = time_ns(at)
        if at_ns == 0:
            return "bad_time"
        _ROW.pack_into(buffer, offset, kind, flags, index, at_ns, *values, *(math.nan,) * (6 - len(values)))
        return ""


def _row_of(event: Event) -> tuple[int, str, int, int, tuple[float, ...]]:
    """Kind, ticker, raw time, flags and values of one event; kind 0 when no row comes of it."""
    if isinstance(event, Trade):
        flags = EVERYTHING if event.c is None else flags_of(event.c)
        return RowKind.TRADE, event.sym, event.t, flags, (event.p, _shares(event.s, event.ds))
    if isinstance(event, Quote):
        return RowKind.QUOTE, event.sym, event.t, 0, (event.bp, event.ap, event.bs, event.ask_size)
    if isinstance(event, SecondBar | MinuteBar):
        kind = RowKind.SECOND_BAR if isinstance(event, SecondBar) else RowKind.MINUTE_BAR
        return kind, event.sym, event.s, 0, (event.o, event.h, event.l, event.c, _shares(event.v, event.dv), event.vw)
    if isinstance(event, LimitBand):
        return _band(event)
    if isinstance(event, IndexValue):
        return RowKind.INDEX, event.T, event.t, 0, (event.val,)
    return 0, "", 0, 0, ()


def _band(event: LimitBand) -> tuple[int, str, int, int, tuple[float, ...]]:
    """A LULD message: indicator 17 halts (its bands are zero), 18 resumes, every other one moves the bands."""
    indicators = event.i or ()
    if INDICATOR_HALT in indicators:
        return RowKind.HALT, event.T, event.t, 0, ()
    if INDICATOR_RESUME in indicators:
        return RowKind.RESUME, event.T, event.t, 0, ()
    return RowKind.LULD, event.T, event.t, 0, (event.l, event.h)


def _shares(size: float, text: str | None) -> float:
    """Shares, from the decimal text where the whole number is 0; NaN when the text is no number, which validation refuses by name."""
    if size != 0.0 or text is None:
        return size
    try:
        return float(text)
    except ValueError:
        return math.nan


def _columns(buffer: bytearray, used: int) -> Rows:
    """The packed rows as columns: views, strided, writable."""
    if used == 0:
        return empty()
    table = np.frombuffer(buffer, _DTYPE, used // _ROW.size)
    return Rows(*(table[name] for name, _ in COLUMNS))
