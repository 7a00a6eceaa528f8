"""Polygon's REST as history, against a real HTTP server: pages, missing results, overload, refused keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tradingsystem.adapters import rest
from tradingsystem.adapters.history import PolygonHistory, PolygonHistorySettings
from tradingsystem.adapters.memory_cache import MemoryCache
from tradingsystem.domain.calendar import previous_sessions, session
from tradingsystem.domain.errors import NotAuthorized, RequestRefused, TryAgain
from tradingsystem.domain.rows import RowFlag, RowKind

KEY = "made-up-key"
Answer = Callable[[web.Request], web.Response]


class Vendor:
    """Answers by path; remembers what it was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"status": "ERROR", "error": "Unknown API Key"}, status=401)
        answer = self._answers.get(request.path)
        return answer(request) if answer else web.json_response({"status": "NOT_FOUND"}, status=404)


@contextlib.asynccontextmanager
async def selling(vendor: Vendor) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def ask(vendor: Vendor, question: Callable[[PolygonHistory], Awaitable[Any]], *, key: str = KEY, cache: MemoryCache | None = None) -> Any:
    async def scenario() -> Any:
        async with selling(vendor) as url:
            history = PolygonHistory(PolygonHistorySettings(url=url, key=lambda: key), cache)
            try:
                return await question(history)
            finally:
                await history.close()

    return asyncio.run(scenario())


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits."""
    monkeypatch.setattr(rest.Backoff, "next_seconds", lambda _: 0.0)


def tickers(request: web.Request) -> web.Response:
    if "cursor" in request.query:
        return web.json_response({"results": [{"ticker": "XYZ", "type": "ETF", "primary_exchange": "ARCX", "active": True}]})
    rows = [
        {"ticker": "ABC", "type": "CS", "primary_exchange": "XNAS", "active": True, "name": "Made Up"},
        {"ticker": "ABCW", "type": "WARRANT", "active": True},
        {"ticker": "OLD", "type": "CS", "active": False},
    ]
    return web.json_response({"results": rows, "next_url": "https://api.polygon.io/v3/reference/tickers?cursor=abc"})


def test_the_list_is_paged_with_the_key_on_every_page() -> None:
    """``next_url`` names the public host and holds no key: the page is asked of our host, with the key in the header."""
    vendor = Vendor({"/v3/reference/tickers": tickers})
    facts = ask(vendor, lambda history: history.symbols())
    assert [(fact.symbol, fact.type, fact.exchange) for fact in facts] == [("ABC", "CS", "XNAS"), ("XYZ", "ETF", "ARCX")]
    assert len(vendor.asked) == 2
    assert not any(KEY in path for path in vendor.asked)


def test_days_are_gathered_oldest_first() -> None:
    """Each symbol has (high, low, close, volume) of the days on which it traded; a day without results is no error."""
    days = previous_sessions(date(2026, 3, 2), 3)
    prefix = "/v2/aggs/grouped/locale/us/market/stocks/"

    def grouped(close: float) -> Answer:
        row = {"T": "ABC", "o": 9.0, "h": 11.0, "l": 8.0, "c": close, "v": 1234.5, "t": 1, "vw": 10.0, "n": 3}
        return lambda _: web.json_response({"status": "OK", "resultsCount": 1, "results": [row]})

    vendor = Vendor(
        {
            f"{prefix}{days[0].day}": grouped(10.0),
            f"{prefix}{days[1].day}": lambda _: web.json_response({"status": "OK", "resultsCount": 0}),
            f"{prefix}{days[2].day}": grouped(10.5),
        }
    )
    daily = ask(vendor, lambda history: history.daily(days))
    assert daily == {"ABC": ((11.0, 8.0, 10.0, 1234.5), (11.0, 8.0, 10.5, 1234.5))}


def test_the_past_is_told_in_todays_shares() -> None:
    """Days and minutes are asked for adjusted by splits: yesterday's close and volume are those of the shares that trade today."""
    days, at_ns = previous_sessions(date(2026, 3, 2), 1), session(date(2026, 3, 2)).open_ns
    empty: Answer = lambda _: web.json_response({"status": "OK", "resultsCount": 0})  # noqa: E731  an answer is a function
    minutes = f"/v2/aggs/ticker/ABC/range/1/minute/{at_ns // 10**6}/{at_ns // 10**6}"
    vendor = Vendor({f"/v2/aggs/grouped/locale/us/market/stocks/{days[0].day}": empty, minutes: empty})
    ask(vendor, lambda history: history.daily(days))
    ask(vendor, lambda history: history.minutes("ABC", at_ns, at_ns))
    assert len(vendor.asked) == 2
    assert all("adjusted=true" in path for path in vendor.asked)


