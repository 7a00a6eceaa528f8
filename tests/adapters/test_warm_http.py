"""HTTP on warm connections over real sockets: whether a request left is always known, and no answer is ever taken for another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises.waiting import until
from tradingsystem.adapters import warm_http
from tradingsystem.adapters.warm_http import CONNECTIONS_MAX, HttpAnswer, NoAnswer, NotSent, WarmHttp
from tradingsystem.domain.errors import InvalidInput

SECONDS = 5.0
SHORT_SECONDS = 0.2
Script = Callable[["Line"], Awaitable[None]]


class Line:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number

    async def heard(self) -> str:
        """The next request: its first line and its body. Empty when the client has left."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""
        length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
        return head.split("\r\n")[0] + "|" + (await self.reader.readexactly(length)).decode()

    async def say(self, payload: bytes) -> None:
        """Bytes, as they are."""
        self.writer.write(payload)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed this connection."""
        while await self.reader.read(4096):
            pass


def answer(body: str, status: int = 200, more: str = "") -> bytes:
    """A complete answer."""
    return f"HTTP/1.1 {status} Word\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


@asynccontextmanager
async def served(script: Script) -> AsyncIterator[tuple[WarmHttp, list[Line]]]:
    """A client of a server that runs ``script`` on each connection, and the connections so far."""
    lines: list[Line] = []
    tasks: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(Line(reader, writer, len(lines) + 1))
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(lines[-1])
        finally:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    http = WarmHttp(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield http, lines
    finally:
        await http.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def post(http: WarmHttp, body: str = "x", seconds: float = SECONDS) -> HttpAnswer:
    return await http.request("POST", "/orders", headers={}, body=body.encode(), timeout_seconds=seconds)


async def get(http: WarmHttp, path: str = "/orders", seconds: float = SECONDS, **query: str) -> HttpAnswer:
    return await http.request("GET", path, headers={}, query=query or None, timeout_seconds=seconds)


async def echo(line: Line) -> None:
    """Answers each request with its number on this connection and what was heard."""
    number = 0
    while heard := await line.heard():
        number += 1
        await line.say(answer(f"{line.number}.{number} {heard}"))


def test_one_connection_serves_one_request_after_the_other() -> None:
    """Method, target and body arrive as given; a second connection is made only when two are under way at once."""

    async def story() -> None:
        async with served(echo) as (http, lines):
            assert (await post(http, "a")).body == b"1.1 POST /orders HTTP/1.1|a"
            assert (await get(http, "/v2/orders:by", status="open", after="a b&c")).body == (
                b"1.2 GET /v2/orders:by?status=open&after=a+b%26c HTTP/1.1|"
            )
            both = await asyncio.gather(post(http, "b"), post(http, "c"))
            assert sorted(one.body for one in both) == [b"1.3 POST /orders HTTP/1.1|b", b"2.1 POST /orders HTTP/1.1|c"]
            assert len(lines) == 2

    asyncio.run(story())


def test_without_a_connection_nothing_was_sent() -> None:
    """A closed port, a name that does not resolve, a closed client: known not to have left."""

    async def story() -> None:
        for address in ("http://127.0.0.1:1", "http://no-such-host.invalid"):
            with pytest.raises(NotSent):
                await post(WarmHttp(address))
        async with served(echo) as (http, lines):
            await http.close()
            with pytest.raises(NotSent, match="closed"):
                await post(http)
            assert not lines

    asyncio.run(story())


@pytest.mark.parametrize("address", ["ftp://host", "host:80", "http://", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    """Told when the client is made, not when the first order is sent."""
    with pytest.raises(InvalidInput, match="no http or https address"):
        WarmHttp(address)


@pytest.mark.parametrize(
    "came",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_a_write_without_a_whole_answer_may_have_been_carried_out(came: bytes) -> None:
    """Cut at any place, or not HTTP at all: no answer, and it was sent exactly once (invariants 2 and 3)."""
    requests: list[str] = []

    async def script(line: Line) -> None:
        requests.append(await line.heard())
        await line.say(came)

    async def story() -> None:
        async with served(script) as (http, _):
            with pytest.raises(NoAnswer):
                await post(http)
            assert requests == ["POST /orders HTTP/1.1|x"]

    asyncio.run(story())


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    """As HTTP/1.0 servers and some proxies send their error pages."""

    async def script(line: Line) -> None:
        await line.heard()
        await line.say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>")

    async def story() -> None:
        async with served(script) as (http, _):
            answered = await post(http)
            assert (answered.status, answered.body) == (502, b"<html>")

    asyncio.run(story())


def test_a_warm_connection_that_was_closed_is_noticed_before_it_is_used() -> None:
    """The server's close is seen while idle: a write goes to a new connection and is answered."""

    async def once(line: Line) -> None:
        await line.say(answer(await line.heard()))

    async def story() -> None:
        async with served(once) as (http, lines):
            await post(http, "a")
            await lines[0].writer.wait_closed()
            await until(lambda: not http._idle[-1].usable)
            assert (await post(http, "b")).status == 200
            assert len(lines) == 2

    asyncio.run(story())


