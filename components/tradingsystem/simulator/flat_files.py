"""Polygon's flat files (gzipped CSV with a header, one day of all tickers) as slices of the feed seam.

Quotes there are the NBBO already; times are SIP nanoseconds. Sizes may be decimal in place since February 2026. It reads
only the tickers asked for, because a whole day is larger than memory, and refuses a file whose columns are not these.
"""

from __future__ import annotations

import datetime
import gzip
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradingsystem.simulator.conditions import updates
from tradingsystem.simulator.feed import I32, MINUTE_NS, SECOND_NS, Kind, Slice, quote_lot
from tradingsystem.simulator.recorded import (
    DamagedFile,
    Recording,
    bars_of,
    check_rows,
    floats,
    integers,
    make_slice,
    read_csv,
)

TRADES = {"ticker": pa.string(), "conditions": pa.string(), "exchange": pa.int64(), "price": pa.float64(),
          "sip_timestamp": pa.int64(), "size": pa.float64()}  # fmt: skip
QUOTES = {"ticker": pa.string(), "ask_price": pa.float64(), "ask_size": pa.float64(), "bid_exchange": pa.int64(),
          "bid_price": pa.float64(), "bid_size": pa.float64(), "sip_timestamp": pa.int64()}  # fmt: skip
MINUTES = {"ticker": pa.string(), "volume": pa.float64(), "open": pa.float64(), "close": pa.float64(),
           "high": pa.float64(), "low": pa.float64(), "window_start": pa.int64(), "transactions": pa.int64()}  # fmt: skip


def find(folder: Path, kind: str, date: datetime.date) -> Path | None:
    """The file of a day, in the vendor's key layout or lying flat in a folder of its kind."""
    name = f"{date}.csv.gz"
    places = (folder / "us_stocks_sip" / kind, folder / kind)
    candidates = [place / f"{date:%Y}" / f"{date:%m}" / name for place in places] + [place / name for place in places]
    return next((path for path in candidates if path.exists()), None)


def load(folder: Path, date: datetime.date, symbols: frozenset[str] | None = None) -> Recording:
    """One day. Raises DamagedFile, FileNotFoundError when there is neither a trades nor a minute file."""
    trades, quotes, minutes = (find(folder, kind, date) for kind in ("trades_v1", "quotes_v1", "minute_aggs_v1"))
    if trades is None and minutes is None:
        raise FileNotFoundError(f"{folder} has neither trades_v1 nor minute_aggs_v1 for {date}")
    recording = Recording()
    if trades is not None:
        _load_trades(trades, symbols, recording)
    elif minutes is not None:
        _load_minutes(minutes, symbols, recording)
    if quotes is not None:
        _load_quotes(quotes, symbols, recording, float(quote_lot(date)))
    return recording


def _table(path: Path, types: dict[str, pa.DataType], symbols: frozenset[str] | None) -> dict[str, pa.Table]:
    try:
        data = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DamagedFile(path, 0, f"not a readable gzip file: {error}") from error
    table = read_csv(path, data, list(types), types, header=True)
    stamp = "sip_timestamp" if "sip_timestamp" in types else "window_start"
    time = integers(table, stamp)
    check_rows(path, time < 946_684_800 * SECOND_NS, f"{stamp} is not nanoseconds after the year 2000", first_line=2)
    if symbols is not None:
        table = table.filter(pc.is_in(table.column("ticker"), pa.array(sorted(symbols))))
    order = pc.sort_indices(table, sort_keys=[("ticker", "ascending"), (stamp, "ascending")])
    table = table.take(order)
    names = table.column("ticker").to_numpy(zero_copy_only=False).astype(str)
    found, first = np.unique(names, return_index=True)
    ends = [*first[1:].tolist(), len(names)]
    return {str(name): table.slice(a, b - a) for name, a, b in zip(found, first.tolist(), ends, strict=True)}


def restricting(text: str | None) -> int:
    """Of a comma list of condition ids, the one that restricts most; 0 for none."""
    ids = [int(part) for part in (text or "").split(",") if part.strip().isdigit()]
    if not ids:
        return 0
    rights = updates(np.array(ids, dtype=np.int32))
    return ids[int(np.argmin([int(right).bit_count() for right in rights]))]


def _conditions(table: pa.Table) -> I32:
    encoded = table.column("conditions").combine_chunks().fill_null("").dictionary_encode()
    ids = np.array([restricting(text) for text in encoded.dictionary.to_pylist()] or [0], dtype=np.int32)
    return np.asarray(ids[encoded.indices.to_numpy()], dtype=np.int32)


def _load_trades(path: Path, symbols: frozenset[str] | None, recording: Recording) -> None:
    for name, table in _table(path, TRADES, symbols).items():
        trades = make_slice(
            Kind.TRADE,
            integers(table, "sip_timestamp"),
            price=floats(table, "price"),
            size=floats(table, "size"),
            condition=_conditions(table),
            exchange=integers(table, "exchange"),
        )
        bars = [bars_of(trades, SECOND_NS, Kind.SECOND_BAR), bars_of(trades, MINUTE_NS, Kind.MINUTE_BAR)]
        recording.parts.setdefault(name, []).extend([*bars, trades])


def _load_quotes(path: Path, symbols: frozenset[str] | None, recording: Recording, lot: float) -> None:
    for name, table in _table(path, QUOTES, symbols).items():
        bid, ask = floats(table, "bid_price"), floats(table, "ask_price")
        keep = (bid > 0) & (ask > 0)
        recording.note("one-sided quotes", int((~keep).sum()))
        recording.parts.setdefault(name, []).append(
            make_slice(
                Kind.QUOTE,
                integers(table, "sip_timestamp")[keep],
                price=bid[keep],
                size=floats(table, "bid_size")[keep] * lot,
                price2=ask[keep],
                size2=floats(table, "ask_size")[keep] * lot,
                condition=np.ones(int(keep.sum())),
                exchange=integers(table, "bid_exchange")[keep],
            )
        )


def _load_minutes(path: Path, symbols: frozenset[str] | None, recording: Recording) -> None:
    for name, table in _table(path, MINUTES, symbols).items():
        high, low, close = (floats(table, key) for key in ("high", "low", "close"))
        bars: Slice = make_slice(
            Kind.MINUTE_BAR,
            integers(table, "window_start") + MINUTE_NS,
            price=floats(table, "open"),
            size=floats(table, "volume"),
            price2=high,
            size2=np.clip((high + low + close) / 3.0, low, high),
            price3=low,
            price4=close,
            condition=integers(table, "transactions"),
        )
        recording.parts.setdefault(name, []).append(bars)
