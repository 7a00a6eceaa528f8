"""Ingestion with its sources, its history and its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.interfaces import Cache, Source
from tradingsystem.messages.server import StoreSizes
from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.connecting import ensured
from tradingsystem.process.lifecycle import Service
from tradingsystem.spec.slices import IngestionSlice
from tradingsystem.spec.sources import Cache as CacheSettings
from tradingsystem.spec.sources import CacheType, SourceType, channels_of
from tradingsystem.spec.sources import Source as SourceSettings
from tradingsystem.spec.universe import Selection, Universe

if TYPE_CHECKING:
    from tradingsystem.adapters.history import PolygonHistory


async def assemble(parts: Parts) -> Service:
    """The service. Raises ``InvalidInput``, ``NotAuthorized``, ``TryAgain``."""
    from tradingsystem.ingestion.service import IngestionService

    piece = cast(IngestionSlice, parts.slice)
    cache = await _cache(parts, piece.cache)
    history = _history(parts, piece, cache)
    parts.later.push_async_callback(history.close)
    return IngestionService(
        system=piece.system,
        chosen=_chosen(piece.universe),
        spec=piece,
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
        history=history,
        sources=[_source(parts, source) for source in piece.sources],
        cache=cache,
    )


def _chosen(universe: Universe) -> frozenset[str] | None:
    """The symbols that it is restricted to, None for all that are listed. Raises ``InvalidInput``."""
    if universe.selection is Selection.CONFIG_MAP:
        raise InvalidInput("spec.universe.selection is ConfigMap, and whoever planned this system has not read the list into it")
    return frozenset(universe.symbols) if universe.selection is Selection.LIST else None


async def _cache(parts: Parts, settings: CacheSettings) -> Cache:
    if settings.type is CacheType.REDIS:
        from tradingsystem.adapters.redis import RedisCache

        password = parts.secrets.value(settings.secret_ref.name, "password") if settings.secret_ref.name and not parts.simulated else ""
        redis = RedisCache(system=parts.slice.system, address=settings.address, database=settings.database, password=password)
        parts.later.push_async_callback(redis.close)
        await redis.open()
        return redis
    from tradingsystem.adapters.jetstream_cache import JetStreamCache

    return await ensured(
        JetStreamCache(parts.connection, bytes_max=StoreSizes.on_volume(parts.assignment.journal_volume_bytes).cache_bytes)
    )


def _history(parts: Parts, piece: IngestionSlice, cache: Cache) -> PolygonHistory:
    from tradingsystem.adapters.history import PolygonHistory, PolygonHistorySettings

    source = next((source for source in piece.sources if source.type is SourceType.POLYGON), None)
    if source is None:
        raise InvalidInput("spec.sources: none is of type Polygon, and reference data (symbols, daily history) comes from there; add one")
    lifetimes = piece.cache.ttl_seconds
    settings = PolygonHistorySettings(
        url=parts.venues.polygon_rest,
        key=parts.key(source.secret_ref.name, "apiKey", "POLYGON_API_KEY"),
        details_seconds=lifetimes.ticker_details,
        aggregates_seconds=lifetimes.aggregates,
        market_status_seconds=lifetimes.market_status,
    )
    return PolygonHistory(settings, cache)


def _source(parts: Parts, source: SourceSettings) -> Source:
    secret, channels = source.secret_ref.name, frozenset(channel.value for channel in channels_of(source))
    match source.type:
        case SourceType.POLYGON:
            from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource

            key = parts.key(secret, "apiKey", "POLYGON_API_KEY")
            return PolygonSource(
                PolygonSettings(name=source.name, url=parts.venues.polygon_stream, key=key, channels=channels), parts.clock
            )
        case SourceType.ALPACA:
            from tradingsystem.adapters.alpaca.data_client import AlpacaDataSettings, AlpacaDataSource

            alpaca = AlpacaDataSettings(
                name=source.name,
                url=f"{parts.venues.alpaca_data_stream}/{source.feed.value.lower()}",
                key=parts.key(secret, "apiKey", "ALPACA_API_KEY"),
                secret=parts.key(secret, "apiSecret", "ALPACA_API_SECRET"),
                channels=channels,
            )
            return AlpacaDataSource(alpaca, parts.clock)
        case SourceType.UNUSUAL_WHALES:
            from tradingsystem.adapters.unusual_whales.client import UnusualWhalesSettings, UnusualWhalesSource

            key = parts.key(secret, "apiKey", "UNUSUAL_WHALES_API_KEY")
            settings = UnusualWhalesSettings(name=source.name, url=parts.venues.unusual_whales, key=key, poll_seconds=source.poll_seconds)
            return UnusualWhalesSource(settings, parts.clock)
        case SourceType.CUSTOM:
            return _own_source(parts, source)


def _own_source(parts: Parts, source: SourceSettings) -> Source:
    """A source that somebody registered: ``make(settings, clock, key)`` under the entry point group ``tradingsystem.sources``."""
    from tradingsystem.adapters.own_sources import factory

    key = parts.key(source.secret_ref.name, "apiKey")() if source.secret_ref.name else ""
    return factory(source.plugin)(source, parts.clock, key)
