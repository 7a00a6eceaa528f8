"""What a source needs in a test: a clock inside a session that runs at a chosen speed, and a sink that remembers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date

from tradingsystem.domain.calendar import session
from tradingsystem.domain.rows import Rows
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.interfaces import Source, SourceEvent

DAY = session(date(2026, 3, 2))
IN_SESSION_NS = DAY.open_ns + 60 * NS_PER_MINUTE


class SessionClock:
    """Market time from a chosen moment, ``speed`` times as fast as the machine's."""

    def __init__(self, start_ns: int = IN_SESSION_NS, speed: float = 1.0) -> None:
        self.speed = speed
        self._start_ns = start_ns
        self._began = time.monotonic_ns()
        self._asked = 0
        self._awaited = 0
        self._enough = asyncio.Event()

    async def asked(self, times: int) -> None:
        """Return once the time was asked for that often from now on: whoever watches has looked."""
        self._awaited = self._asked + times
        self._enough.clear()
        async with asyncio.timeout(10):
            await self._enough.wait()

    def now(self) -> int:
        self._asked += 1
        if self._asked >= self._awaited:
            self._enough.set()
        return self._start_ns + int((time.monotonic_ns() - self._began) * self.speed)

    def monotonic(self) -> int:
        return time.monotonic_ns()

    async def sleep_until(self, market_ns: int) -> None:
        reached = asyncio.Event()
        asyncio.get_running_loop().call_later(max(0, market_ns - self.now()) / self.speed / NS_PER_SECOND, reached.set)
        await reached.wait()


class Memory:
    """A sink that keeps everything and wakes who waits for it."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Rows]] = []
        self.bad: Counter[str] = Counter()
        self.events: list[tuple[str, SourceEvent]] = []
        self._changed = asyncio.Event()

    def rows(self, source: str, rows: Rows, received_ns: int) -> None:
        self.received.append((source, rows))
        self._changed.set()

    def malformed(self, source: str, reason: str, count: int) -> None:
        self.bad[reason] += count
        self._changed.set()

    def health(self, source: str, event: SourceEvent) -> None:
        self.events.append((source, event))
        self._changed.set()

    def frame(self, source: str, payload: bytes, received_ns: int) -> None:
        assert payload

    def told(self, healthy: bool, text: str = "") -> bool:
        return any(event.healthy is healthy and text in event.reason for _, event in self.events)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def listening(source: Source, sink: Memory, symbols: Sequence[str]) -> AsyncIterator[asyncio.Task[None]]:
    """The source at work; cancelled at the end, and what it raised besides is raised here."""
    task = asyncio.create_task(source.run(symbols, sink))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
