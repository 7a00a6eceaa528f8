"""The whole simulator: one port, one clock, controls, capture, and a generated day from a seed."""

from __future__ import annotations

import asyncio
import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets

from tradingsystem.simulator.server import Simulator, SimulatorSettings, listening, make_feed
from tradingsystem.simulator.service import SimulatorService, serve

HEADERS = {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "simulation"}
ORDER = {"symbol": "AAA", "side": "buy", "qty": 100, "type": "market", "time_in_force": "day"}
SECOND = 1_000_000_000


async def market_ns(session: aiohttp.ClientSession) -> int:
    async with session.get("/simulator/clock") as answer:
        return int((await answer.json())["market_ns"])


def test_controls_read_and_change_the_simulation(venues: Any) -> None:
    """Clock, scenario, pace and summary by HTTP; a wrong scenario is refused with its field."""

    async def run() -> None:
        async with venues() as v, aiohttp.ClientSession(v.address.http) as session:
            async with session.get("/simulator/clock") as answer:
                clock = await answer.json()
                assert (clock["market_ns"], clock["date"], clock["finished"]) == (v.now_ns, "2026-03-02", False)
            async with session.put("/simulator/scenario", json={"stream": [{"endpoint": "/stream", "kind": "Drop"}]}) as answer:
                assert answer.status == 200
            assert v.simulator.faults.scenario.stream[0].kind == "Drop"
            async with session.put("/simulator/scenario", json={"stream": [{"endpoint": "/stream", "kind": "Explode"}]}) as answer:
                assert (answer.status, "stream" in (await answer.json())["error"]) == (422, True)
            for lag, factor in ((0.0, 1.0), (5.0, 0.0)):
                async with session.post("/simulator/pace", json={"lag_seconds": lag}) as answer:
                    assert (await answer.json())["factor"] == factor
            async with session.post("/simulator/pace", json={}) as answer:
                assert answer.status == 422

    asyncio.run(run())


def test_the_summary_is_the_ledgers(venues: Any) -> None:
    """Orders, fills, positions, cash and day P&L net of fees."""

    async def run() -> None:
        async with venues(starting_cash=Decimal(50_000)) as v:
            v.simulator.exchange.submit(ORDER, v.now_ns)
            v.quote(10.20, 10.22)
            v.simulator.exchange.submit({**ORDER, "side": "sell", "qty": 40}, v.now_ns)
            v.wait()
            async with aiohttp.ClientSession(v.address.http) as session, session.get("/simulator/summary") as answer:
                told = await answer.json()
        assert told["orders"] == {"filled": 2}
        assert (told["fills"], told["positions"], told["shares_traded"]) == (2, {"AAA": "60"}, "140")
        assert (told["cash"], told["fees"], told["realised_profit"]) == ("49407.97", "0.03", "8.00")
        assert told["consistent"] is True

    asyncio.run(run())


def test_the_summary_tells_the_oracle_on_request() -> None:
    """The hit rate of who knows every planted episode, a share between 0 and 1."""

    async def run() -> None:
        simulator = Simulator(SimulatorSettings(symbols=40))
        async with listening(simulator) as address, aiohttp.ClientSession(address.http) as session:
            answer = await session.get("/simulator/summary?oracle=true")
            async with answer:
                assert 0 <= (await answer.json())["oracle_hit_rate"] <= 1

    asyncio.run(run())


def test_the_capture_holds_both_directions_without_credentials(venues: Any, tmp_path: Path) -> None:
    """HTTP and frames as they were on the wire; keys are masked."""
    path = tmp_path / "wire.jsonl"

    async def run() -> None:
        async with venues(capture_path=str(path), capture_everything=True, key="name-of-key", secret="very-secret") as v:
            headers = {"APCA-API-KEY-ID": "name-of-key", "APCA-API-SECRET-KEY": "very-secret"}
            async with websockets.connect(v.address.websocket + "/stream") as socket:
                await socket.send(json.dumps({"action": "auth", "key": "name-of-key", "secret": "very-secret"}))
                await socket.recv()
                await socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
                await socket.recv()
                async with aiohttp.ClientSession(v.address.http, headers=headers) as session:
                    async with session.post("/v2/orders", json=ORDER) as answer:
                        assert answer.status == 200
                    async with session.get("/v3/reference/exchanges?apiKey=name-of-key") as answer:
                        assert answer.status == 200
                v.wait()
                for _ in range(3):
                    await socket.recv()

    asyncio.run(run())
    text = path.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert "very-secret" not in text
    assert "name-of-key" not in text
    assert all({"at_ns", "connection", "direction", "kind"} <= set(row) and ("text" in row) != ("base64" in row) for row in rows)
    http = [row for row in rows if row["kind"] == "http"]
    assert [row["direction"] for row in http] == ["in", "out", "in", "out"]
    assert http[0]["text"].startswith("POST /v2/orders HTTP/1.1")
    assert json.loads(http[0]["text"].split("\r\n\r\n", 1)[1]) == ORDER
    assert json.loads(http[1]["text"].split("\r\n\r\n", 1)[1])["status"] == "pending_new"
    updates = [
        json.loads(row["text"])["data"]["event"]
        for row in rows
        if row["kind"] == "binary" and "trade_updates" in row["text"] and "event" in row["text"]
    ]
    assert updates == ["pending_new", "new", "fill"]
    assert [row["at_ns"] for row in rows] == sorted(row["at_ns"] for row in rows)


