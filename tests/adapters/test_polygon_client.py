"""Polygon's client against a real WebSocket server: what it does when the other side refuses, forgets, dies or lies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.adapters.listening import IN_SESSION_NS, Memory, SessionClock, listening
from tests.adapters.polygon_server import KEY, PolygonServer, frame, running, status
from tradingsystem.adapters.pacing import WatchLimits
from tradingsystem.adapters.polygon import client
from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.rows import RowKind
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND

SYMBOLS = ("ABC", "XYZ")
STOCKS = frozenset({"Trades", "Quotes", "MinuteBars", "LimitBands"})


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def trade(price: float = 10.25, *, at_ns: int = IN_SESSION_NS) -> dict[str, object]:
    return {"ev": "T", "sym": "ABC", "p": price, "s": 100, "t": at_ns // 1_000_000}


def source(server: PolygonServer, clock: SessionClock, key: str = KEY, channels: frozenset[str] = STOCKS) -> PolygonSource:
    limits = WatchLimits(machine_floor_ns=50 * NS_PER_MILLISECOND, behind_ns=60 * NS_PER_SECOND)
    return PolygonSource(PolygonSettings(name="polygon", url=server.url, key=lambda: key, channels=channels, limits=limits), clock)


def sends(*frames: str | bytes) -> Callable[[ServerConnection, int], Awaitable[None]]:
    async def after(socket: ServerConnection, number: int) -> None:
        for one in frames:
            await socket.send(one, text=True)

    return after


def test_rows_arrive_and_tiers_follow_the_wish() -> None:
    """Standing subscriptions go out first; a wish adds trades and quotes for its symbols, its end removes them."""

    async def scenario() -> None:
        sink, clock = Memory(), SessionClock()
        async with running(PolygonServer(after=sends(frame(trade())))) as server:
            one = source(server, clock)
            async with listening(one, sink, SYMBOLS):
                await sink.until(lambda: bool(sink.received))
                assert server.held[0] == {"A.*", "AM.*", "LULD.*"}
                one.want(frozenset({"ABC"}))
                await server.until(lambda: {"T.ABC", "Q.ABC"} <= server.held[0])
                one.want(frozenset({"XYZ"}))
                await server.until(lambda: server.held[0] == {"A.*", "AM.*", "LULD.*", "T.XYZ", "Q.XYZ"})
        name, rows = sink.received[0]
        assert (name, rows.kind.tolist(), rows.v0.tolist()) == ("polygon", [RowKind.TRADE], [10.25])
        assert sink.told(True)

    run(scenario)


def test_indices_are_a_socket_of_their_own() -> None:
    """VIX comes by a second connection, under its own name."""

    async def scenario() -> None:
        sink = Memory()
        value = {"ev": "V", "T": "I:VIX", "val": 17.5, "t": IN_SESSION_NS // 1_000_000}
        async with running(PolygonServer(after=sends(frame(value)))) as server:
            one = source(server, SessionClock(), channels=STOCKS | {"Indices"})
            async with listening(one, sink, SYMBOLS):
                await sink.until(lambda: any(name == "polygon-indices" for name, _ in sink.received))
                await server.until(lambda: server.connections == 2)
        assert {"V.I:VIX"} in server.held

    run(scenario)


def test_a_refused_key_is_named_and_never_shown() -> None:
    """``auth_failed`` ends the source with an error that names the key and does not hold it."""

    async def scenario() -> None:
        async with running(PolygonServer()) as server:
            with pytest.raises(NotAuthorized) as caught:
                async with asyncio.timeout(10):
                    await source(server, SessionClock(), key="another-secret").run(SYMBOLS, Memory())
        assert "Polygon key" in str(caught.value)
        assert "another-secret" not in str(caught.value)
        assert server.connections == 1

    run(scenario)


def test_unconfirmed_subscriptions_raise_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal names nothing: what was requested and not confirmed in time is told by name."""
    monkeypatch.setattr("tradingsystem.adapters.polygon.subscriptions.CONFIRMATION_NS", 50 * NS_PER_MILLISECOND)

    alarms: list[EventDict] = []
    alarmed = asyncio.Event()

    def watch(logger: object, method: str, entry: EventDict) -> EventDict:
        if entry["event"] == "subscriptions_unconfirmed":
            alarms.append(entry)
            alarmed.set()
        return entry

    async def scenario() -> None:
        async with running(PolygonServer(refused=frozenset({"LULD.*"}), after=sends(frame(trade())))) as server:
            sink = Memory()
            async with listening(source(server, SessionClock()), sink, SYMBOLS):
                await sink.until(lambda: bool(sink.received))
                async with asyncio.timeout(5):
                    await alarmed.wait()

    with capture_logs():
        structlog.get_config()["processors"].insert(0, watch)
        run(scenario)
    assert alarms[0]["examples"] == ("LULD.*",)


