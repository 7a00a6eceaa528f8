"""Alpaca's REST as its official client and a plain HTTP client meet it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)

from tradingsystem.simulator.alpaca_account import RateSettings

HEADERS = {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "simulation"}


def client_of(venues: Any) -> TradingClient:
    return TradingClient("simulation", "simulation", url_override=venues.address.http)


async def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


def plain(venues: Any, body: Callable[[aiohttp.ClientSession], Awaitable[None]], headers: dict[str, str] = HEADERS) -> Any:
    async def run() -> None:
        async with aiohttp.ClientSession(venues.address.http, headers=headers) as session:
            await body(session)

    return run()


def market(quantity: float = 100, side: OrderSide = OrderSide.BUY, **fields: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol="AAA", qty=quantity, side=side, time_in_force=TimeInForce.DAY, **fields)


def limit(price: float, quantity: float = 100, side: OrderSide = OrderSide.BUY, **fields: Any) -> LimitOrderRequest:
    return LimitOrderRequest(symbol="AAA", qty=quantity, side=side, time_in_force=TimeInForce.DAY, limit_price=price, **fields)


def test_an_order_from_post_to_activities(venues: Any) -> None:
    """Order, position, account and activities tell one story to alpaca-py."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            posted = await ask(client.submit_order, market(client_order_id="mine"))
            assert (posted.status, posted.client_order_id) == (OrderStatus.PENDING_NEW, "mine")
            v.wait()
            order = await ask(client.get_order_by_client_id, "mine")
            assert (order.id, order.status, order.filled_qty, order.filled_avg_price) == (posted.id, OrderStatus.FILLED, "100", "10")
            position = await ask(client.get_open_position, "AAA")
            assert (position.qty, position.qty_available, position.avg_entry_price) == ("100", "100", "10")
            assert (await ask(client.get_open_position, str(position.asset_id))).symbol == "AAA"
            account = await ask(client.get_account)
            assert (account.cash, account.long_market_value, account.equity) == ("99000.00", "1000.00", "100000.00")
            (fill,) = await ask(client.get, "/account/activities/FILL")
            assert (fill["order_id"], fill["qty"], fill["cum_qty"], fill["type"]) == (str(posted.id), "100", "100", "fill")

    asyncio.run(run())


def test_a_bracket_is_listed_nested(venues: Any) -> None:
    """Legs under their parent when asked nested; flat, the held stop is not among the open ones."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            request = limit(
                10.00,
                order_class=OrderClass.BRACKET,
                take_profit=TakeProfitRequest(limit_price=10.5),
                stop_loss=StopLossRequest(stop_price=9.5),
            )
            posted = await ask(client.submit_order, request)
            assert [leg.status for leg in posted.legs] == [OrderStatus.HELD, OrderStatus.HELD]
            v.wait()
            v.wait()
            (parent,) = await ask(client.get_orders, GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True))
            assert (parent.id, [leg.status for leg in parent.legs]) == (posted.id, [OrderStatus.NEW, OrderStatus.HELD])
            flat = await ask(client.get_orders, GetOrdersRequest(status=QueryOrderStatus.OPEN))
            assert [order.id for order in flat] == [parent.legs[0].id]
            assert flat[0].legs is None

    asyncio.run(run())


def test_replace_and_cancel_are_requests(venues: Any) -> None:
    """The answers come before the venue has confirmed; afterwards the chain shows."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            old = await ask(client.submit_order, limit(9.00))
            v.wait()
            new = await ask(client.replace_order_by_id, old.id, ReplaceOrderRequest(limit_price=9.10, qty=50))
            assert new.id != old.id
            assert (await ask(client.get_order_by_id, old.id)).status is OrderStatus.PENDING_REPLACE
            v.wait()
            before = await ask(client.get_order_by_id, old.id)
            assert (before.status, before.replaced_by, before.limit_price) == (OrderStatus.REPLACED, new.id, "9")
            after = await ask(client.get_order_by_id, new.id)
            assert (after.status, after.replaces, after.qty) == (OrderStatus.NEW, old.id, "50")
            await ask(client.cancel_order_by_id, new.id)
            assert (await ask(client.get_order_by_id, new.id)).status is OrderStatus.PENDING_CANCEL
            v.wait()
            assert (await ask(client.get_order_by_id, new.id)).status is OrderStatus.CANCELED

    asyncio.run(run())


