"""What every cache promises."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from tests.promises.waiting import run, until
from tradingsystem.interfaces import Cache


class CachePromises:
    """One suite, three worlds."""

    def cache(self) -> AbstractAsyncContextManager[Cache]:
        """An empty cache."""
        raise NotImplementedError

    def test_a_value_is_kept(self) -> None:
        """What was put is got, byte for byte, under any key; the newest one wins."""

        async def main() -> None:
            async with self.cache() as cache:
                for key in ("plain", "v3/reference/tickers?market=stocks&active=true", "BRK.B > * ü"):
                    await cache.put(key, b"first", 60)
                    await cache.put(key, bytes(range(256)), 60)
                    assert await cache.get(key) == bytes(range(256))
                assert await cache.get("never put") is None

        run(main())

    def test_a_value_ends(self) -> None:
        """An answer older than its life must not be served."""

        async def main() -> None:
            async with self.cache() as cache:
                await cache.put("short", b"x", 1)
                await cache.put("long", b"y", 60)
                gone: list[bool] = []

                async def look() -> None:
                    while await cache.get("short") is not None:
                        pass
                    gone.append(True)

                looking = asyncio.create_task(look())
                await until(lambda: gone)
                await looking
                assert await cache.get("long") == b"y"

        run(main())
