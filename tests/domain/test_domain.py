"""Time, sessions and rows: the arithmetic everybody stands on."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain import calendar, errors, rows, xnys
from tradingsystem.domain.generate_xnys import render
from tradingsystem.domain.orders import OrderState
from tradingsystem.domain.signals import signal_id
from tradingsystem.domain.time import (
    NS_PER_SECOND,
    at_speed,
    from_datetime,
    new_york_clock,
    new_york_date,
    new_york_ns,
    plausible,
    to_datetime,
    to_iso,
)

MOMENTS = st.integers(946_684_800 * NS_PER_SECOND, 4_102_444_799 * NS_PER_SECOND)
DAYS = st.dates(xnys.FIRST + timedelta(days=40), xnys.LAST)


@given(MOMENTS)
def test_a_moment_survives_its_datetime(at_ns: int) -> None:
    """Nothing but the digits below a microsecond is lost, and those stand in the ISO form."""
    assert from_datetime(to_datetime(at_ns)) == at_ns - at_ns % 1000
    assert to_iso(at_ns).endswith(f"{at_ns % NS_PER_SECOND:09d}Z")
    assert plausible(at_ns)


def test_a_naive_datetime_is_refused() -> None:
    """Its zone would be a guess."""
    with pytest.raises(ValueError, match="time zone"):
        from_datetime(datetime(2026, 3, 2))  # noqa: DTZ001


@pytest.mark.parametrize("value", [1_772_462_400, 1_772_462_400_000, 1_772_462_400_000_000, -1, 0])
def test_other_units_are_implausible(value: int) -> None:
    """Seconds, milliseconds and microseconds taken for nanoseconds are caught."""
    assert not plausible(value)


@pytest.mark.parametrize(
    ("day", "utc_hour"),
    [(date(2026, 3, 6), 14), (date(2026, 3, 9), 13), (date(2026, 10, 30), 13), (date(2026, 11, 2), 14)],
)
def test_the_open_follows_daylight_saving(day: date, utc_hour: int) -> None:
    """Half past nine in New York is another hour of UTC on either side of a change."""
    opened = calendar.session(day).open_ns
    assert to_datetime(opened) == datetime(day.year, day.month, day.day, utc_hour, 30, tzinfo=UTC)
    assert new_york_clock(opened) == "09:30:00"
    assert new_york_date(opened) == day


@given(DAYS)
def test_sessions_are_days_with_bounds(day: date) -> None:
    """A session lies within its New York day, is 390 or 210 minutes long, and its close belongs to it no more."""
    if not calendar.is_session(day):
        with pytest.raises(ValueError, match="not a trading day"):
            calendar.session(day)
        return
    session = calendar.session(day)
    assert new_york_date(session.open_ns) == new_york_date(session.close_ns) == day
    assert session.minutes == (210 if session.early_close else 390)
    assert session.contains(session.open_ns)
    assert not session.contains(session.close_ns)


@pytest.mark.parametrize(("day", "close"), [(date(2026, 11, 27), time(13)), (date(2026, 12, 24), time(13)), (date(2026, 3, 2), time(16))])
def test_half_days_close_early(day: date, close: time) -> None:
    """Flattening before a fixed 16:00 would come three hours late."""
    assert calendar.session(day).close_ns == new_york_ns(day, close)


@given(DAYS, st.integers(1, 15))
def test_previous_sessions_are_the_ones_before(day: date, count: int) -> None:
    """Oldest first, none missing, none of today."""
    found = [session.day for session in calendar.previous_sessions(day, count)]
    assert len(found) == count
    assert found == sorted(set(found))
    assert found[-1] < day
    between = (found[0] + timedelta(days=offset) for offset in range((day - found[0]).days))
    assert [each for each in between if calendar.is_session(each)] == found


def test_beyond_the_table_is_an_error() -> None:
    """An unknown day is not an ordinary day."""
    for day in (xnys.FIRST - timedelta(days=1), xnys.LAST + timedelta(days=1)):
        with pytest.raises(calendar.OutsideCalendar):
            calendar.is_session(day)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_table_is_what_its_generator_writes() -> None:
    """An edit by hand would be lost, or worse, kept."""
    import inspect

    assert inspect.getsource(xnys) == render()


def test_empty_rows_say_nothing() -> None:
    """Kind 0 is no kind, and a value nobody wrote is NaN, never 0."""
    made = rows.empty(3)
    assert len(made) == 3
    assert not made.kind.any()
    assert all(np.isnan(getattr(made, f"v{place}")).all() for place in range(6))
    assert set(rows.LAYOUT) == set(rows.RowKind)
    assert max(len(layout) for layout in rows.LAYOUT.values()) == 6


@given(st.lists(st.integers(0, 5), max_size=6))
def test_blocks_are_joined_in_order(sizes: list[int]) -> None:
    """Concatenating keeps every row where it belongs, and slices are views of it."""
    parts = []
    for number, size in enumerate(sizes):
        part = rows.empty(size)
        part.at_ns[:] = np.arange(size) + 100 * number
        parts.append(part)
    whole = rows.concatenate(parts)
    assert list(whole.at_ns) == [at_ns for part in parts for at_ns in part.at_ns]
    assert np.shares_memory(whole.slice(0, len(whole)).at_ns, whole.at_ns) or not len(whole)
    assert list(whole.take(np.arange(len(whole))[::-1]).at_ns) == list(whole.at_ns[::-1])


def test_unknown_is_not_an_end() -> None:
    """An order whose outcome nobody knows is still open: it counts as exposure."""
    assert not OrderState.UNKNOWN.terminal
    assert not OrderState.PENDING_CANCEL.terminal
    assert OrderState.FILLED.terminal


def test_a_signal_id_is_what_was_judged() -> None:
    """Equal judgements have equal ids, different ones never."""
    assert signal_id("a", 1, 2, "X") == signal_id("a", 1, 2, "X")
    assert len({signal_id("a", 1, 2, "X"), signal_id("a", 2, 2, "X"), signal_id("a", 1, 3, "X"), signal_id("a", 1, 2, "Y")}) == 4


def test_every_error_has_a_place_in_the_tree() -> None:
    """A caller chooses by class what to do: an error outside the tree is one nobody answers."""
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert all(issubclass(value, errors.TradingSystemError) for value in found)
    drawn = errors.__doc__ or ""
    assert [value.__name__ for value in found if value.__name__ not in drawn] == []
    assert "polygon" in str(errors.NotAuthorized("polygon key", "refused"))
    assert errors.TryAgain("later", 2.5).after_seconds == 2.5
    refused = errors.RequestRefused("wash", "no", 403)
    assert (refused.code, refused.status) == ("wash", 403)


@given(st.integers(0, 10**12), st.floats(-10.0, 1e6) | st.just(float("nan")), st.integers(1, 10**10))
def test_a_limit_grows_with_the_speed_and_never_shrinks(limit_ns: int, speed: float, machine_ns: int) -> None:
    """What the machine needs fits in at any speed; NaN and negative speeds leave a limit as it is."""
    scaled = at_speed(limit_ns, speed, machine_ns)
    assert scaled >= limit_ns
    assert scaled == limit_ns or scaled == int(speed * machine_ns)
    assert not speed > 0 or scaled >= int(speed * machine_ns)