def test_cancel_all_and_close_all_answer_per_item(venues: Any) -> None:
    """207: each order and each position has its own status; held shares refuse their row."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            await ask(client.submit_order, market())
            v.wait()
            await ask(client.submit_order, limit(11.00, side=OrderSide.SELL))
            v.wait()
            (refused,) = await ask(client.close_all_positions)
            assert (refused.status, refused.body.code, refused.body.held_for_orders) == (403, 40310000, 100)
            (cancelled,) = await ask(client.cancel_orders)
            assert cancelled.status == 200
            v.wait()
            assert not await ask(client.get_orders, GetOrdersRequest(status=QueryOrderStatus.OPEN))
            await ask(client.submit_order, limit(11.00, side=OrderSide.SELL))
            (closed,) = await ask(client.close_all_positions, True)
            assert closed.status == 200
            v.wait()
            assert await ask(client.get_all_positions) == []

    asyncio.run(run())


def test_closing_part_of_a_position(venues: Any) -> None:
    """By shares or percent, with an ordinary order."""

    async def run() -> None:
        async with venues() as v:
            await ask(client_of(v).submit_order, market())
            v.wait()

            async def body(session: aiohttp.ClientSession) -> None:
                for query, quantity in (("qty=10", "10"), ("percentage=50", "45")):
                    async with session.delete(f"/v2/positions/AAA?{query}") as answer:
                        assert (answer.status, (await answer.json())["qty"]) == (200, quantity)
                    v.wait()
                async with session.delete("/v2/positions/BBB") as answer:
                    assert (answer.status, await answer.json()) == (404, {"code": 40410000, "message": "position does not exist"})

            await plain(v, body)
            assert v.simulator.ledger.position("AAA").quantity == 45

    asyncio.run(run())


def test_calendar_and_clock_know_half_days(venues: Any) -> None:
    """2026-11-27 closes at 13:00, the day before is no session, and the clock is the market's."""

    async def run() -> None:
        async with venues(date=datetime.date(2026, 11, 27)) as v:
            client = client_of(v)
            clock = await ask(client.get_clock)
            assert (clock.is_open, clock.next_close.hour) == (True, 13)
            assert clock.next_open.date() == datetime.date(2026, 11, 30)
            request = GetCalendarRequest(start=datetime.date(2026, 11, 25), end=datetime.date(2026, 11, 30))
            days = {day.date: day.close.hour for day in await ask(client.get_calendar, request)}
            assert days == {datetime.date(2026, 11, 25): 16, datetime.date(2026, 11, 27): 13, datetime.date(2026, 11, 30): 16}
            v.simulator.step_to(v.feed.session.close_ns)
            clock = await ask(client.get_clock)
            assert (clock.is_open, clock.next_close.date()) == (False, datetime.date(2026, 11, 30))

    asyncio.run(run())


def test_assets_by_symbol_and_id(venues: Any) -> None:
    """Listed, found both ways, and 404 with the venue's words."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            assets = await ask(client.get_all_assets)
            assert [asset.symbol for asset in assets] == ["AAA", "BBB", "SPY"]
            assert (await ask(client.get_asset, str(assets[1].id))).symbol == "BBB"
            with pytest.raises(APIError) as caught:
                await ask(client.get_asset, "NOPE")
            assert (caught.value.code, caught.value.message) == (40410000, "asset not found for NOPE")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v2/orders", b"{not json", 400, 40010000),
        ("POST", "/v2/orders", b'{"symbol":"AAA","side":"buy","qty":1,"notional":1,"type":"market","time_in_force":"day"}', 400, 40010000),
        ("POST", "/v2/orders", b'{"symbol":"AAA","side":"buy","type":"market","time_in_force":"day"}', 422, 40010001),
        (
            "POST",
            "/v2/orders",
            b'{"symbol":"AAA","side":"buy","qty":1,"type":"limit","limit_price":1.001,"time_in_force":"day"}',
            422,
            42210000,
        ),
        ("POST", "/v2/orders", b'{"symbol":"AAA","side":"buy","qty":90000,"type":"market","time_in_force":"day"}', 403, 40310000),
        ("GET", "/v2/orders/7f000000-0000-4000-8000-000000000000", None, 404, 40410000),
        ("PATCH", "/v2/orders/7f000000-0000-4000-8000-000000000000", b"{}", 404, 40410000),
        ("DELETE", "/v2/orders/7f000000-0000-4000-8000-000000000000", None, 404, 40410000),
        ("GET", "/v2/orders:by_client_order_id?client_order_id=none", None, 404, 40410000),
        ("GET", "/v2/orders?limit=501", None, 422, 40010001),
        ("GET", "/v2/orders?status=resting", None, 422, 40010001),
        ("GET", "/v2/orders?after=yesterday", None, 422, 40010001),
        ("GET", "/v2/positions/AAA", None, 404, 40410000),
        ("PATCH", "/v2/account/configurations", b'{"suspend_trade":"yes"}', 422, 40010001),
    ],
)
def test_refusals_over_the_wire(venues: Any, method: str, path: str, body: bytes | None, status: int, code: int) -> None:
    """Status, code, a message, and a request id to log."""

    async def run() -> None:
        async with venues() as v:

            async def talk(session: aiohttp.ClientSession) -> None:
                async with session.request(method, path, data=body) as answer:
                    told = await answer.json()
                    assert (answer.status, told["code"]) == (status, code), told
                    assert told["message"]
                    assert len(answer.headers["x-request-id"]) == 36

            await plain(v, talk)

    asyncio.run(run())


def test_wrong_keys_are_refused(venues: Any) -> None:
    """401 with Alpaca's code, on every path."""

    async def run() -> None:
        async with venues() as v:

            async def talk(session: aiohttp.ClientSession) -> None:
                for path in ("/v2/account", "/v2/orders", "/v2/clock"):
                    async with session.get(path) as answer:
                        assert (answer.status, (await answer.json())["code"]) == (401, 40110000)

            await plain(v, talk, {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "wrong"})

    asyncio.run(run())


