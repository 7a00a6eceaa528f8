"""The New York Stock Exchange's regular sessions, half-days included.

A day's close is looked up, never assumed to be 16:00. The dates come from the generated table in ``xnys.py``; outside its range the answer is an
error, because guessing that an unknown day is an ordinary one is how positions stay open over a holiday. At run time the broker's own calendar is
compared with this one and a difference stops entries.
"""

from __future__ import annotations

from datetime import date, time, timedelta
from functools import lru_cache

import msgspec

from tradingsystem.domain import xnys
from tradingsystem.domain.time import NS_PER_MINUTE, new_york_ns

REGULAR_OPEN = time(9, 30)
REGULAR_CLOSE = time(16, 0)
ORDINARY_MINUTES = 390  # of a session that is no half-day


class OutsideCalendar(ValueError):
    """The date lies outside the generated table; regenerate it with a newer ``exchange-calendars``."""


class Session(msgspec.Struct, frozen=True):
    """One regular session: its date in New York and its bounds as UTC nanoseconds; ``close_ns`` is that day's real close."""

    day: date
    open_ns: int
    close_ns: int

    @property
    def early_close(self) -> bool:
        """Whether this is a half-day."""
        return self.close_ns < new_york_ns(self.day, REGULAR_CLOSE)

    @property
    def minutes(self) -> int:
        """Length in minutes: 390, or 210 on a half-day."""
        return (self.close_ns - self.open_ns) // NS_PER_MINUTE

    def contains(self, at_ns: int) -> bool:
        """Whether the regular session is running: the open belongs to it, the close does not."""
        return self.open_ns <= at_ns < self.close_ns


def is_session(day: date) -> bool:
    """Whether the exchange holds a regular session on ``day``. Raises ``OutsideCalendar``."""
    if not xnys.FIRST <= day <= xnys.LAST:
        raise OutsideCalendar(f"{day} is outside the calendar's range {xnys.FIRST} to {xnys.LAST}")
    return day.weekday() < 5 and day not in xnys.HOLIDAYS


@lru_cache(maxsize=64)
def session(day: date) -> Session:
    """The session of ``day``. Raises ``ValueError`` when the exchange is closed, ``OutsideCalendar`` when the day is unknown."""
    if not is_session(day):
        raise ValueError(f"{day} is not a trading day of the New York Stock Exchange")
    close = xnys.EARLY_CLOSES.get(day, REGULAR_CLOSE)
    return Session(day=day, open_ns=new_york_ns(day, REGULAR_OPEN), close_ns=new_york_ns(day, close))


def next_session(day: date) -> Session:
    """The first session on or after ``day``."""
    while not is_session(day):
        day += timedelta(days=1)
    return session(day)


def previous_sessions(day: date, count: int) -> tuple[Session, ...]:
    """The ``count`` sessions before ``day``, oldest first."""
    found: list[Session] = []
    while len(found) < count:
        day -= timedelta(days=1)
        if is_session(day):
            found.append(session(day))
    return tuple(reversed(found))
