"""HTTP/1.1 on warm connections to one host, for requests that may move money: it always knows whether any byte of a request has left.

Exists because a general client costs more than the rest of a decision (decision 0012) and blurs that knowledge. httptools reads the answers. One
connection carries one request at a time; nothing is pipelined, no redirect is followed, no cookie kept, no proxy asked, and no write is sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast
from urllib.parse import quote, urlencode, urlsplit

import httptools
from multidict import CIMultiDict

from tradingsystem.domain.errors import InvalidInput

CONNECTIONS_MAX = 16
CONNECT_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 60.0
ANSWER_BYTES_MAX = 64 << 20
_NO_BODY = b""


class NotSent(ConnectionError):
    """No byte of the request has left this process: it may be decided anew."""


class NoAnswer(ConnectionError):
    """The request may have been read and carried out; what came back is no answer to it."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. ``transport`` is of the connection that brought it, None where there is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    transport: asyncio.BaseTransport | None = None


class Http(Protocol):
    """Requests to one host: ``WarmHttp``, or what stands in for its sockets."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: bytes = _NO_BODY,
        timeout_seconds: float,
    ) -> HttpAnswer:
        """The answer, whatever its status. Raises ``NotSent``, ``NoAnswer`` or, of a certificate, ``ssl.SSLCertVerificationError``."""
        ...

    async def close(self) -> None:
        """Close the connections for good. Idempotent."""
        ...


class WarmHttp:
    """``Http`` over sockets. ``base_url`` is scheme, host and port; a path in it comes before every request's."""

    def __init__(self, base_url: str) -> None:
        """Raises ``InvalidInput`` when it is no such URL."""
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidInput(f"{base_url!r} is no http or https address")
        self._tls, self._host, self._path = parts.scheme == "https", parts.hostname, parts.path.rstrip("/")
        self._port = parts.port or (443 if self._tls else 80)
        self._host_header = parts.netloc.rpartition("@")[2]
        self._trust: ssl.SSLContext | None = None
        self._idle: list[_Connection] = []
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._closed = False

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: bytes = _NO_BODY,
        timeout_seconds: float,
    ) -> HttpAnswer:
        """See ``Http``. A GET whose warm connection turns out to be closed is sent once more on a new one."""
        payload = self._spelled(method, path, headers, query, body)
        deadline = _Deadline(asyncio.get_running_loop().time() + timeout_seconds, timeout_seconds)
        if self._slots.locked():
            await self._slot_by(deadline)
        else:
            await self._slots.acquire()
        try:
            connection = self._warm() or await self._connected(deadline)
            try:
                return await self._exchanged(connection, payload, deadline)
            except NoAnswer:
                if method != "GET" or not connection.was_stale:
                    raise
            return await self._exchanged(await self._connected(deadline), payload, deadline)
        finally:
            self._slots.release()

    async def close(self) -> None:
        """See ``Http``."""
        self._closed = True
        while self._idle:
            self._idle.pop().abandon()

    async def _slot_by(self, deadline: _Deadline) -> None:
        """Wait until fewer requests than may be are under way. Raises ``NotSent``."""
        try:
            async with asyncio.timeout_at(deadline.at_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise NotSent(f"{CONNECTIONS_MAX} requests have been under way for {deadline.after_seconds:g} s") from error

    async def _exchanged(self, connection: _Connection, payload: bytes, deadline: _Deadline) -> HttpAnswer:
        try:
            answering = connection.send(payload)  # before the time is watched: a timer costs as much as the write
            async with asyncio.timeout_at(deadline.at_seconds):
                answer = await answering
        except TimeoutError as error:
            connection.abandon()
            raise NoAnswer(f"nothing came within {deadline.after_seconds:g} s") from error
        except BaseException:  # cancelled as well: whatever comes on it later belongs to a request that nobody waits for
            connection.abandon()
            raise
        connection.rest()
        if connection.usable and not self._closed:
            self._idle.append(connection)
        else:
            connection.abandon()
        return answer

    def _warm(self) -> _Connection | None:
        """The connection that was used last, None when a new one is needed; a closed client has none."""
        oldest = time.monotonic() - KEEP_ALIVE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.ready and connection.idle_since > oldest:
                return connection
            connection.abandon()
        return None

    async def _connected(self, deadline: _Deadline) -> _Connection:
        """A new connection. Raises ``NotSent`` or ``ssl.SSLCertVerificationError``."""
        if self._closed:
            raise NotSent("the client is closed")
        if self._tls and self._trust is None:
            self._trust = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(_Connection, self._host, self._port, ssl=self._trust)
        began_seconds = loop.time()
        try:
            async with asyncio.timeout_at(min(deadline.at_seconds, began_seconds + CONNECT_SECONDS)):
                return (await connecting)[1]
        except TimeoutError as error:
            waited = loop.time() - began_seconds
            raise NotSent(f"{self._host_header} did not take the connection within {waited:.1f} s") from error
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            raise NotSent(str(error) or type(error).__name__) from error

    def _spelled(self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str] | None, body: bytes) -> bytes:
        """The request's bytes. Raises ``NotSent`` when a header would be more than its line."""
        target = self._path + quote(path, safe="/:") + (f"?{urlencode(query)}" if query else "")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host_header}", "Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        head, breaks = "\r\n".join(lines), len(lines) - 1
        if head.count("\r") != breaks or head.count("\n") != breaks or "\0" in head:
            raise NotSent("a header holds a line break")
        try:
            return head.encode("latin-1") + b"\r\n\r\n" + body
        except UnicodeEncodeError as error:
            raise NotSent("a header holds what HTTP cannot carry") from error