def test_the_rate_limit_counts_market_minutes(venues: Any) -> None:
    """The third request of a minute of three is the last; the next market minute starts anew."""

    async def run() -> None:
        async with venues(rate=RateSettings(per_minute=3)) as v:

            async def talk(session: aiohttp.ClientSession) -> None:
                remaining = []
                for _ in range(4):
                    async with session.get("/v2/clock") as answer:
                        remaining.append((answer.status, answer.headers["X-RateLimit-Remaining"]))
                        reset = int(answer.headers["X-RateLimit-Reset"])
                        told = await answer.json()
                assert remaining == [(200, "2"), (200, "1"), (200, "0"), (429, "0")]
                assert told["code"] == 42910000
                assert 0 < reset - v.now_ns / 1e9 <= 60
                v.wait(60)
                async with session.get("/v2/clock") as answer:
                    assert answer.status == 200

            await plain(v, talk)

    asyncio.run(run())


def test_a_suspended_account_refuses_orders_until_resumed(venues: Any) -> None:
    """`suspend_trade` is a kill switch at the broker."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            configuration = await ask(client.get_account_configurations)
            configuration.suspend_trade = True
            await ask(client.patch, "/account/configurations", {"suspend_trade": True})
            assert (await ask(client.get_account)).trade_suspended_by_user
            with pytest.raises(APIError) as caught:
                await ask(client.submit_order, market())
            assert (caught.value.status_code, caught.value.code) == (403, 40310000)
            await ask(client.patch, "/account/configurations", {"suspend_trade": False})
            await ask(client.submit_order, market())

    asyncio.run(run())


def test_order_lists_filter_and_page(venues: Any) -> None:
    """By status, symbol, side and time; after and until are exclusive; newest first unless asked."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            ids = []
            for price in (9.0, 9.1, 9.2):
                ids.append((await ask(client.submit_order, limit(price, 1))).id)
                v.wait()
            newest = await ask(client.get_orders, GetOrdersRequest(limit=2))
            assert [order.id for order in newest] == [ids[2], ids[1]]
            oldest = await ask(client.get_orders, GetOrdersRequest(direction="asc"))
            assert [order.id for order in oldest] == ids
            later = await ask(client.get_orders, GetOrdersRequest(after=oldest[0].submitted_at + datetime.timedelta(milliseconds=1)))
            assert [order.id for order in later] == [ids[2], ids[1]]
            assert await ask(client.get_orders, GetOrdersRequest(symbols=["BBB"])) == []
            assert await ask(client.get_orders, GetOrdersRequest(side=OrderSide.SELL)) == []

    asyncio.run(run())


def test_activities_page_by_token(venues: Any) -> None:
    """Every fill once over all pages, fees beside them."""

    async def run() -> None:
        async with venues() as v:
            client = client_of(v)
            for _ in range(3):
                await ask(client.submit_order, market(10))
                v.wait()
            await ask(client.submit_order, market(30, OrderSide.SELL))
            v.wait()
            seen: list[str] = []
            token = None
            while page := await ask(client.get, "/account/activities/FILL", {"page_size": 2, "page_token": token, "direction": "asc"}):
                seen += [row["id"] for row in page]
                token = page[-1]["id"]
            assert len(seen) == len(set(seen)) == 4
            (fee,) = await ask(client.get, "/account/activities/FEE")
            assert fee["net_amount"] == "-0.02"

    asyncio.run(run())
