"""Bundles stay loaded for as long as they may be asked for again, and no longer."""

from __future__ import annotations

from tests.filter.days import serving
from tradingsystem.filter.roster import LOADED_MAX, Roster


def test_the_version_that_was_not_asked_for_longest_is_unloaded() -> None:
    """Serving, beside it and the one before stay; what a server or shared memory holds for older ones is given back, once."""
    gone: list[int] = []
    roster = Roster(serving, serving(1), gone.append)
    for version in range(2, LOADED_MAX + 3):
        assert roster.bundle(version) is not None
        assert roster.bundle(1) is not None
    assert gone == [2, 3]
    assert roster.bundle(2) is not None
    assert gone == [2, 3, 4]
