"""When a runtime that fails is asked no more, and when again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.adapters.fallback import FAILURES_MAX, PROBES_MIN, Breaker


@given(st.lists(st.booleans(), max_size=50))
def test_only_failures_in_a_row_open_it(answers: list[bool]) -> None:
    """One late answer in a busy moment is no reason to leave a runtime."""
    breaker, row = Breaker(), 0
    for answered in answers:
        if breaker.open:
            break
        row = 0 if answered else row + 1
        breaker.answered() if answered else breaker.failed()
        assert breaker.open == (row == FAILURES_MAX)


@given(st.lists(st.booleans(), max_size=50))
def test_only_probes_answered_in_a_row_close_it(answers: list[bool]) -> None:
    """A runtime that answers now and then is not back."""
    breaker, row = Breaker(), 0
    for _ in range(FAILURES_MAX):
        breaker.failed()
    for answered in answers:
        row = row + 1 if answered else 0
        breaker.probed(answered=answered)
        assert breaker.open == (row < PROBES_MIN)
        if not breaker.open:
            break


def test_one_failure_after_it_closed_does_not_open_it() -> None:
    """Old failures are forgotten once it is back."""
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        breaker.failed()
    for _ in range(PROBES_MIN):
        breaker.probed(answered=True)
    breaker.failed()
    assert not breaker.open
