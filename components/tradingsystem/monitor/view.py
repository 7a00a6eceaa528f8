"""What the whole system looks like from its beats: pure, so that the same judgement serves the CLI, the monitor and the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tradingsystem.domain.agreement import disagreements
from tradingsystem.domain.control import Beat
from tradingsystem.domain.time import NS_PER_SECOND

FULL_PERCENT = 80.0
LEFT_BYTES = 4 << 30
BEAT_AGE_MAX_NS = 3 * NS_PER_SECOND  # machine time: three beats missed


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service as last heard, ``heard_monotonic_ns`` by the listener's machine clock."""

    beat: Beat
    heard_monotonic_ns: int


@dataclass(frozen=True, slots=True)
class Room:
    """How full something is that must not become full."""

    used_bytes: int
    size_bytes: int

    @property
    def left_bytes(self) -> int:
        return self.size_bytes - self.used_bytes

    @property
    def percent(self) -> float:
        return 100.0 * self.used_bytes / self.size_bytes if self.size_bytes > 0 else 0.0

    @property
    def filling(self) -> bool:
        """A large part of it used and not much left: four fifths of a large disk are no worry."""
        return self.percent >= FULL_PERCENT and self.left_bytes < LEFT_BYTES


def filling(rooms: Mapping[str, Room]) -> list[str]:
    """What a person must make room in, long before orders stop for it."""
    return [
        f"{name} is {room.percent:.0f} % full ({room.left_bytes >> 20} MiB left): without room in it no order can be sent"
        for name, room in rooms.items()
        if room.filling
    ]


@dataclass(slots=True)
class SystemView:
    """All services as last heard."""

    services: dict[str, ServiceView] = field(default_factory=dict)

    def hear(self, beat: Beat, monotonic_ns: int) -> None:
        """Take a beat over."""
        self.services[beat.service] = ServiceView(beat, monotonic_ns)

    def problems(self, expected: tuple[str, ...], monotonic_ns: int) -> list[str]:
        """What a person should know, one sentence each; empty when all is well."""
        found = [f"{name} has not been heard yet" for name in expected if name not in self.services]
        for name, view in sorted(self.services.items()):
            age_ns = monotonic_ns - view.heard_monotonic_ns
            if age_ns > BEAT_AGE_MAX_NS:
                found.append(f"{name} has been silent for {age_ns / NS_PER_SECOND:.0f} s")
            elif view.beat.phase != "ready":
                found.append(f"{name} is {view.beat.phase}")
        return [*found, *self.disagreements()]

    def disagreements(self) -> list[str]:
        """Services that run another build, schema or boot configuration than the others: nothing may open then."""
        return disagreements(view.beat for view in self.services.values())

    def applied_lag_ns(self, market_ns: int) -> int:
        """How far the slowest service that applies input is behind market time."""
        applied = [view.beat.applied_ns for view in self.services.values() if view.beat.applied_ns > 0]
        return max((market_ns - value for value in applied), default=0)
