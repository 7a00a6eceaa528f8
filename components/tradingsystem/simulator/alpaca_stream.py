"""Alpaca's `/stream`: authentication, `listen`, and `trade_updates` as binary JSON frames.

Objects, never arrays. There is no sequence number and no replay: what happens while a client is away is lost to it. What the ledger knows is spelled in
`alpaca_views.py`; this file decides only who hears it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from tradingsystem.simulator.alpaca_account import Desk
from tradingsystem.simulator.alpaca_views import update_view
from tradingsystem.simulator.connection import Connection
from tradingsystem.simulator.exchange import BrokerEvent
from tradingsystem.simulator.faults import ConnectionLimit

ENDPOINT = "/stream"
TRADE_UPDATES = "trade_updates"
TOO_MANY_CONNECTIONS = 429
POLICY_VIOLATION = 1008
AUTH_TIMEOUT_SECONDS = 10.0


@dataclass(eq=False, slots=True)
class _Listener:
    connection: Connection
    packed: bool  # MessagePack was asked for by the handshake's Content-Type
    authorized: bool = False
    streams: set[str] = field(default_factory=set)


class AlpacaStream:
    """All clients of `/stream`. `publish` is called with every broker event, in order."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._desk: Desk | None = None

    def attach(self, desk: Desk) -> None:
        """Give the stream its desk; the desk publishes here, so it is made second."""
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        return [web.get(ENDPOINT, self.serve)]

    def publish(self, events: list[BrokerEvent]) -> None:
        """Encode once per framing, offer to everybody who listens. A sibling's cancel stays silent when the scenario says so."""
        if not events or not any(TRADE_UPDATES in listener.streams for listener in self._listeners):
            return
        desk = self._attached()
        for event in events:
            if event.sibling and desk.wire.faults.scenario.silent_sibling_cancel:
                continue
            message = {"stream": TRADE_UPDATES, "data": update_view(event, desk.exchange.ledger)}
            self._offer(message)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        desk = self._attached()
        limit = desk.wire.faults.scenario.connection_limit
        if limit is ConnectionLimit.REFUSE_NEW and any(listener.authorized for listener in self._listeners):
            return web.Response(status=TOO_MANY_CONNECTIONS)
        accepted = await Connection.accept(request, ENDPOINT, desk.wire)
        if isinstance(accepted, web.Response):
            return accepted
        listener = _Listener(accepted, packed="msgpack" in request.headers.get("Content-Type", ""))
        self._listeners.append(listener)
        deadline = asyncio.get_running_loop().call_later(AUTH_TIMEOUT_SECONDS, _give_up, listener)
        try:
            async for payload, text in accepted.messages():
                self._on_message(listener, _decode(payload, text=text))
        finally:
            deadline.cancel()
            self._listeners.remove(listener)
            await accepted.finish()
        return accepted.response

    def _on_message(self, listener: _Listener, message: dict[str, Any]) -> None:
        action = str(message.get("action", ""))
        if action in ("authenticate", "auth"):
            self._authenticate(listener, message)
        elif not listener.authorized:
            self._answer(listener, {"stream": "authorization", "data": {"status": "unauthorized", "action": action}})
        elif action == "listen":
            asked = (message.get("data") or {}).get("streams") or []
            listener.streams = {stream for stream in asked if stream == TRADE_UPDATES}
            self._answer(listener, {"stream": "listening", "data": {"streams": sorted(listener.streams)}})
            listener.connection.live()
        else:
            self._answer(listener, {"stream": "listening", "data": {"error": f"unknown action {action}"}})

    def _authenticate(self, listener: _Listener, message: dict[str, Any]) -> None:
        data = message.get("data") or {}
        key = str(data.get("key_id", message.get("key", "")))
        secret = str(data.get("secret_key", message.get("secret", "")))
        desk = self._attached()
        listener.authorized = desk.credentials.match(key, secret) and not listener.connection.refuse_auth
        if listener.authorized:
            self._limit(listener, desk.wire.faults.scenario.connection_limit)
        status = "authorized" if listener.authorized else "unauthorized"
        self._answer(listener, {"stream": "authorization", "data": {"status": status, "action": "authenticate"}})

    def _limit(self, listener: _Listener, limit: ConnectionLimit) -> None:
        others = [other for other in self._listeners if other.authorized and other is not listener]
        if others and limit is ConnectionLimit.SILENT_NEW:
            listener.connection.silent = True
        elif limit is ConnectionLimit.EVICT_OLD:
            for other in others:
                other.authorized = False
                other.streams = set()
                other.connection.close(POLICY_VIOLATION, "connection limit")

    def _offer(self, message: dict[str, Any]) -> None:
        plain = msgspec.json.encode(message)
        for listener in self._listeners:
            if TRADE_UPDATES in listener.streams:
                listener.connection.offer(msgspec.msgpack.encode(message) if listener.packed else plain, text=False)

    def _answer(self, listener: _Listener, message: dict[str, Any]) -> None:
        payload = msgspec.msgpack.encode(message) if listener.packed else msgspec.json.encode(message)
        listener.connection.answer(payload, text=False)

    def _attached(self) -> Desk:
        assert self._desk is not None, "attach the desk before serving"
        return self._desk


def _give_up(listener: _Listener) -> None:
    if not listener.authorized:
        listener.connection.close(POLICY_VIOLATION, "authentication timeout")


def _decode(payload: bytes, *, text: bool) -> dict[str, Any]:
    """A client's message by content: JSON in either opcode, else MessagePack; {} when it is neither or no object."""
    for decode in (msgspec.json.decode, *(() if text else (msgspec.msgpack.decode,))):
        try:
            message = decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        return message if isinstance(message, dict) else {}
    return {}
