"""One simulated day from nothing to a verdict: real server, real processes, real sockets; then the auditor, as a program of its own.

It starts what ``up`` starts from a resource it writes down, watches as a person would, and orders nothing: flat at the close is execution's doing or a
failure of the day. However it ends, no process is left behind.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.time import new_york_clock
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.build import build_digest
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.state import StateFolder
from tradingsystem.process.supervisor import Supervisor
from tradingsystem.process.triton_server import TritonServer
from tradingsystem.spec import Placement, TradingSystem, plan
from tradingsystem.spec.inference import Runtime
from tradingsystem.spec.load import load_file
from tradingsystem.spec.ports import BLOCK
from tradingsystem.spec.simulation import Signals
from tradingsystem.world.inference_watch import InferenceWatch
from tradingsystem.world.live import Watch, line

NAME = "demo"
PORTS_FROM, PORTS_TO = 12_000, 32_000  # below the ports that systems hand out by themselves
READY_SECONDS = 600.0  # a first run compiles for a minute or two, on a busy machine for several
STUCK_SECONDS = 60.0
FLAT_SECONDS = 20.0
KILL_AT = "12:30:00"
TRITON_DEADLINE_MS = 50  # several processes share the cores, and the market runs a hundred times as fast
LOOK_SECONDS = 0.5
ASK_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What a person may choose. ``data``: a folder of recorded days, of which ``day`` is played; without it the market is generated."""

    data: Path | None = None
    day: date | None = None
    signals: Signals = Signals.MODEL
    seed: int = 7
    speed: int = 100
    symbols: int = 2_000
    edge_basis_points: int = 60
    runtime: Runtime = Runtime.IN_PROCESS


@dataclass(slots=True)
class Played:
    """What came of the day. ``failure`` says why it was not played to its end; ``broker`` is the simulator's summary, None when not asked."""

    seconds: float = 0.0
    broker: dict[str, Any] | None = None
    interrupted: bool = False
    failure: str = ""
    last_line: str = ""
    restarts: list[str] = field(default_factory=list)


def document(options: DemoOptions, metrics_port: int) -> dict[str, Any]:
    """The resource of that day, as it is written to disk."""
    simulation: dict[str, Any] = {"seed": options.seed, "speed": options.speed, "signals": options.signals.value}
    if options.data is not None:
        simulation |= {"source": "Recorded", "data": str(options.data.resolve())}
    else:
        simulation |= {"source": "Generated", "symbols": options.symbols, "edgeBasisPoints": options.edge_basis_points}
    if options.day is not None:
        simulation["startDate"] = options.day.isoformat()
    return {
        "apiVersion": "tradingsystem.dev/v1alpha1",
        "kind": "TradingSystem",
        "metadata": {"name": NAME},
        "spec": {
            "mode": "Simulation",
            "simulation": simulation,
            "storage": {"journal": {"size": "2Gi"}},
            "telemetry": {"metricsPort": metrics_port},
            **(
                {"inference": {"runtime": "Triton", "deadlineMilliseconds": TRITON_DEADLINE_MS}}
                if options.runtime is Runtime.TRITON
                else {}
            ),
        },
    }


