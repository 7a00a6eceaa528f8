"""One queue for everything that wakes the operator: a key waits at most once and is worked on by one worker at a time, whatever wakes it meanwhile.

A failed key comes back by its own backoff, with jitter, so that many that failed together do not return together. It knows nothing of what a key means.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60.0


class SystemKey(NamedTuple):
    """One TradingSystem."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Queue(Generic[K]):
    """Keys that want to be looked at. ``now`` is the loop's time; ``jitter`` gives a factor between 0 and 1."""

    def __init__(self, now: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        self._now, self._jitter = now, jitter
        self._ready: dict[K, float] = {}  # in order of arrival, with the moment each became ready
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._busy: dict[K, bool] = {}  # whether it was woken again while being worked on
        self._failures: dict[K, int] = {}
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def add(self, key: K, after_seconds: float = 0.0) -> None:
        """Look at it, now or after some seconds; the earlier of two moments counts."""
        if after_seconds > 0:
            due = self._now() + after_seconds
            if key in self._ready or self._due.get(key, due + 1) <= due:
                return
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._order), key))
        elif key in self._busy:
            self._busy[key] = True
        else:
            self._due.pop(key, None)
            self._ready.setdefault(key, self._now())
        self._changed.set()

    async def take(self) -> K:
        """The key that has waited longest; it is this worker's until ``done`` or ``failed``."""
        while True:
            wait_seconds = self._bring_due()
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._busy[key] = False
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """The worker has finished; what woke the key meanwhile makes it ready at once."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: K, at_least_seconds: float = 0.0) -> float:
        """The worker could not finish; it comes back after its backoff, which is returned."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        span = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 20))
        delay = max(at_least_seconds, span * (0.5 + 0.5 * self._jitter()))
        self._busy[key] = False  # what woke it meanwhile waits for the backoff as well: a key that fails must not spin
        self._release(key)
        self.add(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """It is gone: no failures are remembered, nothing wakes it later."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    @property
    def waiting(self) -> int:
        """How many keys are ready and not taken."""
        return len(self._ready)

    @property
    def age_seconds(self) -> float:
        """How long the oldest ready key has waited; 0 when none does."""
        return max(0.0, self._now() - min(self._ready.values())) if self._ready else 0.0

    def _release(self, key: K) -> None:
        if self._busy.pop(key, False):
            self.add(key)

    def _bring_due(self) -> float | None:
        """Move what is due to the ready ones; seconds until the next is due, None when there is none."""
        now = self._now()
        while self._later:
            due, _, key = self._later[0]
            if self._due.get(key) != due:  # an earlier moment, or ``forget``, has replaced it
                heapq.heappop(self._later)
                continue
            if due > now:
                return due - now
            heapq.heappop(self._later)
            del self._due[key]
            self.add(key)
        return None
