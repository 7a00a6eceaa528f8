"""Polygon's and Unusual Whales' wires, spoken to by real clients over real loopback sockets."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import websockets
from aiohttp import web
from massive import RESTClient, WebSocketClient
from massive.websocket.models import Market

from tradingsystem.simulator import polygon_rest, polygon_wire, unusual_whales_wire
from tradingsystem.simulator.capture import Capture, Direction
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.faults import ConnectionLimit, Faults, Scenario
from tradingsystem.simulator.feed import MINUTE_NS, SECOND_NS, Kind, Slice
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.simulator.polygon_wire import PolygonDialect, PolygonWire

KEYS = frozenset({"key-one"})


class Listener(Capture):
    """A capture that writes nothing and says when a client has asked for something."""

    def __init__(self) -> None:
        super().__init__(None, lambda: 0)
        self.subscribed = asyncio.Event()

    def frame(self, connection: str, direction: Direction, payload: bytes, *, text: bool) -> None:
        if direction == "in" and b'"subscribe"' in payload:
            self.subscribed.set()


@dataclass
class Venue:
    """The market side of the simulator on a free port, moved by hand."""

    market: GeneratedMarket
    memory: MarketMemory
    polygon: PolygonWire
    whales: unusual_whales_wire.UnusualWhalesWire
    capture: Listener
    port: int = 0

    def play(self, seconds: float) -> Slice:
        """Let market time pass and publish what happened."""
        start = self.memory.now_ns or self.market.session.first_ns
        slice_ = self.market.advance(start + int(seconds * SECOND_NS))
        totals = self.memory.publish(slice_)
        self.polygon.publish(slice_, totals)
        self.whales.publish(slice_)
        return slice_


@asynccontextmanager
async def venue(
    scenario: Scenario | None = None, dialect: PolygonDialect | None = None, requests_per_minute: int | None = None
) -> AsyncIterator[Venue]:
    market = GeneratedMarket(MarketSettings(seed=3, date=datetime.date(2026, 3, 2), symbols=40, events_per_second=60.0))
    memory = MarketMemory(len(market.symbols))
    capture = Listener()
    wire = Wire(Faults(scenario), capture, lambda: memory.now_ns)
    polygon = PolygonWire(wire, market, memory, KEYS, dialect)
    rest = polygon_rest.PolygonRest(wire, market, memory, KEYS, requests_per_minute=requests_per_minute)
    whales = unusual_whales_wire.UnusualWhalesWire(wire, market, memory, KEYS)
    app = web.Application()
    app.add_routes(polygon_wire.routes(polygon) + polygon_rest.routes(rest) + unusual_whales_wire.routes(whales))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    here = Venue(market, memory, polygon, whales, capture, port=runner.addresses[0][1])
    try:
        yield here
    finally:
        await wire.close()
        await runner.cleanup()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


async def objects(socket: websockets.ClientConnection) -> list[dict[str, Any]]:
    frame = await asyncio.wait_for(socket.recv(), 5)
    assert isinstance(frame, str)
    found = json.loads(frame)
    assert isinstance(found, list)
    return found


@asynccontextmanager
async def polygon_client(here: Venue, params: str, cluster: str = "stocks") -> AsyncIterator[websockets.ClientConnection]:
    async with websockets.connect(f"ws://127.0.0.1:{here.port}/{cluster}", proxy=None, max_queue=None) as socket:
        assert (await objects(socket))[0]["status"] == "connected"
        await socket.send(json.dumps({"action": "auth", "params": "key-one"}))
        assert (await objects(socket))[0]["status"] == "auth_success"
        await socket.send(json.dumps({"action": "subscribe", "params": params}))
        assert "subscribed to: " in (await objects(socket))[0]["message"]
        yield socket


async def collect(socket: websockets.ClientConnection, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        found += await objects(socket)
    return found


def test_every_event_held_arrives_once_and_nothing_else() -> None:
    """What a plain websocket client receives is the slice, channel by channel."""

    async def check() -> None:
        async with venue() as here, polygon_client(here, "T.*, Q.SPY,A.*,AM.*,LULD.*") as socket:
            slice_ = here.play(420)
            spy = here.market.symbols.index("SPY")
            expected = [
                kind
                for kind, symbol in zip(slice_.kind.tolist(), slice_.symbol.tolist(), strict=True)
                if kind in (Kind.TRADE, Kind.SECOND_BAR, Kind.MINUTE_BAR, Kind.LULD) or (kind == Kind.QUOTE and symbol == spy)
            ]
            got = await collect(socket, len(expected))
            names = {Kind.TRADE: "T", Kind.QUOTE: "Q", Kind.SECOND_BAR: "A", Kind.MINUTE_BAR: "AM", Kind.LULD: "LULD"}
            assert [event["ev"] for event in got] == [names[Kind(kind)] for kind in expected]
            trade = next(event for event in got if event["ev"] == "T")
            assert {"sym", "x", "i", "z", "p", "s", "t", "q"} <= trade.keys()
            assert isinstance(trade["i"], str)
            bar = [event for event in got if event["ev"] == "AM"][-1]
            assert bar["e"] - bar["s"] == 60_000
            assert bar["l"] <= bar["vw"] <= bar["h"]
            band = next(event for event in got if event["ev"] == "LULD")
            assert "sym" not in band
            assert len(str(band["t"])) == 19

    run(check)


def test_day_volume_on_bars_is_the_sum_of_trades_so_far() -> None:
    """`av` is a running total at the bar's own time, also inside a long slice."""

    async def check() -> None:
        async with venue() as here, polygon_client(here, "AM.SPY,T.SPY") as socket:
            slice_ = here.play(480)
            spy = here.market.symbols.index("SPY")
            rows = (slice_.symbol == spy) & ((slice_.kind == Kind.TRADE) | (slice_.kind == Kind.MINUTE_BAR))
            total, bars = 0, 0
            for event in await collect(socket, int(rows.sum())):
                if event["ev"] == "T" and not {15, 16} & set(event.get("c", [])):
                    total += event["s"]
                elif event["ev"] == "AM":
                    assert event["av"] == total
                    bars += 1
            assert bars >= 2

    run(check)


