"""All services of a plan in this process, around one event loop; the message server stays a process of its own, since it keeps the journal.

For a laptop, replay and measurements. A service that fails ends them all: nobody here could start one alone again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

from tradingsystem.domain.control import Beat
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.lifecycle import Phase
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.runner import Runner
from tradingsystem.process.triton_server import TritonServer
from tradingsystem.telemetry import logs, tracing

FINISHED_DETAIL = "finished"


class OneProcess:
    """One run of a plan in this process; the same face as ``Supervisor``."""

    def __init__(self, run: LocalRun, told: Callable[[Happening], None], *, until_end: bool = False) -> None:
        self._run = run
        self._told = told
        self._until_end = until_end
        self._nats = run.own_server()
        triton = run.triton()
        self._triton = TritonServer(triton) if triton is not None else None
        self._runner: Runner | None = None
        self._stop = asyncio.Event()
        self._ready: set[str] = set()
        self.everybody_ready = asyncio.Event()
        self.finished = False

    def stop(self) -> None:
        """Begin the ordered end. Idempotent."""
        self._stop.set()
        if self._runner is not None:
            self._runner.stop("asked to")

    async def run(self) -> int:
        """Until stopped; returns the exit status. Raises ``PortTaken``, ``InvalidInput`` or ``NotAuthorized`` before anything runs."""
        self._run.check()
        system, first = self._run.plan.system, self._run.services[0]
        logs.configure(service="system", system=system, path=self._run.log_file("system"))
        tracing.configure(service="system", system=system, endpoint=first.slice.telemetry.otlp_endpoint)
        try:
            if self._nats is None:
                await self._run.prepare_external()
            else:
                await self._nats.start()
            self._told(Happening("nats", "ready", self._run.server.url))
            if self._triton is not None:
                await self._triton.start()
                self._told(Happening("triton", "ready", self._triton.settings.address))
            self._run.state.write_note(self._run.note(os.getpid(), {workload.name: os.getpid() for workload in self._run.services}))
            async with self._listening():
                return await self._serve()
        finally:
            if self._triton is not None:
                await self._triton.stop()
            if self._nats is not None:
                await self._nats.stop()
            self._run.state.remove_note()
            self._run.forget()
            logs.close()

    async def _serve(self) -> int:
        assignments = tuple(self._run.assignment(workload) for workload in self._run.services)
        after = {workload.service: workload.after for workload in self._run.services}
        self._runner = Runner(assignments, after=after, told=self._on_phase)
        if self._stop.is_set():
            return 0
        return await self._runner.run()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Hear the simulator's beat, which says when the market has ended."""
        async with self._run.watching() as bus:
            await bus.subscribe(Subjects(self._run.plan.system).beat("simulator"), self._on_beat)
            yield

    def _on_beat(self, delivery: Delivery) -> None:
        with contextlib.suppress(Malformed):
            beat: Beat = decode(delivery.payload, Beat)
            if beat.detail.get(FINISHED_DETAIL):
                self.finished = True
                if self._until_end:
                    self.stop()

    def _on_phase(self, service: str, phase: Phase, reason: str) -> None:
        words = {Phase.READY: "ready", Phase.FAILED: "ended", Phase.STOPPED: "stopped"}
        if phase in words:
            self._told(Happening(service, words[phase], reason))
        if phase is Phase.READY:
            self._ready.add(service)
            if len(self._ready) == len(self._run.services):
                self.everybody_ready.set()