def test_only_the_broker_s_side_is_captured_unless_asked_for(venues: Any, tmp_path: Path) -> None:
    """Market data would be hundreds of megabytes a day; what the auditor needs is there all the same."""
    path = tmp_path / "wire.jsonl"

    async def run() -> None:
        async with venues(capture_path=str(path)) as v:
            headers = {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "simulation"}
            async with websockets.connect(v.address.websocket + "/stocks") as socket:
                await socket.recv()
            async with aiohttp.ClientSession(v.address.http, headers=headers) as session:
                for place in ("/v3/reference/exchanges?apiKey=simulation", "/v2/stocks/quotes/latest?symbols=SPY", "/v2/account"):
                    async with session.get(place) as answer:
                        assert answer.status == 200

    asyncio.run(run())
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["text"].split(" HTTP")[0] for row in rows if row["direction"] == "in"] == ["GET /v2/account"]
    assert len(rows) == 2


def test_one_seed_makes_one_day() -> None:
    """Two simulators with one seed and one script of orders end with equal ledgers, ids included."""

    def play() -> list[str]:
        simulator = Simulator(SimulatorSettings(symbols=20, seed=3))
        start = simulator.feed.session.open_ns
        simulator.step_to(start + 30 * SECOND)
        for number, symbol in enumerate(simulator.feed.symbols[:5]):
            simulator.exchange.submit({**ORDER, "symbol": symbol, "qty": 300, "client_order_id": f"o{number}"}, simulator.pacer.market_ns)
            simulator.step_to(simulator.pacer.market_ns + 20 * SECOND)
        return [repr(execution) for execution in simulator.ledger.executions]

    first = play()
    assert first
    assert first == play()


def test_the_service_plays_a_day_and_stays_open(tmp_path: Path) -> None:
    """Market time only moves forward, ends at the end of the data, `finished` is set, and the venues answer until told to stop."""

    async def run() -> None:
        simulator = Simulator(SimulatorSettings(symbols=5, speed=100_000))
        ticks: list[int] = []
        service = SimulatorService(simulator, on_time=lambda market_ns, _: ticks.append(market_ns))
        stop = asyncio.Event()
        ready = asyncio.Event()
        task = asyncio.create_task(service.run(ready.set, stop))
        async with asyncio.timeout(60):
            await ready.wait()
            await service.finished.wait()
        assert ticks == sorted(ticks)
        assert ticks[-1] == simulator.feed.session.last_ns == service.progress_ns
        assert service.detail()["finished"] == 1.0
        assert service.address is not None
        async with aiohttp.ClientSession(service.address.http, headers=HEADERS) as session, session.get("/v2/clock") as answer:
            assert (await answer.json())["is_open"] is False
        stop.set()
        await task

    asyncio.run(run())


def test_lagging_consumers_hold_market_time() -> None:
    """`pace` with a long lag makes the service stand still; without lag it goes on."""

    async def run() -> None:
        simulator = Simulator(SimulatorSettings(symbols=5, speed=100))
        service = SimulatorService(simulator)
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(lambda: None, stop))
        async with asyncio.timeout(30):
            await service.listening.wait()
            assert service.pace(10.0) == 0.0
            held = simulator.now_ns()
            assert service.address is not None
            async with aiohttp.ClientSession(service.address.http) as session:
                for _ in range(20):
                    assert await market_ns(session) == held
                service.pace(0.0)
                while await market_ns(session) == held:
                    pass
        stop.set()
        await task

    asyncio.run(run())


def test_serve_runs_stand_alone_and_returns_the_summary() -> None:
    """One call, one day, one summary; `until` ends it early."""

    async def run() -> None:
        until = asyncio.Event()
        addresses: list[Any] = []

        def listening_at(address: Any) -> None:
            addresses.append(address)
            until.set()

        told = await serve(SimulatorSettings(symbols=5), until=until, listening=listening_at)
        assert addresses[0].port > 0
        assert told["label"] == "simulated, edge planted"

    asyncio.run(run())


def test_the_port_is_on_loopback_only(venues: Any) -> None:
    """Nothing outside this machine reaches an account without a password."""

    async def run() -> None:
        simulator = Simulator(SimulatorSettings(symbols=5))
        async with listening(simulator) as address:
            assert address.http.startswith("http://127.0.0.1:")

    asyncio.run(run())


def test_a_wrong_day_is_told(tmp_path: Path) -> None:
    """A Sunday has no session; the error says which day has."""
    with pytest.raises(ValueError, match="2026-03-01"):
        make_feed(SimulatorSettings(start_date=datetime.date(2026, 3, 1)))