def test_refusals_come_first_and_repeats_get_no_answer() -> None:
    """ "not authorized" does not name the param; a param already held is not confirmed again."""

    async def check() -> None:
        async with venue() as here, polygon_client(here, "T.SPY") as socket:
            await socket.send(json.dumps({"action": "subscribe", "params": "FMV.SPY,T.SPY,Q.SPY"}))
            assert [event["message"] for event in await collect(socket, 2)] == ["not authorized", "subscribed to: Q.SPY"]
            await socket.send(json.dumps({"action": "unsubscribe", "params": "Q.SPY,A.SPY"}))
            assert [event["message"] for event in await objects(socket)] == ["unsubscribed to: Q.SPY"]

    run(check)


def test_many_confirmations_come_in_chunks() -> None:
    """A client that expects one frame per request must notice here."""

    async def check() -> None:
        async with venue(dialect=PolygonDialect(confirmations_per_frame=3)) as here, polygon_client(here, "T.SPY") as socket:
            await socket.send(json.dumps({"action": "subscribe", "params": ",".join(f"Q.{name}" for name in here.market.symbols[:8])}))
            assert [len(await objects(socket)) for _ in range(3)] == [3, 3, 2]

    run(check)


def test_a_wrong_key_is_told_and_closed_and_silence_times_out() -> None:
    """The failure forms clients have to recognise."""

    async def check() -> None:
        async with venue(dialect=PolygonDialect(auth_timeout_seconds=0.05)) as here:
            async with websockets.connect(f"ws://127.0.0.1:{here.port}/stocks", proxy=None) as socket:
                await objects(socket)
                await socket.send(json.dumps({"action": "auth", "params": "wrong"}))
                assert (await objects(socket))[0]["status"] == "auth_failed"
                await socket.wait_closed()
                assert socket.close_code == 1008
            async with websockets.connect(f"ws://127.0.0.1:{here.port}/stocks", proxy=None) as socket:
                await objects(socket)
                assert (await objects(socket))[0]["status"] == "auth_timeout"

    run(check)


