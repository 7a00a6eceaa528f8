"""The broker's counter: who may ask, how often, and what moves market time between two requests. Shared by Alpaca's REST and stream.

The rate limit counts requests per minute of *market* time by default: at 60x a client gets its 200 requests each wall-clock second, because everything
else it does is sped up too. `RateWindow.WALL` counts by the machine's clock instead.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from aiohttp import web

from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.exchange import BrokerEvent, Exchange
from tradingsystem.simulator.feed import SECOND_NS, SymbolFacts
from tradingsystem.simulator.order_request import Refusal

MINUTE_NS = 60 * SECOND_NS
KEY_HEADER = "APCA-API-KEY-ID"
SECRET_HEADER = "APCA-API-SECRET-KEY"


class RateWindow(enum.StrEnum):
    MARKET = "Market"
    WALL = "Wall"


class RateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests a minute and key; 0 means no limit."""

    per_minute: Annotated[int, msgspec.Meta(ge=0)] = 200
    window: RateWindow = RateWindow.MARKET


@dataclass(frozen=True, slots=True)
class Credentials:
    key: str
    secret: str

    def match(self, key: str, secret: str) -> bool:
        """Compared in constant time, as everywhere."""
        return hmac.compare_digest(key.encode(), self.key.encode()) and hmac.compare_digest(secret.encode(), self.secret.encode())


class RateLimit:
    """Fixed windows of one minute."""

    def __init__(self, settings: RateSettings, market_now_ns: Callable[[], int], wall_now_ns: Callable[[], int]) -> None:
        self._settings = settings
        self._now_ns = market_now_ns if settings.window is RateWindow.MARKET else wall_now_ns
        self._window = -1
        self._used = 0

    def count(self) -> tuple[bool, dict[str, str]]:
        """Count one request: whether it is within the limit, and the headers that say so."""
        limit = self._settings.per_minute
        if not limit:
            return True, {}
        window = self._now_ns() // MINUTE_NS
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - self._used, 0)),
            "X-RateLimit-Reset": str((window + 1) * 60),
        }
        return self._used <= limit, headers


@dataclass(slots=True)
class Desk:
    """One account at one exchange, as its wire servers share it. `publish` carries broker events to the stream."""

    exchange: Exchange
    facts: dict[str, SymbolFacts]
    credentials: Credentials
    wire: Wire
    rate: RateLimit
    publish: Callable[[list[BrokerEvent]], None]

    def settle(self) -> None:
        """Send what a request has just caused; what market time causes is sent by the run loop."""
        self.publish(self.exchange.take_events())


def answer(document: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")


def refuse(refusal: Refusal) -> web.Response:
    return answer(refusal.body(), refusal.http)
