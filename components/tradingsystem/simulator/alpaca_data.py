"""Alpaca's market data: the stream `/v2/{feed}` (JSON or MessagePack) and the REST endpoints beside it.

An event is turned into an object once per slice, only for symbols that somebody holds, and encoded once per framing. What REST answers is what
`MarketMemory` has been given, nothing later. Corrections, cancels, imbalances and news do not exist here; subscribing to them is confirmed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from tradingsystem.simulator.alpaca_account import KEY_HEADER, SECRET_HEADER, Credentials
from tradingsystem.simulator.alpaca_data_rows import CHANNEL_OF, CHANNELS, RowSpeller, json_ready
from tradingsystem.simulator.connection import Connection, Wire
from tradingsystem.simulator.faults import ConnectionLimit
from tradingsystem.simulator.feed import Feed, Slice

FEEDS = ("sip", "iex")
AUTH_TIMEOUT_SECONDS = 10.0
POLICY_VIOLATION = 1008
ROWS_PER_FRAME = 250
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    410: "invalid subscribe action for this feed",
}


def _error(code: int) -> dict[str, Any]:
    return {"T": "error", "code": code, "msg": ERRORS[code]}


@dataclass(eq=False, slots=True)
class _Client:
    connection: Connection
    feed: str
    packed: bool
    authenticated: bool = False
    held: dict[str, set[str]] = field(default_factory=lambda: {channel: set() for channel in CHANNELS})
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


class AlpacaData:
    """All clients of the data stream. `symbols_max` 0 is a paid plan; the free one holds 30 trade and quote symbols."""

    def __init__(self, wire: Wire, feed: Feed, credentials: Credentials, *, symbols_max: int = 0) -> None:
        self._wire = wire
        self._credentials = credentials
        self._symbols = feed.symbols
        self._index = {symbol: row for row, symbol in enumerate(feed.symbols)}
        self._speller = RowSpeller(feed)
        self._symbols_max = symbols_max
        self._clients: list[_Client] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.get(f"/v2/{feed}", self.serve) for feed in FEEDS]

    def publish(self, part: Slice) -> None:
        """Send a slice's events to who holds them; called once per slice."""
        clients = [client for client in self._clients if client.masks]
        if not clients or not len(part):
            return
        wanted = np.zeros(len(part), dtype=np.bool_)
        rows_of: list[NDArray[np.bool_]] = []
        for client in clients:
            rows_of.append(self._wanted(client, part))
            wanted |= rows_of[-1]
        objects = {int(row): self._speller.spell(part, int(row)) for row in np.flatnonzero(wanted)}
        for client, rows in zip(clients, rows_of, strict=True):
            messages = [objects[int(row)] for row in np.flatnonzero(rows)]
            for start in range(0, len(messages), ROWS_PER_FRAME):
                batch = messages[start : start + ROWS_PER_FRAME]
                client.connection.offer(_encode(batch, packed=client.packed), text=not client.packed)

    def _wanted(self, client: _Client, part: Slice) -> NDArray[np.bool_]:
        found = np.zeros(len(part), dtype=np.bool_)
        on_book = part.symbol >= 0
        symbol = np.where(on_book, part.symbol, 0)
        for channel, mask in client.masks.items():
            kinds = np.isin(part.kind, CHANNEL_OF[channel])
            found |= kinds & on_book & mask[symbol]
        return found

    async def serve(self, request: web.Request) -> web.StreamResponse:
        packed = "msgpack" in request.headers.get("Content-Type", "")
        slow = msgspec.json.encode([_error(407)])
        accepted = await Connection.accept(request, request.path, self._wire, slow_frame=slow)
        if isinstance(accepted, web.Response):
            return accepted
        client = _Client(accepted, request.path, packed)
        self._clients.append(client)
        self._answer(client, {"T": "success", "msg": "connected"})
        deadline = asyncio.get_running_loop().call_later(AUTH_TIMEOUT_SECONDS, self._late, client)
        try:
            if KEY_HEADER in request.headers:
                self._authenticate(client, request.headers[KEY_HEADER], request.headers.get(SECRET_HEADER, ""))
            async for payload, text in accepted.messages():
                self._on_message(client, payload, text=text)
        finally:
            deadline.cancel()
            self._clients.remove(client)
            await accepted.finish()
        return accepted.response

    def _late(self, client: _Client) -> None:
        if not client.authenticated:
            self._answer(client, _error(404))
            client.connection.close(POLICY_VIOLATION, "auth timeout")

    def _on_message(self, client: _Client, payload: bytes, *, text: bool) -> None:
        try:
            message = msgspec.json.decode(payload) if text else msgspec.msgpack.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = None
        if not isinstance(message, dict):
            self._answer(client, _error(400))
            return
        action = message.get("action")
        if action == "auth":
            self._authenticate(client, str(message.get("key", "")), str(message.get("secret", "")))
        elif not client.authenticated:
            self._answer(client, _error(401))
        elif action in ("subscribe", "unsubscribe"):
            self._change(client, message, add=action == "subscribe")
        else:
            self._answer(client, _error(400))

    def _authenticate(self, client: _Client, key: str, secret: str) -> None:
        if client.authenticated:
            self._answer(client, _error(403))
            return
        if not self._credentials.match(key, secret) or client.connection.refuse_auth:
            self._answer(client, _error(402))
            return
        limit = self._wire.faults.scenario.connection_limit
        others = [other for other in self._clients if other.authenticated and other.feed == client.feed]
        if others and limit is ConnectionLimit.REFUSE_NEW:
            self._answer(client, _error(406))
            client.connection.close(POLICY_VIOLATION, "connection limit exceeded")
            return
        if others and limit is ConnectionLimit.SILENT_NEW:
            client.connection.silent = True
        elif limit is ConnectionLimit.EVICT_OLD:
            for other in others:
                other.authenticated = False
                other.masks = {}
                self._answer(other, _error(406))
                other.connection.close(POLICY_VIOLATION, "connection limit exceeded")
        client.authenticated = True
        self._answer(client, {"T": "success", "msg": "authenticated"})

    def _change(self, client: _Client, message: dict[str, Any], *, add: bool) -> None:
        asked = {channel: set(message.get(channel) or ()) for channel in CHANNELS}
        after = {channel: client.held[channel] | asked[channel] if add else client.held[channel] - asked[channel] for channel in CHANNELS}
        if self._symbols_max and len(after["trades"] | after["quotes"]) > self._symbols_max:
            self._answer(client, _error(405))
            return
        client.held = after
        client.masks = {channel: self._mask(names) for channel, names in after.items() if names and channel in CHANNEL_OF}
        state: dict[str, Any] = {"T": "subscription", **{channel: sorted(names) for channel, names in after.items()}}
        state["corrections"] = state["cancelErrors"] = state["trades"]
        self._answer(client, state)
        client.connection.live()

    def _mask(self, names: set[str]) -> NDArray[np.bool_]:
        mask = np.full(len(self._symbols), "*" in names, dtype=np.bool_)
        mask[[self._index[name] for name in names if name in self._index]] = True
        return mask

    def _answer(self, client: _Client, message: dict[str, Any]) -> None:
        client.connection.answer(_encode([message], packed=client.packed), text=not client.packed)


def _encode(messages: list[dict[str, Any]], *, packed: bool) -> bytes:
    """MessagePack carries times as its Timestamp extension, JSON as RFC 3339 text."""
    return msgspec.msgpack.encode(messages) if packed else msgspec.json.encode([json_ready(message) for message in messages])
