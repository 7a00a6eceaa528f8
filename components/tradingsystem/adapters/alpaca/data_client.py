"""Alpaca's market data stream as a source: standing by for Polygon, or alone where there is no Polygon key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection

from tradingsystem.adapters.alpaca.data_parse import Control, Error, FrameParser, Subscription, Success
from tradingsystem.adapters.alpaca.symbols import to_alpaca
from tradingsystem.adapters.pacing import WatchLimits
from tradingsystem.adapters.streaming import MAX_CONNECTIONS_SECONDS, ConnectionLost, Endpoint, Heard, Stream
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.rows import RowKind
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND, new_york_date
from tradingsystem.interfaces import Clock, SourceSink
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

DETAILED = {"Trades": "trades", "Quotes": "quotes"}
STANDING = {"MinuteBars": ("bars",), "LimitBands": ("lulds", "statuses")}
REFUSED_KEYS = frozenset({401, 402, 409, 411})
SIZES_IN_SHARES_SINCE = date(2025, 11, 3)  # before, a quote's size was in round lots
ROUND_LOT = 100
CONFIRMATION_NS = 5 * NS_PER_SECOND
BARS_SILENT_NS = 130 * NS_PER_SECOND  # minute bars are all that is expected while nothing is detailed


@dataclass(frozen=True, slots=True)
class AlpacaDataSettings:
    """Where and as whom. ``url`` is the stream with its feed, as ``wss://stream.data.alpaca.markets/v2/sip``."""

    name: str
    url: str
    key: Callable[[], str] = field(repr=False)  # both asked for at each greeting
    secret: Callable[[], str] = field(repr=False)
    channels: frozenset[str]
    credential: str = "the Alpaca data key"
    message_pack: bool = True


class AlpacaDataSource:
    """One socket; trades and quotes for detailed symbols, bars and bands for all."""

    def __init__(self, settings: AlpacaDataSettings, clock: Clock) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._detailed: frozenset[str] = frozenset()
        self._requested: dict[str, frozenset[str]] = {}
        self._requested_ns = 0
        self._alarmed = False
        self._held: dict[str, frozenset[str]] = {}
        self._parser = FrameParser(())
        self._sink: SourceSink | None = None

    def want(self, detailed: frozenset[str]) -> None:
        """Symbols that deserve trades and quotes."""
        self._detailed = detailed

    async def run(self, symbols: Sequence[str], sink: SourceSink) -> None:
        """Deliver until cancelled. Raises ``NotAuthorized``."""
        lots = new_york_date(self._clock.now()) < SIZES_IN_SHARES_SINCE
        self._parser, self._sink = FrameParser(symbols, quote_lot=ROUND_LOT if lots else 1), sink
        settings = self._settings
        headers = {"Content-Type": "application/msgpack"} if settings.message_pack else {}
        endpoint = Endpoint(settings.name, settings.url, settings.credential, headers)
        await Stream(endpoint, self._clock, limits=WatchLimits(silent_ns=BARS_SILENT_NS)).run(self, sink)

    def _bytes(self, message: dict[str, Any]) -> bytes | str:
        return msgspec.msgpack.encode(message) if self._settings.message_pack else msgspec.json.encode(message).decode()

    async def greet(self, socket: ClientConnection) -> None:
        """``connected``, then our keys, then ``authenticated``; bounded by the caller."""
        self._requested, self._held = {}, {}
        await self._until(socket, "connected")
        await socket.send(self._bytes({"action": "auth", "key": self._settings.key(), "secret": self._settings.secret()}))
        await self._until(socket, "authenticated")

    async def _until(self, socket: ClientConnection, word: str) -> None:
        while True:
            for control in self._parser.parse(await socket.recv(decode=False)).controls:
                self._react(control)
                if isinstance(control, Success) and control.msg == word:
                    return

    async def subscribe(self, socket: ClientConnection) -> None:
        """Bring what is requested to what is wanted; alarm when the server's full list still lacks something after a while."""
        channels = self._settings.channels
        symbols = frozenset(to_alpaca(symbol) for symbol in self._detailed)
        wanted = {name: symbols for channel, name in DETAILED.items() if channel in channels}
        for channel, names in STANDING.items():
            if channel in channels:
                wanted |= dict.fromkeys(names, frozenset({"*"}))
        nothing: frozenset[str] = frozenset()
        more = {name: sorted(asked - self._requested.get(name, nothing)) for name, asked in wanted.items()}
        less = {name: sorted(asked - wanted.get(name, nothing)) for name, asked in self._requested.items()}
        for action, change in (("subscribe", more), ("unsubscribe", less)):
            if any(change.values()):
                await socket.send(self._bytes({"action": action, **{name: values for name, values in change.items() if values}}))
                self._requested_ns, self._alarmed = self._clock.monotonic(), False
        self._requested = wanted
        self._compare()

    def _compare(self) -> None:
        missing = sum(len(asked - self._held.get(name, frozenset())) for name, asked in self._requested.items())
        metrics.subscribed_symbols.labels(source=self.name, tier="unconfirmed").set(missing)
        if missing and not self._alarmed and self._clock.monotonic() - self._requested_ns >= CONFIRMATION_NS:
            self._alarmed = True
            log.error("subscriptions_unconfirmed", source=self.name, count=missing)
            metrics.alarms.labels(alarm="subscriptions_unconfirmed").inc()

    def hear(self, payload: bytes, received_ns: int) -> Heard:
        """Deliver a frame's rows and react to its controls."""
        parsed = self._parser.parse(payload)
        sink = self._sink
        assert sink is not None, "run sets the sink before any frame can come"
        for reason, count in parsed.malformed.items():
            sink.malformed(self.name, reason, count)
        subscribed = [self._react(control) for control in parsed.controls]
        rows = parsed.rows
        if not len(rows):
            return Heard(subscribed=any(subscribed))
        sink.rows(self.name, rows, received_ns)
        newest_ns = int((rows.at_ns + (rows.kind == RowKind.MINUTE_BAR) * NS_PER_MINUTE).max())
        return Heard(data=True, newest_ns=newest_ns, subscribed=any(subscribed))

    def _react(self, control: Control) -> bool:
        """Whether the message confirms a subscription."""
        if isinstance(control, Subscription):
            self._held = {name: frozenset(getattr(control, name)) for name in ("trades", "quotes", "bars", "lulds", "statuses")}
            return True
        if isinstance(control, Error):
            if control.code in REFUSED_KEYS:
                raise NotAuthorized(self._settings.credential, f"Alpaca refused with code {control.code}")
            if control.code == 406:
                raise ConnectionLost("max_connections", "another process uses this data key", MAX_CONNECTIONS_SECONDS)
            if control.code in (404, 407, 500):
                raise ConnectionLost("refused", f"Alpaca ends the stream with code {control.code}")
            log.warning("source_error", source=self.name, code=control.code, message=control.msg[:120])
        return False
