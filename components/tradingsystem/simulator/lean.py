"""LEAN's zip-of-CSV files (one symbol, one day, no header) as slices of the feed seam.

Times are milliseconds since midnight in New York, prices dollars x 10,000. Quotes are per exchange: the best of them is
built here. Some files (the public sample's among them) hold the national best already, with the exchange that set it:
read as per-exchange quotes they are crossed most of the time, which no market is, so they are told apart by that. Where
only minute quotes exist (SPY in the sample) each becomes one quote at the end of its minute, never earlier. Rows the
vendor calls suspicious are kept as trades that update nothing, left out of quotes, and counted.
"""

from __future__ import annotations

import dataclasses
import datetime
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tradingsystem.domain.time import new_york_ns
from tradingsystem.simulator.conditions import EXCHANGE_BY_LETTER
from tradingsystem.simulator.feed import F64, I32, I64, MINUTE_NS, SECOND_NS, Kind, MinuteBars, Slice, no_minutes
from tradingsystem.simulator.nbbo import BestQuotes, best_quotes
from tradingsystem.simulator.recorded import (
    SUSPICIOUS,
    DamagedFile,
    Recording,
    bars_of,
    check_rows,
    floats,
    integers,
    make_slice,
    read_csv,
)

SCALE = 10_000.0
MILLISECOND_NS = 1_000_000
DAY_MS = 86_400_000
CROSSED_MAX_SHARE = 0.10  # of the changes of the best quote; real markets stay far below one in a hundred
TRADE_NAMES = ["time", "price", "size", "exchange", "condition", "suspicious"]
QUOTE_NAMES = ["time", "bid", "bid_size", "ask", "ask_size", "exchange", "condition", "suspicious"]
MINUTE_TRADE_NAMES = ["time", "open", "high", "low", "close", "volume"]
MINUTE_QUOTE_NAMES = [
    "time", "bid_open", "bid_high", "bid_low", "bid_close", "bid_size",
    "ask_open", "ask_high", "ask_low", "ask_close", "ask_size",
]  # fmt: skip

# Bit of LEAN's trade condition flags -> Polygon id, the most restrictive first: the first that is set wins.
FLAGS: tuple[tuple[int, int], ...] = (
    (24, 15), (26, 16), (20, 2), (1, 7), (2, 20), (3, 29), (22, 21), (18, 53), (14, 33), (11, 33), (13, 12), (10, 12),
    (31, 37), (17, 5), (9, 10), (25, 22), (6, 25), (7, 8), (8, 28), (21, 9), (5, 14),
)  # fmt: skip


def dates(folder: Path) -> list[datetime.date]:
    """Days for which any file is there, in order."""
    names = [path.stem for kind in ("tick", "minute") for path in (folder / kind).glob("*_trade.zip")]
    found = {name.rsplit("-", 1)[-1].removesuffix("_trade") for name in names}
    return sorted(datetime.date(int(text[:4]), int(text[4:6]), int(text[6:8])) for text in found if text.isdigit())


def symbols_of(folder: Path, date: datetime.date) -> list[str]:
    """Tickers with trades on a day."""
    paths = [path for kind in ("tick", "minute") for path in (folder / kind).glob(f"*-{date:%Y%m%d}_trade.zip")]
    return sorted({path.stem.rsplit("-", 1)[0].upper() for path in paths})


def load(folder: Path, date: datetime.date) -> Recording:
    """One day of every symbol. Raises DamagedFile, FileNotFoundError when the folder has nothing for that day."""
    names = symbols_of(folder, date)
    if not names:
        there = ", ".join(day.isoformat() for day in dates(folder)) or "none"
        raise FileNotFoundError(f"{folder} has no LEAN files for {date}; days there: {there}")
    recording = Recording()
    midnight = new_york_ns(date, datetime.time())
    for name in names:
        recording.parts[name] = [*_trades(folder, name, date, midnight, recording), *_quotes(folder, name, date, midnight, recording)]
    return recording


