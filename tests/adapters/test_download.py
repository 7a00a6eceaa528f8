"""A day fetched by REST is the day a bought file would hold; interrupted anywhere, the next run goes on from there."""

from __future__ import annotations

import asyncio
import datetime
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.adapters.test_history import KEY, Vendor, selling
from tradingsystem.adapters import rest
from tradingsystem.adapters.polygon import download
from tradingsystem.adapters.polygon.download import Download, Fetched
from tradingsystem.adapters.polygon.tick_pages import TickKind, flat_file
from tradingsystem.adapters.rest import RestClient
from tradingsystem.domain.errors import InvalidInput, NotAuthorized, TryAgain
from tradingsystem.simulator.feed import Kind
from tradingsystem.simulator.player import Player

DAY = datetime.date(2026, 3, 2)
OPEN_NS = 1_772_461_800_000_000_000
TRADES, QUOTES = TickKind.TRADES, TickKind.QUOTES
Answer = Callable[[web.Request], web.Response]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits."""
    monkeypatch.setattr(rest.Backoff, "next_seconds", lambda _: 0.0)
    monkeypatch.setattr(download, "ROUND_SECONDS", 0.0)


def trades(page: int, count: int = 3) -> list[dict[str, Any]]:
    return [
        {"price": 10.0 + page, "size": 100, "decimal_size": "100.5", "sip_timestamp": OPEN_NS + (page * 10 + number) * 10**9,
         "exchange": 11, "id": f"{page}-{number}", "conditions": [12, 37] if number == 0 else [], "sequence_number": number, "tape": 3}
        for number in range(count)
    ]  # fmt: skip


def quotes() -> list[dict[str, Any]]:
    return [{"sip_timestamp": OPEN_NS, "bid_price": 9.99, "bid_size": 200, "bid_exchange": 12, "ask_price": 10.01, "ask_size": 300}]


class Pages:
    """A server's pages of one ticker's trades; ``before`` may answer in a page's place, once for each time it is listed."""

    def __init__(self, count: int, before: dict[int, list[web.Response]] | None = None) -> None:
        self._count = count
        self._before = before or {}
        self.served: list[int] = []

    def __call__(self, request: web.Request) -> web.Response:
        page = int(request.query.get("cursor", "0"))
        waiting = self._before.get(page, [])
        if waiting:
            return waiting.pop(0)
        if page == 0:
            assert (request.query["timestamp"], request.query["order"]) == ("2026-03-02", "asc")
        self.served.append(page)
        body: dict[str, Any] = {"results": trades(page)}
        if page + 1 < self._count:
            body["next_url"] = f"https://api.polygon.io{request.path}?cursor={page + 1}"
        return web.json_response(body)


def fetch(
    folder: Path, answers: dict[str, Answer], kind: TickKind = TRADES, tickers: tuple[str, ...] = ("ABC",), key: str = KEY
) -> Fetched:
    async def scenario() -> Fetched:
        async with selling(Vendor(answers)) as url, RestClient("polygon", url, lambda: key, "the Polygon key") as client:
            return await Download(client, folder, DAY, lambda _: None).fetch(kind, tickers)

    return asyncio.run(scenario())


def test_a_fetched_day_plays_like_a_bought_one(tmp_path: Path) -> None:
    """Every page of every ticker, in the vendor's layout, read by the reader of flat files."""
    found = fetch(tmp_path, {"/v3/trades/ABC": Pages(3), "/v3/trades/BRK.B": Pages(1)}, tickers=("BRK.B", "ABC"))
    assert found.rows == {"BRK.B": 3, "ABC": 9}
    assert found.path == tmp_path / "us_stocks_sip/trades_v1/2026/03/2026-03-02.csv.gz"
    fetch(tmp_path, {"/v3/quotes/ABC": lambda _: web.json_response({"results": quotes()})}, QUOTES)
    assert not list((tmp_path / ".fetch").rglob("*.csv"))
    day = Player(tmp_path, DAY)
    events = day.advance(day.session.last_ns)
    prints = events.kind == Kind.TRADE
    assert day.symbols == ("ABC", "BRK.B")
    assert events.price[prints & (events.symbol == 0)].tolist() == [10.0] * 3 + [11.0] * 3 + [12.0] * 3
    assert set(events.size[prints].tolist()) == {100.5}
    assert events.condition[prints & (events.symbol == 1)].tolist() == [37, 0, 0]  # of several, the one that restricts most
    (quote,) = (events.kind == Kind.QUOTE).nonzero()[0].tolist()
    assert (events.price[quote], events.size[quote], events.price2[quote], events.size2[quote]) == (9.99, 200.0, 10.01, 300.0)


