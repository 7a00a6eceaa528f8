"""Each scenario switch, seen from a client: it changes what is seen, never what is true in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import websockets

from tradingsystem.simulator.faults import Faults, RestFault, RestFaultKind, Scenario, StreamFault, StreamFaultKind, rewrite

HEADERS = {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "simulation"}
ORDER = {"symbol": "AAA", "side": "buy", "qty": 100, "type": "market", "time_in_force": "day"}
KIND = StreamFaultKind


def stream_fault(kind: StreamFaultKind, **fields: Any) -> Scenario:
    return Scenario(stream=(StreamFault(endpoint="/stream", kind=kind, **fields),))


def rest_fault(kind: RestFaultKind, path: str = "/v2/orders", **fields: Any) -> Scenario:
    return Scenario(rest=(RestFault(path=path, kind=kind, **fields),))


@contextlib.asynccontextmanager
async def client(v: Any) -> AsyncIterator[Any]:
    async with websockets.connect(v.address.websocket + "/stream", close_timeout=0.2) as socket:
        await socket.send(json.dumps({"action": "auth", "key": "simulation", "secret": "simulation"}))
        await socket.recv()
        await socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        await socket.recv()
        yield socket


async def events(socket: Any, count: int) -> list[str]:
    async with asyncio.timeout(5):
        return [json.loads(await socket.recv())["data"]["event"] for _ in range(count)]


async def until_closed(socket: Any) -> AsyncIterator[Any]:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            yield await socket.recv()


def trade(v: Any) -> None:
    """One order from `pending_new` to `fill`."""
    v.simulator.exchange.submit(ORDER, v.now_ns)
    v.wait()


def streaming(venues: Any, scenario: Scenario, body: Callable[[Any, Any], Awaitable[None]]) -> None:
    async def run() -> None:
        async with venues(scenario=scenario) as v, client(v) as socket:
            await body(v, socket)
            assert v.simulator.ledger.position("AAA").quantity == 100, "a fault must not change the ledger"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "fields", "heard"),
    [
        (KIND.DUPLICATE, {"match": '"event":"fill"', "count": 2}, ["pending_new", "new", "fill", "fill", "fill"]),
        (KIND.REORDER, {"match": '"event":"new"'}, ["pending_new", "fill", "new"]),
        (KIND.DROP, {"match": '"event":"new"'}, ["pending_new", "fill"]),
        (KIND.DELAY, {"match": '"event":"new"', "delay_ms": 50}, ["pending_new", "fill", "new"]),
        (KIND.REWRITE, {"path": "data.event", "value": "quantum", "after": 1}, ["pending_new", "quantum", "fill"]),
    ],
)
def test_events_repeated_reordered_lost_late_or_unknown(
    venues: Any, kind: StreamFaultKind, fields: dict[str, Any], heard: list[str]
) -> None:
    """The order of events a client gets, by switch."""

    async def body(v: Any, socket: Any) -> None:
        trade(v)
        assert await events(socket, len(heard)) == heard

    streaming(venues, stream_fault(kind, **fields), body)


def test_a_field_can_be_missing_or_hold_an_unknown_word(venues: Any) -> None:
    """Status outside every known list, and an optional field that is not there."""

    async def body(v: Any, socket: Any) -> None:
        trade(v)
        first, second = json.loads(await socket.recv()), json.loads(await socket.recv())
        assert first["data"]["order"]["status"] == "pending_review"
        assert "legs" not in second["data"]["order"]

    scenario = Scenario(
        stream=(
            StreamFault(endpoint="/stream", kind=KIND.REWRITE, path="data.order.status", value="pending_review"),
            StreamFault(endpoint="/stream", kind=KIND.REWRITE, path="data.order.legs", remove=True),
        )
    )
    streaming(venues, scenario, body)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011])
def test_the_server_can_close_with_any_code(venues: Any, code: int) -> None:
    """The client sees that code, and what followed is lost to it."""

    async def body(v: Any, socket: Any) -> None:
        trade(v)
        assert await events(socket, 1) == ["pending_new"]
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == code

    streaming(venues, stream_fault(KIND.CLOSE, code=code, after=1), body)


def test_a_tcp_reset_ends_the_connection_without_a_close(venues: Any) -> None:
    """No close frame arrives."""

    async def body(v: Any, socket: Any) -> None:
        trade(v)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await asyncio.wait_for(socket.recv(), 5)
        assert closed.value.rcvd is None

    streaming(venues, stream_fault(KIND.RESET), body)


def test_a_half_open_connection_is_mute_to_data_and_pings(venues: Any) -> None:
    """TCP stays, nothing comes, not even a pong: only a deadline finds out."""

    async def body(v: Any, socket: Any) -> None:
        trade(v)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.1)
        pong = await socket.ping()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(pong), 0.1)
        pong.cancel()

    streaming(venues, stream_fault(KIND.HALF_OPEN), body)


def test_a_replay_repeats_old_events_to_a_new_connection(venues: Any) -> None:
    """Identical execution ids, after a reconnect."""

    async def run() -> None:
        async with venues(scenario=stream_fault(KIND.REPLAY, count=2)) as v:
            async with client(v) as socket:
                trade(v)
                first = [await socket.recv() for _ in range(3)]
            async with client(v) as socket:
                assert [await socket.recv() for _ in range(2)] == first[1:]

    asyncio.run(run())


@pytest.mark.parametrize("code", [401, 429, 503])
def test_the_handshake_can_be_refused(venues: Any, code: int) -> None:
    """Once; the next attempt succeeds."""

    async def run() -> None:
        async with venues(scenario=stream_fault(KIND.REFUSE_HANDSHAKE, code=code)) as v:
            with pytest.raises(websockets.InvalidStatus) as caught:
                await websockets.connect(v.address.websocket + "/stream")
            assert caught.value.response.status_code == code
            async with client(v):
                pass

    asyncio.run(run())


def test_good_keys_can_be_refused_and_answers_withheld(venues: Any) -> None:
    """`unauthorized` for the right secret; and a server that says nothing at all."""

    async def run() -> None:
        scenario = Scenario(
            stream=(
                StreamFault(endpoint="/stream", kind=KIND.REFUSE_AUTH),
                StreamFault(endpoint="/stream", kind=KIND.MUTE_ANSWERS, after=1),
            )
        )
        async with venues(scenario=scenario) as v:
            for expected in ("unauthorized", None):
                async with websockets.connect(v.address.websocket + "/stream") as socket:
                    await socket.send(json.dumps({"action": "auth", "key": "simulation", "secret": "simulation"}))
                    if expected is None:
                        with pytest.raises(TimeoutError):
                            await asyncio.wait_for(socket.recv(), 0.1)
                    else:
                        assert json.loads(await socket.recv())["data"]["status"] == expected

    asyncio.run(run())


def test_a_ping_can_come_before_the_first_frame(venues: Any) -> None:
    """On the data stream, before `connected`."""

    async def run() -> None:
        async with (
            venues(scenario=Scenario(stream=(StreamFault(endpoint="/v2/sip", kind=KIND.PING_FIRST),))) as v,
            aiohttp.ClientSession() as session,
            session.ws_connect(v.address.websocket + "/v2/sip", autoping=False) as socket,
        ):
            assert (await socket.receive()).type is aiohttp.WSMsgType.PING
            assert (await socket.receive_json())[0]["msg"] == "connected"

    asyncio.run(run())


def test_a_slow_reader_is_disconnected(venues: Any) -> None:
    """When its buffer is full: an error frame and 1008, others are not held up."""

    async def run() -> None:
        async with venues(scenario=Scenario(send_buffer_bytes=1024)) as v, websockets.connect(v.address.websocket + "/v2/sip") as socket:
            await socket.send(json.dumps({"action": "auth", "key": "simulation", "secret": "simulation"}))
            await socket.send(json.dumps({"action": "subscribe", "quotes": ["AAA"]}))
            for _ in range(3):
                await socket.recv()
            for _ in range(100):
                v.quote(9.99, 10.00)
            async with asyncio.timeout(5):
                frames = [frame async for frame in until_closed(socket)]
            assert socket.close_code == 1008
            assert json.loads(frames[-1])[0]["code"] == 407

    asyncio.run(run())


def test_a_silent_sibling_cancel_shows_only_in_rest(venues: Any) -> None:
    """The stop's end never reaches the stream; nested orders tell."""

    async def run() -> None:
        async with venues(scenario=Scenario(silent_sibling_cancel=True)) as v, client(v) as socket:
            legs = {"take_profit": {"limit_price": "10.5"}, "stop_loss": {"stop_price": "9.5"}}
            entry = v.simulator.exchange.submit({**ORDER, "order_class": "bracket", **legs}, v.now_ns)
            v.wait()
            v.wait()
            v.quote(10.60, 10.62)
            assert await events(socket, 5) == ["pending_new", "new", "fill", "new", "fill"]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.1)
            path = f"/v2/orders/{entry.id}?nested=true"
            async with aiohttp.ClientSession(v.address.http, headers=HEADERS) as session, session.get(path) as answer:
                assert [leg["status"] for leg in (await answer.json())["legs"]] == ["filled", "canceled"]

    asyncio.run(run())