def _path(folder: Path, kind: str, name: str, date: datetime.date, what: str) -> Path:
    return folder / kind / f"{name.lower()}-{date:%Y%m%d}_{what}.zip"


def _read(path: Path, names: list[str], text: tuple[str, ...] = ()) -> pa.Table:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if len(members) != 1:
                raise DamagedFile(path, 0, f"{len(members)} members in the zip where one is expected")
            data = archive.read(members[0])
    except PermissionError:  # nothing is known of the file
        raise
    except (zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
        raise DamagedFile(path, 0, f"not a readable zip: {error}") from error
    types = {name: pa.string() if name in text else pa.int64() for name in names}
    table = read_csv(path, data, names, types, header=False)
    time = integers(table, "time")
    check_rows(path, (time < 0) | (time >= DAY_MS), f"time must lie in 0..{DAY_MS - 1} ms since midnight")
    check_rows(path, np.concatenate([[False], time[1:] < time[:-1]]), "time goes back")
    return table


def _exchanges(path: Path, table: pa.Table) -> I64:
    """Polygon exchange ids of a column of letters."""
    encoded = table.column("exchange").combine_chunks().dictionary_encode()
    ids = np.array([EXCHANGE_BY_LETTER.get(letter or "", -1) for letter in encoded.dictionary.to_pylist()], dtype=np.int64)
    found = ids[encoded.indices.fill_null(0).to_numpy()] if len(ids) else np.full(len(table), -1)
    check_rows(path, found < 0, "exchange is not a known letter")
    return np.asarray(found, dtype=np.int64)


def polygon_condition(flags: int) -> int:
    """The Polygon condition that restricts most among LEAN's flags; 0 for a regular sale."""
    return next((condition for bit, condition in FLAGS if flags >> bit & 1), 0)


def _conditions(path: Path, table: pa.Table) -> I32:
    encoded = table.column("condition").combine_chunks().dictionary_encode()
    ids: list[int] = []
    for text in encoded.dictionary.to_pylist():
        try:
            ids.append(polygon_condition(int(text or "0", 16)))
        except ValueError:
            ids.append(-1)
    found = np.asarray(np.array(ids or [0], dtype=np.int32)[encoded.indices.fill_null(0).to_numpy()], dtype=np.int32)
    check_rows(path, found < 0, "condition is not a hexadecimal number")
    return found


def _trades(folder: Path, name: str, date: datetime.date, midnight: int, recording: Recording) -> list[Slice]:
    path = _path(folder, "tick", name, date, "trade")
    if not path.exists():
        return [_minute_trades(folder, name, date, midnight)]
    table = _read(path, TRADE_NAMES, ("exchange", "condition"))
    price, size = floats(table, "price") / SCALE, floats(table, "size")
    check_rows(path, price <= 0, "price must be above 0")
    check_rows(path, size < 0, "size must not be negative")
    bad = integers(table, "suspicious") != 0
    recording.note("suspicious trades", int(bad.sum()))
    trades = make_slice(
        Kind.TRADE,
        midnight + integers(table, "time") * MILLISECOND_NS,
        price=price,
        size=size,
        condition=np.where(bad, SUSPICIOUS, _conditions(path, table)),
        exchange=_exchanges(path, table),
    )
    return [bars_of(trades, SECOND_NS, Kind.SECOND_BAR), bars_of(trades, MINUTE_NS, Kind.MINUTE_BAR), trades]


def _minute_trades(folder: Path, name: str, date: datetime.date, midnight: int) -> Slice:
    bars = minute_bars(folder, name, date, midnight)
    return make_slice(
        Kind.MINUTE_BAR,
        bars.start_ns + MINUTE_NS,
        price=bars.open,
        size=bars.volume,
        price2=bars.high,
        size2=bars.vwap,
        price3=bars.low,
        price4=bars.close,
        condition=bars.trades,
    )


def minute_bars(folder: Path, name: str, date: datetime.date, midnight: int | None = None) -> MinuteBars:
    """A day's minute file; VWAP is (high + low + close) / 3 and the count 0, as the file has neither. Empty when absent."""
    path = _path(folder, "minute", name, date, "trade")
    if not path.exists():
        return no_minutes()
    midnight = new_york_ns(date, datetime.time()) if midnight is None else midnight
    table = _read(path, MINUTE_TRADE_NAMES)
    opening, high, low, close = (floats(table, key) / SCALE for key in ("open", "high", "low", "close"))
    check_rows(path, (low <= 0) | (high < low), "low must be above 0 and at most high")
    start = midnight + integers(table, "time") * MILLISECOND_NS
    vwap = np.clip((high + low + close) / 3.0, low, high)
    return MinuteBars(start, opening, high, low, close, floats(table, "volume"), vwap, np.zeros(len(start), dtype=np.int64))


def _quotes(folder: Path, name: str, date: datetime.date, midnight: int, recording: Recording) -> list[Slice]:
    path = _path(folder, "tick", name, date, "quote")
    if not path.exists():
        return _minute_quotes(folder, name, date, midnight, recording)
    table = _read(path, QUOTE_NAMES, ("exchange", "condition"))
    bad = integers(table, "suspicious") != 0
    recording.note("suspicious quotes", int(bad.sum()))
    keep = np.flatnonzero(~bad)
    bid, ask = floats(table, "bid")[keep] / SCALE, floats(table, "ask")[keep] / SCALE
    sizes: tuple[F64, F64] = (floats(table, "bid_size")[keep], floats(table, "ask_size")[keep])
    best = best_quotes(_exchanges(path, table)[keep], bid, sizes[0], ask, sizes[1], one_sided=True)
    if _crossed(best).mean() > CROSSED_MAX_SHARE:
        recording.note("files whose quotes are the NBBO already", 1)
        best = best_quotes(np.zeros(len(keep), dtype=np.int64), bid, sizes[0], ask, sizes[1], one_sided=True)
        best = dataclasses.replace(best, exchange=_exchanges(path, table)[keep][best.row])
    two_sided = (best.bid > 0) & (best.ask > 0)
    recording.note("crossed quotes", int(_crossed(best).sum()))
    time = integers(table, "time")[keep][best.row]
    return [
        make_slice(
            Kind.QUOTE,
            midnight + time[two_sided] * MILLISECOND_NS,
            price=best.bid[two_sided],
            size=best.bid_size[two_sided],
            price2=best.ask[two_sided],
            size2=best.ask_size[two_sided],
            condition=np.ones(int(two_sided.sum())),
            exchange=best.exchange[two_sided],
        )
    ]


def _crossed(best: BestQuotes) -> NDArray[np.bool_]:
    return (best.bid > best.ask) & (best.ask > 0)


def _minute_quotes(folder: Path, name: str, date: datetime.date, midnight: int, recording: Recording) -> list[Slice]:
    path = _path(folder, "minute", name, date, "quote")
    if not path.exists():
        return []
    table = _read(path, MINUTE_QUOTE_NAMES)
    bid, ask = floats(table, "bid_close") / SCALE, floats(table, "ask_close") / SCALE
    keep = np.flatnonzero((bid > 0) & (ask > 0))
    recording.note("quotes known only at the end of their minute", len(keep))
    at = midnight + integers(table, "time")[keep] * MILLISECOND_NS + MINUTE_NS
    return [
        make_slice(
            Kind.QUOTE,
            at,
            price=bid[keep],
            size=floats(table, "bid_size")[keep],
            price2=ask[keep],
            size2=floats(table, "ask_size")[keep],
            condition=np.ones(len(keep)),
            exchange=np.full(len(keep), 11),
        )
    ]
