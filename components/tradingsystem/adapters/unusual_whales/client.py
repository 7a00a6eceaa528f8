"""Unusual Whales' flow alerts as a source: by the vendor's socket where the token may use it, by polling where not and while the socket is lost.

The socket has no memory: what was missed comes by the polls, which go on beside it, rarely. Each alert is told once, whichever way it came first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from tradingsystem.adapters.rest import RestClient
from tradingsystem.adapters.streaming import Stream
from tradingsystem.adapters.unusual_whales import socket
from tradingsystem.adapters.unusual_whales.parse import Alert, parse_alerts, to_rows, wait_seconds
from tradingsystem.domain.errors import NotAuthorized, RequestRefused, TryAgain
from tradingsystem.domain.rows import Rows
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND
from tradingsystem.interfaces import Clock, SourceEvent, SourceSink
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

PATH = "/api/option-trades/flow-alerts"
LIMIT = 200
OVERLAP_NS = 60 * NS_PER_SECOND  # asked for again each time: alerts appear late
OLD_NS = 300 * NS_PER_SECOND  # older than this when first seen: not news
SEEN_MAX = 20_000
BESIDE_SOCKET_SECONDS = 60.0  # between polls while the socket delivers
MACHINE_WAIT_MIN_SECONDS = 0.5  # however fast market time runs


@dataclass(frozen=True, slots=True)
class UnusualWhalesSettings:
    """Where, as whom, and how often in market time."""

    name: str
    url: str
    key: Callable[[], str] = field(repr=False)
    poll_seconds: int = 5
    credential: str = "the Unusual Whales token"


class UnusualWhalesSource:
    """Flow rows for the symbols of the table; alerts of other tickers are not wanted and not counted as faults."""

    def __init__(self, settings: UnusualWhalesSettings, clock: Clock) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._newest_ns = 0
        self._healthy: bool | None = None
        self._streaming = False
        self._lost = asyncio.Event()

    def want(self, detailed: frozenset[str]) -> None:
        """Flow comes for the whole market: nothing changes."""

    async def run(self, symbols: Sequence[str], sink: SourceSink) -> None:
        """Deliver until cancelled. Raises ``NotAuthorized``."""
        index = {symbol: position for position, symbol in enumerate(symbols)}
        async with RestClient("unusual_whales", self._settings.url, self._settings.key, self._settings.credential) as rest:
            streaming = asyncio.create_task(self._stream(index, sink))
            try:
                while True:
                    wait = await self._poll(rest, index, sink)
                    await self._pause(wait)
                    if streaming.done():
                        streaming.result()
            finally:
                streaming.cancel()
                await asyncio.gather(streaming, return_exceptions=True)

    async def _stream(self, index: dict[str, int], sink: SourceSink) -> None:
        """The socket, for ever; ends when the token may not use it, which is no mistake: it is sold to the top tier only."""
        settings = self._settings
        place = socket.endpoint(f"{self.name}-socket", settings.url, settings.key(), settings.credential)
        dialogue = socket.FlowDialogue(
            lambda alerts, received_ns: self._tell_alerts(alerts, index, sink, received_ns),
            lambda reason, count: sink.malformed(self.name, reason, count),
        )
        try:
            await Stream(place, self._clock, limits=socket.LIMITS).run(dialogue, _SocketSink(self, sink))
        except NotAuthorized as error:
            log.info("socket_not_in_plan", source=self.name, reason=str(error))

    def socket_changed(self, *, healthy: bool) -> None:
        """The socket delivers, or does not any more: then the next poll is due at once."""
        self._streaming = healthy
        if not healthy:
            self._lost.set()

    async def _poll(self, rest: RestClient, index: dict[str, int], sink: SourceSink) -> float:
        """One poll; the wait before the next, seconds of market time."""
        params = {"limit": str(LIMIT)}
        if self._newest_ns:
            params["newer_than"] = str((self._newest_ns - OVERLAP_NS) // NS_PER_MILLISECOND)
        try:
            body, headers = await rest.get(PATH, params)
        except (TryAgain, RequestRefused) as error:
            if not self._streaming:
                self._tell(sink, healthy=False, reason=str(error))
            return float(self._settings.poll_seconds)
        received_ns = self._clock.now()
        sink.frame(self.name, body, received_ns)
        metrics.frames_received.labels(source=self.name).inc()
        alerts, malformed = parse_alerts(body)
        for reason, count in malformed.items():
            sink.malformed(self.name, reason, count)
        self._tell_alerts(alerts, index, sink, received_ns)
        if alerts or not malformed:
            self._tell(sink, healthy=True, reason="answers arrive")
        return wait_seconds(headers, self._settings.poll_seconds)

    def _tell_alerts(self, alerts: Sequence[Alert], index: dict[str, int], sink: SourceSink, received_ns: int) -> None:
        fresh = self._fresh(alerts, index, received_ns)
        if fresh:
            sink.rows(self.name, to_rows(fresh, received_ns), received_ns)

    def _fresh(self, alerts: Sequence[Alert], index: dict[str, int], received_ns: int) -> list[tuple[int, Alert]]:
        """Alerts not seen before, of our symbols, that are still news."""
        fresh: list[tuple[int, Alert]] = []
        for alert in alerts:
            self._newest_ns = max(self._newest_ns, min(alert.created_ns, received_ns))
            if alert.key in self._seen:
                continue
            self._seen[alert.key] = None
            if len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
            position = index.get(alert.ticker)
            if position is not None and received_ns - alert.created_ns <= OLD_NS:
                fresh.append((position, alert))
        return fresh

    def _tell(self, sink: SourceSink, *, healthy: bool, reason: str) -> None:
        if healthy != self._healthy:
            self._healthy = healthy
            metrics.source_healthy.labels(source=self.name).set(1.0 if healthy else 0.0)
            sink.health(self.name, SourceEvent(healthy, reason))

    async def _pause(self, seconds: float) -> None:
        """Market seconds, longer while the socket delivers and over as soon as it is lost; but never less than the machine's minimum: the vendor
        counts requests by its own clock."""
        self._lost.clear()
        if self._streaming:
            seconds = max(seconds, BESIDE_SOCKET_SECONDS)
        until_ns = self._clock.now() + int(seconds * NS_PER_SECOND)
        waits = [asyncio.create_task(self._clock.sleep_until(until_ns)), asyncio.create_task(self._lost.wait())]
        try:
            await asyncio.gather(asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED), asyncio.sleep(MACHINE_WAIT_MIN_SECONDS))
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


class _SocketSink:
    """What the socket's keeper tells: frames are the source's, and its health is not, since polling goes on without it."""

    def __init__(self, source: UnusualWhalesSource, sink: SourceSink) -> None:
        self._source = source
        self._sink = sink

    def rows(self, source: str, rows: Rows, received_ns: int) -> None:  # noqa: ARG002  the source's own name is told
        """See ``SourceSink``."""
        self._sink.rows(self._source.name, rows, received_ns)

    def malformed(self, source: str, reason: str, count: int) -> None:  # noqa: ARG002  as above
        """See ``SourceSink``."""
        self._sink.malformed(self._source.name, reason, count)

    def health(self, source: str, event: SourceEvent) -> None:  # noqa: ARG002  as above
        """See ``SourceSink``."""
        self._source.socket_changed(healthy=event.healthy)

    def frame(self, source: str, payload: bytes, received_ns: int) -> None:  # noqa: ARG002  as above
        """See ``SourceSink``."""
        self._sink.frame(self._source.name, payload, received_ns)
