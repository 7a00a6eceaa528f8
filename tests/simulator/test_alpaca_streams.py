"""Alpaca's sockets as alpaca-py and plain WebSocket clients meet them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
import websockets
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.stream import TradingStream

from tradingsystem.simulator.faults import ConnectionLimit, Scenario
from tradingsystem.simulator.feed import Kind

# alpaca-py uses websockets' legacy client, whose import and use warn.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BUY = {"symbol": "AAA", "side": "buy", "qty": 100, "type": "market", "time_in_force": "day"}
AUTHENTICATE = json.dumps({"action": "authenticate", "data": {"key_id": "simulation", "secret_key": "simulation"}})
LISTEN = json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}})
DATA_AUTH = json.dumps({"action": "auth", "key": "simulation", "secret": "simulation"})


def post(v: Any, **fields: Any) -> Any:
    """An order as REST would post it, with what it causes on the stream."""
    order = v.simulator.exchange.submit({**BUY, **fields}, v.now_ns)
    v.wait()
    return order


@contextlib.asynccontextmanager
async def official(stream: Any) -> AsyncIterator[None]:
    """Run one of alpaca-py's streams in this loop."""
    task = asyncio.create_task(stream._run_forever())
    try:
        yield
    finally:
        stream._should_run = False
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await stream.close()


async def until(v: Any, condition: Callable[[], bool]) -> None:
    """Go around the loop by asking the simulator, until the condition holds."""
    async with asyncio.timeout(10), aiohttp.ClientSession(v.address.http) as session:
        while not condition():
            async with session.get("/simulator/clock") as answer:
                await answer.read()


@contextlib.asynccontextmanager
async def listening_client(v: Any) -> AsyncIterator[Any]:
    async with websockets.connect(v.address.websocket + "/stream") as socket:
        await socket.send(AUTHENTICATE)
        assert json.loads(await socket.recv())["data"]["status"] == "authorized"
        await socket.send(LISTEN)
        assert json.loads(await socket.recv())["data"]["streams"] == ["trade_updates"]
        yield socket


def test_trading_stream_hears_the_life_of_an_order(venues: Any) -> None:
    """alpaca-py's TradingStream gets every step, with the position after the fill."""

    async def run() -> None:
        async with venues() as v:
            heard: list[Any] = []

            async def on_update(update: Any) -> None:
                heard.append(update)

            stream = TradingStream("simulation", "simulation", url_override=v.address.websocket + "/stream")
            stream.subscribe_trade_updates(on_update)
            async with official(stream):
                await until(v, lambda: bool(v.simulator._venues.stream._listeners and v.simulator._venues.stream._listeners[0].streams))
                post(v)
                await until(v, lambda: len(heard) == 3)
            assert [update.event for update in heard] == ["pending_new", "new", "fill"]
            fill = heard[-1]
            assert (fill.qty, fill.price, fill.position_qty, fill.order.filled_qty) == (100.0, 10.0, 100.0, "100")
            assert heard[0].execution_id is None

    asyncio.run(run())


def test_stream_frames_are_binary_objects(venues: Any) -> None:
    """Binary JSON, never an array, money as strings."""

    async def run() -> None:
        async with venues() as v, listening_client(v) as socket:
            post(v)
            frames = [await socket.recv() for _ in range(3)]
            assert all(isinstance(frame, bytes) for frame in frames)
            fill = json.loads(frames[-1])
            assert fill["stream"] == "trade_updates"
            assert (fill["data"]["event"], fill["data"]["price"], fill["data"]["order"]["filled_avg_price"]) == ("fill", "10", "10")

    asyncio.run(run())


def test_messagepack_when_the_handshake_asks(venues: Any) -> None:
    """`Content-Type: application/msgpack` changes the framing of answers."""

    async def run() -> None:
        async with venues() as v:
            headers = {"Content-Type": "application/msgpack"}
            async with websockets.connect(v.address.websocket + "/stream", additional_headers=headers) as socket:
                await socket.send(AUTHENTICATE)
                assert msgspec.msgpack.decode(await socket.recv())["data"]["status"] == "authorized"

    asyncio.run(run())


