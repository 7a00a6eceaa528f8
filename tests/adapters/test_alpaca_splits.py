"""Alpaca's corporate actions over real sockets: what is asked, what is believed, and that the order path pays nothing for it."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from tests.adapters.alpaca_server import KEYS, alpaca, answering
from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.domain.splits import Split
from tradingsystem.process.venues import venues_of
from tradingsystem.simulator.alpaca_corporate_actions import StockSplit
from tradingsystem.simulator.faults import Scenario
from tradingsystem.simulator.server import Simulator, SimulatorSettings, listening
from tradingsystem.spec import Mode

FIRST, LAST = date(2026, 2, 27), date(2026, 3, 2)
PATH = "/v1/corporate-actions"
FORWARD = {"id": "f", "symbol": "NVDA", "cusip": "1", "new_rate": 10, "old_rate": 1, "process_date": "2026-03-02", "ex_date": "2026-03-02"}
REVERSE = {"id": "r", "symbol": "BAC.PRK", "new_rate": 1, "old_rate": 2.5, "process_date": "2026-03-02", "ex_date": "2026-03-02"}


def page(token: str | None = None, **kinds: Any) -> dict[str, Any]:
    return {"corporate_actions": kinds, "next_page_token": token}


async def told(document: Any) -> tuple[Split, ...]:
    async with alpaca(("GET", PATH, answering(200, document))) as broker:
        return await broker.splits(["NVDA", "BACpK"], FIRST, LAST)


def test_both_kinds_in_our_words() -> None:
    """Rates without a float's noise, our spelling of the symbol, the day from which prices are those after it."""
    day = date(2026, 3, 2)
    assert asyncio.run(told(page(forward_splits=[FORWARD], reverse_splits=[REVERSE]))) == (
        Split(symbol="NVDA", ex_date=day, old_rate=Decimal(1), new_rate=Decimal(10)),
        Split(symbol="BACpK", ex_date=day, old_rate=Decimal("2.5"), new_rate=Decimal(1)),
    )


@pytest.mark.parametrize("document", [page(), page(forward_splits=None), page(cash_dividends=[{"symbol": "NVDA", "rate": 0.01}])])
def test_none_is_none(document: Any) -> None:
    """No kind, a null one, another one: nothing is announced."""
    assert asyncio.run(told(document)) == ()


@pytest.mark.parametrize(
    "damage",
    [
        {"new_rate": None},
        {"old_rate": "ten"},
        {"old_rate": 0},
        {"new_rate": -1},
        {"ex_date": "2026-13-01"},
        {"ex_date": None},
        {"symbol": ""},
    ],
    ids=str,
)
def test_a_split_that_cannot_be_read_is_no_answer(damage: dict[str, Any]) -> None:
    """Half an answer could hide the split that matters: it is asked for again."""
    with pytest.raises(TryAgain):
        asyncio.run(told(page(forward_splits=[FORWARD | damage])))


def test_what_is_asked() -> None:
    """The symbols in Alpaca's spelling, both kinds, both days, and all pages; the token is what came."""
    seen: list[dict[str, str]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(dict(request.query) | {"key": request.headers["APCA-API-KEY-ID"]})
        more = "page_token" not in request.query
        return web.json_response(page("on=", forward_splits=[FORWARD]) if more else page(reverse_splits=[REVERSE]))

    async def run() -> None:
        async with alpaca(("GET", PATH, take)) as broker:
            found = await broker.splits(["NVDA", "BACpK"], FIRST, LAST)
            assert [one.symbol for one in found] == ["NVDA", "BACpK"]

    asyncio.run(run())
    first = {
        "symbols": "NVDA,BAC.PRK",
        "types": "forward_split,reverse_split",
        "start": "2026-02-27",
        "end": "2026-03-02",
        "limit": "1000",
        "key": KEYS.key,
    }
    assert seen == [first, first | {"page_token": "on="}]


def test_pages_end() -> None:
    """A server whose pages never end is no answer."""
    with pytest.raises(TryAgain, match="pages"):
        asyncio.run(told(page("again", forward_splits=[FORWARD])))


def test_the_market_datas_host_has_requests_and_a_clock_of_its_own() -> None:
    """It is asked at its address; what it says of its limit and of the time says nothing of the broker's."""
    headers = {
        "X-RateLimit-Limit": "200",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "9999999999",
        "Date": "Mon, 02 Mar 2026 15:00:00 GMT",
    }

    async def run() -> None:
        async with alpaca(("GET", PATH, answering(200, page(forward_splits=[FORWARD]), headers))) as data:
            broker = AlpacaBroker("http://127.0.0.1:9", lambda: KEYS, lambda: 1_000 * 10**9, data_url=data.base_url)
            try:
                assert len(await broker.splits(["NVDA"], FIRST, LAST)) == 1
                assert broker.trading.budget.allows(1_000.0, entry=True)
                assert broker.clock_skew_ns == 0
            finally:
                await broker.close()

    asyncio.run(run())


def test_a_refusal_keeps_its_code() -> None:
    """A key without the right to the market data is told as that."""

    async def run() -> None:
        async with alpaca(("GET", PATH, answering(422, {"message": "invalid symbols"}))) as broker:
            with pytest.raises(RequestRefused):
                await broker.splits(["?"], FIRST, LAST)

    asyncio.run(run())


def test_the_simulated_alpaca_says_it_the_same_way() -> None:
    """Our client against the simulator's endpoint: by symbol and day, page by page."""
    splits = (
        StockSplit(symbol="AAA", ex_date=LAST, old_rate=Decimal(1), new_rate=Decimal(2)),
        StockSplit(symbol="AAA", ex_date=date(2026, 3, 9), old_rate=Decimal(1), new_rate=Decimal(2)),
        StockSplit(symbol="BBB", ex_date=FIRST, old_rate=Decimal(3), new_rate=Decimal(2)),
        StockSplit(symbol="CCC", ex_date=FIRST, old_rate=Decimal(1), new_rate=Decimal(2)),
    )

    async def run() -> None:
        simulator = Simulator(SimulatorSettings(symbols=5, splits=splits, scenario=Scenario(page_rows_max=1)))
        async with listening(simulator) as address:
            broker = AlpacaBroker(address.http, lambda: KEYS_OF_SIMULATION, lambda: 0)
            try:
                found = await broker.splits(["AAA", "BBB"], FIRST, LAST)
            finally:
                await broker.close()
        assert [(one.symbol, one.ex_date, one.old_rate, one.new_rate) for one in found] == [
            ("BBB", FIRST, Decimal(3), Decimal(2)),
            ("AAA", LAST, Decimal(1), Decimal(2)),
        ]

    asyncio.run(run())


KEYS_OF_SIMULATION = type(KEYS)("simulation", "simulation")


def test_where_each_mode_asks() -> None:
    """Paper and Live ask the same market data, Simulation the simulator."""
    assert venues_of(Mode.PAPER, "").alpaca_data == venues_of(Mode.LIVE, "").alpaca_data == "https://data.alpaca.markets"
    assert venues_of(Mode.SIMULATION, "http://127.0.0.1:7").alpaca_data == "http://127.0.0.1:7"
