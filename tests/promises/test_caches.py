"""The three caches keep the promises; Redis and JetStream are the real servers. One that is gone is an empty cache."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.promises.cache import CachePromises
from tests.promises.server import RunningServer
from tests.promises.waiting import run
from tradingsystem.adapters.jetstream_cache import JetStreamCache
from tradingsystem.adapters.memory_cache import MemoryCache
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.adapters.redis import RedisCache
from tradingsystem.interfaces import Cache
from tradingsystem.process.nats_server import free_ports


class TestMemoryCache(CachePromises):
    """In this process."""

    @asynccontextmanager
    async def cache(self) -> AsyncIterator[Cache]:
        """A new one."""
        yield MemoryCache()

    def test_it_is_bounded(self) -> None:
        """A mid-day start must not fill the memory: beyond the bound the longest untouched entry goes."""

        async def main() -> None:
            cache = MemoryCache(entries_max=2)
            for key in ("a", "b"):
                await cache.put(key, b"x", 60)
            await cache.get("a")
            await cache.put("c", b"x", 60)
            assert [await cache.get(key) for key in ("a", "b", "c")] == [b"x", None, b"x"]

        run(main())


@pytest.mark.nats
class TestJetStreamCache(CachePromises):
    """On the message server, as ingestion's user."""

    @pytest.fixture(autouse=True)
    def _server(self, nats_server: RunningServer) -> None:
        self.server = nats_server

    @asynccontextmanager
    async def cache(self) -> AsyncIterator[Cache]:
        """The bucket is made when missing."""
        connection = NatsConnection(self.server.as_user("ingestion"), "cache")
        await connection.open()
        cache = JetStreamCache(connection)
        await cache.ensure()
        yield cache
        await connection.close()

    def test_without_a_server_it_is_empty(self) -> None:
        """Losing the cache costs time, never an error on the way to the market."""

        async def main() -> None:
            async with self.cache() as cache:
                await cache.put("kept", b"x", 60)
                assert isinstance(cache, JetStreamCache)
                await cache._connection.close()
                assert await cache.get("kept") is None
                await cache.put("kept", b"y", 60)

        run(main())


@pytest.fixture(scope="module")
def redis_port(redis_server_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real redis-server."""
    (port,), folder = free_ports(1), tmp_path_factory.mktemp("redis")
    process = start_redis(redis_server_program, port, folder)
    yield port
    process.terminate()
    process.wait()


def start_redis(program: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start and return once it listens."""
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""], stdout=subprocess.DEVNULL
    )

    async def listening() -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    asyncio.run(listening())
    return process


@pytest.mark.redis
class TestRedisCache(CachePromises):
    """On a real Redis."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_port: int) -> None:
        self.port = redis_port

    @asynccontextmanager
    async def cache(self) -> AsyncIterator[Cache]:
        """A client of its own."""
        cache = RedisCache(system="testing", address=f"127.0.0.1:{self.port}")
        await cache.open()
        yield cache
        await cache.close()


def test_a_redis_that_is_not_there_is_an_empty_cache() -> None:
    """Nothing listens: reading says None, writing is dropped, opening does not fail."""

    async def main() -> None:
        (port,) = free_ports(1)
        cache = RedisCache(system="testing", address=f"127.0.0.1:{port}")
        await cache.open()
        await cache.put("key", b"x", 60)
        assert await cache.get("key") is None
        await cache.close()

    run(main())
