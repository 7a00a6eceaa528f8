"""A watch that has gone deaf is noticed, and one that is merely a little late is not."""

from __future__ import annotations

from tradingsystem_operator.deafness import PATIENCE_SECONDS, Deafness
from tradingsystem_operator.queue import SystemKey

ONE, OTHER = SystemKey("a", "one"), SystemKey("a", "other")
LATER = PATIENCE_SECONDS + 1


def test_what_was_told_is_not_missed() -> None:
    """Most of the time nothing is wrong, and then nobody is restarted."""
    deafness = Deafness()
    deafness.heard(ONE, "u", 3)
    assert deafness.listed({ONE: ("u", 3)}, 0.0) == ""
    assert deafness.listed({ONE: ("u", 2)}, LATER) == ""


def test_a_change_that_is_never_told_is_noticed_after_a_minute() -> None:
    """The operator that looks healthy and does nothing: its liveness fails and names what it missed."""
    deafness = Deafness()
    deafness.heard(ONE, "u", 3)
    assert deafness.listed({ONE: ("u", 4)}, 0.0) == ""
    assert "a/one" in deafness.listed({ONE: ("u", 4)}, LATER)


def test_a_late_word_is_enough() -> None:
    """Slow is not deaf."""
    deafness = Deafness()
    assert deafness.listed({ONE: ("u", 1), OTHER: ("v", 1)}, 0.0) == ""
    deafness.heard(ONE, "u", 1)
    deafness.heard(OTHER, "v", 1)
    assert deafness.listed({ONE: ("u", 1), OTHER: ("v", 1)}, LATER) == ""


def test_a_resource_made_anew_under_the_same_name_has_to_be_told_anew() -> None:
    """Its generation starts at one again, so the number alone would hide it."""
    deafness = Deafness()
    deafness.heard(ONE, "u", 9)
    assert deafness.listed({ONE: ("other", 1)}, 0.0) == ""
    assert "a/one" in deafness.listed({ONE: ("other", 1)}, LATER)


def test_what_is_gone_is_forgotten() -> None:
    """A deletion that came while it was missed leaves no grudge."""
    deafness = Deafness()
    deafness.listed({ONE: ("u", 1)}, 0.0)
    deafness.gone(ONE)
    assert deafness.listed({}, LATER) == ""