def test_minutes_are_backfill_rows() -> None:
    """Start times in ms become ns; a bar without VWAP has none; a ticker's sign is escaped."""
    at_ns = session(date(2026, 3, 2)).open_ns

    def bars(request: web.Request) -> web.Response:
        rows = [{"o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 10, "t": at_ns // 10**6 + offset} for offset in (0, 60_000)]
        return web.json_response({"ticker": "I:VIX", "results": rows})

    vendor = Vendor({f"/v2/aggs/ticker/I:VIX/range/1/minute/{at_ns // 10**6}/{at_ns // 10**6 + 60_000}": bars})
    rows = ask(vendor, lambda history: history.minutes("I:VIX", at_ns, at_ns + 60 * 10**9))
    assert rows.kind.tolist() == [RowKind.MINUTE_BAR] * 2
    assert rows.flags.tolist() == [RowFlag.BACKFILL] * 2
    assert rows.at_ns.tolist() == [at_ns, at_ns + 60 * 10**9]
    assert (rows.v0[0], rows.v4[0]) == (1.0, 10.0)
    assert np.isnan(rows.v5).all()


def test_the_venue_may_shorten_or_cancel_a_day() -> None:
    """An early close and a closure that our calendar does not know are believed."""
    ours = session(date(2026, 3, 2))

    def upcoming(*rows: dict[str, str]) -> Vendor:
        return Vendor({"/v1/marketstatus/upcoming": lambda _: web.json_response(list(rows))})

    early = {"date": "2026-03-02", "exchange": "NYSE", "name": "x", "status": "early-close", "close": "2026-03-02T18:00:00.000Z"}
    told = ask(upcoming(early), lambda history: history.session(ours.day))
    assert (told.early_close, told.open_ns) == (True, ours.open_ns)
    closed = {"date": "2026-03-02", "exchange": "NYSE", "name": "x", "status": "closed"}
    assert ask(upcoming(closed), lambda history: history.session(ours.day)) is None
    assert ask(upcoming({**closed, "date": "2026-03-03"}), lambda history: history.session(ours.day)) == ours
    assert ask(upcoming(), lambda history: history.session(date(2026, 3, 1))) is None


def test_overload_is_waited_out() -> None:
    """429 and 5xx are tried again, with and without a body; what comes at last is the answer."""
    troubles = [429, 503, 429]

    def busy(request: web.Request) -> web.Response:
        return web.Response(status=troubles.pop()) if troubles else web.json_response([])

    vendor = Vendor({"/v1/marketstatus/upcoming": busy})
    assert ask(vendor, lambda history: history.session(date(2026, 3, 2))) is not None
    assert len(vendor.asked) == 4


def test_overload_without_end_is_told() -> None:
    """After a bounded number of tries the caller learns of it."""
    vendor = Vendor({"/v1/marketstatus/upcoming": lambda _: web.Response(status=429, text="slow down")})
    with pytest.raises(TryAgain, match="429"):
        ask(vendor, lambda history: history.session(date(2026, 3, 2)))
    assert len(vendor.asked) == rest.TRIES_MAX


def test_refusals_are_final() -> None:
    """A wrong key is named and asked once; an unknown path is refused; a page that is no JSON is a passing fault and is not kept."""
    vendor = Vendor({"/v1/marketstatus/upcoming": lambda _: web.Response(text="<html>busy</html>")})
    with pytest.raises(NotAuthorized, match="Polygon key"):
        ask(vendor, lambda history: history.symbols(), key="wrong")
    assert len(vendor.asked) == 1
    with pytest.raises(RequestRefused, match="404"):
        ask(vendor, lambda history: history.symbols())
    cache = MemoryCache()
    with pytest.raises(TryAgain, match="cannot be read"):
        ask(vendor, lambda history: history.session(date(2026, 3, 2)), cache=cache)


def test_a_young_answer_comes_from_the_cache() -> None:
    """The second question costs no request."""
    vendor, cache = Vendor({"/v3/reference/tickers": tickers}), MemoryCache()

    async def twice(history: PolygonHistory) -> bool:
        return await history.symbols() == await history.symbols() or True

    ask(vendor, twice, cache=cache)
    assert len(vendor.asked) == 2
