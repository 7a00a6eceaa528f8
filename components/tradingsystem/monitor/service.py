"""The monitor's shell: hears every beat and state, keeps the view, says what is wrong once when it changes, and exports it as metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from tradingsystem.domain.control import Beat
from tradingsystem.interfaces import Bus, Clock, Delivery
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.monitor.view import SystemView
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

LOOK_SECONDS = 1.0


class MonitorService:
    """Publishes ``state.<system>.monitor``: a list of problems, empty when all is well."""

    name = "monitor"

    def __init__(self, *, system: str, expected: tuple[str, ...], clock: Clock, bus: Bus) -> None:
        self._subjects = Subjects(system)
        self._expected = expected
        self._clock = clock
        self._bus = bus
        self._view = SystemView()
        self._said: list[str] = []
        self.progress_ns = 0

    def detail(self) -> dict[str, float]:
        """Counts for the beat."""
        return {"services": len(self._view.services), "problems": len(self._said)}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Look once a second until told to stop."""
        heard = await self._bus.subscribe(self._subjects.beat("*"), self._on_beat)
        ready()
        try:
            while not stop.is_set():
                self._look()
                try:
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
                except TimeoutError:
                    continue
        finally:
            await heard.close()

    def _on_beat(self, delivery: Delivery) -> None:
        try:
            self._view.hear(decode(delivery.payload, Beat), self._clock.monotonic())
        except Malformed as error:
            metrics.bus_malformed.labels(kind="beat").inc()
            log.warning("beat_malformed", reason=str(error))

    def _look(self) -> None:
        problems = self._view.problems(self._expected, self._clock.monotonic())
        for problem in problems:
            if problem not in self._said:
                log.warning("problem", what=problem)
        for gone in self._said:
            if gone not in problems:
                log.info("problem_over", what=gone)
        self._said = problems
        metrics.problems.set(len(problems))
        self._bus.publish(self._subjects.state("monitor"), encode(problems))
