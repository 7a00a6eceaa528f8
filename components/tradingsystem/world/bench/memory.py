"""Row 8: what each process of a running simulation holds in memory: resident, and its share of it where processes hold the same pages.

A whole system is started as ``tradingsystem up`` starts it, on ports nobody uses and with a state folder of its own, and ended in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tradingsystem.process.build import build_digest
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.state import StateFolder
from tradingsystem.process.supervisor import Supervisor
from tradingsystem.spec import Placement, from_document, plan
from tradingsystem.world.bench import programs
from tradingsystem.world.bench.result import SEED, Absent, Effort, Line, Row, latencies
from tradingsystem.world.demo import DemoOptions, document, free_block

SPEED = 60
GOALS_MB = {"filter": 400.0}
GOAL_OTHERS_MB = 150.0
NOT_OURS = ("simulator",)  # the venues' side: no goal is set for it
RUNNING_SHARE = 4.0  # of the effort: the filter's rings fill as market time passes
SAMPLE_SECONDS = 0.25
READY_SECONDS = 120.0
MEGA = 1e6
ROLLUP = Path("/proc/self/smaps_rollup")


def measure(effort: Effort) -> Row:
    """Sampled while it runs; the median is held against the goal."""
    lines: list[Line] = []
    if not ROLLUP.exists():
        gap = Absent(name="memory of each process", reason=f"this machine does not tell it: no {ROLLUP}")
        return Row(name="memory", title="Memory of each process", lines=(), absent=(gap,))
    seconds = max(4 * SAMPLE_SECONDS, effort.part(RUNNING_SHARE))
    found = programs.on_loop(_watch(effort, seconds))
    for name, samples in found.resident.items():
        limit = None if name in NOT_OURS else GOALS_MB.get(name, GOAL_OTHERS_MB)
        resident, shared = np.array(samples), np.array(found.proportional[name])
        goal = "" if limit is None else f"less than {limit:g} MB resident"
        lines.append(latencies(f"{name}, resident", resident, "MB", limits=None if limit is None else (limit, np.inf), goal=goal))
        lines.append(latencies(f"{name}, its share", shared, "MB"))
    total = sum(line.p50 for line in lines[1::2])
    notes = (
        f"{effort.symbols:,} symbols, {seconds:g} s after everybody was ready at {SPEED} market seconds a second: rings fill as market time passes",
        f"all together {total:.0f} MB by their shares; the message server is not among them",
    )
    return Row(name="memory", title="Memory of each process", lines=tuple(lines), notes=notes)


@dataclass(slots=True)
class Samples:
    """Megabytes by process, one of each per look."""

    resident: dict[str, list[float]] = field(default_factory=dict)
    proportional: dict[str, list[float]] = field(default_factory=dict)

    def look(self, pids: dict[str, int]) -> None:
        """Read what each process holds now. Raises ``OSError`` when one is gone."""
        for name, pid in pids.items():
            resident, proportional = memory_of(pid)
            self.resident.setdefault(name, []).append(resident)
            self.proportional.setdefault(name, []).append(proportional)


def memory_of(pid: int) -> tuple[float, float]:
    """Megabytes (10^6 bytes) resident, and resident with shared pages divided among those who share them."""
    found = dict.fromkeys(("Rss", "Pss"), 0.0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        key, _, rest = line.partition(":")
        if key in found:
            found[key] = int(rest.split()[0]) * 1_024 / MEGA
    return found["Rss"], found["Pss"]


async def _watch(effort: Effort, seconds: float) -> Samples:
    samples = Samples()
    effort.tell(f"starting a simulation of {effort.symbols:,} symbols")
    with tempfile.TemporaryDirectory() as folder:
        async with _system(Path(folder), effort.symbols) as pids:
            effort.tell(f"memory, running for {seconds:g} s")
            end, first = time.monotonic() + seconds, time.monotonic() + seconds / 2
            while time.monotonic() < end:
                await asyncio.sleep(SAMPLE_SECONDS)
                if time.monotonic() >= first:
                    samples.look(pids)
    return samples


@contextlib.asynccontextmanager
async def _system(folder: Path, symbols: int) -> AsyncIterator[dict[str, int]]:
    """A running simulation's processes by name. Raises ``RuntimeError`` when it does not get ready."""
    system = from_document(document(DemoOptions(seed=SEED, speed=SPEED, symbols=symbols), free_block()))
    state = StateFolder(folder / "state")
    run = LocalRun(plan=plan(system, Placement.PROCESSES, build=build_digest()), state=state, folder=folder)
    pids: dict[str, int] = {}

    def told(happening: Happening) -> None:
        if happening.what == "started":
            pids[happening.workload] = int(happening.detail.split()[-1])

    with state.lock():
        supervisor = Supervisor(run, told)
        running = asyncio.create_task(supervisor.run())
        ready = asyncio.create_task(supervisor.everybody_ready.wait())
        try:
            await asyncio.wait({running, ready}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not supervisor.everybody_ready.is_set():
                raise RuntimeError(f"the simulation did not get ready within {READY_SECONDS:g} s")
            yield pids
        finally:
            ready.cancel()
            supervisor.stop()
            await running
