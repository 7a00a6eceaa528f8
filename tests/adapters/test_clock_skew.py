"""Our clock against the broker's, from a header of whole seconds and answers that take time: proven or not told."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.adapters.alpaca.clock_skew import ClockSkew
from tradingsystem.domain.time import NS_PER_SECOND

START_NS = 1_772_000_000 * NS_PER_SECOND
SECONDS = st.floats(0.0, 30.0)
TRAVEL = st.floats(0.0, 2.0)


def header(at_ns: float) -> str:
    """What the broker writes at a moment of its own clock."""
    return formatdate(at_ns // NS_PER_SECOND, usegmt=True)


def heard(skew: ClockSkew, offset_ns: int, answers: list[tuple[float, float, float]]) -> None:
    """Answers of a broker whose clock is behind ours by ``offset_ns``: (seconds before the question, its way there, its way back)."""
    at_ns = START_NS
    for pause, there, back in answers:
        at_ns += int(pause * NS_PER_SECOND)
        stamped_ns = at_ns + int(there * NS_PER_SECOND)
        answered_ns = stamped_ns + int(back * NS_PER_SECOND)
        skew.told(header(stamped_ns - offset_ns), at_ns, answered_ns)
        at_ns = answered_ns


@given(offset=st.integers(-4_000, 4_000), answers=st.lists(st.tuples(SECONDS, TRAVEL, TRAVEL), max_size=50))
def test_never_more_than_is_there(offset: int, answers: list[tuple[float, float, float]]) -> None:
    """However slow the answers: what is told lies between nothing and the truth, on its side."""
    skew = ClockSkew()
    heard(skew, offset * 1_000_000, answers)
    truth_ns = offset * 1_000_000
    assert min(truth_ns, 0) <= skew.least_ns <= max(truth_ns, 0)


@given(offset=st.integers(700, 100_000), sign=st.sampled_from([-1, 1]), phase=st.floats(0.0, 0.99))
def test_several_quick_answers_prove_it_to_a_fifth_of_a_second(offset: int, sign: int, phase: float) -> None:
    """Four at different parts of a second: half a second cannot hide."""
    skew = ClockSkew()
    answers = [(phase, 0.005, 0.005), *([(0.24, 0.005, 0.005)] * 7)]
    heard(skew, sign * offset * 1_000_000, answers)
    assert abs(skew.least_ns - sign * offset * 1_000_000) <= 0.27 * NS_PER_SECOND


def test_one_answer_proves_nothing_and_a_clock_that_is_set_is_followed() -> None:
    """A machine that was busy for two seconds is not skewed; one whose clock was mended is not skewed any more after two answers."""
    skew = ClockSkew()
    heard(skew, 60 * NS_PER_SECOND, [(0.0, 0.01, 0.01)])
    assert skew.least_ns == 0
    heard(skew, 60 * NS_PER_SECOND, [(0.3, 0.01, 0.01)])
    assert skew.least_ns > 58 * NS_PER_SECOND
    heard(skew, 0, [(0.0, 0.01, 0.01)] * 2)
    assert skew.least_ns == 0


def test_a_small_difference_that_was_mended_is_forgotten_in_time() -> None:
    """Whole seconds cannot contradict three quarters of one: answers from before the clock was set right end by their age."""
    skew = ClockSkew()
    heard(skew, 1_770_000_000, [(0.771, 0.001, 0.001), (0.0, 0.001, 0.001)])
    assert skew.least_ns > 0.7 * NS_PER_SECOND
    heard(skew, 0, [(30.776, 0.001, 0.001), (30.998, 0.001, 0.001)])
    assert skew.least_ns > 0
    heard(skew, 0, [(92.776, 0.001, 0.001)] * 2)
    assert skew.least_ns == 0


def test_what_cannot_be_read_says_nothing() -> None:
    """No header, no date, a date of no calendar."""
    skew = ClockSkew()
    for text in (None, "", "soon", "Mon, 99 Abc 2026 10:00:00 GMT", "Fri, 31 Feb 2026 10:00:00 GMT"):
        skew.told(text, 0, NS_PER_SECOND)
    assert skew.least_ns == 0
