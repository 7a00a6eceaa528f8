"""Work offered at a fixed rate, each piece timed from the moment at which it was meant to begin.

Exists because doing one thing after the other hides every wait: a piece that took long makes the next ones late, and here that lateness counts.
It refuses to skip: what is behind is done late, never dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np

from tradingsystem.domain.rows import F64

SPIN_NS = 500_000  # closer than this to the moment the processor is kept: waking up takes a tenth of a millisecond
WARM_UP = 20


def offered(action: Callable[[], object], per_second: float, seconds: float) -> F64:
    """Microseconds from each intended beginning to the end of ``action``, F64[n]; the first calls do not count."""
    for _ in range(WARM_UP):
        action()
    count, interval_ns = _schedule(per_second, seconds)
    took, begin_ns = np.empty(count), time.perf_counter_ns() + interval_ns
    for at in range(count):
        intended_ns = begin_ns + at * interval_ns
        _wait_until(intended_ns)
        action()
        took[at] = (time.perf_counter_ns() - intended_ns) / 1e3
    return took


async def offered_later(action: Callable[[], Awaitable[object]], per_second: float, seconds: float, warm_up: int = WARM_UP) -> F64:
    """The same on the running loop, one at a time, as one client with one connection works."""
    for _ in range(warm_up):
        await action()
    count, interval_ns = _schedule(per_second, seconds)
    took, begin_ns = np.empty(count), time.perf_counter_ns() + interval_ns
    for at in range(count):
        intended_ns = begin_ns + at * interval_ns
        await until(intended_ns)
        await action()
        took[at] = (time.perf_counter_ns() - intended_ns) / 1e3
    return took


async def until(moment_ns: int) -> None:
    """Return at that ``perf_counter_ns``; the loop is served meanwhile."""
    while True:
        left_ns = moment_ns - time.perf_counter_ns()
        if left_ns <= 0:
            return
        await asyncio.sleep(max(0.0, (left_ns - SPIN_NS) / 1e9))


def _schedule(per_second: float, seconds: float) -> tuple[int, int]:
    return max(5, int(per_second * seconds)), int(1e9 / per_second)


def _wait_until(moment_ns: int) -> None:
    left_ns = moment_ns - time.perf_counter_ns()
    if left_ns > SPIN_NS:
        time.sleep((left_ns - SPIN_NS) / 1e9)
    while time.perf_counter_ns() < moment_ns:
        pass
