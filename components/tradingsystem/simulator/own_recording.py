"""Our own recordings as slices of the feed seam: the venues' raw frames, read again as the venues wrote them.

Only sources with `recordFrames` have left some. Prices come from Polygon's frames, alerts from Unusual Whales' in both spellings. Events stand at the
time they tell of, alerts at their receipt, bars at the end of their window: nothing is shown earlier than the first recording showed it, but for the
way over the wire. What of the days before was known that morning is on the tape's first batch. A crash's torn tail is counted, not repaired.
"""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tradingsystem.domain.control import SymbolFact, SymbolTable
from tradingsystem.domain.time import new_york_date
from tradingsystem.messages.batch import decode_batch
from tradingsystem.messages.codec import Malformed
from tradingsystem.simulator.feed import VIX_SYMBOL, Kind, Slice, quote_lot
from tradingsystem.simulator.flat_files import restricting
from tradingsystem.simulator.own_alerts import AlertReader
from tradingsystem.simulator.recorded import DamagedFile, Recording, make_slice

MILLISECOND_NS = 1_000_000
NANOSECONDS_FROM = 10**17  # a time above this is in nanoseconds, below in milliseconds
HALTED, RESUMED = 17, 18
VALUES = ("price", "size", "price2", "size2", "price3", "price4", "condition", "exchange")


class _Event(msgspec.Struct, rename={"as_": "as"}):
    """Any of Polygon's events; which fields mean something follows from `ev`."""

    ev: str
    sym: str = ""
    T: str = ""
    t: int = 0
    e: int = 0
    p: float = 0.0
    s: float = 0.0
    ds: str = ""
    dv: str = ""
    c: Any = None
    i: Any = None
    x: int = 0
    bp: float = 0.0
    bs: float = 0.0
    bx: int = 0
    ap: float = 0.0
    as_: float = 0.0
    o: float = 0.0
    h: float = 0.0
    l: float = 0.0  # noqa: E741  the wire's name
    v: float = 0.0
    vw: float = 0.0
    z: float = 0.0
    val: float = 0.0


_frame = msgspec.json.Decoder(list[_Event])


def place_of(folder: Path) -> Path | None:
    """Where a run's folder, or a recording, keeps its frames; None when it has none."""
    return next((place for place in (folder, folder / "recording") if any(place.glob("frame-*.arrows"))), None)


def dates(folder: Path) -> list[datetime.date]:
    """The day that a recording holds, if it is one."""
    place = place_of(folder)
    first = next(_records(place, "frame", Recording()), None) if place else None
    return [new_york_date(first[0])] if first else []


def facts_of(folder: Path) -> dict[str, SymbolFact]:
    """What was known of each symbol on the morning of the recording."""
    place = place_of(folder)
    for _, _, payload in _records(place, "tape", Recording()) if place else ():
        try:
            notes = decode_batch(payload).notes
        except Malformed:
            continue
        table = next((note for note in notes if isinstance(note, SymbolTable)), None)
        if table is not None:
            return {fact.symbol: fact for fact in table.facts}
    return {}


def load(folder: Path, date: datetime.date) -> Recording:
    """Everything in the frames of that day. Raises DamagedFile, FileNotFoundError when they are of another day."""
    place, days = place_of(folder), dates(folder)
    if place is None or date not in days:
        raise FileNotFoundError(f"{folder} has no frames of {date}{f', but of {days[0]}' if days else ''}")
    recording, rows, alerts = Recording(), _Rows(float(quote_lot(date))), AlertReader()
    for at_ns, _, payload in _records(place, "frame", recording):
        if alerts.take(payload, at_ns):
            continue
        try:
            events = _frame.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            recording.note("frames that are not played", 1)
            continue
        for event in events:
            rows.take(event)
    recording.note("events that are not played", rows.unknown)
    for name, part in [*rows.parts(), *alerts.parts()]:
        recording.parts.setdefault(name, []).append(part)
    recording.indices = rows.indices()
    return recording


def _records(place: Path, kind: str, recording: Recording) -> Iterator[tuple[int, str, bytes]]:
    """Time, subject and payload of every whole record, oldest first."""
    for path in sorted(place.glob(f"{kind}-*.arrows")):
        with pa.memory_map(str(path)) as source:
            try:
                stream = pa.ipc.open_stream(source)
            except pa.ArrowInvalid as error:
                if source.size() < 1024:  # the crash came before anything was written
                    continue
                raise DamagedFile(path, 0, f"not a recording ({error})") from error
            if not {"at_ns", "subject", "payload"} <= set(stream.schema.names):
                raise DamagedFile(path, 0, f"not a recording: its columns are {', '.join(stream.schema.names)}")
            while True:
                try:
                    batch = stream.read_next_batch()
                except StopIteration:
                    break
                except (OSError, pa.ArrowInvalid):
                    recording.note("torn ends of files", 1)
                    break
                yield from zip(*(batch.column(name).to_pylist() for name in ("at_ns", "subject", "payload")), strict=True)


