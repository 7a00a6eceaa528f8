"""Options flow by the vendor's socket, with polling behind it: no alert twice, none lost, and a token without the socket's plan is no fault."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.listening import IN_SESSION_NS, Memory, SessionClock, listening
from tests.adapters.test_history import KEY, Vendor, selling
from tradingsystem.adapters.unusual_whales import client
from tradingsystem.adapters.unusual_whales.client import PATH, UnusualWhalesSettings, UnusualWhalesSource
from tradingsystem.adapters.unusual_whales.parse import parse_frame

AT_MS = IN_SESSION_NS // 1_000_000


def alert(name: str, **changes: object) -> dict[str, object]:
    """A row as the socket spells it."""
    plain = {"id": name, "rule_name": "RepeatedHits", "ticker": "ABC", "option_chain": "ABC261218C00010000", "end_time": AT_MS}
    return plain | {"total_premium": 125_000.0, "total_size": 1000, "ask_vol": 800, "bid_vol": 150, "bid": "1.10"} | changes


def polled(*names: str) -> web.Response:
    """The same alerts as REST spells them."""
    rows = [
        {"id": name, "ticker": "ABC", "created_at": "2026-03-02T15:30:00Z", "total_premium": "125000", "type": "call", "total_size": 1000}
        for name in names
    ]
    return web.json_response({"data": rows})


class Desk(Vendor):
    """The vendor with its socket; without ``open`` the plan has none. ``sockets`` are the clients that have joined."""

    def __init__(self, *, is_open: bool = True) -> None:
        super().__init__({PATH: lambda _: polled(*self.known)})
        self.known: list[str] = []
        self.tokens: list[str] = []
        self._open = is_open
        self.joined: asyncio.Queue[web.WebSocketResponse] = asyncio.Queue()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/socket":
            return await super().handle(request)
        self.tokens.append(request.query["token"])
        if not self._open:
            return web.Response(status=403, text="upgrade your plan")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert json.loads(message.data) == {"channel": "flow-alerts", "msg_type": "join"}
            await socket.send_json(["flow-alerts", {"response": {}, "status": "ok"}])
            self.joined.put_nowait(socket)
        return socket

    @property
    def polls(self) -> int:
        return sum(asked.startswith(PATH) for asked in self.asked)


def source(url: str, clock: SessionClock) -> UnusualWhalesSource:
    return UnusualWhalesSource(UnusualWhalesSettings(name="flow", url=url, key=lambda: KEY), clock)


def premiums(sink: Memory) -> list[float]:
    return [float(value) for _, rows in sink.received for value in rows.v0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's least wait between polls is for vendors."""
    monkeypatch.setattr(client, "MACHINE_WAIT_MIN_SECONDS", 0.01)


def test_an_alert_comes_by_the_socket_and_never_twice() -> None:
    """With the same numbers as polling would have given; the poll that brings it again tells nothing, and polls become rare."""

    async def scenario() -> None:
        vendor, sink, clock = Desk(), Memory(), SessionClock(speed=200)
        async with selling(vendor) as url, listening(source(url, clock), sink, ("ABC",)):
            socket = await vendor.joined.get()
            for row in (alert("one"), alert("other", ticker="NOT-OURS"), alert("two", option_chain="ABC261218P00010000")):
                await socket.send_json(["flow-alerts", row])
            await sink.until(lambda: len(sink.received) == 2)
            vendor.known = ["one", "two"]
            before = vendor.polls
            async with asyncio.timeout(10):
                while vendor.polls < before + 2:
                    await clock.sleep_until(clock.now() + 10**9)
        assert premiums(sink) == [125_000.0, 125_000.0]
        _, rows = sink.received[0]
        assert (rows.v1[0], rows.v2[0], rows.v3[0], rows.v4[0]) == (100_000.0, 18_750.0, 1000.0, 1.0)
        assert sink.received[1][1].v4[0] == 0.0
        assert vendor.tokens == [KEY]
        assert [event.healthy for _, event in sink.events] == [True]

    asyncio.run(scenario())


def test_a_token_without_the_plan_is_polled() -> None:
    """403 at the socket, asked once: polling is how it works then, and healthy."""

    async def scenario() -> None:
        vendor, sink, clock = Desk(is_open=False), Memory(), SessionClock(speed=100)
        vendor.known = ["one"]
        async with selling(vendor) as url, listening(source(url, clock), sink, ("ABC",)):
            await sink.until(lambda: len(sink.received) == 1)
            async with asyncio.timeout(10):
                while vendor.polls < 4:
                    await clock.sleep_until(clock.now() + 10**9)
        assert len(vendor.tokens) == 1
        assert [event.healthy for _, event in sink.events] == [True]

    asyncio.run(scenario())


def test_what_a_lost_socket_missed_is_polled_at_once() -> None:
    """The socket has no memory. Its loss is no loss of the source, and the next poll does not wait for its minute."""

    async def scenario() -> None:
        vendor, sink, clock = Desk(), Memory(), SessionClock(speed=1)
        async with selling(vendor) as url, listening(source(url, clock), sink, ("ABC",)):
            socket = await vendor.joined.get()
            await socket.send_json(["flow-alerts", alert("one")])
            await sink.until(lambda: len(sink.received) == 1)
            vendor.known = ["one", "missed"]
            await socket.close()
            await sink.until(lambda: len(sink.received) == 2)
            again = await asyncio.wait_for(vendor.joined.get(), 10)
            await again.send_json(["flow-alerts", alert("three")])
            await sink.until(lambda: len(sink.received) == 3)
        assert [event.healthy for _, event in sink.events] == [True]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"<html>", "not_a_frame"),
        (json.dumps(["flow-alerts", {"ticker": "ABC"}]).encode(), "bad_field"),
        (json.dumps(["flow-alerts", alert("x", option_chain="nonsense")]).encode(), "neither_call_nor_put"),
        (json.dumps(["flow-alerts", alert("x", total_premium="-1")]).encode(), "bad_number"),
        (json.dumps(["flow-alerts", alert("x", end_time=0)]).encode(), "bad_time"),
    ],
)
def test_what_cannot_be_read_is_counted_by_reason(payload: bytes, reason: str) -> None:
    """One bad row is one bad row."""
    assert parse_frame(payload).malformed == {reason: 1}


def test_other_words_of_the_socket_are_understood() -> None:
    """Confirmations, refusals with their reason, and channels nobody asked for."""
    assert parse_frame(b'["flow-alerts",{"response":{},"status":"ok"}]').joined
    assert parse_frame(b'["flow-alerts",{"response":{"reason":"slow consumer"},"status":"error"}]').refusal == "slow consumer"
    price = parse_frame(b'["price:ABC",{"close":"10.25","time":1795186800123,"vol":4321}]')
    assert (price.alerts, price.joined, price.refusal, price.malformed) == ([], False, "", {})


@given(st.binary(max_size=100) | st.text(max_size=80).map(lambda text: json.dumps(["flow-alerts", {"ticker": text}]).encode()))
def test_no_frame_makes_the_parser_raise(payload: bytes) -> None:
    """Garbage is counted, never an exception."""
    assert parse_frame(payload).alerts == []
