"""Polygon's (Massive's) WebSocket clusters `/stocks` and `/indices`, as a client program meets them.

Every text frame is a JSON array; control and data look alike. An event is encoded once per slice and only when somebody
holds it. What sources disagree about is a switch of `PolygonDialect` or of the scenario. It refuses to check tickers: a
subscription to a name that never trades is confirmed and stays silent, as with the vendor.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from tradingsystem.simulator.connection import Connection, Wire
from tradingsystem.simulator.faults import ConnectionLimit
from tradingsystem.simulator.feed import SECOND_NS, Feed, Kind, Slice, quote_lot
from tradingsystem.simulator.market_memory import MarketMemory, Totals

STOCKS, INDICES = "/stocks", "/indices"
DECIMAL_SIZES_SINCE = datetime.date(2026, 2, 23)
POLICY_VIOLATION = 1008
FINRA_TRF, TRF_ID = 4, 202
STOCK_CHANNELS: dict[str, tuple[Kind, ...]] = {
    "T": (Kind.TRADE,),
    "Q": (Kind.QUOTE,),
    "A": (Kind.SECOND_BAR,),
    "AM": (Kind.MINUTE_BAR,),
    "LULD": (Kind.LULD, Kind.HALT, Kind.RESUME),
}


@dataclass(frozen=True, slots=True)
class PolygonDialect:
    """Where sources disagree about the vendor. Defaults are the newest first-hand reports."""

    luld_time_unit_ns: bool = True  # False: milliseconds, as documented
    halt_indicators_nasdaq_only: bool = False
    confirmations_per_frame: int = 200  # 1: one frame for each
    events_per_frame: int = 250
    auth_timeout_seconds: float = 30.0


def status(state: str, message: str) -> dict[str, str]:
    """One status object; clients of the vendor die on one without `message`."""
    return {"ev": "status", "status": state, "message": message}


def frame(*objects: dict[str, Any]) -> bytes:
    """A control frame: always an array."""
    return msgspec.json.encode(objects)


MAX_CONNECTIONS = frame(status("max_connections", "Maximum number of websocket connections exceeded."))
SLOW_CONSUMER = frame(status("slow_consumer", "Client is reading too slowly."))


@dataclass(eq=False)
class _Client:
    connection: Connection
    cluster: str
    key: str = ""
    held: set[str] = field(default_factory=set)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def authenticated(self) -> bool:
        return self.key != ""


class PolygonWire:
    """Both clusters. `publish` is called once per slice, after the memory took it in."""

    def __init__(self, wire: Wire, feed: Feed, memory: MarketMemory, keys: frozenset[str], dialect: PolygonDialect | None = None) -> None:
        self._wire, self._memory, self._keys = wire, memory, keys
        self.dialect = dialect or PolygonDialect()
        self._symbols = feed.symbols
        self._index = {symbol: i for i, symbol in enumerate(feed.symbols)}
        self._encode = EventEncoder(feed, memory, self.dialect)
        self._clients: dict[str, list[_Client]] = {STOCKS: [], INDICES: []}
        self._nasdaq = np.array([facts.tape == 3 for facts in feed.reference()], dtype=np.bool_)
        self.events_sent = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One client from handshake to close."""
        accepted = await Connection.accept(request, request.path, self._wire, slow_frame=SLOW_CONSUMER)
        if isinstance(accepted, web.Response):
            return accepted
        client = _Client(accepted, request.path)
        accepted.answer(frame(status("connected", "Connected Successfully")))
        deadline = asyncio.get_running_loop().call_later(self.dialect.auth_timeout_seconds, self._late, client)
        try:
            async for payload, _ in accepted.messages():
                self._on_message(client, payload)
        finally:
            deadline.cancel()
            if client in self._clients[client.cluster]:
                self._clients[client.cluster].remove(client)
            await accepted.finish()
        return accepted.response

    def _late(self, client: _Client) -> None:
        if not client.authenticated:
            client.connection.answer(frame(status("auth_timeout", "No authentication request received.")))
            client.connection.close(POLICY_VIOLATION, "auth_timeout")

    def _on_message(self, client: _Client, payload: bytes) -> None:
        try:
            message = msgspec.json.decode(payload, type=dict[str, Any])
            action, params = str(message.get("action", "")), str(message.get("params", ""))
        except (msgspec.DecodeError, UnicodeDecodeError):
            client.connection.answer(frame(status("error", "invalid message")))
            return
        if action == "auth":
            self._authenticate(client, params)
        elif not client.authenticated:
            client.connection.answer(frame(status("auth_required", "Please authenticate first.")))
        elif action == "subscribe":
            self._subscribe(client, params)
        elif action == "unsubscribe":
            self._unsubscribe(client, params)
        else:
            client.connection.answer(frame(status("error", f"unknown action {action}")))

    def _authenticate(self, client: _Client, key: str) -> None:
        connection = client.connection
        if key not in self._keys or connection.refuse_auth:
            connection.answer(frame(status("auth_failed", "authentication failed")))
            connection.close(POLICY_VIOLATION, "auth_failed")
            return
        client.key = key
        connection.answer(frame(status("auth_success", "authenticated")))
        limit = self._wire.faults.scenario.connection_limit
        others = [other for other in self._clients[client.cluster] if other.key == key and other is not client]
        if others and limit is ConnectionLimit.SILENT_NEW:
            connection.silent = True
        elif others and limit is ConnectionLimit.EVICT_OLD:
            for other in others:
                self._evict(other)
        if client not in self._clients[client.cluster]:
            self._clients[client.cluster].append(client)

    def _evict(self, client: _Client) -> None:
        if client in self._clients[client.cluster]:
            self._clients[client.cluster].remove(client)
        client.connection.answer(MAX_CONNECTIONS)
        client.connection.close(POLICY_VIOLATION, "max_connections")

    def _subscribe(self, client: _Client, params: str) -> None:
        fresh: list[str] = []
        refused = 0
        for param in dict.fromkeys(part.strip() for part in params.split(",") if part.strip()):
            channel, _, ticker = param.partition(".")
            if not ticker or channel not in self._channels(client.cluster):
                refused += 1
            elif param not in client.held:
                client.held.add(param)
                fresh.append(param)
        self._confirm(client, [status("error", "not authorized")] * refused)
        self._confirm(client, [status("success", f"subscribed to: {param}") for param in fresh])
        self._rebuild(client)
        client.connection.live()
        limit = self._wire.faults.scenario.connection_limit
        if limit is ConnectionLimit.REFUSE_NEW and self._is_second(client):
            self._evict(client)

    def _is_second(self, client: _Client) -> bool:
        same = [other for other in self._clients[client.cluster] if other.key == client.key]
        return len(same) > 1 and same[0] is not client

    def _unsubscribe(self, client: _Client, params: str) -> None:
        gone = [param for param in dict.fromkeys(part.strip() for part in params.split(",")) if param in client.held]
        client.held.difference_update(gone)
        self._confirm(client, [status("success", f"unsubscribed to: {param}") for param in gone])
        self._rebuild(client)

    def _confirm(self, client: _Client, answers: Sequence[dict[str, str]]) -> None:
        for start in range(0, len(answers), self.dialect.confirmations_per_frame):
            client.connection.answer(frame(*answers[start : start + self.dialect.confirmations_per_frame]))

    @staticmethod
    def _channels(cluster: str) -> frozenset[str]:
        return frozenset(STOCK_CHANNELS) if cluster == STOCKS else frozenset({"V"})

    def _rebuild(self, client: _Client) -> None:
        """Turn held params into one mask over symbols per channel."""
        client.masks = {}
        if client.cluster == INDICES:
            return
        for param in client.held:
            channel, _, ticker = param.partition(".")
            mask = client.masks.setdefault(channel, np.zeros(len(self._symbols), dtype=np.bool_))
            if ticker == "*":
                mask[:] = True
            elif ticker in self._index:
                mask[self._index[ticker]] = True

    def publish(self, slice_: Slice, totals: Totals) -> None:
        """Send a slice's events to whom they are subscribed; encodes each at most once."""
        first_sequence = self._memory.rows_seen - len(slice_)
        stocks = [client for client in self._clients[STOCKS] if client.masks]
        if stocks and len(slice_):
            wanted = [self._wanted(client, slice_) for client in stocks]
            rows = np.flatnonzero(np.logical_or.reduce(wanted))
            encoded = np.array(self._encode.rows(slice_, rows, totals, first_sequence), dtype=object)
            for client, mask in zip(stocks, wanted, strict=True):
                self._send(client, encoded[mask[rows]].tolist())
        indices = [client for client in self._clients[INDICES] if {"V.*", "V.I:VIX"} & client.held]
        if indices:
            values = [self._encode.vix(slice_, row) for row in np.flatnonzero(slice_.kind == Kind.INDEX).tolist()]
            for client in indices:
                self._send(client, values)

    def _wanted(self, client: _Client, slice_: Slice) -> NDArray[np.bool_]:
        wanted = np.zeros(len(slice_), dtype=np.bool_)
        for channel, mask in client.masks.items():
            for kind in STOCK_CHANNELS[channel]:
                rows = np.flatnonzero(slice_.kind == kind)
                wanted[rows] = mask[slice_.symbol[rows]]
                if kind in (Kind.HALT, Kind.RESUME) and self.dialect.halt_indicators_nasdaq_only:
                    wanted[rows] &= self._nasdaq[slice_.symbol[rows]]
        return wanted

    def _send(self, client: _Client, events: list[bytes]) -> None:
        step = self.dialect.events_per_frame
        for start in range(0, len(events), step):
            client.connection.offer(b"[" + b",".join(events[start : start + step]) + b"]")
        self.events_sent += len(events)