class _Deadline(NamedTuple):
    """When a request is given up, by the loop's clock, and how long after it was made that is."""

    at_seconds: float
    after_seconds: float


@dataclass(slots=True)
class _Reading:
    """What came of one answer so far."""

    answer: asyncio.Future[HttpAnswer]
    parser: httptools.HttpResponseParser
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    begun: bool = False
    heads_read: bool = False
    keep_alive: bool = False


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reading: _Reading | None = None
        self.usable = True
        self.was_stale = False
        self.idle_since = 0.0
        self._used = False

    @property
    def ready(self) -> bool:
        """Whether it may carry a request."""
        return self.usable and self._transport is not None and not self._transport.is_closing()

    def send(self, payload: bytes) -> asyncio.Future[HttpAnswer]:
        """Send one request; the future is its answer, or fails with ``NoAnswer``. Raises ``NotSent``."""
        if self._transport is None or not self.ready:
            raise NotSent("the connection was closed")
        answer: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._transport.write(payload)
        self._reading = _Reading(answer, httptools.HttpResponseParser(self))  # nothing is heard before the loop's next turn
        return answer

    def rest(self) -> None:
        """Its request is answered."""
        self._reading, self._used = None, True
        self.idle_since = time.monotonic()

    def abandon(self) -> None:
        """Close it at once. Idempotent."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ------------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no common class

    def data_received(self, data: bytes) -> None:
        reading = self._reading
        if reading is None or reading.answer.done():  # nobody asked: what comes next could be taken for another request's answer
            self.abandon()
            return
        reading.begun = True
        try:
            reading.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"what came is not HTTP: {error}")

    def eof_received(self) -> bool:
        self.usable = False
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        reading = self._reading
        if reading is None or reading.answer.done():
            return
        self.was_stale = self._used and not reading.begun
        measured = "content-length" in reading.headers or "transfer-encoding" in reading.headers
        if error is None and reading.heads_read and not measured:
            self.on_message_complete()  # a body without a length ends with its connection
        else:
            self._fail(f"the connection was closed before the whole answer{f': {error}' if error else ''}")

    # --- httptools -------------------------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._reading is not None and self._reading.answer.done():  # a second answer to one request: it must not touch the first
            self.usable, self._reading = False, None

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is not None:
            self._reading.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if self._reading is not None:
            self._reading.heads_read, self._reading.keep_alive = True, self._reading.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        reading = self._reading
        if reading is None:
            return
        reading.parts.append(body)
        reading.size += len(body)
        if reading.size > ANSWER_BYTES_MAX:
            self._fail(f"the answer is larger than {ANSWER_BYTES_MAX >> 20} MiB")

    def on_message_complete(self) -> None:
        reading = self._reading
        if reading is None:
            return
        status = reading.parser.get_status_code()
        if 100 <= status < 200:  # a remark on the way
            reading.headers.clear()
            reading.heads_read = False
            return
        self.usable = self.usable and reading.keep_alive
        reading.answer.set_result(HttpAnswer(status, reading.headers, b"".join(reading.parts), self._transport))

    def _fail(self, reason: str) -> None:
        self.usable = False
        if self._reading is not None and not self._reading.answer.done():
            self._reading.answer.set_exception(NoAnswer(reason))
        if self._transport is not None:
            self._transport.abort()
