"""The models service's shell: verifies the store, says which version serves, and journals each change. Promotion is not built yet: the pinned version
serves, else the highest that verifies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from tradingsystem.domain.control import ModelSwitched
from tradingsystem.interfaces import Bus, Clock, Journal
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.models.store import Choice
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

SAY_SECONDS = 1.0


class ModelsService:
    """Publishes ``state.<system>.models`` and journals which version serves."""

    name = "models"

    def __init__(self, *, system: str, choose: Callable[[], Choice], clock: Clock, bus: Bus, journal: Journal) -> None:
        self._subjects = Subjects(system)
        self._choose = choose
        self._clock = clock
        self._bus = bus
        self._journal = journal
        self._choice: Choice | None = None
        self.progress_ns = 0

    def detail(self) -> dict[str, float]:
        """The serving version for the beat."""
        return {"serving": self._choice.bundle.manifest.version if self._choice else 0}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Verify, journal, say so each second. Raises ``NoBundle``."""
        self._choice = self._choose()
        serving = self._choice.bundle.manifest.version
        for version, reason in self._choice.refused.items():
            log.error("bundle_refused", version=version, reason=reason)
        await self._journal.append(self._subjects.journal_model, encode(ModelSwitched(version=serving)))
        metrics.model_version.labels(role="serving").set(serving)
        log.info("model_serves", version=serving)
        ready()
        state = {"serving": serving, "refused": {str(version): reason for version, reason in self._choice.refused.items()}}
        while not stop.is_set():
            self._bus.publish(self._subjects.state("models"), encode(state))
            try:
                await asyncio.wait_for(stop.wait(), SAY_SECONDS)
            except TimeoutError:
                continue