def test_minutes_are_fetched_as_the_venue_made_them(tmp_path: Path) -> None:
    """Bars without trades play as bars."""
    bar = {"o": 10.0, "h": 10.5, "l": 9.5, "c": 10.2, "v": 1200, "t": OPEN_NS // 1_000_000, "n": 7}
    path = "/v2/aggs/ticker/ABC/range/1/minute/2026-03-02/2026-03-02"
    fetch(tmp_path, {path: lambda _: web.json_response({"results": [bar]})}, TickKind.MINUTES)
    day = Player(tmp_path, DAY)
    events = day.advance(day.session.last_ns)
    assert (events.price.tolist(), events.price4.tolist(), events.size.tolist(), events.condition.tolist()) == (
        [10.0],
        [10.2],
        [1200.0],
        [7],
    )


def test_too_many_requests_and_overload_are_waited_out(tmp_path: Path) -> None:
    """429 with and without Retry-After, a proxy's page with status 200, 500: asked again, nothing lost, nothing twice."""
    busy = [web.Response(status=429, headers={"Retry-After": "0"}) for _ in range(8)]
    odd = [web.Response(text="<html>busy</html>"), web.Response(status=500), web.json_response({"results": [{"price": "x"}]})]
    pages = Pages(3, {0: busy, 2: odd})
    assert fetch(tmp_path, {"/v3/trades/ABC": pages}).rows == {"ABC": 9}
    assert pages.served == [0, 1, 2]


def test_the_next_run_goes_on_where_this_one_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fetched is not asked for again; the file is there only when it is whole; a half-written page does not count."""
    monkeypatch.setattr(download, "ROUNDS_MAX", 1)
    first = Pages(4, {2: [web.Response(status=503) for _ in range(20)]})
    with pytest.raises(TryAgain, match=r"ABC, page 3 of trades: .*503.*; run it again to go on from there"):
        fetch(tmp_path, {"/v3/trades/ABC": first})
    assert first.served == [0, 1]
    assert not (tmp_path / flat_file(TRADES, DAY)).exists()
    (tmp_path / ".fetch/2026-03-02/trades/ABC/00002.part").write_text("ABC,half a li")
    second = Pages(4)
    assert fetch(tmp_path, {"/v3/trades/ABC": second}).rows == {"ABC": 12}
    assert second.served == [2, 3]
    lines = gzip.decompress((tmp_path / flat_file(TRADES, DAY)).read_bytes()).decode().splitlines()
    assert len(lines) == 1 + 12
    assert len(set(lines)) == len(lines)


def test_a_complete_file_is_left_alone(tmp_path: Path) -> None:
    """Nothing is asked, nothing is written."""
    fetch(tmp_path, {"/v3/trades/ABC": Pages(1)})
    before = (tmp_path / flat_file(TRADES, DAY)).read_bytes()
    assert fetch(tmp_path, {}).kept
    assert (tmp_path / flat_file(TRADES, DAY)).read_bytes() == before


def test_another_list_of_symbols_is_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A begun fetch is finished as it was begun."""
    monkeypatch.setattr(download, "ROUNDS_MAX", 1)
    with pytest.raises(TryAgain):
        fetch(tmp_path, {"/v3/trades/ABC": lambda _: web.Response(status=503)})
    with pytest.raises(InvalidInput, match="a fetch of ABC was begun there"):
        fetch(tmp_path, {"/v3/trades/XYZ": Pages(1)}, tickers=("XYZ",))


def test_a_cursor_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not fetched for ever."""
    monkeypatch.setattr(download, "PAGES_MAX", 5)
    with pytest.raises(InvalidInput, match="the cursor does not end"):
        fetch(tmp_path, {"/v3/trades/ABC": Pages(10**6)})


def test_nothing_there_and_nobody_known_are_told(tmp_path: Path) -> None:
    """A holiday, and a key that is refused: by name, never by value."""
    with pytest.raises(InvalidInput, match="polygon has no trades of ABC on 2026-03-02"):
        fetch(tmp_path, {"/v3/trades/ABC": lambda _: web.json_response({"status": "OK"})})
    with pytest.raises(NotAuthorized, match="the Polygon key") as refused:
        fetch(tmp_path, {}, key="another-secret")
    assert "another-secret" not in str(refused.value)
