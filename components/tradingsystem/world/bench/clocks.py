"""Market time for measurements: it stands, runs at a multiple of the machine's, or leaps over an idle part. Nobody's trading depends on it."""

from __future__ import annotations

import asyncio
import time


class RunningClock:
    """``interfaces.Clock`` that is at ``market_ns`` when the machine's is at ``begun_ns`` (now), and runs ``speed`` times as fast; 0 stands still."""

    def __init__(self, market_ns: int, speed: float = 1.0, begun_ns: int | None = None) -> None:
        self.speed = speed
        self._market_ns = market_ns
        self._begun_ns = time.monotonic_ns() if begun_ns is None else begun_ns

    def leap(self, ns: int) -> None:
        """Market time goes on that much later."""
        self._market_ns += ns

    def now(self) -> int:
        """See ``interfaces.Clock``."""
        return self._market_ns + int((time.monotonic_ns() - self._begun_ns) * self.speed)

    def monotonic(self) -> int:
        """See ``interfaces.Clock``."""
        return time.monotonic_ns()

    async def sleep_until(self, market_ns: int) -> None:
        """See ``interfaces.Clock``; where time stands, a later moment never comes."""
        while True:
            left_ns = market_ns - self.now()
            if left_ns <= 0:
                return
            await asyncio.sleep(left_ns / self.speed / 1e9 if self.speed else 3_600.0)
