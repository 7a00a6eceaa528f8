"""Market rows: what ingestion writes, the tape carries and the filter reads, as columns.

One row is one market event. Ten equally long columns; the six values mean what ``LAYOUT`` says for the row's kind, absent ones are NaN.
Prices are dollars, sizes are shares, float64, so that a venue's price survives unrounded.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

I8: TypeAlias = npt.NDArray[np.int8]
U8: TypeAlias = npt.NDArray[np.uint8]
U16: TypeAlias = npt.NDArray[np.uint16]
U32: TypeAlias = npt.NDArray[np.uint32]
U64: TypeAlias = npt.NDArray[np.uint64]
I32: TypeAlias = npt.NDArray[np.int32]
I64: TypeAlias = npt.NDArray[np.int64]
F32: TypeAlias = npt.NDArray[np.float32]
F64: TypeAlias = npt.NDArray[np.float64]


class RowKind(enum.IntEnum):
    """What happened. The numbers are on the wire: never reuse one."""

    TRADE = 1
    QUOTE = 2
    SECOND_BAR = 3
    MINUTE_BAR = 4
    LULD = 5
    INDEX = 6
    FLOW = 7
    HALT = 8
    RESUME = 9


class RowFlag(enum.IntFlag):
    """Bits of the flags column."""

    UPDATES_LAST = 1  # a trade that sets the last price (and open/close of bars)
    UPDATES_HIGH_LOW = 2
    UPDATES_VOLUME = 4
    BACKFILL = 8  # fetched after the fact: fills state, opens nothing


LAYOUT: dict[RowKind, tuple[str, ...]] = {
    RowKind.TRADE: ("price", "size"),
    RowKind.QUOTE: ("bid", "ask", "bid_size", "ask_size"),
    RowKind.SECOND_BAR: ("open", "high", "low", "close", "volume", "vwap"),
    RowKind.MINUTE_BAR: ("open", "high", "low", "close", "volume", "vwap"),
    RowKind.LULD: ("lower_band", "upper_band"),
    RowKind.INDEX: ("value",),
    RowKind.FLOW: ("premium", "ask_side_premium", "bid_side_premium", "size", "is_call"),
    RowKind.HALT: (),
    RowKind.RESUME: (),
}
"""Meaning of ``v0`` to ``v5`` by kind. A bar's time is its start. An index row carries symbol -1: the VIX is the only index."""

COLUMNS: tuple[tuple[str, str], ...] = (
    ("kind", "u1"),
    ("flags", "u1"),
    ("symbol", "i4"),
    ("at_ns", "i8"),
    ("v0", "f8"),
    ("v1", "f8"),
    ("v2", "f8"),
    ("v3", "f8"),
    ("v4", "f8"),
    ("v5", "f8"),
)

VIX_SYMBOL = -1


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Equally long columns, one row per event, in the order ingestion accepted them. ``symbol`` indexes the epoch's symbol table."""

    kind: U8
    flags: U8
    symbol: I32
    at_ns: I64
    v0: F64
    v1: F64
    v2: F64
    v3: F64
    v4: F64
    v5: F64

    def __len__(self) -> int:
        return len(self.kind)

    def columns(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Name and array of each column, in the order of ``COLUMNS``."""
        for name, _ in COLUMNS:
            yield name, getattr(self, name)

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Rows:
        """The rows that ``index`` (positions or mask) picks, as copies."""
        return Rows(**{name: column[index] for name, column in self.columns()})

    def slice(self, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop`` as views: nothing is copied."""
        return Rows(**{name: column[start:stop] for name, column in self.columns()})


def empty(count: int = 0) -> Rows:
    """``count`` rows with kind 0 and every value NaN, writable."""
    arrays = {name: np.full(count, np.nan) if kind == "f8" else np.zeros(count, kind) for name, kind in COLUMNS}
    return Rows(**arrays)


def concatenate(parts: list[Rows]) -> Rows:
    """One block from several, in order."""
    if not parts:
        return empty()
    if len(parts) == 1:
        return parts[0]
    return Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name, _ in COLUMNS})