def test_a_mute_connection_is_left_and_replaced() -> None:
    """A socket that stays open and brings nothing during the session is given up by the age of its data, and everything is subscribed again."""

    async def scenario() -> None:
        sink = Memory()
        async with (
            running(PolygonServer(after=sends(frame(trade())))) as server,
            listening(source(server, SessionClock(speed=100)), sink, SYMBOLS),
        ):
            await server.until(lambda: len(server.held) >= 2 and server.held[1] == {"A.*", "AM.*", "LULD.*"})
        assert sink.told(False, "no data for")

    run(scenario)


def test_silence_outside_the_session_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the open nothing is expected: the connection is kept, and it counts as healthy once a subscription holds."""
    monkeypatch.setattr("tradingsystem.adapters.streaming.WATCH_SECONDS", 0.01)

    async def scenario() -> None:
        sink = Memory()
        async with running(PolygonServer()) as server:
            start_ns = IN_SESSION_NS - 3 * 3_600 * NS_PER_SECOND
            clock = SessionClock(start_ns=start_ns, speed=100)
            async with listening(source(server, clock), sink, SYMBOLS):
                await sink.until(lambda: sink.told(True))
                await clock.asked(50)  # by the watch, a hundred times a second: a minute of market time
                assert clock.now() > start_ns + 30 * NS_PER_SECOND
        assert (server.connections, sink.told(False)) == (1, False)

    run(scenario)


def test_max_connections_is_named_and_not_fought(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says that the key is used elsewhere: the reason is told, and the next try waits, since two owners would evict each other."""
    monkeypatch.setattr(client, "MAX_CONNECTIONS_SECONDS", 0.5)

    async def evict(socket: ServerConnection, number: int) -> None:
        if number == 0:
            await socket.send(frame(status("max_connections", "Maximum number of websocket connections exceeded.")))
            await socket.close(1008, "max_connections")

    async def scenario() -> None:
        sink, clock = Memory(), SessionClock()
        async with running(PolygonServer(after=evict)) as server, listening(source(server, clock), sink, SYMBOLS):
            await sink.until(lambda: sink.told(False, "another process uses this key"))
            left = clock.monotonic()
            await server.until(lambda: server.connections == 2)
            assert clock.monotonic() - left >= 400 * NS_PER_MILLISECOND

    run(scenario)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011])
def test_every_close_is_followed_by_a_new_connection(code: int) -> None:
    """A clean close is no reason to stop: the official client ends quietly there."""

    async def close_first(socket: ServerConnection, number: int) -> None:
        await socket.send(frame(trade()))
        if number == 0:
            await socket.close(code)

    async def scenario() -> None:
        sink = Memory()
        async with running(PolygonServer(after=close_first)) as server, listening(source(server, SessionClock()), sink, SYMBOLS):
            await sink.until(lambda: len(sink.received) >= 2)
        assert sink.told(False, f"with {code}")
        assert [event.healthy for _, event in sink.events] == [True, False, True]

    run(scenario)


def test_garbage_is_counted_and_the_connection_lives() -> None:
    """Frames that are no JSON, no array or full of nonsense cost nothing but a count."""

    async def scenario() -> None:
        sink = Memory()
        garbage = (b"{", b"[1, null]", b"nonsense", b'[{"ev":"T"}]', b"\xff\xfe".decode("latin-1").encode())
        async with (
            running(PolygonServer(after=sends(*garbage, frame(trade())))) as server,
            listening(source(server, SessionClock()), sink, SYMBOLS),
        ):
            await sink.until(lambda: bool(sink.received))
        assert sink.bad == {"not_an_array": 3, "no_event_name": 2, "bad_field": 1}
        assert server.connections == 1

    run(scenario)


def test_a_frame_beyond_all_bounds_costs_the_connection_not_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A huge frame is not read into memory; the source reconnects."""
    monkeypatch.setattr("tradingsystem.adapters.streaming.FRAME_BYTES_MAX", 10_000)

    async def scenario() -> None:
        sink = Memory()

        async def huge(socket: ServerConnection, number: int) -> None:
            with contextlib.suppress(ConnectionClosed):
                await socket.send(frame(*[trade()] * 1_000) if number == 0 else frame(trade()))

        async with running(PolygonServer(after=huge)) as server, listening(source(server, SessionClock()), sink, SYMBOLS):
            await sink.until(lambda: bool(sink.received))
        assert server.connections == 2

    run(scenario)


def test_a_delayed_feed_is_unhealthy() -> None:
    """Events fifteen minutes old during the session look like data and are none."""

    async def scenario() -> None:
        sink = Memory()
        old = trade(at_ns=IN_SESSION_NS - 900 * NS_PER_SECOND)
        async with running(PolygonServer(after=sends(frame(old)))) as server, listening(source(server, SessionClock()), sink, SYMBOLS):
            await sink.until(lambda: sink.told(False, "behind the clock"))

    run(scenario)


def test_nobody_there_is_tried_for_ever() -> None:
    """A refused TCP connection is a reason to wait, not to raise."""

    async def scenario() -> None:
        sink = Memory()
        async with running(PolygonServer(after=sends(frame(trade())))) as server:
            port = server.port
        gone = PolygonServer(port=port)
        async with listening(source(gone, SessionClock()), sink, SYMBOLS) as task:
            await sink.until(lambda: sink.told(False))
            assert not task.done()

    run(scenario)
