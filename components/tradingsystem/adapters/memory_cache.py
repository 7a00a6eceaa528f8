"""A cache in this process's memory: gone with it, bounded, for one process and for tests."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

ENTRIES_MAX = 20_000


class MemoryCache:
    """``interfaces.Cache`` in memory; the entry that was read or written longest ago goes first."""

    def __init__(self, *, entries_max: int = ENTRIES_MAX, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._kept: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._entries_max = entries_max
        self._monotonic_ns = monotonic_ns

    async def get(self, key: str) -> bytes | None:
        """See ``interfaces.Cache``."""
        value, expires_ns = self._kept.get(key, (None, 0))
        if value is None:
            return None
        if self._monotonic_ns() >= expires_ns:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes, ttl_seconds: int) -> None:
        """See ``interfaces.Cache``."""
        self._kept[key] = (value, self._monotonic_ns() + ttl_seconds * 1_000_000_000)
        self._kept.move_to_end(key)
        while len(self._kept) > self._entries_max:
            self._kept.popitem(last=False)
