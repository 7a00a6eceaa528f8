"""Polygon's sockets as a source: stocks, and beside them indices, because each market is a connection of its own.

One connection per market and key is all there is: ingestion is a singleton, and a second owner shows up here as ``max_connections``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection

from tradingsystem.adapters.pacing import WatchLimits
from tradingsystem.adapters.polygon.models import Status
from tradingsystem.adapters.polygon.parse import VIX_TICKER, FrameParser
from tradingsystem.adapters.polygon.subscriptions import Subscriptions
from tradingsystem.adapters.streaming import MAX_CONNECTIONS_SECONDS, ConnectionLost, Endpoint, Heard, Stream
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.rows import RowKind, Rows
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND, new_york_date
from tradingsystem.interfaces import Clock, SourceSink
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

STANDING = {"SecondBars": "A.*", "MinuteBars": "AM.*", "LimitBands": "LULD.*"}
DETAILED = {"Trades": "T", "Quotes": "Q"}
ANSWER_SECONDS = 10.0
SIZES_IN_SHARES_SINCE = date(2025, 11, 3)  # the tapes changed the unit of a quote's size on that day; older days are played back
ROUND_LOT = 100
_WINDOW_NS = {int(RowKind.SECOND_BAR): NS_PER_SECOND, int(RowKind.MINUTE_BAR): NS_PER_MINUTE}


@dataclass(frozen=True, slots=True)
class PolygonSettings:
    """Where and as whom. ``url`` is the feed without the market, as ``wss://socket.polygon.io``; ``channels`` are the resource's names."""

    name: str
    url: str
    key: Callable[[], str] = field(repr=False)  # asked for at each greeting
    channels: frozenset[str]
    credential: str = "the Polygon key"
    limits: WatchLimits = field(default_factory=WatchLimits)


class PolygonSource:
    """Both markets under one name; the indices' health is told under ``<name>-indices``."""

    def __init__(self, settings: PolygonSettings, clock: Clock) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._detailed: frozenset[str] = frozenset()
        self._stocks: _Market | None = None

    def want(self, detailed: frozenset[str]) -> None:
        """Symbols that deserve trades and quotes."""
        self._detailed = detailed
        if self._stocks is not None:
            self._stocks.subscriptions.want(detailed)

    async def run(self, symbols: Sequence[str], sink: SourceSink) -> None:
        """Deliver until cancelled. Raises ``NotAuthorized``."""
        settings = self._settings
        lots = new_york_date(self._clock.now()) < SIZES_IN_SHARES_SINCE
        parser = FrameParser(symbols, quote_lot=ROUND_LOT if lots else 1)
        detailed = [prefix for channel, prefix in DETAILED.items() if channel in settings.channels]
        standing = [param for channel, param in STANDING.items() if channel in settings.channels]
        if detailed and "A.*" not in standing:
            standing.append("A.*")  # the lower tier of trades and quotes
        markets: list[_Market] = []
        if standing or detailed:
            self._stocks = _Market(settings, settings.name, Subscriptions(standing, detailed), parser, sink, self._clock)
            self._stocks.subscriptions.want(self._detailed)
            markets.append(self._stocks)
        if "Indices" in settings.channels:
            markets.append(_Market(settings, f"{settings.name}-indices", Subscriptions([f"V.{VIX_TICKER}"], []), parser, sink, self._clock))
        paths = {settings.name: "stocks", f"{settings.name}-indices": "indices"}
        await _all(
            [
                Stream(
                    Endpoint(market.source, f"{settings.url.rstrip('/')}/{paths[market.source]}", settings.credential),
                    self._clock,
                    limits=settings.limits if market is self._stocks else _INDEX_LIMITS,
                ).run(market, sink)
                for market in markets
            ]
        )


_INDEX_LIMITS = WatchLimits(silent_ns=60 * NS_PER_SECOND, behind_ns=60 * NS_PER_SECOND)


async def _all(runs: list) -> None:  # type: ignore[type-arg]
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Market:
    """The dialogue on one market's socket."""

    def __init__(
        self,
        settings: PolygonSettings,
        source: str,
        subscriptions: Subscriptions,
        parser: FrameParser,
        sink: SourceSink,
        clock: Clock,
    ) -> None:
        self.source = source
        self.subscriptions = subscriptions
        self._settings = settings
        self._parser = parser
        self._sink = sink
        self._clock = clock
        self._unconfirmed: tuple[str, ...] = ()

    async def greet(self, socket: ClientConnection) -> None:
        """Wait for the server's first word (some say nothing), send the key, wait for the verdict."""
        self.subscriptions.connected()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS / 2):
                self.hear(await socket.recv(decode=False), self._clock.now())
        await socket.send(msgspec.json.encode({"action": "auth", "params": self._settings.key()}).decode())
        while True:
            statuses = self._parser.parse(await socket.recv(decode=False)).statuses
            for status in statuses:
                self._react(status)
            if any(status.status == "auth_success" for status in statuses):
                return

    async def subscribe(self, socket: ClientConnection) -> None:
        """Send what is missing, and alarm on what was asked for and never confirmed."""
        machine_ns = self._clock.monotonic()
        for request in self.subscriptions.requests(machine_ns):
            await socket.send(msgspec.json.encode({"action": request.action, "params": ",".join(request.params)}).decode())
        overdue = self.subscriptions.overdue(machine_ns)
        if overdue != self._unconfirmed:
            self._unconfirmed = overdue
            if overdue:
                log.error("subscriptions_unconfirmed", source=self.source, count=len(overdue), examples=overdue[:5])
                metrics.alarms.labels(alarm="subscriptions_unconfirmed").inc()
        metrics.subscribed_symbols.labels(source=self.source, tier="confirmed").set(self.subscriptions.confirmed)
        metrics.subscribed_symbols.labels(source=self.source, tier="unconfirmed").set(len(overdue))

    def hear(self, payload: bytes, received_ns: int) -> Heard:
        """Deliver a frame's rows and react to its statuses. Raises ``ConnectionLost`` or ``NotAuthorized`` on the server's word."""
        parsed = self._parser.parse(payload)
        for reason, count in parsed.malformed.items():
            self._sink.malformed(self.source, reason, count)
        count = len(parsed.rows)
        if count:
            self._sink.rows(self.source, parsed.rows, received_ns)
        subscribed = False
        for status in parsed.statuses:
            subscribed = self._react(status) or subscribed
        return Heard(data=count > 0, newest_ns=_newest_ns(parsed.rows) if count else 0, subscribed=subscribed)

    def _react(self, status: Status) -> bool:
        """Whether the status confirms a subscription."""
        match status.status:
            case "success":
                return self.subscriptions.told(status.message)
            case "auth_failed":
                raise NotAuthorized(self._settings.credential, "Polygon refused the key (auth_failed)")
            case "auth_timeout":
                raise ConnectionLost("auth_timeout", "Polygon did not see the authentication in time")
            case "max_connections":
                raise ConnectionLost(
                    "max_connections", "another process uses this key: Polygon allows one connection per market", MAX_CONNECTIONS_SECONDS
                )
            case "slow_consumer" | "force_disconnect" as label:
                raise ConnectionLost(label, f"Polygon disconnects us: {label}")
            case "error":
                log.warning("source_error", source=self.source, message=status.message[:120])
        return False


def _newest_ns(rows: Rows) -> int:
    """The moment that a frame's last row tells of: a bar tells of its end. Frames are in order of time, near enough to judge lag."""
    return int(rows.at_ns[-1]) + _WINDOW_NS.get(int(rows.kind[-1]), 0)
