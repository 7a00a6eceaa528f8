"""Alpaca's market-data REST beside the stream: bars, latest quotes, trades and bars, snapshots.

It answers from `MarketMemory` (today) and the feed's past sessions. Historical trades and quotes do not exist here: those paths answer 404.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from aiohttp import web

from tradingsystem.domain import calendar
from tradingsystem.simulator.alpaca_account import KEY_HEADER, SECRET_HEADER, Credentials, answer, refuse
from tradingsystem.simulator.alpaca_data_rows import bar_rows
from tradingsystem.simulator.alpaca_views import rfc3339
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.feed import NEW_YORK, SECOND_NS, DayBars, Feed, quote_lot
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.simulator.order_request import FIELD, Refusal

LIMIT, LIMIT_MAX = 1_000, 10_000
HISTORY_DAYS = 60
ONE_DAY = datetime.timedelta(days=1)

Handler = Callable[[web.Request], Awaitable[web.Response]]


class AlpacaDataRest:
    """Handlers under `/v2/stocks/`."""

    def __init__(self, wire: Wire, feed: Feed, memory: MarketMemory, credentials: Credentials) -> None:
        self._wire, self._feed, self._memory, self._credentials = wire, feed, memory, credentials
        self._index = {symbol: row for row, symbol in enumerate(feed.symbols)}
        self._days: list[DayBars] | None = None
        self._lot = quote_lot(feed.session.date)

    def routes(self) -> list[web.RouteDef]:
        table: tuple[tuple[str, Handler], ...] = (
            ("/v2/stocks/bars", self.bars),
            ("/v2/stocks/quotes/latest", self.latest_quotes),
            ("/v2/stocks/trades/latest", self.latest_trades),
            ("/v2/stocks/bars/latest", self.latest_bars),
            ("/v2/stocks/snapshots", self.snapshots),
        )
        return [web.get(path, self._counter(handler)) for path, handler in table]

    def _counter(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            given = request.headers.get(KEY_HEADER, ""), request.headers.get(SECRET_HEADER, "")
            if not self._credentials.match(*given):
                return answer({"message": "forbidden."}, 403)
            try:
                return await handler(request)
            except ValueError as error:
                return refuse(Refusal(400, FIELD, f"invalid request: {error}"))

        return handle

    async def bars(self, request: web.Request) -> web.Response:
        """Minute or day bars, symbol by symbol; the limit counts rows over all symbols, `next_page_token` goes on after the last row."""
        query = request.query
        timeframe = query.get("timeframe", "")
        if timeframe not in ("1Min", "1Day"):
            raise ValueError(f"timeframe {timeframe!r}: the simulator has 1Min and 1Day")
        limit = min(int(query.get("limit") or LIMIT), self._wire.faults.scenario.page_rows_max or LIMIT_MAX, LIMIT_MAX)
        today = self._feed.session.date
        start = query.get("start") or today.isoformat()
        end = query.get("end") or rfc3339(self._wire.now_ns())
        rows = [
            (symbol, row)
            for symbol in sorted(self._symbols(request))
            for row in self._bars_of(symbol, timeframe, start, end)
            if _utc(start) <= _utc(row["t"]) <= _utc(end)
        ]
        begin = int(query.get("page_token") or 0)
        bars: dict[str, list[dict[str, Any]]] = {}
        for symbol, row in rows[begin : begin + limit]:
            bars.setdefault(symbol, []).append(row)
        following = str(begin + limit) if begin + limit < len(rows) else None
        return answer({"bars": bars, "next_page_token": following})

    async def latest_quotes(self, request: web.Request) -> web.Response:
        return answer({"quotes": {symbol: self._quote(self._index[symbol]) for symbol in self._symbols(request)}})

    async def latest_trades(self, request: web.Request) -> web.Response:
        symbols = [symbol for symbol in self._symbols(request) if self._memory.trade_ns[self._index[symbol]]]
        return answer({"trades": {symbol: self._trade(self._index[symbol]) for symbol in symbols}})

    async def latest_bars(self, request: web.Request) -> web.Response:
        found = {symbol: bar_rows(self._memory.minutes(self._index[symbol])) for symbol in self._symbols(request)}
        return answer({"bars": {symbol: rows[-1] for symbol, rows in found.items() if rows}})

    async def snapshots(self, request: web.Request) -> web.Response:
        """A bare object of symbols, as the venue answers."""
        return answer({symbol: self._snapshot(symbol) for symbol in self._symbols(request)})

    def _snapshot(self, symbol: str) -> dict[str, Any]:
        row = self._index[symbol]
        minutes = bar_rows(self._memory.minutes(row))
        days = self._history()
        memory = self._memory
        snapshot: dict[str, Any] = {"latestQuote": self._quote(row)}
        if memory.trade_ns[row]:
            snapshot["latestTrade"] = self._trade(row)
        if minutes:
            snapshot["minuteBar"] = minutes[-1]
        if memory.trades[row] and memory.open[row]:
            values = (memory.open[row], memory.high[row], memory.low[row], memory.close[row], memory.volume[row], memory.vwap[row])
            snapshot["dailyBar"] = _day_bar(self._feed.session.date, values, int(memory.trades[row]))
        if days and days[-1].volume[row] > 0:
            snapshot["prevDailyBar"] = _past(days[-1], row)
        return snapshot

    def _bars_of(self, symbol: str, timeframe: str, start: str, end: str) -> list[dict[str, Any]]:
        row = self._index[symbol]
        if timeframe == "1Day":
            return [_past(day, row) for day in self._history() if day.volume[row] > 0]
        found: list[dict[str, Any]] = []
        day, last = _utc(start).astimezone(NEW_YORK).date(), _utc(end).astimezone(NEW_YORK).date()
        while day <= min(last, self._feed.session.date):
            if day == self._feed.session.date:
                found += bar_rows(self._memory.minutes(row))
            elif calendar.is_session(day):
                found += bar_rows(self._feed.history_minutes(row, day))
            day += ONE_DAY
        return found

    def _history(self) -> list[DayBars]:
        if self._days is None:
            self._days = self._feed.history_days(HISTORY_DAYS)
        return self._days

    def _symbols(self, request: web.Request) -> list[str]:
        asked = request.query.get("symbols", "")
        if not asked:
            raise ValueError("symbols is required")
        return [symbol for symbol in asked.split(",") if symbol in self._index]

    def _quote(self, row: int) -> dict[str, Any]:
        memory = self._memory
        return {
            "t": rfc3339(int(memory.quote_ns[row])),
            "bx": "N",
            "bp": float(memory.bid[row]),
            "bs": int(memory.bid_size[row]) // self._lot,
            "ax": "N",
            "ap": float(memory.ask[row]),
            "as": int(memory.ask_size[row]) // self._lot,
            "c": ["R"],
            "z": "A",
        }

    def _trade(self, row: int) -> dict[str, Any]:
        memory = self._memory
        price, size = float(memory.trade_price[row]), int(memory.trade_size[row])
        return {
            "t": rfc3339(int(memory.trade_ns[row])),
            "x": "N",
            "p": price,
            "s": size,
            "c": ["@"],
            "i": int(memory.trade_id[row]),
            "z": "A",
        }


def _past(day: DayBars, row: int) -> dict[str, Any]:
    values = (day.open[row], day.high[row], day.low[row], day.close[row], day.volume[row], day.vwap[row])
    return _day_bar(day.session.date, values, int(day.trades[row]))


def _day_bar(date: datetime.date, values: tuple[np.floating[Any], ...], trades: int) -> dict[str, Any]:
    """A day bar starts at midnight in New York."""
    midnight = datetime.datetime.combine(date, datetime.time(), NEW_YORK)
    bar = {key: float(value) for key, value in zip("ohlcv", values[:5], strict=True)}
    at_ns = int(midnight.timestamp()) * SECOND_NS
    return {"t": rfc3339(at_ns), **bar, "v": int(bar["v"]), "n": trades, "vw": round(float(values[5]), 6)}


def _utc(text: str) -> datetime.datetime:
    """RFC 3339 or a date, as aware UTC. Raises ValueError."""
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
