"""Pages of Polygon's REST with a day's trades, quotes or minutes, as lines of the vendor's own flat files. Pure.

Nothing is interpreted: values go over as they came, so that a fetched day and a bought one are read by the same reader. A page that is not one raises.
"""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote

import msgspec

from tradingsystem.domain.time import NS_PER_MILLISECOND
from tradingsystem.messages.codec import Malformed

PAGE_ROWS = 50_000


class TickKind(enum.StrEnum):
    """What can be fetched."""

    TRADES = "trades"
    QUOTES = "quotes"
    MINUTES = "minutes"


class _Trade(msgspec.Struct, frozen=True):
    price: float
    sip_timestamp: int
    size: float = 0.0
    decimal_size: str = ""
    exchange: int = 0
    id: str = ""
    conditions: tuple[int, ...] = ()
    correction: int = 0
    participant_timestamp: int = 0
    sequence_number: int = 0
    tape: int = 0
    trf_id: int = 0
    trf_timestamp: int = 0


class _Quote(msgspec.Struct, frozen=True):
    sip_timestamp: int
    ask_price: float = 0.0
    ask_size: float = 0.0
    ask_exchange: int = 0
    bid_price: float = 0.0
    bid_size: float = 0.0
    bid_exchange: int = 0
    conditions: tuple[int, ...] = ()
    indicators: tuple[int, ...] = ()
    participant_timestamp: int = 0
    sequence_number: int = 0
    tape: int = 0
    trf_timestamp: int = 0


class _Minute(msgspec.Struct, frozen=True):
    o: float
    h: float
    l: float  # noqa: E741  the wire's name
    c: float
    v: float
    t: int
    n: int = 0


class _Page(msgspec.Struct, frozen=True):
    results: list[msgspec.Raw] = []
    next_url: str | None = None


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else repr(value)


def _ids(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


def _trade_line(ticker: str, row: _Trade) -> tuple[object, ...]:
    size = row.decimal_size or _number(row.size)
    return (ticker, _ids(row.conditions), row.correction, row.exchange, row.id, row.participant_timestamp, repr(row.price),
            row.sequence_number, row.sip_timestamp, size, row.tape, row.trf_id, row.trf_timestamp)  # fmt: skip


def _quote_line(ticker: str, row: _Quote) -> tuple[object, ...]:
    return (ticker, row.ask_exchange, repr(row.ask_price), _number(row.ask_size), row.bid_exchange, repr(row.bid_price), _number(row.bid_size),
            _ids(row.conditions), _ids(row.indicators), row.participant_timestamp, row.sequence_number, row.sip_timestamp, row.tape,
            row.trf_timestamp)  # fmt: skip


def _minute_line(ticker: str, row: _Minute) -> tuple[object, ...]:
    return (ticker, _number(row.v), repr(row.o), repr(row.c), repr(row.h), repr(row.l), row.t * NS_PER_MILLISECOND, row.n)


@dataclass(frozen=True, slots=True)
class _Form:
    """One kind: the folder and columns of its flat file, the rows of its pages, and how one becomes the other."""

    folder: str
    columns: tuple[str, ...]
    row: type[msgspec.Struct]
    line: Callable[..., tuple[object, ...]]


_FORMS: dict[TickKind, _Form] = {
    TickKind.TRADES: _Form(
        "trades_v1",
        ("ticker", "conditions", "correction", "exchange", "id", "participant_timestamp", "price",
         "sequence_number", "sip_timestamp", "size", "tape", "trf_id", "trf_timestamp"),
        _Trade,
        _trade_line,
    ),
    TickKind.QUOTES: _Form(
        "quotes_v1",
        ("ticker", "ask_exchange", "ask_price", "ask_size", "bid_exchange", "bid_price", "bid_size",
         "conditions", "indicators", "participant_timestamp", "sequence_number", "sip_timestamp", "tape", "trf_timestamp"),
        _Quote,
        _quote_line,
    ),
    TickKind.MINUTES: _Form(
        "minute_aggs_v1", ("ticker", "volume", "open", "close", "high", "low", "window_start", "transactions"), _Minute, _minute_line
    ),
}  # fmt: skip


def first_page(kind: TickKind, ticker: str, day: date) -> tuple[str, dict[str, str]]:
    """Path and parameters of the first page of a ticker's day."""
    name = quote(ticker, safe="")
    if kind is TickKind.MINUTES:
        return f"/v2/aggs/ticker/{name}/range/1/minute/{day}/{day}", {"adjusted": "false", "sort": "asc", "limit": str(PAGE_ROWS)}
    return f"/v3/{kind.value}/{name}", {"timestamp": day.isoformat(), "order": "asc", "sort": "timestamp", "limit": str(PAGE_ROWS)}


def lines_of(kind: TickKind, ticker: str, body: bytes) -> tuple[str, int, str | None]:
    """The page as CSV without a header, the number of its rows, and the next page's address. Raises ``Malformed``."""
    form = _FORMS[kind]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    try:
        page = msgspec.json.decode(body, type=_Page)
        writer.writerows(form.line(ticker, msgspec.json.decode(raw, type=form.row)) for raw in page.results)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise Malformed(f"not a page of {kind.value}: {error}") from error
    return text.getvalue(), len(page.results), page.next_url


def header(kind: TickKind) -> str:
    """The flat file's first line."""
    return ",".join(_FORMS[kind].columns) + "\n"


def flat_file(kind: TickKind, day: date) -> str:
    """Where the vendor's layout keeps that day, relative to a folder."""
    return f"us_stocks_sip/{_FORMS[kind].folder}/{day:%Y}/{day:%m}/{day}.csv.gz"
