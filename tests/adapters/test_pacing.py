"""Waits grow and are forgiven by data only; silence is judged by market time, inside the session."""

from __future__ import annotations

import random
from datetime import date

from tests.adapters.listening import DAY, IN_SESSION_NS
from tradingsystem.adapters.pacing import Backoff, DataWatch, WatchLimits
from tradingsystem.domain.calendar import session
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND

S = NS_PER_SECOND


def test_waits_double_up_to_the_bound_with_jitter() -> None:
    """Each wait lies between half and all of the doubled one, and none above the bound."""
    backoff = Backoff(random.Random(1), first_seconds=1.0, max_seconds=8.0)
    waits = [backoff.next_seconds() for _ in range(40)]
    for wait, full in zip(waits, [1, 2, 4, *[8] * 37], strict=True):
        assert full / 2 <= wait <= full
    assert len(set(waits)) == 40


def test_only_sustained_data_is_forgiven() -> None:
    """A server that sends a little and throws everybody out keeps its long waits."""
    backoff = Backoff(random.Random(1), first_seconds=1.0, max_seconds=8.0, forgiven_after_seconds=10.0)
    for _ in range(4):
        backoff.next_seconds()
    backoff.delivered(0)
    backoff.delivered(9 * S)
    assert backoff.next_seconds() >= 4.0
    backoff.delivered(100 * S)
    backoff.delivered(111 * S)
    assert backoff.next_seconds() <= 1.0


def watch(at_ns: int = IN_SESSION_NS) -> DataWatch:
    made = DataWatch(WatchLimits())
    made.connected(at_ns, 0)
    return made


def test_silence_counts_in_both_times() -> None:
    """Old data alone is no fault when the machine stood still for a moment only; a standing market is none at all."""
    one = watch()
    assert one.silent_ns(IN_SESSION_NS + 11 * S, 11 * S, 1.0) == 11 * S
    assert one.silent_ns(IN_SESSION_NS + 9 * S, 9 * S, 1.0) == 0
    assert one.silent_ns(IN_SESSION_NS + 60 * S, 1 * S, 60.0) == 0
    assert one.silent_ns(IN_SESSION_NS + 180 * S, 3 * S, 60.0) == 180 * S
    assert one.silent_ns(IN_SESSION_NS, 60 * S, 60.0) == 0
    one.heard(0, IN_SESSION_NS + 10 * S, 10 * S)
    assert one.silent_ns(IN_SESSION_NS + 11 * S, 11 * S, 1.0) == 0


def test_only_the_session_expects_data() -> None:
    """Nights, holidays and the afternoon of a half-day are silent by right; the open starts a fresh count."""
    assert watch(DAY.open_ns - 3_600 * S).silent_ns(DAY.open_ns - 1, 10_000 * S, 1.0) == 0
    assert watch(DAY.open_ns - 3_600 * S).silent_ns(DAY.open_ns + 9 * S, 10_000 * S, 1.0) == 0
    assert watch(DAY.open_ns - 3_600 * S).silent_ns(DAY.open_ns + 11 * S, 10_000 * S, 1.0) == 11 * S
    half = session(date(2026, 11, 27))
    assert watch(half.open_ns).silent_ns(half.close_ns + NS_PER_MINUTE, 10_000 * S, 1.0) == 0
    sunday = DAY.open_ns - 24 * 3_600 * S
    assert not watch().expects_data(sunday)
    assert not watch().expects_data(DAY.open_ns + 40 * 365 * 24 * 3_600 * S)


def test_lag_is_told_while_the_session_runs() -> None:
    """Events minutes behind the clock are a delayed feed; in scaled time the bound widens by what the player tolerates."""
    one = watch()
    one.heard(IN_SESSION_NS - 6 * S, IN_SESSION_NS, S)
    assert one.behind_ns(IN_SESSION_NS, 1.0) == 6 * S
    assert one.behind_ns(IN_SESSION_NS, 60.0) == 0
    assert one.behind_ns(DAY.close_ns, 1.0) == 0
    one.heard(0, IN_SESSION_NS, S)
    assert one.behind_ns(IN_SESSION_NS, 1.0) == 0
