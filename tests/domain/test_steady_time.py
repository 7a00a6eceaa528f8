"""Market time survives a clock that is set: small steps are followed, leaps are doubted, and it never goes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain.steady_time import LEAP_NS, PATIENCE_NS, SteadyTime
from tradingsystem.domain.time import NS_PER_HOUR, NS_PER_SECOND

START_NS = 1_772_000_000 * NS_PER_SECOND


def test_an_hour_for_some_seconds_changes_nothing() -> None:
    """Ahead or behind: time goes on by the monotonic clock, and by the right clock afterwards, without having stood."""
    for leap_ns in (NS_PER_HOUR, -NS_PER_HOUR):
        time = SteadyTime()
        for second in range(100):
            passed_ns = second * NS_PER_SECOND
            wrong_ns = leap_ns if 20 <= second < 50 else 0
            assert time.now(START_NS + passed_ns + wrong_ns, passed_ns) == START_NS + passed_ns
            assert time.doubted is (wrong_ns != 0)


def test_a_leap_that_lasts_is_believed() -> None:
    """A machine that slept: after the patience its clock is the market's again."""
    time = SteadyTime()
    time.now(START_NS, 0)
    assert time.now(START_NS + NS_PER_HOUR, 1) == START_NS + 1
    assert time.now(START_NS + NS_PER_HOUR + PATIENCE_NS, PATIENCE_NS + 1) == START_NS + NS_PER_HOUR + PATIENCE_NS
    assert not time.doubted


def test_small_steps_are_followed_forwards_and_waited_for_backwards() -> None:
    """As clocks are set in good order."""
    time = SteadyTime()
    time.now(START_NS, 0)
    assert time.now(START_NS + LEAP_NS, 1) == START_NS + LEAP_NS
    assert time.now(START_NS + 5, 2) == START_NS + LEAP_NS
    assert not time.doubted


@given(st.lists(st.tuples(st.integers(-2 * NS_PER_HOUR, 2 * NS_PER_HOUR), st.integers(0, 10 * NS_PER_SECOND)), max_size=50))
def test_it_never_goes_back(steps: list[tuple[int, int]]) -> None:
    """Whatever the clock is set to."""
    time, wall_ns, monotonic_ns, before_ns = SteadyTime(), START_NS, 0, 0
    for step_ns, passed_ns in steps:
        monotonic_ns += passed_ns
        wall_ns += passed_ns + step_ns
        now_ns = time.now(wall_ns, monotonic_ns)
        assert now_ns >= before_ns
        before_ns = now_ns
