"""Alpaca's market data as the second source: JSON or MessagePack, letters by tape, its own spelling of tickers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.adapters.listening import IN_SESSION_NS, Memory, SessionClock, listening
from tradingsystem.adapters.alpaca.data_client import AlpacaDataSettings, AlpacaDataSource
from tradingsystem.adapters.alpaca.data_conditions import flags_of
from tradingsystem.adapters.alpaca.data_parse import FrameParser
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.rows import RowFlag, RowKind

LAST, HIGH_LOW, VOLUME = RowFlag.UPDATES_LAST, RowFlag.UPDATES_HIGH_LOW, RowFlag.UPDATES_VOLUME
AT = datetime.fromtimestamp(IN_SESSION_NS // 10**9, UTC)
SYMBOLS = ("ABC", "ABCpA")
EVENTS: list[dict[str, Any]] = [
    {"T": "t", "S": "ABC", "i": 1, "x": "V", "p": 10.25, "s": 100, "c": ["@", "I"], "z": "C", "t": AT},
    {"T": "q", "S": "ABC.PRA", "bx": "V", "bp": 20.0, "bs": 100, "ax": "V", "ap": 20.1, "as": 200, "c": ["R"], "z": "C", "t": AT},
    {"T": "b", "S": "ABC", "o": 10.0, "h": 10.2, "l": 9.9, "c": 10.1, "v": 5000, "n": 20, "vw": 10.05, "t": AT},
    {"T": "l", "S": "ABC", "u": 10.5, "d": 9.5, "i": "B", "z": "C", "t": AT},
    {"T": "s", "S": "ABC", "sc": "H", "sm": "Halted", "rc": "T12", "rm": "", "z": "C", "t": AT},
    {"T": "s", "S": "ABC", "sc": "Q", "sm": "Quotes", "rc": "", "rm": "", "z": "C", "t": AT},
    {"T": "s", "S": "ABC", "sc": "T", "sm": "Trades", "rc": "", "rm": "", "z": "C", "t": AT},
    {"T": "u", "S": "ABC", "o": 10.0},
]


@pytest.mark.parametrize("encode", [msgspec.json.encode, msgspec.msgpack.encode])
def test_both_encodings_give_the_same_rows(encode: Any) -> None:
    """Content decides how a frame is read, not what the socket calls it; a quote resumption does not resume trading."""
    parsed = FrameParser(SYMBOLS).parse(encode(EVENTS))
    rows = parsed.rows
    names = [RowKind(kind).name for kind in rows.kind]
    assert names == ["TRADE", "QUOTE", "MINUTE_BAR", "LULD", "HALT", "RESUME"]
    assert rows.symbol.tolist() == [0, 1, 0, 0, 0, 0]
    assert set(rows.at_ns.tolist()) == {IN_SESSION_NS}
    assert (rows.v0[3], rows.v1[3]) == (9.5, 10.5)
    assert rows.flags[0] == VOLUME
    assert parsed.malformed == {"not_used": 1}


def test_one_bad_event_costs_itself() -> None:
    """The rest of the frame is kept."""
    parsed = FrameParser(SYMBOLS).parse(msgspec.json.encode([{"T": "t", "S": "ABC"}, {"T": "?"}, 5, EVENTS[0], dict(EVENTS[0], S="NOPE")]))
    assert len(parsed.rows) == 1
    assert parsed.malformed == {"unreadable_event": 3, "unknown_symbol": 1}


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise(frame: bytes) -> None:
    """Whatever comes, the answer is rows and counts."""
    FrameParser(SYMBOLS).parse(frame)


@pytest.mark.parametrize(
    ("letters", "tape", "expected"),
    [
        ((), "A", LAST | HIGH_LOW | VOLUME),
        ((" ", "F"), "A", LAST | HIGH_LOW | VOLUME),
        (("B",), "A", VOLUME),
        (("B",), "C", LAST | HIGH_LOW | VOLUME),
        (("W",), "C", VOLUME),
        (("W",), "B", VOLUME),
        (("M",), "C", 0),
        (("9",), "C", LAST | HIGH_LOW),
        (("Z",), "A", HIGH_LOW | VOLUME),
        (("?",), "A", VOLUME),
    ],
)
def test_letters_mean_what_their_tape_says(letters: tuple[str, ...], tape: str, expected: int) -> None:
    """Average price is B on tapes A and B and W on tape C; an unknown letter moves no price."""
    assert flags_of(letters, tape) == expected


class AlpacaServer:
    """As much of the data stream as a test needs."""

    def __init__(self, *, refuse: int = 0) -> None:
        self.port = 0
        self.state: dict[str, list[str]] = {name: [] for name in ("trades", "quotes", "bars", "lulds", "statuses")}
        self._refuse = refuse

    async def serve(self, socket: ServerConnection) -> None:
        pack = socket.request is not None and socket.request.headers.get("Content-Type") == "application/msgpack"
        encode: Any = msgspec.msgpack.encode if pack else lambda value: msgspec.json.encode(value).decode()
        decode: Any = msgspec.msgpack.decode if pack else msgspec.json.decode
        with contextlib.suppress(ConnectionClosed):
            await socket.send(encode([{"T": "success", "msg": "connected"}]))
            async for payload in socket:
                message = decode(payload)
                if message["action"] == "auth":
                    error = {"T": "error", "code": self._refuse, "msg": "no"}
                    await socket.send(encode([error if self._refuse else {"T": "success", "msg": "authenticated"}]))
                    continue
                for name, values in message.items():
                    if name in self.state and message["action"] == "subscribe":
                        self.state[name] = sorted({*self.state[name], *values})
                await socket.send(encode([{"T": "subscription", **self.state}]))
                await socket.send(encode([EVENTS[0] if pack else dict(EVENTS[0], t=AT.isoformat().replace("+00:00", "Z"))]))


@contextlib.asynccontextmanager
async def running(server: AlpacaServer) -> AsyncIterator[str]:
    async with serve(server.serve, "127.0.0.1", 0) as listening_server:
        port = next(iter(listening_server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v2/sip"


def source(url: str, *, pack: bool = True) -> AlpacaDataSource:
    channels = frozenset({"Trades", "Quotes", "MinuteBars", "LimitBands"})
    settings = AlpacaDataSettings(
        name="backup", url=url, key=lambda: "made-up", secret=lambda: "made-up-secret", channels=channels, message_pack=pack
    )
    return AlpacaDataSource(settings, SessionClock())


@pytest.mark.parametrize("pack", [True, False])
def test_rows_arrive_and_wishes_are_subscribed(pack: bool) -> None:
    """Bars and bands for all at once, trades and quotes for what is wanted, in Alpaca's spelling."""

    async def scenario() -> None:
        server, sink = AlpacaServer(), Memory()
        async with running(server) as url:
            one = source(url, pack=pack)
            one.want(frozenset({"ABCpA"}))
            async with listening(one, sink, SYMBOLS):
                await sink.until(lambda: bool(sink.received))
        assert server.state == {"trades": ["ABC.PRA"], "quotes": ["ABC.PRA"], "bars": ["*"], "lulds": ["*"], "statuses": ["*"]}
        assert sink.received[0][1].v0.tolist() == [10.25]
        assert sink.told(True)

    asyncio.run(scenario())


def test_a_refused_key_ends_the_source() -> None:
    """Code 402 is the key; a loop would only repeat it."""

    async def scenario() -> None:
        async with running(AlpacaServer(refuse=402)) as url:
            with pytest.raises(NotAuthorized, match="Alpaca data key") as caught:
                await source(url).run(SYMBOLS, Memory())
        assert "made-up-secret" not in str(caught.value)

    asyncio.run(scenario())


def test_a_second_owner_is_told() -> None:
    """Code 406: somebody else holds the one connection."""

    async def scenario() -> None:
        sink = Memory()
        async with running(AlpacaServer(refuse=406)) as url, listening(source(url), sink, SYMBOLS):
            await sink.until(lambda: sink.told(False, "another process uses this data key"))

    asyncio.run(scenario())
