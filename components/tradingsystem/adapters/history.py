"""Polygon's REST interface as ``History``: symbols, daily bars, minutes, market days. Answers may come from the cache; keys never go into a URL."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar
from urllib.parse import quote, urlencode

import structlog

from tradingsystem.adapters.polygon import rest_parse
from tradingsystem.adapters.rest import RestClient
from tradingsystem.domain import calendar
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import SymbolFact
from tradingsystem.domain.errors import RequestRefused, TradingSystemError, TryAgain
from tradingsystem.domain.rows import Rows, concatenate
from tradingsystem.domain.time import NS_PER_MILLISECOND
from tradingsystem.interfaces import Cache
from tradingsystem.messages.codec import Malformed

log = structlog.get_logger()

T = TypeVar("T")

PAGES_MAX = 200
BARS_PER_PAGE = 50_000


@dataclass(frozen=True, slots=True)
class PolygonHistorySettings:
    """Where and as whom; lifetimes of cached answers in seconds, 0 for none."""

    url: str
    key: Callable[[], str] = field(repr=False)
    credential: str = "the Polygon key"
    details_seconds: int = 86_400
    aggregates_seconds: int = 300
    market_status_seconds: int = 60


class PolygonHistory:
    """See ``interfaces.History``. Raises ``NotAuthorized``, ``RequestRefused`` and, when retrying did not help, ``TryAgain``."""

    def __init__(self, settings: PolygonHistorySettings, cache: Cache | None = None) -> None:
        self._settings = settings
        self._cache = cache
        self._rest = RestClient("polygon", settings.url, settings.key, settings.credential)

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

    async def symbols(self) -> tuple[SymbolFact, ...]:
        """All active US stocks and funds."""
        params = {"market": "stocks", "active": "true", "limit": "1000", "sort": "ticker", "order": "asc"}
        ttl_seconds = self._settings.details_seconds
        found, following = await self._ask("/v3/reference/tickers", params, ttl_seconds, rest_parse.ticker_page)
        for _ in range(PAGES_MAX):
            if following is None:
                return found
            facts, following = await self._ask(following, None, ttl_seconds, rest_parse.ticker_page)
            found += facts
        raise RequestRefused("pages", f"the symbol list has more than {PAGES_MAX} pages")

    async def daily(self, sessions: Sequence[Session]) -> dict[str, tuple[tuple[float, float, float, float], ...]]:
        """One grouped call per session; a session without data contributes nothing."""
        days = await asyncio.gather(*(self._grouped(session.day) for session in sessions))
        gathered: dict[str, list[tuple[float, float, float, float]]] = {}
        for day in days:
            for symbol, values in day.items():
                gathered.setdefault(symbol, []).append(values)
        return {symbol: tuple(values) for symbol, values in gathered.items()}

    async def minutes(self, symbol: str, from_ns: int, to_ns: int) -> Rows:
        """Minute bars that start in [from, to]."""
        bounds = f"{from_ns // NS_PER_MILLISECOND}/{to_ns // NS_PER_MILLISECOND}"
        path = f"/v2/aggs/ticker/{quote(symbol, safe='')}/range/1/minute/{bounds}"
        # Not cached: what was just missing is what is asked for.
        body, _ = await self._rest.get(path, {"adjusted": "true", "sort": "asc", "limit": str(BARS_PER_PAGE)})
        parts: list[Rows] = []
        for _ in range(PAGES_MAX):
            rows, following = _parsed(rest_parse.minute_page, body)
            parts.append(rows)
            if following is None:
                break
            body, _ = await self._rest.get(following)
        return concatenate(parts)

    async def session(self, day: date) -> Session | None:
        """Our calendar corrected by the venue's list of closures and early closes; None when closed."""
        if not calendar.is_session(day):
            return None
        ours = calendar.session(day)
        seconds = self._settings.market_status_seconds
        return await self._ask("/v1/marketstatus/upcoming", None, seconds, lambda body: rest_parse.session_of(body, ours))

    async def _grouped(self, day: date) -> dict[str, tuple[float, float, float, float]]:
        path = f"/v2/aggs/grouped/locale/us/market/stocks/{day.isoformat()}"
        return await self._ask(path, {"adjusted": "true"}, self._settings.aggregates_seconds, rest_parse.grouped_day)

    async def _ask(self, path: str, params: Mapping[str, str] | None, ttl_seconds: int, parse: Callable[[bytes], T]) -> T:
        """The answer as ``parse`` reads it, from the cache when it is young enough; only what could be read is kept."""
        name = path + ("?" + urlencode(sorted(params.items())) if params else "")
        key = f"polygon.{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        kept = await self._recall(key) if ttl_seconds else None
        if kept is not None:
            return _parsed(parse, kept)
        body, _ = await self._rest.get(path, params)
        answer = _parsed(parse, body)
        if ttl_seconds:
            await self._remember(key, body, ttl_seconds)
        return answer

    async def _recall(self, key: str) -> bytes | None:
        """A cache that fails costs a request, nothing else."""
        try:
            return await self._cache.get(key) if self._cache is not None else None
        except TradingSystemError as error:
            log.warning("cache_unreadable", key=key, reason=str(error))
            return None

    async def _remember(self, key: str, body: bytes, ttl_seconds: int) -> None:
        try:
            if self._cache is not None:
                await self._cache.put(key, body, ttl_seconds)
        except TradingSystemError as error:
            log.warning("cache_unwritable", key=key, reason=str(error))


def _parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """An answer that cannot be read is asked for again: proxies and overload pages come with status 200 too."""
    try:
        return parse(body)
    except Malformed as error:
        raise TryAgain(f"polygon sent an answer that cannot be read: {error}", 5.0) from error