def test_listen_before_auth_and_wrong_keys_are_unauthorized(venues: Any) -> None:
    """Both name the action that failed."""

    async def run() -> None:
        async with venues() as v, websockets.connect(v.address.websocket + "/stream") as socket:
            await socket.send(LISTEN)
            assert json.loads(await socket.recv())["data"] == {"status": "unauthorized", "action": "listen"}
            await socket.send(json.dumps({"action": "auth", "key": "simulation", "secret": "no"}))
            assert json.loads(await socket.recv())["data"] == {"status": "unauthorized", "action": "authenticate"}

    asyncio.run(run())


def test_what_happens_while_a_client_is_away_is_lost(venues: Any) -> None:
    """No replay: after reconnecting only new events come."""

    async def run() -> None:
        async with venues() as v:
            async with listening_client(v):
                pass
            await until(v, lambda: not v.simulator.wire.connections)
            post(v)
            async with listening_client(v) as socket:
                post(v, qty=7)
                assert json.loads(await socket.recv())["data"]["order"]["qty"] == "7"

    asyncio.run(run())


@pytest.mark.parametrize("limit", [ConnectionLimit.EVICT_OLD, ConnectionLimit.REFUSE_NEW, ConnectionLimit.SILENT_NEW])
def test_the_second_connection(venues: Any, limit: ConnectionLimit) -> None:
    """Evicts the first, is refused with 429 at the handshake, or gets nothing: all three have been reported."""

    async def run() -> None:
        async with venues(scenario=Scenario(connection_limit=limit)) as v, listening_client(v) as first:
            if limit is ConnectionLimit.REFUSE_NEW:
                with pytest.raises(websockets.InvalidStatus) as caught:
                    await websockets.connect(v.address.websocket + "/stream")
                assert caught.value.response.status_code == 429
                return
            async with listening_client(v) as second:
                post(v)
                alive = second if limit is ConnectionLimit.EVICT_OLD else first
                assert json.loads(await alive.recv())["data"]["event"] == "pending_new"
                if limit is ConnectionLimit.EVICT_OLD:
                    with pytest.raises(websockets.ConnectionClosed) as closed:
                        await first.recv()
                    assert closed.value.rcvd.code == 1008
                else:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(second.recv(), 0.1)

    asyncio.run(run())


def test_stock_data_stream_gets_every_kind(venues: Any) -> None:
    """alpaca-py decodes quotes, trades, bars, statuses and bands from MessagePack, times included."""

    async def run() -> None:
        async with venues() as v:
            heard: dict[str, Any] = {}

            def keep(name: str) -> Callable[[Any], Awaitable[None]]:
                async def handler(message: Any) -> None:
                    heard[name] = message

                return handler

            stream = StockDataStream("simulation", "simulation", url_override=v.address.websocket + "/v2/sip")
            stream.subscribe_quotes(keep("quote"), "AAA")
            stream.subscribe_trades(keep("trade"), "AAA")
            stream.subscribe_bars(keep("bar"), "*")
            stream.subscribe_trading_statuses(keep("status"), "*")
            stream.register_trade_corrections(keep("correction"))
            async with official(stream):
                await until(v, lambda: any(client.masks for client in v.simulator._venues.data._clients))
                v.quote(9.98, 10.02, size=300)
                v.put(Kind.TRADE, price=10.01, size=50, condition=37, exchange=12)
                v.put(Kind.MINUTE_BAR, price=10, size=500, price2=10.1, price3=9.9, price4=10.05, size2=10.02, condition=7)
                v.put(Kind.HALT, price=10.0, condition=1)
                await until(v, lambda: len(heard) == 4)
            quote, trade, bar, status = heard["quote"], heard["trade"], heard["bar"], heard["status"]
            assert (quote.bid_price, quote.bid_size, quote.ask_price) == (9.98, 300, 10.02)
            assert (trade.price, trade.size, trade.exchange, trade.conditions) == (10.01, 50, "Q", ["I"])
            assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count) == (10, 10.1, 9.9, 10.05, 500, 7)
            opened = datetime.datetime(2026, 3, 2, 14, 30, tzinfo=datetime.UTC)
            assert opened - datetime.timedelta(minutes=1) < bar.timestamp < opened
            assert (status.status_code, status.reason_code) == ("2", "M")

    asyncio.run(run())


