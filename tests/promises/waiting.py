"""How the promises wait: for an event with a deadline, never for a length of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 20.0


def run(main: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """Run to its end within a minute, on asyncio's own loop or another."""

    async def limited() -> T:
        async with asyncio.timeout(60):
            return await main

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(limited())


async def until(true: Callable[[], object], deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Return when ``true()`` holds; fail when it does not within the deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_seconds
    while not true():
        assert loop.time() < end, "what was waited for did not happen"
        turn = asyncio.Event()
        loop.call_later(0.002, turn.set)
        await turn.wait()


async def until_answered(true: Callable[[], Awaitable[bool]], deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Ask until the answer is yes; fail when it is not within the deadline."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(deadline_seconds):
        while not await true():
            turn = asyncio.Event()
            loop.call_later(0.002, turn.set)
            await turn.wait()
