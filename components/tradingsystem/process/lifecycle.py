"""The life of a service, one way only: starting, ready, draining, stopped; or failed, from anywhere. Readiness is the service's word, not a guess."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Protocol

from tradingsystem.domain.errors import BrokenInvariant
from tradingsystem.telemetry import metrics


class Phase(enum.Enum):
    """Where a service is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


_NEXT = {
    Phase.STARTING: {Phase.READY, Phase.DRAINING, Phase.STOPPED, Phase.FAILED},
    Phase.READY: {Phase.DRAINING, Phase.STOPPED, Phase.FAILED},
    Phase.DRAINING: {Phase.STOPPED, Phase.FAILED},
    Phase.STOPPED: set[Phase](),
    Phase.FAILED: set[Phase](),
}


class Service(Protocol):
    """What every service is; ``process`` adds heartbeat, health, logs and signals."""

    name: str

    @property
    def progress_ns(self) -> int:
        """Market time up to which input has been applied."""

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Start, call ``ready`` once able to work, return after an ordered drain when ``stop`` is set; raising means failed."""

    def detail(self) -> dict[str, float]:
        """A few numbers for the heartbeat."""


class Lifecycle:
    """The phase of one service, its reason, and who is told of changes."""

    def __init__(self, changed: Callable[[Phase, str], None]) -> None:
        self.phase = Phase.STARTING
        self.reason = ""
        self._changed = changed

    def move(self, phase: Phase, reason: str = "") -> None:
        """Enter a phase; entering the present one again changes nothing. Raises ``BrokenInvariant`` on a way that does not exist."""
        if phase is self.phase:
            return
        if phase not in _NEXT[self.phase]:
            raise BrokenInvariant(f"a service that is {self.phase.value} cannot become {phase.value}")
        self.phase = phase
        self.reason = reason
        metrics.choose(metrics.phase, "phase", tuple(each.value for each in Phase), phase.value)
        self._changed(phase, reason)

    @property
    def alive(self) -> bool:
        """Whether restarting it would help nobody."""
        return self.phase is not Phase.FAILED

    @property
    def ready(self) -> bool:
        """Whether it can do its work now."""
        return self.phase is Phase.READY