class _Rows:
    """Events as columns by kind, flat, because a day has millions of them."""

    def __init__(self, lot: float) -> None:
        self._lot = lot
        self._symbols: dict[str, int] = {}
        self._values: dict[Kind, array[float]] = {kind: array("d") for kind in Kind}
        self._keys: dict[Kind, array[int]] = {kind: array("q") for kind in Kind}  # at_ns, symbol
        self.unknown = 0

    def take(self, event: _Event) -> None:
        """One event; of statuses and kinds nobody plays only the number is kept."""
        match event.ev:
            case "T":
                condition = restricting(",".join(map(str, event.c))) if isinstance(event.c, list) else 0
                self._put(Kind.TRADE, event.sym, event.t, event.p, float(event.ds or event.s), condition=condition, exchange=event.x)
            case "Q":
                sizes = (event.bs * self._lot, event.as_ * self._lot)
                self._put(Kind.QUOTE, event.sym, event.t, event.bp, sizes[0], event.ap, sizes[1], condition=1, exchange=event.bx)
            case "A" | "AM":
                kind = Kind.SECOND_BAR if event.ev == "A" else Kind.MINUTE_BAR
                volume, close = float(event.dv or event.v), float(event.c or 0.0)
                trades = round(volume / event.z) if event.z > 0 else 1
                self._put(kind, event.sym, event.e, event.o, volume, event.h, event.vw, event.l, close, condition=trades)
            case "LULD":
                self._bands(event)
            case "V":
                self._put(Kind.INDEX, "", event.t, event.val)
            case "status":
                return
            case _:
                self.unknown += 1

    def _bands(self, event: _Event) -> None:
        indicator = int(event.i[0]) if isinstance(event.i, list) and event.i else 0
        kind = {HALTED: Kind.HALT, RESUMED: Kind.RESUME}.get(indicator, Kind.LULD)
        values = (event.l, 0.0, event.h) if kind is Kind.LULD else (0.0, 0.0, 0.0)
        self._put(kind, event.T, event.t, *values, condition=indicator if kind is Kind.LULD else 1)

    def _put(
        self,
        kind: Kind,
        symbol: str,
        at: int,
        price: float,
        size: float = 0.0,
        price2: float = 0.0,
        size2: float = 0.0,
        price3: float = 0.0,
        price4: float = 0.0,
        *,
        condition: int = 0,
        exchange: int = 0,
    ) -> None:
        at_ns = at if at > NANOSECONDS_FROM else at * MILLISECOND_NS
        self._keys[kind].extend((at_ns, self._symbols.setdefault(symbol, len(self._symbols))))
        self._values[kind].extend((price, size, price2, size2, price3, price4, condition, exchange))

    def parts(self) -> Iterator[tuple[str, Slice]]:
        """Slices of one symbol and one kind each, in order of time."""
        names = list(self._symbols)
        for kind in Kind:
            if kind is Kind.INDEX or not self._keys[kind]:
                continue
            keys, values = self._columns(kind)
            order = np.lexsort((np.arange(len(keys)), keys[:, 0], keys[:, 1]))
            keys, values = keys[order], values[order]
            starts = np.flatnonzero(np.r_[True, keys[1:, 1] != keys[:-1, 1]])
            for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(keys)], strict=True):
                yield names[int(keys[begin, 1])], _slice(kind, keys[begin:end, 0], values[begin:end])

    def indices(self) -> Slice | None:
        """VIX as it was told; None when it never was."""
        if not self._keys[Kind.INDEX]:
            return None
        keys, values = self._columns(Kind.INDEX)
        part = _slice(Kind.INDEX, keys[:, 0], values)
        part.symbol[:] = VIX_SYMBOL
        return part

    def _columns(self, kind: Kind) -> tuple[Any, Any]:
        keys = np.frombuffer(self._keys[kind], np.int64).reshape(-1, 2)
        return keys, np.frombuffer(self._values[kind], np.float64).reshape(-1, len(VALUES))


def _slice(kind: Kind, at_ns: Any, values: Any) -> Slice:
    return make_slice(kind, at_ns, **{name: values[:, place] for place, name in enumerate(VALUES)})
