"""What every kind of recorded file becomes: slices of one symbol, and an error that names file and line.

Bars are built from the trades here, by the consolidated rules, so that a recording without bars plays like a market that
sends them. It refuses to repair: a damaged row ends the import and says where it is.
"""

from __future__ import annotations

import csv as plain_csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from tradingsystem.simulator.conditions import UPDATES_HIGH_LOW, UPDATES_OPEN_CLOSE, UPDATES_VOLUME, updates
from tradingsystem.simulator.feed import DTYPES, F64, I64, Kind, Slice

SUSPICIOUS = 255  # a condition id nobody knows: shown, updates nothing


class DamagedFile(ValueError):
    """A file that cannot be read as what its name says. `line` counts from 1; 0 when the whole file is meant."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(f"{path}{f', line {line}' if line else ''}: {why}")
        self.path, self.line, self.why = path, line, why


@dataclass
class Recording:
    """One day read from files: parts per symbol name, in any order, and what was noticed on the way."""

    parts: dict[str, list[Slice]] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    indices: Slice | None = None  # values of indices, where the recording has them

    def note(self, what: str, count: int) -> None:
        """Count something a reader should know, e.g. suspicious rows."""
        if count:
            self.notes[what] = self.notes.get(what, 0) + count


def make_slice(kind: Kind, at_ns: I64, **columns: Any) -> Slice:
    """A slice of one kind; columns that are not given are 0."""
    count = len(at_ns)
    names = ("kind", "symbol", "at_ns", "price", "size", "price2", "size2", "price3", "price4", "condition", "exchange")
    arrays: dict[str, NDArray[Any]] = {name: np.zeros(count, dtype) for name, dtype in zip(names, DTYPES, strict=True)}
    arrays["kind"][:] = kind
    arrays["at_ns"] = at_ns.astype(np.int64)
    for name, values in columns.items():
        arrays[name] = np.asarray(values).astype(arrays[name].dtype)
    return Slice(to_ns=int(at_ns[-1]) if count else 0, **arrays)


def bars_of(trades: Slice, window_ns: int, kind: Kind) -> Slice:
    """Bars of one symbol's trades (in time order); a window without an eligible open makes none.

    Volume and count are of all volume-eligible prints, VWAP of those that may set high and low, so low <= VWAP <= high.
    """
    rights = updates(trades.condition)
    window = trades.at_ns // window_ns
    lasting = np.flatnonzero(rights & UPDATES_OPEN_CLOSE > 0)
    ranged = np.flatnonzero(rights & UPDATES_HIGH_LOW > 0)
    counted = np.flatnonzero(rights & UPDATES_VOLUME > 0)
    if not len(lasting):
        return make_slice(kind, np.zeros(0, dtype=np.int64))
    windows, first = np.unique(window[lasting], return_index=True)
    last = np.concatenate([first[1:], [len(lasting)]]) - 1
    price, size = trades.price, trades.size
    place = np.searchsorted(windows, window[ranged])
    inside = (place < len(windows)) & (windows[np.minimum(place, len(windows) - 1)] == window[ranged])
    ranged, place = ranged[inside], place[inside]
    starts = np.searchsorted(place, np.arange(len(windows)))
    priced = np.add.reduceat(size[ranged], starts)
    turnover = np.add.reduceat(size[ranged] * price[ranged], starts)
    volume, number = np.zeros(len(windows)), np.zeros(len(windows))
    spot = np.searchsorted(windows, window[counted])
    here = (spot < len(windows)) & (windows[np.minimum(spot, len(windows) - 1)] == window[counted])
    np.add.at(volume, spot[here], size[counted[here]])
    np.add.at(number, spot[here], 1)
    return make_slice(
        kind,
        (windows + 1) * window_ns,
        price=price[lasting[first]],
        size=volume,
        price2=np.maximum.reduceat(price[ranged], starts),
        size2=turnover / np.maximum(priced, 1e-9),
        price3=np.minimum.reduceat(price[ranged], starts),
        price4=price[lasting[last]],
        condition=number,
    )


def read_csv(path: Path, data: bytes, names: list[str], types: dict[str, pa.DataType], *, header: bool) -> pa.Table:
    """A CSV as a table; empty fields are null. Raises DamagedFile with the first line that does not fit."""
    if not data.strip():
        raise DamagedFile(path, 0, "the file is empty")
    read = csv.ReadOptions(column_names=None if header else names, use_threads=False)
    convert = csv.ConvertOptions(column_types=types, include_columns=names, null_values=[""], strings_can_be_null=True)
    try:
        return csv.read_csv(pa.BufferReader(data), read_options=read, convert_options=convert)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _first_bad_line(path, data, names, types, str(error), header) from error


def _first_bad_line(path: Path, data: bytes, names: list[str], types: dict[str, pa.DataType], why: str, header: bool) -> DamagedFile:
    """The slow way, once it is known that something is wrong: look at every line until the first that does not fit."""
    lines = data.decode("utf-8", errors="replace").splitlines()
    order = lines[0].split(",") if header else names
    missing = [name for name in names if name not in order]
    if missing:
        return DamagedFile(path, 1, f"columns missing: {', '.join(missing)}")
    for number, line in enumerate(lines[1:] if header else lines, start=2 if header else 1):
        fields = next(plain_csv.reader([line]), [])
        if len(fields) != len(order):
            return DamagedFile(path, number, f"{len(fields)} fields where {len(order)} are expected")
        for name, value in zip(order, fields, strict=True):
            if value and name in types and not _fits(value, types[name]):
                return DamagedFile(path, number, f"{name} is {value!r}, which is not a number")
    return DamagedFile(path, 0, why)


def _fits(value: str, wanted: pa.DataType) -> bool:
    try:
        if pa.types.is_integer(wanted):
            int(value)
        elif pa.types.is_floating(wanted):
            float(value)
    except ValueError:
        return False
    return True


def floats(table: pa.Table, name: str) -> F64:
    """A column as float64, null as 0."""
    return np.asarray(table.column(name).cast(pa.float64()).fill_null(0.0).to_numpy(), dtype=np.float64)


def integers(table: pa.Table, name: str) -> I64:
    """A column as int64, null as 0."""
    return np.asarray(table.column(name).cast(pa.int64()).fill_null(0).to_numpy(), dtype=np.int64)


def check_rows(path: Path, wrong: NDArray[np.bool_], why: str, first_line: int = 1) -> None:
    """Raise DamagedFile at the first True."""
    if wrong.any():
        raise DamagedFile(path, int(np.argmax(wrong)) + first_line, why)
