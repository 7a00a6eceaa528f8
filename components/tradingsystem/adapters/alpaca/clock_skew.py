"""How far our clock is from the broker's, as far as the Date header of its answers can prove it.

Exists because expiry, sessions and the age of data are all judged by our clock. It refuses to guess: the header has whole seconds and an answer takes time,
so one answer gives bounds, several that agree give narrow ones, and what lies within the bounds may be no difference at all.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from tradingsystem.domain.time import NS_PER_SECOND

ANSWERS_KEPT = 32
KEPT_NS = 65 * NS_PER_SECOND  # two comparisons of the account: what was true before a clock was set right is not believed for longer
AGREEING_MIN = 2  # one answer alone may have been handled late by a busy machine


class _Told(NamedTuple):
    """One answer: when it came by our clock, and the bounds that it sets."""

    answered_ns: int
    low_ns: int
    high_ns: int


class ClockSkew:
    """Bounds of ours less the broker's, ns, over the newest answers that agree."""

    def __init__(self) -> None:
        self._told: deque[_Told] = deque(maxlen=ANSWERS_KEPT)

    def told(self, header: str | None, asked_ns: int, answered_ns: int) -> None:
        """An answer with this Date header to a question of ``asked_ns``, by our clock. One without a readable header says nothing."""
        told_ns = _read(header)
        if told_ns is None:
            return
        newest = _Told(answered_ns, asked_ns - told_ns - NS_PER_SECOND, answered_ns - told_ns)
        while self._told and abs(answered_ns - self._told[0].answered_ns) > KEPT_NS:
            self._told.popleft()
        self._told.append(newest)
        low, high = self._all()
        if low > high:  # a clock was set in between
            self._told.clear()
            self._told.append(newest)

    @property
    def least_ns(self) -> int:
        """The least difference that explains all of them: above 0 our clock is ahead, 0 when the clocks may agree or too little was heard."""
        if len(self._told) < AGREEING_MIN:
            return 0
        low, high = self._all()
        return max(low, 0) or min(high, 0)

    def _all(self) -> tuple[int, int]:
        return max(one.low_ns for one in self._told), min(one.high_ns for one in self._told)


def _read(header: str | None) -> int | None:
    """RFC 9110, 5.6.7: an HTTP date, always in GMT."""
    try:
        return int(parsedate_to_datetime(header or "").replace(tzinfo=UTC).timestamp()) * NS_PER_SECOND
    except (ValueError, OverflowError):
        return None
