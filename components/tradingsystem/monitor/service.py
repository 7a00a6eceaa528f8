"""The monitor's shell: hears every beat and state, keeps the view, says what is wrong once when it changes, and exports it as metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import structlog

from tradingsystem.domain.control import Beat, ModelsState
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.interfaces import Bus, Clock, Delivery
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.monitor.models_view import problems as models_problems
from tradingsystem.monitor.view import Room, SystemView, filling
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

log = structlog.get_logger()

LOOK_SECONDS = 1.0
MEASURE_NS = 5 * NS_PER_SECOND


class MonitorService:
    """Publishes ``state.<system>.monitor``: a list of problems, empty when all is well."""

    name = "monitor"

    def __init__(
        self, *, system: str, expected: tuple[str, ...], clock: Clock, bus: Bus, stores: Mapping[str, Callable[[], Awaitable[Room]]]
    ) -> None:
        """``stores``: what must not become full, by the name a person knows it by. One that does not answer is not judged: others tell of that."""
        self._stores, self._rooms = stores, dict[str, Room]()
        self._subjects = Subjects(system)
        self._expected = expected
        self._clock = clock
        self._bus = bus
        self._view = SystemView()
        self._models: ModelsState | None = None
        self._said: list[str] = []
        self._measure_at_ns = self._full = 0
        self.progress_ns = 0

    def detail(self) -> dict[str, float]:
        """Counts for the beat."""
        return {"services": len(self._view.services), "problems": len(self._said)}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Look once a second until told to stop."""
        heard = [
            await self._bus.subscribe(self._subjects.beat("*"), self._on_beat),
            await self._bus.subscribe(self._subjects.state("models"), self._on_models, pending_max=4),
        ]
        ready()
        try:
            while not stop.is_set():
                await self._measure()
                self._look()
                try:
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
                except TimeoutError:
                    continue
        finally:
            for subscription in heard:
                await subscription.close()

    def _on_beat(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "beat"):
            self._view.hear(decode(delivery.payload, Beat), self._clock.monotonic())

    def _on_models(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "models-state"):
            self._models = decode(delivery.payload, ModelsState)

    async def _measure(self) -> None:
        now_ns = self._clock.monotonic()
        if now_ns < self._measure_at_ns:
            return
        self._measure_at_ns = now_ns + MEASURE_NS
        for name, room in self._stores.items():
            with contextlib.suppress(TryAgain):
                self._rooms[name] = await room()
                metrics.store_used.labels(store=name).set(self._rooms[name].percent / 100)

    def _look(self) -> None:
        full = filling(self._rooms)
        if len(full) > self._full:
            metrics.alarms.labels(alarm="store_filling").inc()
            log.error("store_filling", reason="; ".join(full))
        self._full = len(full)
        of_models = models_problems(self._models) if self._models is not None else []
        problems = [*self._view.problems(self._expected, self._clock.monotonic()), *of_models, *full]
        for problem in problems:
            if problem not in self._said:
                log.warning("problem", what=problem)
        for gone in self._said:
            if gone not in problems:
                log.info("problem_over", what=gone)
        self._said = problems
        metrics.problems.set(len(problems))
        self._bus.publish(self._subjects.state("monitor"), encode(problems))