class EventEncoder:
    """Rows of a slice as the vendor's JSON objects; times in ms (LULD by dialect), sizes by the day's convention."""

    def __init__(self, feed: Feed, memory: MarketMemory, dialect: PolygonDialect) -> None:
        self._memory = memory
        self._symbols = feed.symbols
        self._tapes = [facts.tape for facts in feed.reference()]
        self._luld_divisor = 1 if dialect.luld_time_unit_ns else 1_000_000
        self._lot = quote_lot(feed.session.date)
        self._decimal = feed.session.date >= DECIMAL_SIZES_SINCE
        self._forms: dict[int, Callable[..., str]] = {
            Kind.TRADE: self._trade,
            Kind.QUOTE: self._quote,
            Kind.SECOND_BAR: self._second,
            Kind.MINUTE_BAR: self._minute,
            Kind.LULD: self._luld,
            Kind.HALT: self._halt,
            Kind.RESUME: self._resume,
        }

    def rows(self, slice_: Slice, rows: NDArray[np.int64], totals: Totals, first_sequence: int) -> list[bytes]:
        """The chosen rows, encoded, in order."""
        columns = [getattr(slice_, name)[rows].tolist() for name in ("kind", "symbol", "at_ns")]
        values = np.stack([getattr(slice_, name)[rows] for name in ("price", "size", "price2", "size2", "price3", "price4")])
        codes = zip(slice_.condition[rows].tolist(), slice_.exchange[rows].tolist(), strict=True)
        sums = zip(*(column[rows].tolist() for column in (totals.volume, totals.turnover, totals.priced_volume)), strict=True)
        packed = zip(*columns, values.T.tolist(), codes, sums, (rows + first_sequence).tolist(), strict=True)
        return [
            self._forms[kind](symbol, at_ns, row, code, total, sequence).encode()
            for kind, symbol, at_ns, row, code, total, sequence in packed
        ]

    def vix(self, slice_: Slice, row: int) -> bytes:
        """One value of the volatility index."""
        at_ms = int(slice_.at_ns[row]) // 1_000_000
        return f'{{"ev":"V","T":"I:VIX","val":{float(slice_.price[row])!r},"t":{at_ms}}}'.encode()

    def _trade(self, symbol: int, at_ns: int, row: list[float], code: tuple[int, int], _: object, sequence: int) -> str:
        at_ms, (condition, exchange) = at_ns // 1_000_000, code
        decimal = f',"ds":"{row[1]!r}"' if self._decimal else ""
        conditions = f',"c":[{condition}]' if condition else ""
        facility = f',"trfi":{TRF_ID},"trft":{at_ms}' if exchange == FINRA_TRF else ""
        return (
            f'{{"ev":"T","sym":"{self._symbols[symbol]}","x":{exchange},"i":"{sequence}","z":{self._tapes[symbol]},'
            f'"p":{row[0]!r},"s":{int(row[1])}{decimal}{conditions},"t":{at_ms},"q":{sequence}{facility}}}'
        )

    def _quote(self, symbol: int, at_ns: int, row: list[float], code: tuple[int, int], _: object, sequence: int) -> str:
        return (
            f'{{"ev":"Q","sym":"{self._symbols[symbol]}","bx":{code[1]},"bp":{row[0]!r},"bs":{int(row[1]) // self._lot},'
            f'"ax":{code[1]},"ap":{row[2]!r},"as":{int(row[3]) // self._lot},"c":{code[0]},'
            f'"t":{at_ns // 1_000_000},"q":{sequence},"z":{self._tapes[symbol]}}}'
        )

    def _second(self, symbol: int, at_ns: int, row: list[float], code: tuple[int, int], total: tuple[float, float, float], _: int) -> str:
        return self._bar("A", SECOND_NS, symbol, at_ns, row, code[0], total)

    def _minute(self, symbol: int, at_ns: int, row: list[float], code: tuple[int, int], total: tuple[float, float, float], _: int) -> str:
        return self._bar("AM", 60 * SECOND_NS, symbol, at_ns, row, code[0], total)

    def _bar(
        self, event: str, window_ns: int, symbol: int, at_ns: int, row: list[float], trades: int, total: tuple[float, float, float]
    ) -> str:
        opening, volume, high, vwap, low, close = row
        day_volume = max(total[0], volume)
        day_vwap = total[1] / total[2] if total[2] > 0 else vwap
        official = float(self._memory.official_open[symbol] or self._memory.open[symbol] or opening)
        decimals = f',"dv":"{volume!r}","dav":"{day_volume!r}"' if self._decimal else ""
        return (
            f'{{"ev":"{event}","sym":"{self._symbols[symbol]}","v":{int(volume)},"av":{int(day_volume)},"op":{official!r},'
            f'"vw":{vwap:.4f},"o":{opening!r},"c":{close!r},"h":{high!r},"l":{low!r},"a":{day_vwap:.4f},'
            f'"z":{int(volume / max(trades, 1))},"s":{(at_ns - window_ns) // 1_000_000},"e":{at_ns // 1_000_000}{decimals}}}'
        )

    def _luld(self, symbol: int, at_ns: int, row: list[float], code: tuple[int, int], _: object, sequence: int) -> str:
        return self._bands(symbol, at_ns, row[2], row[0], code[0], sequence)

    def _halt(self, symbol: int, at_ns: int, _row: object, _code: object, _total: object, sequence: int) -> str:
        return self._bands(symbol, at_ns, 0.0, 0.0, 17, sequence)

    def _resume(self, symbol: int, at_ns: int, _row: object, _code: object, _total: object, sequence: int) -> str:
        return self._bands(symbol, at_ns, 0.0, 0.0, 18, sequence)

    def _bands(self, symbol: int, at_ns: int, high: float, low: float, indicator: int, sequence: int) -> str:
        return (
            f'{{"ev":"LULD","T":"{self._symbols[symbol]}","h":{high!r},"l":{low!r},"i":[{indicator}],'
            f'"z":{self._tapes[symbol]},"t":{at_ns // self._luld_divisor},"q":{sequence}}}'
        )


def routes(polygon: PolygonWire) -> list[web.RouteDef]:
    """Both clusters' handshakes."""
    return [web.get(STOCKS, polygon.serve), web.get(INDICES, polygon.serve)]