@pytest.mark.parametrize(("limit", "loser"), [(ConnectionLimit.EVICT_OLD, 0), (ConnectionLimit.REFUSE_NEW, 1)])
def test_the_second_connection_of_a_key_in_both_modes(limit: ConnectionLimit, loser: int) -> None:
    """Sources disagree who is dropped, so both must be survivable; the other cluster is not touched."""

    async def check() -> None:
        async with (
            venue(Scenario(connection_limit=limit)) as here,
            polygon_client(here, "V.I:VIX", "indices") as index,
            polygon_client(here, "T.*") as first,
            polygon_client(here, "T.*") as second,
        ):
            sockets = [first, second]
            assert (await objects(sockets[loser]))[0]["status"] == "max_connections"
            await sockets[loser].wait_closed()
            assert (sockets[loser].close_code, sockets[loser].close_reason) == (1008, "max_connections")
            here.play(400)
            assert (await objects(sockets[1 - loser]))[0]["ev"] == "T"
            value = (await objects(index))[0]
            assert (value["ev"], value["T"]) == ("V", "I:VIX")
            assert 5 < value["val"] < 100

    run(check)


def test_garbage_is_answered_and_kills_nothing() -> None:
    """A client's mistake costs it an error status, not the server."""

    async def check() -> None:
        async with venue() as here, polygon_client(here, "T.SPY") as socket:
            for text in ("{", "[]", '{"action":"dance","params":""}'):
                await socket.send(text)
                assert (await objects(socket))[0]["status"] == "error"
            here.play(330)
            assert (await objects(socket))[0]["ev"] == "T"

    run(check)


def test_the_official_clients_work_unchanged() -> None:
    """`massive`'s own WebSocket and REST clients, pointed at loopback."""

    async def check() -> None:
        async with venue() as here:
            got: list[Any] = []
            enough = asyncio.Event()
            client = WebSocketClient(
                "key-one", feed=f"127.0.0.1:{here.port}", market=Market.Stocks, secure=False, subscriptions=["T.*", "AM.*"]
            )

            async def take(messages: list[Any]) -> None:
                got.extend(messages)
                if {"T", "AM"} <= {message.event_type for message in got}:
                    enough.set()

            streaming = asyncio.create_task(client.connect(take, proxy=None))
            await here.capture.subscribed.wait()
            here.play(420)
            await enough.wait()
            streaming.cancel()
            await asyncio.gather(streaming, return_exceptions=True)
            assert any(message.symbol == "SPY" for message in got)
            await asyncio.to_thread(official_rest, here)

    run(check)


def official_rest(here: Venue) -> None:
    """Paging through every ticker and reading bars with the vendor's REST client."""
    client = RESTClient("key-one", base=f"http://127.0.0.1:{here.port}")
    listed = [ticker.ticker for ticker in client.list_tickers(market="stocks", active=True, limit=1000)]
    assert len(listed) == len(set(listed)) > 11_000
    assert set(here.market.symbols) <= set(listed)
    bars = list(client.list_aggs("SPY", 1, "minute", "2026-03-02", "2026-03-02", limit=2))
    assert [bar.timestamp for bar in bars] == sorted({bar.timestamp for bar in bars})
    assert len(bars) >= 2
    assert client.get_previous_close_agg("SPY")[0].close == pytest.approx(585.0)
    assert len(client.get_grouped_daily_aggs("2026-02-27")) == 40
    client.client.clear()


async def get(here: Venue, path: str, key: str = "key-one") -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.get(f"http://127.0.0.1:{here.port}{path}") as answer,
    ):
        return answer.status, await answer.json()


def test_rest_refuses_as_the_vendor_does() -> None:
    """401 under `error`, 403 and 404 under `message`, 400 with what would be right, 429 above the plan."""

    async def check() -> None:
        async with venue(requests_per_minute=6) as here:
            here.play(400)
            status, body = await get(here, "/v1/marketstatus/now", key="nobody")
            assert (status, body["status"], body["error"]) == (401, "ERROR", "Unknown API Key")
            status, body = await get(here, "/v2/aggs/grouped/locale/us/market/stocks/2026-03-02")
            assert (status, body["status"]) == (403, "NOT_AUTHORIZED")
            assert "message" in body
            assert (await get(here, "/v3/reference/tickers/NOPE!"))[0] == 404
            assert (await get(here, "/v2/aggs/ticker/SPY/range/1/minute/monday/2026-03-02"))[0] == 400
            assert (await get(here, "/v3/reference/tickers?cursor=%25%25"))[0] == 400
            status, body = await get(here, "/v2/aggs/grouped/locale/us/market/stocks/2026-03-01")
            assert status == 200
            assert "results" not in body
            assert (await get(here, "/v1/marketstatus/now"))[0] == 200
            status, body = await get(here, "/v1/marketstatus/now")
            assert (status, body["status"]) == (429, "ERROR")
            here.play(61)
            assert (await get(here, "/v1/marketstatus/now"))[0] == 200

    run(check)


