"""Runs one service, or several, in this process: clock and buses, heartbeat, health, signals, and an end in order.

A service that raises has failed: it is logged with its cause, the others drain, the process ends with status 1 and whoever supervises starts it again.
Any exception that escapes a callback is such a failure too; nothing here carries on after a mistake it does not understand.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from tradingsystem.domain.control import Beat
from tradingsystem.domain.errors import BrokenInvariant, InvalidInput, NotAuthorized, TradingSystemError
from tradingsystem.interfaces import Clock
from tradingsystem.messages.codec import encode
from tradingsystem.messages.schema import SCHEMA_VERSION
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process import collection
from tradingsystem.process.assignment import Assignment
from tradingsystem.process.connecting import Shared
from tradingsystem.process.health import HealthServer
from tradingsystem.process.lifecycle import Lifecycle, Phase, Service
from tradingsystem.process.wiring import Wired, wire
from tradingsystem.spec import Slice
from tradingsystem.telemetry import logs, metrics, tracing

log = structlog.get_logger()

BEAT_SECONDS = 0.25
DRAIN_SECONDS = 20.0
EXIT_OK, EXIT_FAILED, EXIT_INPUT, EXIT_UNAUTHORIZED = 0, 1, 2, 3


@dataclass
class _Running:
    """One service with everything around it."""

    assignment: Assignment
    slice: Slice
    lifecycle: Lifecycle
    wired: Wired | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    instance: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(3)}")


class Runner:
    """The process's services from start to end.

    ``after`` names, for services that share the process, which of them must be ready before one starts; the end goes in reverse order.
    """

    def __init__(
        self,
        assignments: tuple[Assignment, ...],
        *,
        after: Mapping[str, tuple[str, ...]] | None = None,
        told: Callable[[str, Phase, str], None] | None = None,
    ) -> None:
        self._told = told
        self._running = [self._prepare(assignment) for assignment in assignments]
        self._after = after or {}
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._health: HealthServer | None = None
        self._shared: Shared | None = None

    def _prepare(self, assignment: Assignment) -> _Running:
        def changed(phase: Phase, reason: str) -> None:
            log.info("phase", of=assignment.service, phase=phase.value, reason=reason)
            if self._told is not None:
                self._told(assignment.service, phase, reason)

        return _Running(assignment, assignment.read_slice(), Lifecycle(changed))

    def stop(self, reason: str) -> None:
        """Begin the ordered end. Idempotent."""
        if not self._stop.is_set():
            log.info("stopping", reason=reason)
            self._stop.set()

    async def run(self) -> int:
        """Until stopped or failed; returns the exit status. Raises ``InvalidInput`` before anything started."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_escaped)
        first = self._running[0].assignment
        self._health = HealthServer(
            lambda: {one.assignment.service: one.lifecycle for one in self._running}, port=first.metrics_port, host=first.metrics_host
        )
        await self._health.start()
        watch = metrics.CollectionWatch()
        watch.install()
        if len(self._running) > 1:
            self._shared = await Shared.make(self._running[0].slice.system)
        background = [asyncio.create_task(work) for work in (self._measure_loop(), self._watch_parent(), self._end_in_order())]
        try:
            await asyncio.gather(*(self._life(one) for one in self._running))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._health.stop()
            watch.remove()
            tracing.close()
        if self._failure is None:
            return EXIT_OK
        return _status_of(self._failure)

    async def _end_in_order(self) -> None:
        """Once told to stop: who started last drains first."""
        await self._stop.wait()
        for one in reversed(self._running):
            one.stop.set()
            await one.over.wait()

    async def _wire(self, one: _Running) -> Wired:
        for name in self._after.get(one.assignment.service, ()):
            for other in self._running:
                if other.assignment.service == name:
                    await other.ready.wait()
        return await wire(one.assignment, one.slice, self._shared)

    async def _life(self, one: _Running) -> None:
        beating: asyncio.Task[None] | None = None
        try:
            one.wired = await self._unless_stopped(one, self._wire(one))
            if one.wired is None:
                one.lifecycle.move(Phase.STOPPED)
                return
            self._announce(one)
            beating = asyncio.create_task(self._beat(one))
            service = one.wired.service
            await self._serve(one, service)
        except (NotAuthorized, InvalidInput) as error:
            one.lifecycle.move(Phase.FAILED, str(error))
            log.error(logs.CANNOT_START, of=one.assignment.service, code=getattr(error, "code", ""), reason=str(error))
            self._fail(error)
        except Exception as error:
            one.lifecycle.move(Phase.FAILED, f"{type(error).__name__}: {error}")
            log.error("service_failed", of=one.assignment.service, exc_info=error)
            self._fail(error)
        finally:
            if beating is not None:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
            if one.wired is not None:
                self._publish_beat(one)
                await one.wired.close()
            one.over.set()

    async def _serve(self, one: _Running, service: Service) -> None:
        work = asyncio.create_task(service.run(lambda: self._on_ready(one), one.stop), name=service.name)
        stopping = asyncio.create_task(one.stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            one.lifecycle.move(Phase.DRAINING)
            self._publish_beat(one)
            await asyncio.wait({work}, timeout=DRAIN_SECONDS)
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                raise TimeoutError(f"{service.name} did not drain within {DRAIN_SECONDS:g} s")
        stopping.cancel()
        await work
        if not one.stop.is_set():
            raise BrokenInvariant(f"{service.name} ended without being told to")
        one.lifecycle.move(Phase.STOPPED)

    async def _unless_stopped(self, one: _Running, work: Coroutine[Any, Any, Wired]) -> Wired | None:
        """The result of ``work``, or None when the service is told to stop first."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(one.stop.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None

    def _on_ready(self, one: _Running) -> None:
        if one.lifecycle.phase is not Phase.STARTING:
            return
        one.lifecycle.move(Phase.READY)
        one.ready.set()
        self._publish_beat(one)
        if all(each.lifecycle.ready for each in self._running):
            collection.started()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self.stop("a service failed")

    def _on_escaped(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            log.error("callback_failed", what=context.get("message"), exc_info=error)
            self._fail(error)
        else:
            log.warning("loop_warning", what=context.get("message"))

    # --- what is said about it ---------------------------------------------------------------------------------------

    def _announce(self, one: _Running) -> None:
        assignment = one.assignment
        metrics.build_info.labels(
            service=assignment.service, build=assignment.build, schema=str(SCHEMA_VERSION), boot_hash=assignment.boot_hash[:12]
        ).set(1)

    async def _beat(self, one: _Running) -> None:
        while True:
            self._publish_beat(one)
            await asyncio.sleep(BEAT_SECONDS)

    def _publish_beat(self, one: _Running) -> None:
        wired = one.wired
        if wired is None:
            return
        service, assignment = wired.service, one.assignment
        beat = Beat(
            service=assignment.service,
            instance=one.instance,
            build=assignment.build,
            schema=SCHEMA_VERSION,
            boot_hash=assignment.boot_hash,
            live_generation=int(getattr(service, "live_generation", 0)),
            phase=one.lifecycle.phase.value,
            applied_ns=service.progress_ns,
            detail=service.detail(),
        )
        wired.bus.publish(Subjects(one.slice.system).beat(assignment.service), encode(beat))
        metrics.applied_time.set(service.progress_ns / 1e9)
        metrics.market_time.set(_now(wired.clock) / 1e9)

    async def _measure_loop(self) -> None:
        while True:
            started = time.monotonic()
            await asyncio.sleep(0.5)
            metrics.loop_lag.observe(max(0.0, time.monotonic() - started - 0.5))

    async def _watch_parent(self) -> None:
        """Where the kernel does not tell of the supervisor's death, looking does; without a supervisor there is nothing to watch."""
        if "TRADINGSYSTEM_SUPERVISOR" not in os.environ:
            return
        parent = os.environ["TRADINGSYSTEM_SUPERVISOR"]
        while not self._stop.is_set():
            await asyncio.sleep(0.5)
            if str(os.getppid()) != parent:
                self.stop("the supervisor is gone")


def _now(clock: Clock) -> int:
    return clock.now()


def run_process(assignments: tuple[Assignment, ...]) -> int:
    """Run services as this process until SIGTERM or SIGINT; returns the exit status."""
    first = assignments[0]
    name = first.service if len(assignments) == 1 else "system"
    try:
        runner_slice = first.read_slice()
        logs.configure(service=name, system=runner_slice.system, path=first.log_file)
        tracing.configure(service=name, system=runner_slice.system, endpoint=runner_slice.telemetry.otlp_endpoint)
        with asyncio.Runner(loop_factory=loop_factory()) as loop_runner:
            return loop_runner.run(_with_signals(assignments))
    except TradingSystemError as error:
        log.error(logs.CANNOT_START, code=getattr(error, "code", ""), reason=str(error))
        sys.stderr.write(f"tradingsystem {name}: {error}\n")
        return EXIT_UNAUTHORIZED if isinstance(error, NotAuthorized) else EXIT_INPUT


def _status_of(failure: BaseException) -> int:
    """By who can help: a person with another file, a person with another key (which may still arrive), or a new start."""
    if isinstance(failure, NotAuthorized):
        return EXIT_UNAUTHORIZED
    return EXIT_INPUT if isinstance(failure, InvalidInput) else EXIT_FAILED


async def _with_signals(assignments: tuple[Assignment, ...]) -> int:
    runner = Runner(assignments)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop, number.name)
    return await runner.run()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop where there is one."""
    try:
        import uvloop
    except ImportError:  # Windows has none
        return None
    return uvloop.new_event_loop
