"""What every clock promises."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from tests.promises.waiting import run
from tradingsystem.interfaces import Clock


class ClockPromises:
    """One suite, three clocks; each subclass makes market time go on while ``running`` is entered."""

    def running(self) -> AbstractAsyncContextManager[Clock]:
        """A clock whose market time advances by itself."""
        raise NotImplementedError

    def test_neither_time_goes_back(self) -> None:
        """Ages and deadlines are differences: a step back would make the old young."""

        async def main() -> None:
            async with self.running() as clock:
                market, machine = clock.now(), clock.monotonic()
                for _ in range(300):
                    await asyncio.sleep(0)
                    assert clock.now() >= market
                    assert clock.monotonic() >= machine
                    market, machine = clock.now(), clock.monotonic()

        run(main())

    def test_a_sleeper_wakes_at_its_moment_or_later(self) -> None:
        """Never before it, and at once when it has passed already."""

        async def main() -> None:
            async with self.running() as clock:
                start = clock.now()
                woken: list[int] = []

                async def wait(after_ns: int) -> None:
                    await clock.sleep_until(start + after_ns)
                    assert clock.now() >= start + after_ns
                    woken.append(after_ns)

                await asyncio.gather(*(wait(after_ns) for after_ns in (30_000_000, 0, 60_000_000, -5)))
                assert sorted(woken) == [-5, 0, 30_000_000, 60_000_000]

        run(main())