def asking(venues: Any, scenario: Scenario, body: Callable[[Any, aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def run() -> None:
        async with venues(scenario=scenario) as v, aiohttp.ClientSession(v.address.http, headers=HEADERS) as session:
            await body(v, session)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("scenario", "status", "body", "taken"),
    [
        (rest_fault(RestFaultKind.STATUS, status=429), 429, '{"code": 42910000', 0),
        (rest_fault(RestFaultKind.STATUS, status=500), 500, '{"code": 50010000', 0),
        (rest_fault(RestFaultKind.BARE_STATUS, status=429), 429, "", 0),
        (rest_fault(RestFaultKind.HTML, status=502), 502, "<html>", 0),
        (rest_fault(RestFaultKind.ANSWER_LOST, status=504), 504, '{"code": 50010000', 1),
    ],
)
def test_orders_whose_answer_is_an_error(venues: Any, scenario: Scenario, status: int, body: str, taken: int) -> None:
    """Only `AnswerLost` has taken the order: the client cannot tell from the answer."""

    async def talk(v: Any, session: aiohttp.ClientSession) -> None:
        async with session.post("/v2/orders", json=ORDER) as answer:
            text = await answer.text()
            assert (answer.status, text[: len(body)]) == (status, body)
            assert bool(text) == bool(body)
            assert ("X-RateLimit-Limit" in answer.headers) is False
        assert len(v.simulator.ledger.orders) == taken
        async with session.post("/v2/orders", json=ORDER) as answer:
            assert answer.status == 200

    asking(venues, scenario, talk)


@pytest.mark.parametrize(("kind", "taken"), [(RestFaultKind.CUT, 0), (RestFaultKind.CUT_AFTER, 1)])
def test_orders_whose_connection_is_cut(venues: Any, kind: RestFaultKind, taken: int) -> None:
    """Before or after the order was taken: the same exception."""

    async def talk(v: Any, session: aiohttp.ClientSession) -> None:
        with pytest.raises((aiohttp.ClientConnectionError, aiohttp.ClientOSError)):
            await session.post("/v2/orders", json=ORDER)
        assert len(v.simulator.ledger.orders) == taken

    asking(venues, rest_fault(kind, method="POST"), talk)


def test_a_fill_can_overtake_the_answer_of_its_order(venues: Any) -> None:
    """`SlowAnswer`: the order is taken at once, streamed and filled, and only then answered."""

    async def run() -> None:
        scenario = rest_fault(RestFaultKind.SLOW_ANSWER, delay_ms=300)
        async with venues(scenario=scenario) as v, client(v) as socket, aiohttp.ClientSession(v.address.http, headers=HEADERS) as session:
            post = asyncio.create_task(session.post("/v2/orders", json=ORDER))
            assert await events(socket, 1) == ["pending_new"]
            v.wait()
            assert await events(socket, 2) == ["new", "fill"]
            assert not post.done()
            assert (await (await post).json())["status"] == "pending_new"

    asyncio.run(run())


def test_a_slow_request_is_handled_late(venues: Any) -> None:
    """`Slow`: nothing is taken before the delay has passed."""

    async def talk(v: Any, session: aiohttp.ClientSession) -> None:
        started = time.monotonic()
        post = asyncio.create_task(session.post("/v2/orders", json=ORDER))
        async with session.get("/simulator/clock") as answer:
            assert answer.status == 200
        assert not v.simulator.ledger.orders
        assert (await post).status == 200
        assert time.monotonic() - started >= 0.2

    asking(venues, rest_fault(RestFaultKind.SLOW, delay_ms=200), talk)


def test_cancel_all_can_fail_for_some(venues: Any) -> None:
    """207 with mixed results; the refused order stays open."""

    async def talk(v: Any, session: aiohttp.ClientSession) -> None:
        for cents in range(4):
            v.simulator.exchange.submit({**ORDER, "qty": 1, "type": "limit", "limit_price": 9 + cents / 100}, v.now_ns)
        v.wait()
        async with session.delete("/v2/orders") as answer:
            assert (answer.status, [row["status"] for row in await answer.json()]) == (207, [200, 500, 200, 500])
        v.wait()
        assert len(list(v.simulator.ledger.open_orders())) == 2

    asking(venues, Scenario(cancel_all_refused_every=2), talk)


def test_polygon_results_can_be_absent(venues: Any) -> None:
    """`EmptyResults`: 200 without the key a careless client indexes."""

    async def talk(v: Any, session: aiohttp.ClientSession) -> None:
        async with session.get("/v3/reference/exchanges?apiKey=simulation") as answer:
            told = await answer.json()
            assert answer.status == 200
            assert "results" not in told
        async with session.get("/v3/reference/exchanges?apiKey=simulation") as answer:
            assert "results" in await answer.json()

    asking(venues, rest_fault(RestFaultKind.EMPTY_RESULTS, "/v3/reference"), talk)


def test_faults_count_and_draw_by_seed() -> None:
    """`after`, `times` and probability decide; the same seed decides the same way again."""

    def hits(seed: int) -> list[bool]:
        fault = StreamFault(endpoint="", kind=KIND.DROP, probability_percent=40, times=0, after=2)
        faults = Faults(Scenario(stream=(fault,)), seed=seed)
        return [faults.on_frame("/stream", b"x", text=True) is not None for _ in range(50)]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert hits(1)[:2] == [False, False]
    assert 5 < sum(hits(1)) < 35


def test_rewriting_reaches_into_arrays_and_leaves_other_bytes_alone() -> None:
    """Every member of a list is changed; what is not JSON passes unchanged."""
    fault = StreamFault(endpoint="", kind=KIND.REWRITE, path="p", value="x")
    assert rewrite(b'[{"p":1},{"q":2}]', fault) == b'[{"p":"x"},{"q":2}]'
    assert rewrite(b"\x93\x01", fault) == b"\x93\x01"
