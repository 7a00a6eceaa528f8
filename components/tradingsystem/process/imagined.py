"""A broker and a journal that are there only in memory, for days in virtual time: the real order client talks to the simulator's real REST handlers.

Beside ``assembling`` one of the few doors to the adapters and the simulator. Requests are spelled and answers read by our adapter, the account is the
simulator's; only the socket between them is missing, and whoever plays the day carries each request and each frame across. It opens no socket,
starts no thread, asks no clock and draws no chance.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Self, cast

import aiohttp
import msgspec
import numpy as np
from aiohttp import web

from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.alpaca.parse import patch_body, post_body
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessJournal, InProcessLease
from tradingsystem.adapters.warm_http import HttpAnswer, NoAnswer, NotSent
from tradingsystem.domain.orders import Approved, BrokerOrder, OrderIntent
from tradingsystem.interfaces import Bus, Lease
from tradingsystem.simulator.alpaca_account import Credentials as VenueCredentials
from tradingsystem.simulator.alpaca_account import Desk, RateLimit, RateSettings
from tradingsystem.simulator.alpaca_rest import AlpacaRest
from tradingsystem.simulator.alpaca_views import update_view
from tradingsystem.simulator.capture import Capture
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.exchange import BrokerEvent, Exchange
from tradingsystem.simulator.faults import Faults
from tradingsystem.simulator.feed import Kind, Slice, SymbolFacts, empty_slice, session_of
from tradingsystem.simulator.ledger import Ledger

KEY, SECRET = "IMAGINED", "imagined"
_ADDRESS = "http://imagined"
_CREDENTIALS = Credentials(KEY, SECRET)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as it would stand on the wire."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it would stand on the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the update stream, with what a carrier needs to choose by: the venue's word for it and the order it is about."""

    payload: bytes
    event: str
    order_id: str

    @property
    def fill(self) -> bool:
        """Whether shares changed hands."""
        return self.event in ("fill", "partial_fill")


class Quote(NamedTuple):
    """A new best bid and offer of one symbol with their shares, at market time ``at_ns``."""

    symbol: int
    at_ns: int
    bid: float
    ask: float
    bid_size: float
    ask_size: float


class _Request:
    """As much of a request as the simulator's handlers look at."""

    def __init__(self, ask: Ask, found: dict[str, str]) -> None:
        self.headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
        self.match_info = found
        self.query = ask.query
        self._body = ask.body

    async def read(self) -> bytes:
        return self._body


class Venue:
    """One account at a market of a few symbols. Market time moves only in ``move``; ``publish`` hears every event as it would be sent."""

    def __init__(self, symbols: Sequence[str], day: datetime.date, seed: int, cash: int, publish: Callable[[list[Frame]], None]) -> None:
        self.session = session_of(day)
        self.ledger = Ledger(Decimal(cash), seed=seed)
        self.exchange = Exchange(self.ledger, symbols, self.session, seed=seed)
        self.now_ns = self.session.first_ns
        self._publish = publish
        facts = {symbol: SymbolFacts(symbol, symbol, "CS", "XNYS", 1, 100.0, 1e6, 1, 10**8) for symbol in symbols}
        wire = Wire(faults=Faults(), capture=Capture(None, self._now), now_ns=self._now)
        rate = RateLimit(RateSettings(), self._now, self._now)
        desk = Desk(self.exchange, facts, VenueCredentials(KEY, SECRET), wire, rate, self._spell)
        self._handlers: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        for route in AlpacaRest(desk).routes():
            self._handlers[(route.method, route.path)] = cast(Callable[[web.Request], Awaitable[web.StreamResponse]], route.handler)

    def _now(self) -> int:
        return self.now_ns

    def move(self, to_ns: int, quotes: Sequence[Quote] = ()) -> None:
        """Let market time pass, with what was quoted meanwhile."""
        self.now_ns = max(self.now_ns, to_ns)
        self._spell(self.exchange.on_slice(_slice(self.now_ns, quotes) if quotes else empty_slice(self.now_ns)))

    @property
    def next_due_ns(self) -> int | None:
        """When the venue has something to do by itself; None when it has not."""
        return self.exchange.next_due_ns

    def answer(self, ask: Ask) -> Reply:
        """The broker's answer to a request that has arrived. The handlers wait for nothing, so neither does this."""
        handler, found = self._route(ask)
        coroutine = cast(Any, handler(cast(web.Request, _Request(ask, found))))
        try:
            coroutine.send(None)
        except StopIteration as ended:
            response: web.Response = ended.value
            body = response.body
            return Reply(response.status, bytes(body) if isinstance(body, bytes | bytearray) else b"", dict(response.headers))
        coroutine.close()
        raise RuntimeError(f"{ask.method} {ask.path} waits for something")

    def _route(self, ask: Ask) -> tuple[Callable[[web.Request], Awaitable[web.StreamResponse]], dict[str, str]]:
        plain = self._handlers.get((ask.method, ask.path))
        if plain is not None:
            return plain, {}
        prefix = "/v2/orders/"
        assert ask.path.startswith(prefix), ask.path
        return self._handlers[(ask.method, prefix + "{order_id}")], {"order_id": ask.path[len(prefix) :]}

    def _spell(self, events: list[BrokerEvent]) -> None:
        if events:
            self._publish([self._frame(event) for event in events])

    def _frame(self, event: BrokerEvent) -> Frame:
        message = {"stream": "trade_updates", "data": update_view(event, self.ledger)}
        return Frame(msgspec.json.encode(message), event.event, event.order.id)


