"""Polygon's (Massive's) REST: reference data, market status, history, aggregates of the running day, snapshots.

Answers come from `MarketMemory` and the feed's past, so nothing here is ahead of the sockets. A list of tickers is long
(names that never trade pad it) and comes in pages. It refuses without a key, today's grouped bars before the close, and
more requests a market minute than the plan allows.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from tradingsystem.domain import calendar, xnys
from tradingsystem.domain.time import NEW_YORK, new_york_date, to_datetime
from tradingsystem.simulator.conditions import (
    CONDITIONS,
    EXCHANGE_CODES,
    UPDATES_HIGH_LOW,
    UPDATES_OPEN_CLOSE,
    UPDATES_VOLUME,
)
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.feed import SECOND_NS, DayBars, Feed, quote_lot
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.simulator.polygon_aggregates import aggregates
from tradingsystem.simulator.polygon_listing import Listing
from tradingsystem.simulator.polygon_refusal import Refusal, parse_date

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MILLISECOND_NS = 1_000_000
HISTORY_DAYS = 60


class PolygonRest:
    """The REST host. `requests_per_minute` None is a paid plan; `listed` is how long the list of tickers is at least."""

    def __init__(
        self,
        wire: Wire,
        feed: Feed,
        memory: MarketMemory,
        keys: frozenset[str],
        *,
        requests_per_minute: int | None = None,
        listed: int = 11_600,
    ) -> None:
        self._wire, self._feed, self._memory, self._keys = wire, feed, memory, keys
        self._limit = requests_per_minute
        self._lot = quote_lot(feed.session.date)
        self._recent: deque[int] = deque()
        self.facts = feed.reference()
        self.index = {symbol: i for i, symbol in enumerate(feed.symbols)}
        self.listing = Listing(self.facts, listed)
        self._history: dict[datetime.date, DayBars] | None = None
        self._requests = 0

    def handler(self, answer: Callable[[web.Request], dict[str, Any] | list[Any]]) -> Handler:
        """Wrap a pure answer with authentication, rate limit and the vendor's error bodies."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self._requests += 1
            request_id = hashlib.md5(str(self._requests).encode(), usedforsecurity=False).hexdigest()
            try:
                self._admit(request)
                body = answer(request)
            except Refusal as refusal:
                told = {"status": refusal.status, "request_id": request_id, refusal.key: refusal.text}
                return _json(told, refusal.code)
            if isinstance(body, dict):
                body = {"status": "OK", "request_id": request_id, **body}
            return _json(body, 200)

        return handle

    def _admit(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get("apiKey", "")
        if given not in self._keys:
            raise Refusal(401, "ERROR", "Unknown API Key")
        if self._limit is None:
            return
        now = self._wire.now_ns()
        while self._recent and self._recent[0] <= now - 60 * SECOND_NS:
            self._recent.popleft()
        if len(self._recent) >= self._limit:
            text = "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue."
            raise Refusal(429, "ERROR", text)
        self._recent.append(now)

    # Reference data

    def tickers(self, request: web.Request) -> dict[str, Any]:
        """`/v3/reference/tickers`: a page of the list, with an absolute `next_url` that carries no key."""
        rows, cursor = self.listing.page(dict(request.query), self._wire.faults.scenario.page_rows_max)
        body: dict[str, Any] = {"results": rows, "count": len(rows)}
        if cursor:
            body["next_url"] = f"{request.scheme}://{request.host}{request.path}?cursor={cursor}"
        return body

    def details(self, request: web.Request) -> dict[str, Any]:
        """`/v3/reference/tickers/{ticker}`."""
        found = self.listing.details(request.match_info["ticker"])
        if found is None:
            raise Refusal(404, "NOT_FOUND", "Ticker not found.", "message")
        return {"results": found}

    def exchanges(self, _: web.Request) -> dict[str, Any]:
        """`/v3/reference/exchanges`."""
        rows = [
            {"id": code.id, "type": "TRF" if code.id == 4 else "exchange", "asset_class": "stocks", "locale": "us",
             "name": code.name, "mic": code.mic, "operating_mic": code.mic, "participant_id": code.letter}
            for code in EXCHANGE_CODES
        ]  # fmt: skip
        return {"results": rows, "count": len(rows)}

    def conditions(self, _: web.Request) -> dict[str, Any]:
        """`/v3/reference/conditions`."""
        rows = []
        for condition in CONDITIONS:
            rules = {
                "updates_high_low": bool(condition.updates & UPDATES_HIGH_LOW),
                "updates_open_close": bool(condition.updates & UPDATES_OPEN_CLOSE),
                "updates_volume": bool(condition.updates & UPDATES_VOLUME),
            }
            mapping = {name: letter for name, letter in (("CTA", condition.cta), ("UTP", condition.utp)) if letter}
            rows.append(
                {"id": condition.id, "type": "sale_condition", "name": condition.name, "asset_class": "stocks",
                 "sip_mapping": mapping, "update_rules": {"consolidated": rules, "market_center": rules},
                 "data_types": ["trade"]}
            )  # fmt: skip
        return {"results": rows, "count": len(rows)}

    # Market status

    def status_now(self, _: web.Request) -> dict[str, Any]:
        """`/v1/marketstatus/now` in market time."""
        now = to_datetime(self._wire.now_ns()).astimezone(NEW_YORK)
        phase = self._phase()
        return {
            "market": {"regular": "open", "closed": "closed"}.get(phase, "extended-hours"),
            "earlyHours": phase == "early",
            "afterHours": phase == "after",
            "exchanges": dict.fromkeys(("nyse", "nasdaq", "otc"), "open" if phase == "regular" else phase_word(phase)),
            "indicesGroups": {"cboe": "open" if phase == "regular" else "closed"},
            "serverTime": now.isoformat(timespec="seconds"),
        }

    def _phase(self) -> str:
        now_ns = self._wire.now_ns()
        now = to_datetime(now_ns).astimezone(NEW_YORK)
        if not calendar.is_session(now.date()):
            return "closed"
        session = calendar.session(now.date())
        if session.contains(now_ns):
            return "regular"
        if now.hour >= 4 and now_ns < session.open_ns:
            return "early"
        last_hour = 17 if session.early_close else 20
        return "after" if now_ns >= session.close_ns and now.hour < last_hour else "closed"

    def status_upcoming(self, _: web.Request) -> list[Any]:
        """`/v1/marketstatus/upcoming`: a bare array, one row per exchange and day."""
        today = new_york_date(self._wire.now_ns())
        rows: list[dict[str, str]] = []
        for date in sorted({*xnys.HOLIDAYS, *xnys.EARLY_CLOSES}):
            if not today < date <= today + datetime.timedelta(days=370):
                continue
            for exchange in ("NYSE", "NASDAQ", "OTC"):
                row = {"date": date.isoformat(), "exchange": exchange, "name": "Market holiday", "status": "closed"}
                if date in xnys.EARLY_CLOSES:
                    session = calendar.session(date)
                    row |= {"status": "early-close", "name": "Early close"}
                    row |= {"open": _iso(session.open_ns), "close": _iso(session.close_ns)}
                rows.append(row)
        return rows

    # Bars

    def history(self) -> dict[datetime.date, DayBars]:
        """Past days by date, drawn once."""
        if self._history is None:
            self._history = {day.session.date: day for day in self._feed.history_days(HISTORY_DAYS)}
        return self._history

    def grouped(self, request: web.Request) -> dict[str, Any]:
        """`/v2/aggs/grouped/…/{date}`: one row per ticker; `t` is the end of the window here."""
        date = parse_date(request.match_info["date"])
        session = self._feed.session
        rows: list[dict[str, Any]] = []
        if date == session.date:
            if self._wire.now_ns() < session.close_ns:
                text = "Attempted to request today's data before end of day. Please upgrade your plan."
                raise Refusal(403, "NOT_AUTHORIZED", text, "message")
            rows = [row for i in range(len(self.facts)) if (row := self._today(i, session.close_ns)) is not None]
        elif (day := self.history().get(date)) is not None:
            rows = [_day_row(self.facts[i].symbol, day, i, day.session.close_ns) for i in np.flatnonzero(day.volume > 0).tolist()]
        body: dict[str, Any] = {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": True}
        return {**body, "results": rows} if rows else body

    def _today(self, i: int, at_ns: int) -> dict[str, Any] | None:
        memory = self._memory
        if memory.open[i] == 0.0:
            return None
        return {
            "T": self.facts[i].symbol, "v": float(memory.volume[i]), "vw": round(float(memory.vwap[i]), 4),
            "o": float(memory.open[i]), "c": float(memory.close[i]), "h": float(memory.high[i]),
            "l": float(memory.low[i]), "t": at_ns // MILLISECOND_NS, "n": int(memory.trades[i]),
        }  # fmt: skip

    def previous(self, request: web.Request) -> dict[str, Any]:
        """`/v2/aggs/ticker/{ticker}/prev`."""
        ticker = request.match_info["ticker"]
        days = sorted(self.history())
        body: dict[str, Any] = {"ticker": ticker, "queryCount": 1, "resultsCount": 0, "adjusted": True}
        if ticker not in self.index or not days:
            return body
        day, i = self.history()[days[-1]], self.index[ticker]
        return {**body, "resultsCount": 1, "results": [_day_row(ticker, day, i, day.session.close_ns)]}

    def range(self, request: web.Request) -> dict[str, Any]:
        """`/v2/aggs/ticker/{ticker}/range/{mult}/{timespan}/{from}/{to}`."""
        return aggregates(request, self._feed, self._memory, self.index, self.history, self._wire)

    def open_close(self, request: web.Request) -> dict[str, Any]:
        """`/v1/open-close/{ticker}/{date}`: a flat object."""
        ticker, date = request.match_info["ticker"], parse_date(request.match_info["date"])
        day, i = self.history().get(date), self.index.get(ticker)
        if day is None or i is None:
            raise Refusal(404, "NOT_FOUND", "Data not found.", "message")
        row = _day_row(ticker, day, i, 0)
        return {"from": date.isoformat(), "symbol": ticker, "open": row["o"], "high": row["h"], "low": row["l"],
                "close": row["c"], "volume": row["v"], "preMarket": row["o"], "afterHours": row["c"]}  # fmt: skip

    # Last values

    def last_trade(self, request: web.Request) -> dict[str, Any]:
        """`/v2/last/trade/{ticker}`; times in ns."""
        ticker, i = self._known(request)
        memory = self._memory
        if memory.trade_ns[i] == 0:
            raise Refusal(404, "NOT_FOUND", "No trade yet.", "message")
        at, identity = int(memory.trade_ns[i]), int(memory.trade_id[i])
        conditions = {"c": [int(memory.trade_condition[i])]} if memory.trade_condition[i] else {}
        return {"results": {
            "T": ticker, "p": float(memory.trade_price[i]), "s": float(memory.trade_size[i]), "i": str(identity),
            "x": int(memory.trade_exchange[i]), "q": identity, "z": self.facts[i].tape, "t": at, "y": at, **conditions,
        }}  # fmt: skip

    def last_quote(self, request: web.Request) -> dict[str, Any]:
        """`/v2/last/nbbo/{ticker}`: lower case is the bid, upper case the ask; times in ns."""
        ticker, i = self._known(request)
        memory, at = self._memory, int(self._memory.quote_ns[i])
        if at == 0:
            raise Refusal(404, "NOT_FOUND", "No quote yet.", "message")
        return {"results": {
            "T": ticker, "p": float(memory.bid[i]), "s": int(memory.bid_size[i]) // self._lot, "P": float(memory.ask[i]),
            "S": int(memory.ask_size[i]) // self._lot, "t": at, "y": at, "z": self.facts[i].tape, "q": at,
        }}  # fmt: skip

    def _known(self, request: web.Request) -> tuple[str, int]:
        ticker = request.match_info["ticker"]
        if ticker not in self.index:
            raise Refusal(404, "NOT_FOUND", "Ticker not found.", "message")
        return ticker, self.index[ticker]

    def snapshots(self, request: web.Request) -> dict[str, Any]:
        """`/v2/snapshot/…/tickers`: those asked for, or the whole market."""
        asked = request.query.get("tickers", "")
        names = [name for name in asked.split(",") if name in self.index] if asked else list(self.index)
        rows = [row for name in names if (row := self._snapshot(self.index[name])) is not None]
        return {"count": len(rows), "tickers": rows}

    def snapshot(self, request: web.Request) -> dict[str, Any]:
        """`…/tickers/{ticker}`: under key `ticker`."""
        _, i = self._known(request)
        found = self._snapshot(i)
        if found is None:
            raise Refusal(404, "NotFound", "Ticker not found.", "message")
        return {"ticker": found}

    def _snapshot(self, i: int) -> dict[str, Any] | None:
        memory, fact = self._memory, self.facts[i]
        if memory.trade_ns[i] == 0 and memory.quote_ns[i] == 0:
            return None
        today = self._today(i, 0) or dict.fromkeys(("o", "h", "l", "c", "v", "vw"), 0.0)
        day = {key: today[key] for key in ("o", "h", "l", "c", "v", "vw")}
        before = fact.previous_close
        change = (day["c"] or before) - before
        bars = memory.minutes(i) if memory.trades[i] else None
        minute: dict[str, Any] = {}
        if bars is not None and len(bars.start_ns):
            values = zip("ohlcv", (bars.open, bars.high, bars.low, bars.close, bars.volume), strict=True)
            minute = {name: float(column[-1]) for name, column in values}
            minute |= {"vw": round(float(bars.vwap[-1]), 4), "n": int(bars.trades[-1]), "av": int(memory.volume[i]),
                       "t": int(bars.start_ns[-1]) // MILLISECOND_NS}  # fmt: skip
        updated = int(max(memory.trade_ns[i], memory.quote_ns[i]))
        return {
            "ticker": fact.symbol, "day": day, "min": minute, "prevDay": self._previous_day(i),
            "lastTrade": {"p": float(memory.trade_price[i]), "s": int(memory.trade_size[i]), "t": int(memory.trade_ns[i]),
                          "x": int(memory.trade_exchange[i]), "i": str(int(memory.trade_id[i]))},
            "lastQuote": {"p": float(memory.bid[i]), "s": int(memory.bid_size[i]) // self._lot, "P": float(memory.ask[i]),
                          "S": int(memory.ask_size[i]) // self._lot, "t": int(memory.quote_ns[i])},
            "todaysChange": round(change, 4), "todaysChangePerc": round(100.0 * change / before, 4) if before else 0.0,
            "updated": updated,
        }  # fmt: skip

    def _previous_day(self, i: int) -> dict[str, Any]:
        days = sorted(self.history())
        if not days:
            return {}
        row = _day_row("", self.history()[days[-1]], i, 0)
        return {key: row[key] for key in ("o", "h", "l", "c", "v", "vw")}

    def indices(self, request: web.Request) -> dict[str, Any]:
        """`/v3/snapshot/indices`: the volatility index; others come back as rows with an error."""
        rows: list[dict[str, Any]] = []
        memory = self._memory
        for ticker in filter(None, request.query.get("ticker.any_of", "I:VIX").split(",")):
            if ticker != "I:VIX" or memory.vix_ns == 0:
                rows.append({"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."})
                continue
            values = [value for _, value in memory.vix_values]
            rows.append(
                {"ticker": ticker, "name": "Cboe Volatility Index (simulated)", "type": "indices", "value": memory.vix,
                 "last_updated": memory.vix_ns, "timeframe": "REAL-TIME",
                 "market_status": "regular_trading" if self._phase() == "regular" else "closed",
                 "session": {"open": values[0], "close": values[-1], "high": max(values), "low": min(values)}}
            )  # fmt: skip
        return {"results": rows}


def phase_word(phase: str) -> str:
    """How an exchange's state reads outside regular hours."""
    return "closed" if phase == "closed" else "extended-hours"


def _day_row(symbol: str, day: DayBars, i: int, at_ns: int) -> dict[str, Any]:
    return {
        "T": symbol, "v": float(day.volume[i]), "vw": float(day.vwap[i]), "o": float(day.open[i]),
        "c": float(day.close[i]), "h": float(day.high[i]), "l": float(day.low[i]), "t": at_ns // MILLISECOND_NS,
        "n": int(day.trades[i]),
    }  # fmt: skip


def _iso(at_ns: int) -> str:
    return to_datetime(at_ns).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _json(body: Any, code: int) -> web.Response:
    return web.Response(status=code, body=msgspec.json.encode(body), content_type="application/json")


def routes(rest: PolygonRest) -> list[web.RouteDef]:
    """Every path this host answers."""
    table: tuple[tuple[str, Callable[[web.Request], Any]], ...] = (
        ("/v3/reference/tickers", rest.tickers),
        ("/v3/reference/tickers/{ticker}", rest.details),
        ("/v3/reference/exchanges", rest.exchanges),
        ("/v3/reference/conditions", rest.conditions),
        ("/v1/marketstatus/now", rest.status_now),
        ("/v1/marketstatus/upcoming", rest.status_upcoming),
        ("/v2/aggs/grouped/locale/us/market/stocks/{date}", rest.grouped),
        ("/v2/aggs/ticker/{ticker}/prev", rest.previous),
        ("/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}", rest.range),
        ("/v1/open-close/{ticker}/{date}", rest.open_close),
        ("/v2/last/trade/{ticker}", rest.last_trade),
        ("/v2/last/nbbo/{ticker}", rest.last_quote),
        ("/v2/snapshot/locale/us/markets/stocks/tickers", rest.snapshots),
        ("/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}", rest.snapshot),
        ("/v3/snapshot/indices", rest.indices),
    )
    return [web.get(path, rest.handler(answer)) for path, answer in table]