def free_block() -> int:
    """The first of ``BLOCK`` loopback ports nobody listens on. Raises ``InvalidInput``. Where to begin depends on the process, so two demos part."""
    count = (PORTS_TO - PORTS_FROM) // BLOCK
    for place in range(count):
        base = PORTS_FROM + (os.getpid() + place) % count * BLOCK
        if all(_free(base + offset) for offset in range(BLOCK)):
            return base
    raise InvalidInput(f"no {BLOCK} free ports in a row between {PORTS_FROM} and {PORTS_TO} on 127.0.0.1")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def prepare(options: DemoOptions, folder: Path) -> tuple[TradingSystem, LocalRun]:
    """Write the resource into ``folder`` and plan it. Raises ``InvalidSpec`` with every mistake."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "system.yaml"
    file.write_text(yaml.safe_dump(document(options, free_block()), sort_keys=False), encoding="utf-8")
    system = load_file(file)
    planned = plan(system, Placement.PROCESSES, build=build_digest())
    return system, LocalRun(plan=planned, state=StateFolder(folder / NAME), folder=folder)


class Demo:
    """One day. ``told`` hears sentences, ``shown`` the live line, again and again."""

    def __init__(self, run: LocalRun, told: Callable[[str], None], shown: Callable[[str], None]) -> None:
        self._run = run
        self._told = told
        self._shown = shown
        self._stop = asyncio.Event()
        self._begun = time.monotonic()
        self._started: dict[str, float] = {}
        self._ready: dict[str, float] = {}
        self._watch = Watch(Subjects(run.plan.system))
        self._killing: asyncio.Task[None] | None = None
        self.inference = InferenceWatch() if run.triton() is not None else None
        self.played = Played()

    def stop(self) -> None:
        """End it in order. Idempotent."""
        self._stop.set()

    async def play(self) -> Played:
        """The whole day; every process has ended when this returns. Raises what ``Supervisor.run`` raises before anything runs."""
        supervisor = Supervisor(self._run, self._on_happening)
        running = asyncio.create_task(supervisor.run())
        try:
            if await self._first(supervisor.everybody_ready.wait(), running, READY_SECONDS):
                async with self._run.watching() as bus:
                    await self._watch.listen(bus)
                    if self.inference is not None and supervisor.triton is not None:
                        await self.inference.listen(bus, Subjects(self._run.plan.system))
                        self._killing = asyncio.create_task(self._kill(self.inference, supervisor.triton))
                    await self._day(running)
            elif not self._stop.is_set() and not running.done():
                waiting = [workload.name for workload in self._run.services if workload.name not in self._ready]
                self.played.failure = f"not ready after {READY_SECONDS:g} s: {', '.join(waiting)}; logs: {self._run.folder / 'logs'}"
        finally:
            if self._killing is not None:
                self._killing.cancel()
            supervisor.stop()
            await running
        self.played.interrupted = self._stop.is_set()
        self.played.last_line = line(self._watch)
        return self.played

    async def _kill(self, inference: InferenceWatch, triton: TritonServer) -> None:
        """SIGKILL for Triton in mid-day."""
        while self._watch.tick is None or new_york_clock(self._watch.tick.market_ns) < KILL_AT:  # noqa: ASYNC110  nobody tells of a time
            await asyncio.sleep(LOOK_SECONDS / 5)
        self._told(f"Killing tritonserver with SIGKILL at {new_york_clock(self._watch.tick.market_ns)} (market time).")
        inference.killed()
        await triton.kill()

    async def _day(self, running: asyncio.Task[int]) -> None:
        begun = self._watch.heard = time.monotonic()
        while not self._watch.finished:
            if await self._over(running, LOOK_SECONDS):
                return
            if self._watch.tick is not None:
                self._shown(line(self._watch))
            if time.monotonic() - self._watch.heard > STUCK_SECONDS:
                lag = self._watch.number("simulator", "lag_seconds")
                self.played.failure = (
                    f"market time has stood still for {STUCK_SECONDS:g} s (lag {lag:.1f} s); logs: {self._run.folder / 'logs'}"
                )
                return
        deadline = time.monotonic() + FLAT_SECONDS
        while not self._watch.flat and time.monotonic() < deadline:
            if await self._over(running, LOOK_SECONDS / 5):
                return
        self._shown(line(self._watch))
        self.played.seconds = time.monotonic() - begun
        try:
            self.played.broker = await asyncio.to_thread(summary, self._run.venues)
        except (OSError, ValueError) as error:
            self.played.failure = f"the simulator does not tell its summary: {error}"

    async def _over(self, running: asyncio.Task[int], seconds: float) -> bool:
        """Wait; whether the day was ended from outside."""
        return await self._first(self._stop.wait(), running, seconds) or running.done()

    async def _first(self, wanted: Coroutine[Any, Any, object], running: asyncio.Task[int], seconds: float) -> bool:
        """Whether ``wanted`` came before the stop, the supervisor's end and the time-out."""
        tasks = {asyncio.ensure_future(wanted), asyncio.ensure_future(self._stop.wait())}
        waited = next(iter(task for task in tasks if task.get_coro() is wanted))
        await asyncio.wait({*tasks, running}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        came = waited.done()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return came

    def _on_happening(self, happening: Happening) -> None:
        name, now = happening.workload, time.monotonic()
        if happening.what == "started":
            self._started[name] = now
        elif happening.what == "ready":
            self._on_ready(name, now)
        elif happening.what == "ended" and not (name == "triton" and self.inference is not None and self.inference.killed_at):
            self.played.restarts.append(f"{name}: {happening.detail}")
            self._told(f"{name} ended ({happening.detail}); it is started again")

    def _on_ready(self, name: str, now: float) -> None:
        first = name not in self._ready
        self._ready[name] = now
        before = {workload.name for workload in self._run.services} - {"filter", "ingestion"}
        if first and name in before and before <= self._ready.keys():
            self._told(f"Set-up: NATS server and {len(before)} services in {now - self._begun:.1f} s.")
        if first and name == "filter":
            self._told(f"Compiling: the filter's kernels in {now - self._started[name]:.1f} s (kept for the next time).")


def summary(venues: str) -> dict[str, Any]:
    """The simulator's own books. Raises ``OSError`` or ``ValueError``."""
    with urllib.request.urlopen(f"{venues}/simulator/summary", timeout=ASK_SECONDS) as answer:
        return msgspec.json.decode(answer.read(), type=dict[str, Any])