def test_a_question_on_a_stale_connection_is_asked_once_more_and_a_write_is_not() -> None:
    """The server closes on the second request without a byte: a GET is repeated on a new connection, a POST may have been carried out."""

    async def second_is_cut(line: Line) -> None:
        await line.say(answer(await line.heard()))
        await line.heard()

    async def story() -> None:
        async with served(second_is_cut) as (http, lines):
            await get(http)
            assert (await get(http)).status == 200
            assert len(lines) == 2
            with pytest.raises(NoAnswer):
                await post(http)
            assert len(lines) == 2

    asyncio.run(story())


def test_an_answer_that_comes_too_late_is_nobody_elses() -> None:
    """After a time-out and after a cancel the connection is given up: the next request has its own answer."""

    async def story() -> None:
        release = asyncio.Event()

        async def script(line: Line) -> None:
            heard = await line.heard()
            if heard.endswith("slow"):
                await release.wait()
            await line.say(answer(heard))
            await echo(line)

        async with served(script) as (http, lines):
            with pytest.raises(NoAnswer, match="nothing came"):
                await post(http, "slow", SHORT_SECONDS)
            cancelled = asyncio.create_task(post(http, "slow"))
            await until(lambda: len(lines) == 2)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            release.set()
            assert (await post(http, "mine")).body.endswith(b"|mine")
            assert len(lines) == 3

    asyncio.run(story())


@pytest.mark.parametrize("more", [answer("stray"), b"x"])
def test_what_nobody_asked_for_is_never_taken_for_an_answer(more: bytes) -> None:
    """A second answer, at once or later, ends the connection and does not touch the first one."""

    async def story() -> None:
        later = asyncio.Event()

        async def script(line: Line) -> None:
            heard = await line.heard()
            if line.number == 1:
                await line.say(answer(heard, more="X-Of: first\r\n") + more)
            elif line.number == 2:
                await line.say(answer(heard))
                await later.wait()
                await line.say(more)
            else:
                await line.say(answer(heard))
            await line.gone()

        async with served(script) as (http, lines):
            first = await post(http, "a")
            assert (first.body, first.headers["x-of"]) == (b"POST /orders HTTP/1.1|a", "first")
            assert "content-length" in first.headers
            assert (await post(http, "b")).body.endswith(b"|b")
            later.set()
            await until(lambda: not http._idle[-1].usable)
            assert (await post(http, "c")).body.endswith(b"|c")
            assert len(lines) == 3

    asyncio.run(story())


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0", "\N{EURO SIGN}"])
def test_a_header_is_one_line_or_nothing_is_sent(value: str) -> None:
    """A key with a line break in it must not become a second header."""

    async def story() -> None:
        async with served(echo) as (http, lines):
            with pytest.raises(NotSent, match="a header"):
                await http.request("POST", "/", headers={"Key": value}, timeout_seconds=SECONDS)
            assert not lines

    asyncio.run(story())


def test_a_path_cannot_end_its_line() -> None:
    """An order id comes from the broker, who may send anything."""

    async def story() -> None:
        async with served(echo) as (http, _):
            heard = (await get(http, "/v2/orders/a b\r\nX: y?z")).body
            assert heard == b"1.1 GET /v2/orders/a%20b%0D%0AX:%20y%3Fz HTTP/1.1|"

    asyncio.run(story())


def test_too_much_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without an end must not fill the memory."""
    monkeypatch.setattr(warm_http, "ANSWER_BYTES_MAX", 1_000)

    async def script(line: Line) -> None:
        await line.heard()
        await line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not line.writer.is_closing():
            await line.say(b"64\r\n" + b"x" * 100 + b"\r\n")

    async def story() -> None:
        async with served(script) as (http, _):
            with pytest.raises(NoAnswer, match="larger"):
                await post(http)

    asyncio.run(story())


def test_who_waits_for_a_connection_has_sent_nothing() -> None:
    """With all connections busy a request that runs out of time is known not to have left."""

    async def story() -> None:
        async with served(Line.gone) as (http, lines):
            busy = [asyncio.create_task(post(http)) for _ in range(CONNECTIONS_MAX)]
            await until(lambda: len(lines) == CONNECTIONS_MAX)
            with pytest.raises(NotSent):
                await post(http, seconds=SHORT_SECONDS)
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
            assert len(lines) == CONNECTIONS_MAX

    asyncio.run(story())


@given(st.data())
def test_an_answer_is_the_same_however_it_is_cut(data: st.DataObject) -> None:
    """Any place where the network parts an answer, a remark (100) before it, chunks or a length: one answer."""
    chunked = data.draw(st.booleans())
    whole = (
        answer("0123456789")
        if not chunked
        else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n012\r\n7\r\n3456789\r\n0\r\n\r\n"
    )
    whole = data.draw(st.sampled_from((b"", b"HTTP/1.1 100 Continue\r\n\r\n"))) + whole
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)))
    connection = warm_http._Connection()
    connection.connection_made(_Nowhere())

    async def story() -> HttpAnswer:
        asked = connection.send(b"GET / HTTP/1.1\r\n\r\n")
        for begin, end in zip((0, *cuts), (*cuts, len(whole)), strict=True):
            connection.data_received(whole[begin:end])
        return await asked

    answered = asyncio.run(story())
    assert (answered.status, answered.body, connection.usable) == (200, b"0123456789", True)


class _Nowhere(asyncio.Transport):
    """A transport whose other end is the test."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        raise AssertionError("a good answer must not end the connection")
