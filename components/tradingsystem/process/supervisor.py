"""Starts the Plan's processes in order, starts again what died and says why, and ends everything in order, leaving nobody behind.

It decides nothing about trading and reads no market data. A process that fell is back at once, then after growing pauses; one that was refused its key is
tried seldom. Input that no new start can mend ends the run while it is still starting; later it is tried seldom too, so that the others may close positions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tradingsystem.domain.control import Beat, ClockTick
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.death import die_with_parent
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.nats_server import NatsServer
from tradingsystem.process.runner import EXIT_INPUT, EXIT_OK, EXIT_UNAUTHORIZED
from tradingsystem.process.triton_server import TritonServer
from tradingsystem.spec import Workload
from tradingsystem.telemetry import logs

PAUSES_SECONDS = (0.0, 0.25, 1.0, 2.0, 5.0, 10.0)
SELDOM_SECONDS = 15.0
PATIENCE_SECONDS = 15.0  # then a person is told what a service that is not ready yet waits for
STEADY_SECONDS = 30.0  # a life that long, or work done for the next constant after it was ready, begins the row of pauses anew
WORKED_SECONDS = 3.0
STOP_SECONDS = 30.0
TRITON_PAUSE_SECONDS = 2.0  # the services fall back meanwhile


@dataclass
class _Child:
    workload: Workload
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = 0.0
    ready_at: float = 0.0
    falls: int = 0
    task: asyncio.Task[None] | None = None

    def fell(self, now: float) -> float:
        """Count a fall; the seconds to wait before the next start. Only who falls without having worked in between waits longer each time."""
        worked = self.ready.is_set() and now - self.ready_at > WORKED_SECONDS
        self.falls = 1 if worked or now - self.started > STEADY_SECONDS else self.falls + 1
        return PAUSES_SECONDS[min(self.falls, len(PAUSES_SECONDS)) - 1]


class Supervisor:
    """One run of a plan as processes."""

    def __init__(self, run: LocalRun, told: Callable[[Happening], None], *, until_end: bool = False) -> None:
        self._run = run
        self._told = told
        self._until_end = until_end
        self._children = {workload.name: _Child(workload) for workload in run.services}
        self._nats = run.own_server()
        triton = run.triton()
        self.triton = TritonServer(triton) if triton is not None else None
        self._watching = contextlib.AsyncExitStack()
        self._stop = asyncio.Event()
        self._stopping = False
        self._finished = False
        self._refused = ""  # why the start cannot succeed
        self._trading: TradingStatus | None = None
        self.everybody_ready = asyncio.Event()

    @property
    def finished(self) -> bool:
        """Whether the simulated market came to its end."""
        return self._finished

    def stop(self) -> None:
        """Begin the ordered end. Idempotent."""
        self._stop.set()

    async def run(self) -> int:
        """Until stopped, or until the market's end with ``until_end``; returns the exit status.

        Raises ``PortTaken``, ``InvalidInput`` or ``NotAuthorized`` before anything runs, and ``InvalidInput`` for what stopped the start.
        """
        self._run.check()
        tasks: list[asyncio.Task[None]] = []
        try:
            if self._nats is None:
                await self._run.prepare_external()
            else:
                await self._nats.start()
                tasks.append(asyncio.create_task(self._keep_nats(self._nats)))
            self._told(Happening("nats", "ready", self._run.server.url))
            if self.triton is not None:
                await self._start_triton(self.triton)
                tasks.append(asyncio.create_task(self._keep_triton(self.triton)))
            await self._listen()
            starting = asyncio.create_task(self._start_all())
            tasks.append(starting)
            await self._stop.wait()
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        finally:
            await self._end(tasks)
        if self._refused:
            raise InvalidInput(self._refused)
        return EXIT_OK

    async def _listen(self) -> None:
        bus = await self._watching.enter_async_context(self._run.watching())
        subjects = Subjects(self._run.plan.system)
        await bus.subscribe(subjects.beat("*"), self._on_beat)
        await bus.subscribe(subjects.clock, self._on_clock, pending_max=4)
        await bus.subscribe(subjects.state("execution"), self._on_trading, pending_max=4)

    def _on_beat(self, delivery: Delivery) -> None:
        try:
            beat: Beat = decode(delivery.payload, Beat)
        except Malformed:
            return
        child = self._children.get(beat.service)
        if child is None or child.process is None or not beat.instance.startswith(f"{child.process.pid}-"):
            return
        if beat.phase == "ready" and not child.ready.is_set():
            child.ready.set()
            child.ready_at = time.monotonic()
            self._told(Happening(beat.service, "ready", f"after {time.monotonic() - child.started:.1f} s"))
            if all(each.ready.is_set() for each in self._children.values()):
                self.everybody_ready.set()

    def _on_clock(self, delivery: Delivery) -> None:
        with contextlib.suppress(Malformed):
            tick: ClockTick = decode(delivery.payload, ClockTick)
            if tick.finished and not self._finished:
                self._finished = True
                if self._until_end:
                    self.stop()

    def _on_trading(self, delivery: Delivery) -> None:
        with contextlib.suppress(Malformed):
            self._trading = decode(delivery.payload, TradingStatus)

    # --- starting ----------------------------------------------------------------------------------------------------

    async def _start_all(self) -> None:
        """Each as soon as what it needs is ready."""
        async with asyncio.TaskGroup() as group:
            for child in self._children.values():
                group.create_task(self._start_after(child))

    async def _start_after(self, child: _Child) -> None:
        for name in child.workload.after:
            if name in self._children:
                await self._children[name].ready.wait()
        child.task = asyncio.create_task(self._keep(child), name=f"keep {child.workload.name}")

    async def _keep(self, child: _Child) -> None:
        while not self._stopping:
            status = await self._spawn_and_wait(child)
            if self._is_stopping():
                return
            pause = child.fell(time.monotonic())
            seldom = status in {EXIT_INPUT, EXIT_UNAUTHORIZED}
            reason = last_reason(self._run.log_file(child.workload.name), of_start=seldom) if status > 0 else ""
            self._told(Happening(child.workload.name, "ended", f"{_status_words(status)}{f': {reason}' if reason else ''}"))
            if status == EXIT_INPUT and not self.everybody_ready.is_set():
                self._refused = f"{child.workload.name} cannot start: {reason or _status_words(status)}"
                self.stop()
                return
            pause = SELDOM_SECONDS if seldom else pause
            self._told(Happening(child.workload.name, "restarting", f"in {pause:g} s" if pause else "at once"))
            await asyncio.sleep(pause)

    def _is_stopping(self) -> bool:
        return self._stopping

    async def _spawn_and_wait(self, child: _Child) -> int:
        assignment = self._run.assignment(child.workload)
        child.ready.clear()
        child.started = time.monotonic()
        with (self._run.folder / "logs" / f"{child.workload.name}.stderr").open("ab") as errors:
            child.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tradingsystem.cli", "run", *assignment.arguments()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=os.environ | {"TRADINGSYSTEM_SUPERVISOR": str(os.getpid())},
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor, which ends its children in order
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        self._told(Happening(child.workload.name, "started", f"pid {child.process.pid}"))
        self._leave_note()
        impatient = asyncio.create_task(self._say_why_not_ready(child))
        try:
            return await child.process.wait()
        finally:
            impatient.cancel()

    async def _say_why_not_ready(self, child: _Child) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await child.ready.wait()
        except TimeoutError:
            reason = last_reason(self._run.log_file(child.workload.name)) or "it says nothing; its log: " + str(
                self._run.log_file(child.workload.name)
            )
            self._told(Happening(child.workload.name, "waiting", f"not ready after {PATIENCE_SECONDS:g} s: {reason}"))

    def _leave_note(self) -> None:
        pids = {
            name: child.process.pid
            for name, child in self._children.items()
            if child.process is not None and child.process.returncode is None
        }
        if self._nats is not None and self._nats.process is not None:
            pids["nats"] = self._nats.process.pid
        if self.triton is not None and self.triton.process is not None:
            pids["triton"] = self.triton.process.pid
        self._run.state.write_note(self._run.note(os.getpid(), pids))

    async def _keep_nats(self, server: NatsServer) -> None:
        while True:
            process = server.process
            if process is None:
                return
            status = await process.wait()
            if self._stopping:
                return
            self._told(Happening("nats", "ended", _status_words(status)))
            await server.launch()
            self._told(Happening("nats", "started", f"pid {server.process.pid}" if server.process else ""))
            self._leave_note()
            await asyncio.sleep(0.5)

    async def _start_triton(self, triton: TritonServer) -> None:
        """With nothing in it: which versions it loads is the models service's word, and their files come with it."""
        await triton.start()
        self._told(Happening("triton", "ready", triton.settings.address))

    async def _keep_triton(self, triton: TritonServer) -> None:
        while triton.process is not None:
            status = await triton.process.wait()
            if self._stopping:
                return
            self._told(Happening("triton", "ended", _status_words(status)))
            await asyncio.sleep(TRITON_PAUSE_SECONDS)
            await triton.launch()
            self._told(Happening("triton", "started", f"pid {triton.process.pid}"))
            self._leave_note()

    # --- ending ------------------------------------------------------------------------------------------------------

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        """Who speaks stops before who listens; the journal stops last."""
        self._stopping = True
        for child in reversed(self._children.values()):
            await self._end_child(child)
        await self._watching.aclose()
        if self.triton is not None:
            await self.triton.stop()
        if self._nats is not None:
            await self._nats.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._run.state.remove_note()
        self._run.forget()
        if self._trading is not None:
            self._told(Happening("account", "left", left_behind(self._trading)))

    async def _end_child(self, child: _Child) -> None:
        process = child.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    status = await process.wait()
                self._told(Happening(child.workload.name, "stopped", "" if status == 0 else _status_words(status)))
            except TimeoutError:
                process.kill()
                await process.wait()
                self._told(Happening(child.workload.name, "stopped", f"by force after {STOP_SECONDS:g} s"))
        if child.task is not None:
            child.task.cancel()
            await asyncio.gather(child.task, return_exceptions=True)


def left_behind(trading: TradingStatus) -> str:
    """What the account holds when nobody watches it any more, by execution's last word: flat or protected, or what is neither."""
    if not trading.positions:
        return "flat"
    parts = []
    for one in trading.positions:
        bare = one.quantity - one.protected_quantity
        parts.append(f"{one.symbol} {one.quantity} {'under a stop at the broker' if bare <= 0 else f'({bare} WITHOUT A STOP)'}")
    return ", ".join(parts)


def _status_words(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def last_reason(path: Path, *, of_start: bool = False) -> str:
    """The last error of a process, from its log: what a person would look for first. ``of_start``: why it could not start, whatever was logged after that."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65_536))
        tail = file.read()
    if of_start:
        return logs.why_it_could_not_start(tail.decode(errors="replace"))[1]
    for line in reversed(tail.splitlines()):
        try:
            event = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(event, dict) and event.get("level") == "error":
            words = event.get("reason") or str(event.get("exception", "")).strip().rsplit("\n", 1)[-1]
            return str(words or event.get("event"))
    return ""
