"""Whether services are parts of one system: the same build, the same schema, the same boot configuration.

Exists because one machine of eight with the old program once traded for three quarters of an hour (Knight Capital, 2012; SEC release 34-70694).
"""

from __future__ import annotations

from collections.abc import Iterable

from tradingsystem.domain.control import Beat


def disagreements(beats: Iterable[Beat]) -> list[str]:
    """One sentence for each of build, schema and boot configuration in which they differ; empty when they agree."""
    heard = sorted(beats, key=lambda beat: beat.service)
    found = []
    for what in ("build", "schema", "boot_hash"):
        by_value: dict[object, list[str]] = {}
        for beat in heard:
            by_value.setdefault(getattr(beat, what), []).append(beat.service)
        if len(by_value) > 1:
            parts = "; ".join(f"{value}: {', '.join(names)}" for value, names in by_value.items())
            found.append(f"services disagree on {what} ({parts})")
    return found


class Peers:
    """The services that must agree before anything opens, as last heard."""

    def __init__(self, expected: Iterable[str]) -> None:
        self._expected = tuple(expected)
        self._beats: dict[str, Beat] = {}

    def hear(self, beat: Beat) -> None:
        """Take a beat over; others than the expected are none of our business."""
        if beat.service in self._expected:
            self._beats[beat.service] = beat

    def lose(self, service: str) -> None:
        """What it says cannot be read: it is another build's, and counts as not heard."""
        self._beats.pop(service, None)

    def problem(self) -> str:
        """Why nothing may open; empty when all were heard and agree."""
        missing = [name for name in self._expected if name not in self._beats]
        silent = [f"not heard yet: {', '.join(missing)}"] if missing else []
        return "; ".join(silent + disagreements(self._beats.values()))
