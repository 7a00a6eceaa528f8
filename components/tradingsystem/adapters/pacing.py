"""When to try again, and when silence means a dead connection. Pure: chance and both times are arguments."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from tradingsystem.domain import calendar
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND, at_speed, new_york_date


class Backoff:
    """Growing waits with jitter. Forgiven only after data has come for a while: a server that accepts, authenticates and then throws everybody out
    would otherwise be asked ten times a second."""

    def __init__(
        self, chance: random.Random, *, first_seconds: float = 0.25, max_seconds: float = 30.0, forgiven_after_seconds: float = 10.0
    ) -> None:
        self._chance = chance
        self._first = first_seconds
        self._max = max_seconds
        self._forgiven_after_ns = int(forgiven_after_seconds * NS_PER_SECOND)
        self._failures = 0
        self._delivering_since_ns: int | None = None

    def next_seconds(self) -> float:
        """The wait after one more failure: between half and all of ``first x 2^failures``, at most ``max_seconds``."""
        self._delivering_since_ns = None
        full = min(self._max, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return full * (0.5 + 0.5 * self._chance.random())

    def delivered(self, machine_ns: int) -> None:
        """Data came now."""
        if self._delivering_since_ns is None:
            self._delivering_since_ns = machine_ns
        elif machine_ns - self._delivering_since_ns >= self._forgiven_after_ns:
            self._failures = 0


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """Bounds in ns of market time; when time is scaled they are max(limit, speed x 10 ms) for age. ``machine_floor_ns``: however fast market time
    runs, a machine that stood still for less is no reason to reconnect. ``behind_machine_ns`` widens lag likewise: the player holds market time
    when consumers fall behind by seconds of machine time."""

    silent_ns: int = 10 * NS_PER_SECOND
    behind_ns: int = 5 * NS_PER_SECOND
    machine_floor_ns: int = 2 * NS_PER_SECOND
    behind_machine_ns: int = 2 * NS_PER_SECOND


class DataWatch:
    """Judges one connection by the data it brought."""

    def __init__(self, limits: WatchLimits) -> None:
        self._limits = limits
        self._market_ns = 0
        self._machine_ns = 0
        self._newest_ns = 0
        self._day: date | None = None
        self._session: calendar.Session | None = None

    def connected(self, market_ns: int, machine_ns: int) -> None:
        """A fresh connection: its silence begins now."""
        self._market_ns, self._machine_ns, self._newest_ns = market_ns, machine_ns, 0

    def heard(self, newest_ns: int, market_ns: int, machine_ns: int) -> None:
        """Data arrived; ``newest_ns`` is the newest moment it tells of, 0 when it tells none."""
        self._market_ns, self._machine_ns = market_ns, machine_ns
        self._newest_ns = newest_ns

    def expects_data(self, market_ns: int) -> bool:
        """Whether the regular session runs. A day the calendar does not know expects nothing: then only the socket's own pings watch."""
        day = new_york_date(market_ns)
        if day != self._day:
            self._day = day
            try:
                self._session = calendar.session(day)
            except ValueError:
                self._session = None
        return self._session is not None and self._session.contains(market_ns)

    def silent_ns(self, market_ns: int, machine_ns: int, speed: float) -> int:
        """How long nothing came, ns of market time, when that is too long; else 0."""
        if not self.expects_data(market_ns) or self._session is None:
            return 0
        age_ns = market_ns - max(self._market_ns, self._session.open_ns)
        allowed_ns = at_speed(self._limits.silent_ns, speed, 10 * NS_PER_MILLISECOND)
        if age_ns <= allowed_ns or machine_ns - self._machine_ns <= min(self._limits.machine_floor_ns, allowed_ns):
            return 0
        return age_ns

    def behind_ns(self, market_ns: int, speed: float) -> int:
        """How far the newest event lies behind the clock when that is too far during the session; else 0."""
        if self._newest_ns == 0 or not self.expects_data(market_ns):
            return 0
        allowed_ns = at_speed(self._limits.behind_ns, speed, self._limits.behind_machine_ns) if speed > 1 else self._limits.behind_ns
        behind = market_ns - self._newest_ns
        return behind if behind > allowed_ns else 0
