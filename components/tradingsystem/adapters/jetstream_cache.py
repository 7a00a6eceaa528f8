"""The cache on a JetStream key-value bucket: nothing to install beside the message server, and answers survive a restart of ours.

A cache that cannot be reached is an empty cache: reading says None, writing is dropped and counted. Larger values than the server takes are not kept.
"""

from __future__ import annotations

import base64
import time
from typing import Any

import msgspec
import structlog

from tradingsystem.adapters.jetstream import call, ensure_stream
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.domain.errors import BrokenInvariant, RequestRefused, TryAgain
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

BYTES_MAX = 256 * 1024**2
READ_TIMEOUT_SECONDS = 2.0


def cache_stream(system: str) -> str:
    """Name of the bucket's stream, as key-value buckets are named."""
    return f"KV_cache_{system}"


def cache_config(system: str, bytes_max: int = BYTES_MAX) -> dict[str, Any]:
    """The bucket: one value per key, the oldest out first when it is full, each with a life of its own."""
    return {
        "name": cache_stream(system),
        "subjects": [f"$KV.cache_{system}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_bytes": bytes_max,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
    }


class JetStreamCache:
    """``interfaces.Cache``. The value carries its own end too, because the server's clock counts whole seconds."""

    def __init__(self, connection: NatsConnection, *, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._connection = connection
        self._system = connection.settings.system
        self._stream = cache_stream(self._system)

    async def ensure(self) -> None:
        """Make sure that the bucket exists. Raises ``TryAgain``."""
        await ensure_stream(self._connection, cache_config(self._system, self._bytes_max))

    def _subject(self, key: str) -> str:
        """The key as one subject token, whatever stands in it."""
        token = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
        return f"$KV.cache_{self._system}.{token}"

    async def get(self, key: str) -> bytes | None:
        """See ``interfaces.Cache``."""
        body = {"last_by_subj": self._subject(key)}
        try:
            answer = await call(self._connection, f"STREAM.MSG.GET.{self._stream}", body, READ_TIMEOUT_SECONDS)
        except RequestRefused:
            metrics.cache_reads.labels(outcome="absent").inc()
            return None
        except TryAgain:
            metrics.cache_reads.labels(outcome="unreachable").inc()
            return None
        stored = base64.b64decode(answer["message"].get("data", ""))
        if len(stored) < 8 or int.from_bytes(stored[:8], "big") <= time.time_ns():
            metrics.cache_reads.labels(outcome="expired").inc()
            return None
        metrics.cache_reads.labels(outcome="found").inc()
        return stored[8:]

    async def put(self, key: str, value: bytes, ttl_seconds: int) -> None:
        """See ``interfaces.Cache``. Returns when the server has taken it, or when it is clear that it will not."""
        expires_ns = time.time_ns() + ttl_seconds * 1_000_000_000
        payload = expires_ns.to_bytes(8, "big") + value
        try:
            answer = await self._connection.request(self._subject(key), payload, READ_TIMEOUT_SECONDS, {"Nats-TTL": f"{ttl_seconds}s"})
        except (TryAgain, BrokenInvariant) as error:
            log.info("cache_not_written", reason=str(error))
            return
        if error_ := msgspec.json.decode(answer).get("error"):
            log.info("cache_not_written", reason=error_.get("description"))