class Line:
    """The client's end of one update stream: frames put in here are what the client receives. ``closed`` once either side has ended it."""

    def __init__(self) -> None:
        self.closed = False
        self.listening = False
        self.close_code: int | None = None
        self._frames: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()

    def deliver(self, payload: bytes) -> None:
        """Hand the client one frame."""
        if not self.closed:
            self._frames.put_nowait(aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, payload, None))

    def cut(self) -> None:
        """End the connection; what was delivered before is still received."""
        if not self.closed:
            self.closed = True
            self.close_code = 1006
            self._frames.put_nowait(aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None))

    async def send_json(self, message: dict[str, Any]) -> None:
        """The client speaks: the greeting of a broker that accepts it."""
        action = message["action"]
        if action == "authenticate":
            self._say("authorization", {"status": "authorized", "action": "authenticate"})
        elif action == "listen":
            self.listening = True
            self._say("listening", {"streams": message["data"]["streams"]})

    def _say(self, stream: str, data: dict[str, Any]) -> None:
        self.deliver(msgspec.json.encode({"stream": stream, "data": data}))

    def get_extra_info(self, _: str) -> None:
        """Of a socket that is not there, nothing is known."""

    async def receive(self) -> aiohttp.WSMessage:
        """The next frame."""
        return await self._frames.get()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> aiohttp.WSMessage:
        message = await self.receive()
        if message.type is aiohttp.WSMsgType.CLOSED:
            raise StopAsyncIteration
        return message

    async def close(self) -> None:
        """The client hangs up."""
        self.closed = True
        self.listening = False


class Carrier:
    """What a day decides about the wire: whether and when a request arrives, what comes back, whether a stream can be opened."""

    async def carry(self, ask: Ask) -> Reply:
        """Bring a request to the broker and its answer back. May raise ``unreachable()``; silence is ended by the client's own deadline."""
        raise NotImplementedError

    async def open_line(self) -> Line:
        """Open an update stream. May raise ``unreachable()``."""
        raise NotImplementedError

    def approved(self, order: Approved) -> None:
        """Hear of an order at the moment it was handed to the order client."""
        raise NotImplementedError


def unreachable() -> NotSent:
    """What the client's sockets raise when nobody listens at an address."""
    return NotSent("Connection refused")


class _Http:
    """``warm_http.Http`` by the carrier."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],  # noqa: ARG002  the interface's
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_seconds: float,
    ) -> HttpAnswer:
        try:
            async with asyncio.timeout(timeout_seconds):
                reply = await self._carrier.carry(Ask(method, path, query or {}, body))
        except TimeoutError as error:
            raise NoAnswer(f"nothing came within {timeout_seconds:g} s") from error
        return HttpAnswer(reply.status, reply.headers, reply.body)

    async def close(self) -> None:
        """Nothing is open."""


class _Session:
    """As much of a client session as the update stream asks for."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def ws_connect(self, _: str, **__: Any) -> Line:
        return await self._carrier.open_line()


class ImaginedBroker(AlpacaBroker):
    """The order client as it ships, over a carrier instead of sockets."""

    def __init__(self, carrier: Carrier, now_ns: Callable[[], int]) -> None:
        session = cast(Callable[[], aiohttp.ClientSession], lambda: _Session(carrier))
        super().__init__(_ADDRESS, lambda: _CREDENTIALS, now_ns, http=_Http(carrier), session=session)
        self._carrier = carrier

    async def submit(self, order: Approved) -> BrokerOrder:
        """See ``interfaces.Broker``; the carrier hears of it first."""
        self._carrier.approved(order)
        return await super().submit(order)

    async def replace(self, order_id: str, approved: Approved) -> BrokerOrder:
        """See ``interfaces.Broker``; the carrier hears of it first."""
        self._carrier.approved(approved)
        return await super().replace(order_id, approved)


class ImaginedJournal(InProcessJournal):
    """The journal in memory under an identity that was given; ``entries`` can be looked at."""

    def __init__(self, system: str, identity: str) -> None:
        super().__init__(system)
        self._identity = identity

    def has(self, subject: str) -> bool:
        """Whether anything stands under a subject."""
        return subject in self._last

    def keep(self, subject: str, payload: bytes) -> int:
        """Make an entry durable now."""
        return self._store(subject, payload)


def imagined_bus() -> Bus:
    """The bus of one process."""
    return InProcessBus()


def imagined_lease(monotonic_ns: Callable[[], int]) -> Lease:
    """A lease that runs out by the given clock."""
    return InProcessLease(monotonic_ns=monotonic_ns)


def body_of(intent: OrderIntent) -> bytes:
    """The request body that this intent and no other is spelled as."""
    return msgspec.json.encode(post_body(intent) if intent.replaces_order_id is None else patch_body(intent))


def _slice(to_ns: int, quotes: Sequence[Quote]) -> Slice:
    count = len(quotes)
    return Slice(
        to_ns=to_ns,
        kind=np.full(count, int(Kind.QUOTE), np.uint8),
        symbol=np.array([quote.symbol for quote in quotes], np.int32),
        at_ns=np.array([quote.at_ns for quote in quotes], np.int64),
        price=np.array([quote.bid for quote in quotes]),
        size=np.array([quote.bid_size for quote in quotes]),
        price2=np.array([quote.ask for quote in quotes]),
        size2=np.array([quote.ask_size for quote in quotes]),
        price3=np.zeros(count),
        price4=np.zeros(count),
        condition=np.zeros(count, np.int32),
        exchange=np.zeros(count, np.uint8),
    )
