"""Market time has one owner: it follows the machine's clock, slows down for laggards and ends with the data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.simulator.feed import SECOND_NS
from tradingsystem.simulator.pacer import Pace, Pacer


def test_speed_scales_market_time() -> None:
    """At speed 60 one second of the machine is one minute of the market."""
    pacer = Pacer(0, 1_000 * SECOND_NS, 60.0)
    pacer.step(5)
    assert pacer.step(5 + SECOND_NS) == 60 * SECOND_NS
    assert pacer.seconds_until(120 * SECOND_NS) == pytest.approx(1.0)


def test_time_held_back_is_not_caught_up() -> None:
    """After a hold the market goes on where it stood: no burst meets a consumer that was slow."""
    pacer = Pacer(0, 1_000 * SECOND_NS, 10.0)
    pacer.step(0)
    pacer.hold()
    assert pacer.step(100 * SECOND_NS) == 0
    assert pacer.seconds_until(1) == float("inf")
    pacer.release()
    assert pacer.step(101 * SECOND_NS) == 10 * SECOND_NS


@given(st.floats(allow_nan=True))
def test_lag_slows_and_never_hastens(lag: float) -> None:
    """Whatever is reported, a NaN included, the factor stays within 0 and 1."""
    assert 0.0 <= Pace().factor(lag) <= 1.0


def test_lag_slows_in_a_straight_line() -> None:
    """Halfway between ease and hold is half speed."""
    pace = Pace(ease_seconds=1.0, hold_seconds=3.0)
    assert (pace.factor(0.5), pace.factor(2.0), pace.factor(3.0)) == (1.0, 0.5, 0.0)
    assert pace.factor(float("nan")) == 0.0


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_market_time_never_goes_back_and_ends(clock: list[int]) -> None:
    """Even when the machine's clock is read out of order."""
    pacer = Pacer(7, 10**10, 3.0)
    seen = [pacer.step(at) for at in clock]
    assert seen == sorted(seen)
    assert 7 <= seen[-1] <= 10**10


def test_the_end_is_the_end_and_bad_settings_are_refused() -> None:
    """Nothing is played past the data; a speed of zero would never start."""
    pacer = Pacer(0, 100, 1.0)
    pacer.jump(1_000)
    assert pacer.finished
    with pytest.raises(ValueError, match="cannot go back"):
        pacer.jump(5)
    with pytest.raises(ValueError, match="above 0"):
        Pacer(0, 1, 0.0)
    with pytest.raises(ValueError, match="before first_ns"):
        Pacer(2, 1, 1.0)
