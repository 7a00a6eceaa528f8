"""Other sides of a measurement, each a process of its own: what serves must not share the processor's turn with what is measured.

Every program tells its port in its first line and ends with the measurement, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NamedTuple, TypeVar

from tradingsystem.process.death import die_with_parent
from tradingsystem.process.runner import loop_factory

T = TypeVar("T")

START_SECONDS = 60.0
STOP_SECONDS = 5.0


class Program(NamedTuple):
    """Its port, what else it says, and itself."""

    port: int
    said: asyncio.StreamReader
    process: asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def running(module: str, *arguments: str) -> AsyncIterator[Program]:
    """``python -m module`` once it has told its port. Raises ``RuntimeError`` when it does not start."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(signal.SIGTERM),
    )
    said = process.stdout
    assert said is not None, "asked for above"
    try:
        async with asyncio.timeout(START_SECONDS):
            first = (await said.readline()).decode().split()
        if len(first) != 2 or first[0] != "port":
            raise RuntimeError(f"{module} did not start: its first line was {' '.join(first)!r}")
        yield Program(int(first[1]), said, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run it on the loop that services run on."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)
