"""The cache on Redis, as the founding documents have it. A Redis that cannot be reached is an empty cache, never an error of trading."""

from __future__ import annotations

import redis.asyncio
import redis.exceptions
import structlog

from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

TIMEOUT_SECONDS = 1.0


class RedisCache:
    """``interfaces.Cache``; keys are prefixed with the system's name, so that several systems may share a database."""

    def __init__(self, *, system: str, address: str, database: int = 0, password: str = "") -> None:
        host, _, port = address.rpartition(":")
        self._prefix = f"tradingsystem:{system}:"
        self._client = redis.asyncio.Redis(
            host=host,
            port=int(port),
            db=database,
            password=password or None,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )

    async def open(self) -> None:
        """Look whether it answers; one that does not is used all the same once it does. Raises ``NotAuthorized`` when it refuses the password."""
        try:
            await self._client.get(self._prefix)
        except redis.exceptions.AuthenticationError as error:
            raise NotAuthorized("Redis password", "Redis does not accept it") from error
        except redis.exceptions.RedisError as error:
            log.warning("cache_unreachable", reason=type(error).__name__)

    async def close(self) -> None:
        """Leave."""
        await self._client.aclose()

    async def get(self, key: str) -> bytes | None:
        """See ``interfaces.Cache``."""
        try:
            value = await self._client.get(self._prefix + key)
        except redis.exceptions.RedisError:
            metrics.cache_reads.labels(outcome="unreachable").inc()
            return None
        metrics.cache_reads.labels(outcome="absent" if value is None else "found").inc()
        return value.encode() if isinstance(value, str) else value

    async def put(self, key: str, value: bytes, ttl_seconds: int) -> None:
        """See ``interfaces.Cache``."""
        try:
            await self._client.set(self._prefix + key, value, ex=ttl_seconds)
        except redis.exceptions.RedisError as error:
            log.info("cache_not_written", reason=type(error).__name__)