def test_data_stream_json_speaks_arrays_and_full_state(venues: Any) -> None:
    """Subscription answers carry the whole state; corrections come with trades; times are text."""

    async def run() -> None:
        async with venues() as v, websockets.connect(v.address.websocket + "/v2/iex") as socket:
            assert json.loads(await socket.recv()) == [{"T": "success", "msg": "connected"}]
            await socket.send(DATA_AUTH)
            assert json.loads(await socket.recv()) == [{"T": "success", "msg": "authenticated"}]
            await socket.send(json.dumps({"action": "subscribe", "trades": ["AAA"], "lulds": ["*"]}))
            (state,) = json.loads(await socket.recv())
            assert (state["trades"], state["corrections"], state["lulds"], state["quotes"]) == (["AAA"], ["AAA"], ["*"], [])
            await socket.send(json.dumps({"action": "unsubscribe", "trades": ["AAA"]}))
            assert json.loads(await socket.recv())[0]["lulds"] == ["*"]
            v.put(Kind.LULD, price=9.5, price2=10.5)
            (band,) = json.loads(await socket.recv())
            assert (band["T"], band["S"], band["d"], band["u"]) == ("l", "AAA", 9.5, 10.5)
            assert band["t"].endswith("Z")

    asyncio.run(run())


def test_data_stream_errors_by_code(venues: Any) -> None:
    """400 syntax, 401 before auth, 402 wrong keys, 403 twice, 406 connection limit."""

    async def run() -> None:
        async with venues(scenario=Scenario(connection_limit=ConnectionLimit.REFUSE_NEW)) as v:
            address = v.address.websocket + "/v2/sip"

            async def exchange(socket: Any, message: str) -> Any:
                await socket.send(message)
                (answer,) = json.loads(await socket.recv())
                return answer.get("code", answer["T"])

            async with websockets.connect(address) as socket:
                await socket.recv()
                assert await exchange(socket, "{") == 400
                assert await exchange(socket, '{"action":"subscribe","trades":["AAA"]}') == 401
                assert await exchange(socket, '{"action":"auth","key":"simulation","secret":"no"}') == 402
                assert await exchange(socket, DATA_AUTH) == "success"
                assert await exchange(socket, DATA_AUTH) == 403
                assert await exchange(socket, '{"action":"dance"}') == 400
                async with websockets.connect(address) as second:
                    await second.recv()
                    assert await exchange(second, DATA_AUTH) == 406

    asyncio.run(run())


def test_data_rest_answers_from_what_was_streamed(venues: Any) -> None:
    """Latest quote, snapshot and bars through alpaca-py's historical client."""
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.requests import StockBarsRequest, StockLatestQuoteRequest, StockSnapshotRequest
    from alpaca.data.timeframe import TimeFrame

    async def run() -> None:
        async with venues() as v:
            v.put(Kind.TRADE, price=10.01, size=50, exchange=12)
            v.simulator.step_to(v.feed.session.open_ns + 60_000_000_000)
            v.feed.put(
                Kind.MINUTE_BAR, "AAA", v.now_ns, price=10, size=500, price2=10.1, price3=9.9, price4=10.05, size2=10.02, condition=7
            )
            v.wait()
            client = StockHistoricalDataClient("simulation", "simulation", url_override=v.address.http)
            quotes = await asyncio.to_thread(client.get_stock_latest_quote, StockLatestQuoteRequest(symbol_or_symbols="AAA"))
            assert (quotes["AAA"].bid_price, quotes["AAA"].ask_price) == (9.99, 10.0)
            snapshots = await asyncio.to_thread(client.get_stock_snapshot, StockSnapshotRequest(symbol_or_symbols=["AAA", "BBB"]))
            assert snapshots["AAA"].latest_trade.price == 10.01
            start = datetime.datetime(2026, 3, 2, 14, 0, tzinfo=datetime.UTC)
            request = StockBarsRequest(symbol_or_symbols="AAA", timeframe=TimeFrame.Minute, start=start)
            bars = await asyncio.to_thread(client.get_stock_bars, request)
            assert [(bar.close, bar.timestamp.minute) for bar in bars["AAA"]] == [(10.05, 30)]

    asyncio.run(run())
