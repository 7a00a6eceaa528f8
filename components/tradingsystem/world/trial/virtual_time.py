"""An event loop whose time is a number: when nothing is ready it jumps to the next timer.

Exists so that a day with its waits costs what its work costs and comes out the same every time. It refuses to wait: a loop in which nothing is ready
and no timer stands has nothing to live for and says so. It has no sockets, no signals and no threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tradingsystem.domain.steady_time import SteadyTime
from tradingsystem.domain.time import NS_PER_SECOND

T = TypeVar("T")
SLEEP_SLICE_NS = NS_PER_SECOND  # how soon a sleeper notices that its clock was set


class Stalled(RuntimeError):
    """Nothing can ever happen again."""


class _Jump:
    """Where a loop would wait for sockets: time passes instead."""

    def __init__(self) -> None:
        self.now_seconds = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled("nothing is ready and no timer stands: everybody waits for somebody")
        self.now_seconds += timeout
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own scheduling over ``_Jump``: order of callbacks, timers and tasks is the library's, only waiting is not."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Jump()

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._selector.now_seconds

    def _process_events(self, event_list: list[Any]) -> None:
        """No socket, no event."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in a loop of its own, then cancel what is left. Raises ``Stalled`` and whatever ``main`` raises."""
    loop = VirtualLoop()
    asyncio.set_event_loop(None)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        left = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True)) if left else None
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class MachineClock:
    """``interfaces.Clock`` of one machine in that loop: right by ``start_ns`` until somebody sets it, and steadied as ours is."""

    speed = 1.0

    def __init__(self, loop: VirtualLoop, start_ns: int) -> None:
        self._loop, self._start_ns = loop, start_ns
        self.wrong_by_ns = 0
        self._steady = SteadyTime()

    def now(self) -> int:
        """See ``interfaces.Clock``."""
        return self._steady.now(self._start_ns + self.monotonic() + self.wrong_by_ns, self.monotonic())

    def monotonic(self) -> int:
        """See ``interfaces.Clock``."""
        return round(self._loop.time() * NS_PER_SECOND)

    async def sleep_until(self, market_ns: int) -> None:
        """See ``interfaces.Clock``."""
        while True:
            left_ns = market_ns - self.now()
            if left_ns <= 0:
                return
            await asyncio.sleep(min(left_ns, SLEEP_SLICE_NS) / NS_PER_SECOND)
