"""Notices a watch that has gone deaf: what a list shows and the watch has not told within a minute was never going to be told. Pure.

A deaf operator looks healthy and does nothing, so this is what liveness hangs on. A server that is down makes nobody deaf: then there is no list either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tradingsystem_operator.queue import SystemKey

PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Deafness:
    """Compares generations that the watch told with those that lists show."""

    _heard: dict[SystemKey, tuple[str, int]] = field(default_factory=dict)
    _missing: dict[SystemKey, float] = field(default_factory=dict)

    def heard(self, key: SystemKey, uid: str, generation: int) -> None:
        """The watch told of that generation."""
        self._heard[key] = (uid, generation)
        self._missing.pop(key, None)

    def newest(self, key: SystemKey, uid: str) -> int:
        """The newest generation that the watch told of that very system; 0 when it told of none."""
        known, generation = self._heard.get(key, ("", 0))
        return generation if known == uid else 0

    def gone(self, key: SystemKey) -> None:
        """The watch told that it was deleted."""
        self._heard.pop(key, None)
        self._missing.pop(key, None)

    def listed(self, shown: Mapping[SystemKey, tuple[str, int]], now: float) -> str:
        """Which system the watch is late with, in words; empty when it is late with none. ``shown``: uid and generation of every system there is."""
        late = {}
        for key, (uid, generation) in shown.items():
            known = self._heard.get(key)
            if known is None or known[0] != uid or known[1] < generation:
                late[key] = self._missing.get(key, now)
        self._missing = late
        overdue = sorted(str(key) for key, since in late.items() if now - since > PATIENCE_SECONDS)
        return f"the watch of TradingSystems says nothing of {', '.join(overdue[:3])}" if overdue else ""
