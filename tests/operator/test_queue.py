"""The queue: one worker per key, nothing lost, nothing done twice, and failures that do not come back together."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem_operator.queue import BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS, Queue


def awaited(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """The test in an event loop of its own."""

    @functools.wraps(test)
    def run() -> None:
        async def bounded() -> None:
            async with asyncio.timeout(10):
                await test()

        asyncio.run(bounded())

    return run


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


def made(time: Time, jitter: float = 1.0) -> Queue[str]:
    return Queue(time.now, lambda: jitter)


async def taken(queue: Queue[str]) -> str | None:
    """The next key, None when nothing is ready."""
    task = asyncio.create_task(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


@awaited
async def test_a_key_that_is_woken_often_is_worked_on_once() -> None:
    """A burst of events costs one round."""
    queue = made(Time())
    for _ in range(100):
        queue.add("a")
    assert queue.waiting == 1
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


@awaited
async def test_what_happens_during_a_round_is_looked_at_afterwards() -> None:
    """An edit that arrives while the old one is being applied must not be lost, and must not be worked on beside it."""
    queue = made(Time())
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    assert await taken(queue) is None, "two rounds for one system at once"
    queue.done("a")
    assert await taken(queue) == "a"


@awaited
async def test_keys_come_in_the_order_of_their_arrival() -> None:
    """No system starves because another one is noisy."""
    queue = made(Time())
    for key in ("a", "b", "c", "a"):
        queue.add(key)
    assert [await taken(queue) for _ in range(3)] == ["a", "b", "c"]


@awaited
async def test_the_earlier_of_two_moments_counts() -> None:
    """Asking for a look in an hour does not put off one that is due in a second."""
    time = Time()
    queue = made(time)
    queue.add("a", 3600.0)
    queue.add("a", 1.0)
    queue.add("a", 50.0)
    time.seconds = 1.0
    assert await taken(queue) == "a"
    queue.done("a")
    time.seconds = 4000.0
    assert await taken(queue) is None, "an older appointment was kept"


@awaited
async def test_failures_back_off_to_a_limit_and_success_forgets_them() -> None:
    """A system that cannot be helped costs a round a minute, not a core."""
    time = Time()
    queue = made(time)
    delays = []
    for _ in range(12):
        queue.add("a")
        assert await taken(queue) == "a"
        delays.append(queue.failed("a"))
    assert delays[:3] == [BACKOFF_FIRST_SECONDS, 2 * BACKOFF_FIRST_SECONDS, 4 * BACKOFF_FIRST_SECONDS]
    assert delays[-1] == BACKOFF_MAX_SECONDS
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    queue.add("a")
    assert await taken(queue) == "a"
    assert queue.failed("a") == BACKOFF_FIRST_SECONDS


@awaited
async def test_a_new_event_ends_a_backoff() -> None:
    """The correction of a mistake is looked at now, not when the mistake's time is up."""
    queue = made(Time())
    queue.add("a")
    assert await taken(queue) == "a"
    queue.failed("a")
    assert await taken(queue) is None
    queue.add("a")
    assert await taken(queue) == "a"


@given(st.floats(0.0, 1.0))
def test_jitter_spreads_without_shortening_to_nothing(factor: float) -> None:
    """Fifty systems that failed together do not return together, and none at once."""

    async def one() -> float:
        queue = made(Time(), factor)
        queue.add("a")
        await taken(queue)
        return queue.failed("a")

    assert BACKOFF_FIRST_SECONDS / 2 <= asyncio.run(one()) <= BACKOFF_FIRST_SECONDS


@awaited
async def test_age_is_that_of_the_oldest() -> None:
    """What a person sees when workers are too few."""
    time = Time()
    queue = made(time)
    assert queue.age_seconds == 0.0
    queue.add("a")
    time.seconds = 2.0
    queue.add("b")
    time.seconds = 5.0
    assert queue.age_seconds == 5.0
    assert await taken(queue) == "a"
    assert queue.age_seconds == pytest.approx(3.0)
