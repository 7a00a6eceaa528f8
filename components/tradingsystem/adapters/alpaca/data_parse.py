"""Frames of Alpaca's market data stream to rows. Pure; it never raises, whatever the bytes. JSON and MessagePack are told apart by content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from tradingsystem.adapters.alpaca.data_conditions import flags_of
from tradingsystem.adapters.alpaca.symbols import to_alpaca
from tradingsystem.domain.rows import RowKind, Rows, empty
from tradingsystem.domain.time import from_datetime, plausible

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, ValueError)
HALTED = frozenset("2HP")  # halt on tapes A and B, halt and volatility pause on tape C
RESUMED = frozenset("3T")


class Trade(msgspec.Struct, tag_field="T", tag="t"):
    """A print."""

    S: str
    p: float
    s: float
    t: datetime
    c: list[str] | None = None
    z: str = ""


class Quote(msgspec.Struct, tag_field="T", tag="q"):
    """The best bid and offer; price 0 means nobody quotes that side."""

    S: str
    bp: float
    ap: float
    t: datetime
    bs: float = 0.0
    ask_size: float = msgspec.field(default=0.0, name="as")


class Bar(msgspec.Struct, tag_field="T", tag="b"):
    """A minute bar; ``t`` is its start."""

    S: str
    o: float
    h: float
    l: float  # noqa: E741  the wire's name
    c: float
    v: float
    t: datetime
    vw: float = float("nan")


class Band(msgspec.Struct, tag_field="T", tag="l"):
    """Limit-up limit-down bands."""

    S: str
    u: float
    d: float
    t: datetime


class TradingStatus(msgspec.Struct, tag_field="T", tag="s"):
    """Halts and resumptions."""

    S: str
    sc: str
    t: datetime


class Success(msgspec.Struct, tag_field="T", tag="success"):
    """``connected`` or ``authenticated``."""

    msg: str = ""


class Error(msgspec.Struct, tag_field="T", tag="error"):
    """A refusal with its number."""

    code: int = 0
    msg: str = ""


class Subscription(msgspec.Struct, tag_field="T", tag="subscription"):
    """Everything that is subscribed after a change."""

    trades: list[str] = []
    quotes: list[str] = []
    bars: list[str] = []
    lulds: list[str] = []
    statuses: list[str] = []


class Unused(msgspec.Struct, tag_field="T", tag="u"):
    """An updated minute bar: a bar is believed once."""


class Corrected(msgspec.Struct, tag_field="T", tag="c"):
    """A corrected trade: known, not used; daily history has the correction."""


class Cancelled(msgspec.Struct, tag_field="T", tag="x"):
    """A cancelled trade: known, not used."""


Event = Trade | Quote | Bar | Band | TradingStatus | Success | Error | Subscription | Unused | Corrected | Cancelled
Control = Success | Error | Subscription


@dataclass(slots=True)
class Parsed:
    """What one frame held."""

    rows: Rows
    controls: list[Control] = field(default_factory=list)
    malformed: Mapping[str, int] = field(default_factory=dict)


class FrameParser:
    """Reads frames for one symbol table; ``symbols[i]`` (our spelling) becomes row symbol ``i``.

    ``quote_lot`` is how many shares one unit of a quote's size means.
    """

    def __init__(self, symbols: Sequence[str], *, quote_lot: int = 1) -> None:
        self._quote_lot = quote_lot
        self._index = {to_alpaca(symbol): position for position, symbol in enumerate(symbols)}

    def parse(self, frame: bytes) -> Parsed:
        """Rows in the frame's order."""
        decode = msgspec.json.decode if frame[:1].strip() in (b"[", b"{", b"") else msgspec.msgpack.decode
        malformed: Counter[str] = Counter()
        try:
            events: list[Event] = decode(frame, type=list[Event])
        except _UNREADABLE:
            events = []
            try:
                pieces = decode(frame, type=list[msgspec.Raw])
            except _UNREADABLE:
                return Parsed(empty(), malformed={"not_an_array": 1})
            for piece in pieces:
                try:
                    events.append(decode(piece, type=Event))
                except _UNREADABLE:
                    malformed["unreadable_event"] += 1
        return self._pack(events, malformed)

    def _pack(self, events: list[Event], malformed: Counter[str]) -> Parsed:
        controls: list[Control] = []
        packed: list[tuple[float, ...]] = []
        for event in events:
            if isinstance(event, Success | Error | Subscription):
                controls.append(event)
                continue
            if isinstance(event, Unused | Corrected | Cancelled):
                malformed["not_used"] += 1
                continue
            row = _row_of(event, self._quote_lot)
            if row is None:
                continue
            index = self._index.get(event.S)
            at_ns = _time_ns(event.t)
            if index is None or at_ns == 0:
                malformed["unknown_symbol" if index is None else "bad_time"] += 1
                continue
            kind, flags, values = row
            packed.append((kind, flags, index, at_ns, *values))
        return Parsed(_rows(packed), controls, malformed)


def _row_of(event: Trade | Quote | Bar | Band | TradingStatus, lot: int) -> tuple[int, int, tuple[float, ...]] | None:
    """Kind, flags and values; None for a status that neither halts nor resumes."""
    if isinstance(event, Trade):
        return RowKind.TRADE, flags_of(event.c or (), event.z), (event.p, event.s)
    if isinstance(event, Quote):
        return RowKind.QUOTE, 0, (event.bp, event.ap, event.bs * lot, event.ask_size * lot)
    if isinstance(event, Bar):
        return RowKind.MINUTE_BAR, 0, (event.o, event.h, event.l, event.c, event.v, event.vw)
    if isinstance(event, Band):
        return RowKind.LULD, 0, (event.d, event.u)
    if event.sc in HALTED:
        return RowKind.HALT, 0, ()
    return (RowKind.RESUME, 0, ()) if event.sc in RESUMED else None


def _time_ns(moment: datetime) -> int:
    """ns since the epoch; 0 without a zone or outside 2000 to 2100."""
    if moment.tzinfo is None:
        return 0
    try:
        at_ns = from_datetime(moment)
    except OverflowError:
        return 0
    return at_ns if plausible(at_ns) else 0


def _rows(packed: list[tuple[float, ...]]) -> Rows:
    rows = empty(len(packed))
    columns = [column for _, column in rows.columns()]
    for position, values in enumerate(packed):
        for column, value in zip(columns, values, strict=False):
            column[position] = value
    return rows
