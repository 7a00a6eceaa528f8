"""What chosen symbols cost over a recorded day, thinned for drawing. It reads the tape and judges nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradingsystem.domain.control import SymbolTable
from tradingsystem.domain.rows import RowKind, Rows
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.messages.batch import decode_batch
from tradingsystem.messages.codec import Malformed
from tradingsystem.recorder.segments import read_records

EVERY_NS = 10 * NS_PER_SECOND
_PRICED: NDArray[np.bool_] = np.isin(np.arange(256), (RowKind.QUOTE, RowKind.SECOND_BAR, RowKind.MINUTE_BAR))

Buckets = dict[int, float]


def price_paths(folder: Path, symbols: set[str], every_ns: int = EVERY_NS) -> dict[str, list[tuple[int, float]]]:
    """By symbol (market time, price), oldest first: the newest mid or bar close of each interval. Unreadable batches are left out."""
    found: dict[str, Buckets] = {symbol: {} for symbol in symbols}
    places: dict[int, str] = {}
    wanted: NDArray[np.bool_] = np.zeros(1, np.bool_)
    for record in read_records(folder, "tape"):
        try:
            batch = decode_batch(record.payload)
        except Malformed:
            continue
        for note in batch.notes:
            if isinstance(note, SymbolTable):
                places = {place: fact.symbol for place, fact in enumerate(note.facts) if fact.symbol in symbols}
                wanted = np.zeros(len(note.facts) + 1, np.bool_)  # the last place is for symbol -1, the index
                wanted[list(places)] = True
        if len(batch.rows) and places:
            _take(batch.rows, wanted, places, found, every_ns)
    return {symbol: sorted(path.items()) for symbol, path in found.items()}


def _take(rows: Rows, wanted: NDArray[np.bool_], places: dict[int, str], found: dict[str, Buckets], every_ns: int) -> None:
    for row in np.flatnonzero(wanted[rows.symbol] & _PRICED[rows.kind]):
        quote = rows.kind[row] == RowKind.QUOTE
        price = 0.5 * (rows.v0[row] + rows.v1[row]) if quote else rows.v3[row]
        found[places[int(rows.symbol[row])]][int(rows.at_ns[row]) // every_ns * every_ns] = float(price)
