"""`/v2/aggs/ticker/…/range/…`: bars of any multiple, from the running day and the feed's past.

Windows without a trade are missing, as with the vendor. `limit` counts base bars, not results. It refuses to make a bar
whose window has not ended.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
from aiohttp import web

from tradingsystem.domain import calendar
from tradingsystem.domain.time import new_york_date, new_york_ns
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.feed import SECOND_NS, DayBars, Feed, MinuteBars
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.simulator.polygon_refusal import Refusal, parse_date

SPANS_NS = {"second": SECOND_NS, "minute": 60 * SECOND_NS, "hour": 3_600 * SECOND_NS}
BASE_LIMIT, BASE_LIMIT_MAX = 5_000, 50_000
DAY_NS = 86_400 * SECOND_NS
HISTORY_REACH_DAYS = 90  # minutes of older days are not answered


def aggregates(
    request: web.Request,
    feed: Feed,
    memory: MarketMemory,
    index: dict[str, int],
    history: Callable[[], dict[datetime.date, DayBars]],
    wire: Wire,
) -> dict[str, Any]:
    """The body of one answer. Raises Refusal on a path or query that cannot be understood."""
    match, ticker = request.match_info, request.match_info["ticker"]
    span, multiplier = match["timespan"], match["multiplier"]
    if (span not in SPANS_NS and span != "day") or not multiplier.isdigit() or int(multiplier) < 1:
        raise Refusal(
            400, "ERROR", f"range {multiplier}/{span}: the multiplier must be 1 or more, the timespan second, minute, hour or day"
        )
    first, last = _bound(match["from"], last=False), _bound(match["to"], last=True)
    limit = _limit(request.query.get("limit", str(BASE_LIMIT)), wire.faults.scenario.page_rows_max)
    body: dict[str, Any] = {"ticker": ticker, "adjusted": request.query.get("adjusted", "true") != "false"}
    if ticker not in index:
        return {**body, "queryCount": 0, "resultsCount": 0}
    i = index[ticker]
    bars = _days(i, history(), first, last) if span == "day" else _intraday(i, feed, memory, span, first, last)
    descending = request.query.get("sort", "asc") == "desc"
    keep = slice(-limit, None) if descending else slice(0, limit)
    cut = len(bars.start_ns) > limit
    window = int(multiplier) * (DAY_NS if span == "day" else SPANS_NS[span])
    rows = _combine(_take(bars, keep), window)
    body |= {"queryCount": min(len(bars.start_ns), limit), "resultsCount": len(rows)}
    if rows:
        body["results"] = rows[::-1] if descending else rows
    if cut and not descending:
        following = int(bars.start_ns[limit]) // 1_000_000
        query = "&".join(f"{key}={value}" for key, value in request.query.items() if key != "apiKey")
        path = f"/v2/aggs/ticker/{ticker}/range/{multiplier}/{span}/{following}/{match['to']}"
        body["next_url"] = f"{request.scheme}://{request.host}{path}" + (f"?{query}" if query else "")
    return body


def _bound(text: str, *, last: bool) -> int:
    if text.lstrip("-").isdigit():
        return int(text) * 1_000_000
    date = parse_date(text)
    return new_york_ns(date + datetime.timedelta(days=1 if last else 0), datetime.time()) - (1 if last else 0)


def _limit(text: str, rows_max: int) -> int:
    if not text.isdigit() or not 1 <= int(text) <= BASE_LIMIT_MAX:
        raise Refusal(400, "ERROR", f"limit {text!r} must be a number from 1 to {BASE_LIMIT_MAX}")
    return min(int(text), rows_max) if rows_max else int(text)


def _intraday(i: int, feed: Feed, memory: MarketMemory, span: str, first: int, last: int) -> MinuteBars:
    parts: list[MinuteBars] = []
    if span != "second":
        date = max(new_york_date(first), feed.session.date - datetime.timedelta(days=HISTORY_REACH_DAYS))
        while date <= new_york_date(last) and date < feed.session.date:
            if calendar.is_session(date):
                parts.append(feed.history_minutes(i, date))
            date += datetime.timedelta(days=1)
    parts.append(memory.seconds(i) if span == "second" else memory.minutes(i))
    joined = MinuteBars(*(np.concatenate([getattr(part, name) for part in parts]) for name in MinuteBars.__slots__))
    return _take(joined, (joined.start_ns >= first) & (joined.start_ns <= last))


def _days(i: int, history: dict[datetime.date, DayBars], first: int, last: int) -> MinuteBars:
    days = [history[date] for date in sorted(history) if history[date].volume[i] > 0]
    starts = [new_york_ns(day.session.date, datetime.time()) for day in days]
    chosen = [day for day, start in zip(days, starts, strict=True) if first <= start <= last]

    def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([float(getattr(day, name)[i]) for day in chosen])

    return MinuteBars(
        start_ns=np.array([start for start in starts if first <= start <= last], dtype=np.int64),
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=column("volume"),
        vwap=column("vwap"),
        trades=column("trades").astype(np.int64),
    )


def _take(bars: MinuteBars, rows: Any) -> MinuteBars:
    return MinuteBars(*(getattr(bars, name)[rows] for name in MinuteBars.__slots__))


def _combine(bars: MinuteBars, window_ns: int) -> list[dict[str, Any]]:
    """Base bars joined into windows aligned to the epoch (days to themselves)."""
    if not len(bars.start_ns):
        return []
    whole_days = window_ns % DAY_NS == 0
    group = np.arange(len(bars.start_ns)) // (window_ns // DAY_NS) if whole_days else bars.start_ns // window_ns
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    last = np.concatenate([first[1:], [len(group)]]) - 1
    start = bars.start_ns[first] if whole_days else group[first] * window_ns
    volume = np.add.reduceat(bars.volume, first)
    turnover = np.add.reduceat(bars.volume * bars.vwap, first)
    columns = {
        "v": volume,
        "vw": np.round(turnover / np.maximum(volume, 1.0), 4),
        "o": bars.open[first],
        "c": bars.close[last],
        "h": np.maximum.reduceat(bars.high, first),
        "l": np.minimum.reduceat(bars.low, first),
        "t": start // 1_000_000,
        "n": np.add.reduceat(bars.trades, first),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*(value.tolist() for value in columns.values()), strict=True)]
