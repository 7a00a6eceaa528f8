"""The way to promotion refuses what is worth nothing and lets through what is better."""

from __future__ import annotations

import pytest

from tradingsystem.world.learning_proof import KINDS, Proof, prove, sessions


def test_over_some_seeds_every_bound_holds() -> None:
    """A dozen seeds of the hundred that `tradingsystem learn prove` runs: hardly a worthless one passes, most of the better ones do."""
    done = []
    proofs = prove(range(12), lambda: done.append(1))
    assert len(done) == 12
    assert sum(one.promoted for one in proofs if not one.promote) <= 2
    assert [one.promoted >= 10 for one in proofs if one.promote] == [True]


@pytest.mark.parametrize(("promote", "promoted", "holds"), [(False, 5, True), (False, 6, False), (True, 80, True), (True, 79, False)])
def test_a_bound_that_does_not_hold_is_said(promote: bool, promoted: int, holds: bool) -> None:
    """5 % of the worthless, 80 % of the better."""
    assert Proof("kind", promote, 100, promoted).holds is holds


def test_sessions_follow_each_other() -> None:
    """Evidence over the same session twice would be surer than it is."""
    days = [one.day for one in sessions()]
    assert days == sorted(set(days))
    assert len(KINDS) == 5
