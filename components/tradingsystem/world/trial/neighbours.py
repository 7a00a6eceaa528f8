"""Who stands around execution and tells it that it may open: ingestion, the operator, and the broker by the Date of its answers.

Exists so that a seeded day can let each of them fall silent, or be wrong, for longer than execution may take it. They know nothing of orders and hear
nothing; when a fault ends they speak as before, and execution must come back by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate

from tradingsystem.domain.control import Beat
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.execution.ages import PATIENCE, Heard
from tradingsystem.execution.service import FEEDS
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.world.trial.invariants import SILENT_SECONDS
from tradingsystem.world.trial.plan import Fault, Planned, Step, between

SPEAKS_SECONDS = 2.0  # how often ingestion and operator say that all is well
SILENCE_LASTS_SECONDS = (45.0, 105.0)
CLOCK_SECONDS = (2.0, 20.0)  # how far the broker's clock is set: so far that any answer proves it
CLOCK_LASTS_SECONDS = (45.0, 85.0)
FRESH, STALE = (encode({"feeds": [{"kind": "quote", "age_seconds": age, "stale": age > 1.0}]}) for age in (0.1, 99.0))
BEAT = encode(
    Beat(service=FEEDS, instance="1", build="trial", schema=1, boot_hash="trial", live_generation=1, phase="ready", applied_ns=0, detail={})
)
PATIENT = {heard: one._replace(reducing_seconds=SILENT_SECONDS, halted_seconds=2 * SILENT_SECONDS) for heard, one in PATIENCE.items()}
"""The day is short, so patience is: Reducing after the first, Halted after the second."""


class Neighbours:
    """They all, and what is wrong with them."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._silent_until = dict.fromkeys((Fault.FEEDS_STALE, Fault.FEEDS_SILENT, Fault.RESOURCE_SILENT), 0.0)
        self._clock_error_ns = 0
        self._clock_wrong_until = 0.0

    def strike(self, struck: Planned, now_seconds: float) -> bool:
        """Let one of them fail for a while; False when the fault is not theirs."""
        if struck.fault in self._silent_until:
            until = now_seconds + between(SILENCE_LASTS_SECONDS, struck.size)
            self._silent_until[struck.fault] = max(self._silent_until[struck.fault], until)
            return True
        if struck.fault not in {Fault.BROKER_AHEAD, Fault.BROKER_BEHIND}:
            return False
        far_ns = int(between(CLOCK_SECONDS, struck.size) * NS_PER_SECOND)
        self._clock_error_ns = far_ns if struck.fault is Fault.BROKER_AHEAD else -far_ns
        self._clock_wrong_until = now_seconds + between(CLOCK_LASTS_SECONDS, struck.size)
        return True

    def clock_error_ns(self, now_seconds: float) -> int:
        """The broker's clock less the true time."""
        return self._clock_error_ns if now_seconds < self._clock_wrong_until else 0

    def date(self, now_ns: int, now_seconds: float) -> str:
        """The Date of an answer of the broker: RFC 9110, whole seconds."""
        return formatdate((now_ns + self.clock_error_ns(now_seconds)) // NS_PER_SECOND, usegmt=True)

    def words(self, now_seconds: float) -> Iterator[tuple[str, bytes]]:
        """What is said now, as (subject, payload)."""
        silent = {fault for fault, until in self._silent_until.items() if now_seconds < until}
        yield self._subjects.beat(FEEDS), BEAT
        if Fault.FEEDS_SILENT not in silent:
            yield self._subjects.state(FEEDS), STALE if Fault.FEEDS_STALE in silent else FRESH
        if Fault.RESOURCE_SILENT not in silent:
            yield self._subjects.resource, b""


def meaning(step: Step, payload: bytes) -> Heard | None:
    """What execution has heard by a word; None when it gives no right to open."""
    if step is Step.RESOURCE:
        return Heard.RESOURCE
    return Heard.MARKET_DATA if payload == FRESH else None