def test_rest_shows_the_day_as_the_socket_did() -> None:
    """Snapshot, last values and bars come from the published slices; nothing is ahead of them."""

    async def check() -> None:
        async with venue() as here:
            slice_ = here.play(510)
            spy = here.market.symbols.index("SPY")
            mine = slice_.select((slice_.symbol == spy) & (slice_.kind == Kind.MINUTE_BAR))
            _, body = await get(here, "/v2/aggs/ticker/SPY/range/1/minute/2026-03-02/2026-03-02")
            assert [row["t"] for row in body["results"]] == ((mine.at_ns - MINUTE_NS) // 1_000_000).tolist()
            assert [row["c"] for row in body["results"]] == mine.price4.tolist()
            _, body = await get(here, "/v2/last/nbbo/SPY")
            quotes = slice_.select((slice_.symbol == spy) & (slice_.kind == Kind.QUOTE))
            assert (body["results"]["p"], body["results"]["P"]) == (quotes.price[-1], quotes.price2[-1])
            _, body = await get(here, "/v2/snapshot/locale/us/markets/stocks/tickers?tickers=SPY,NOPE")
            assert body["count"] == 1
            assert body["tickers"][0]["day"]["v"] == here.memory.volume[spy]
            _, body = await get(here, "/v1/marketstatus/now")
            assert (body["market"], body["serverTime"]) == ("open", "2026-03-02T09:33:30-05:00")
            _, rows = await get(here, "/v1/marketstatus/upcoming")
            assert {"2026-11-27"} <= {row["date"] for row in rows if row["status"] == "early-close"}
            _, body = await get(here, "/v2/aggs/ticker/SPY/range/5/minute/2026-02-27/2026-02-27")
            assert body["resultsCount"] == 78

    run(check)


def test_flow_has_two_spellings_and_is_late() -> None:
    """The same alert over REST and socket; strike and type only where the vendor has them; receipt after the last print."""

    async def check() -> None:
        async with (
            venue() as here,
            websockets.connect(f"ws://127.0.0.1:{here.port}/socket?token=key-one", proxy=None, max_queue=None) as socket,
        ):
            await socket.send(json.dumps({"channel": "flow-alerts", "msg_type": "join"}))
            assert await objects(socket) == ["flow-alerts", {"response": {}, "status": "ok"}]
            await socket.send(json.dumps({"channel": "gex:SPY", "msg_type": "join"}))
            assert (await objects(socket))[1]["status"] == "error"
            here.play(600)
            channel, alert = await objects(socket)
            assert channel == "flow-alerts"
            assert "strike" not in alert
            assert isinstance(alert["total_premium"], float)
            status, body = await get(here, "/api/option-trades/flow-alerts?limit=200")
            assert status == 200
            row = next(row for row in body["data"] if row["id"] == alert["id"])
            assert row["option_chain"] == alert["option_chain"]
            assert row["total_premium"] == f"{alert['total_premium']:.2f}"
            created = datetime.datetime.fromisoformat(row["created_at"]).timestamp() * 1000
            assert 5_000 <= created - alert["end_time"] <= 16_001
            assert datetime.date.fromisoformat(row["expiry"]).weekday() == 4
            newest = body["data"][0]["created_at"].replace("+", "%2B")
            assert (await get(here, f"/api/option-trades/flow-alerts?newer_than={newest}"))[1] == {"data": []}
            assert (await get(here, "/api/option-trades/flow-alerts?limit=1000"))[0] == 422
            assert (await get(here, "/api/option-trades/flow-alerts", key="no"))[0] == 401
            assert (await get(here, "/api/market/market-tide"))[1]["data"]

    run(check)


def test_a_wrong_token_gets_no_socket() -> None:
    """The handshake fails, it is not accepted and closed."""

    async def check() -> None:
        async with venue() as here:
            with pytest.raises(websockets.InvalidStatus, match="401"):
                await websockets.connect(f"ws://127.0.0.1:{here.port}/socket?token=x", proxy=None)

    run(check)
