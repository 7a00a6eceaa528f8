"""A label says what a trade would have met, and looks at nothing but its own future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.learning.labels import label

RULE = LabelRule(target_basis_points=50, stop_basis_points=50, horizon_seconds=5, fee_basis_points=0.0)


def outcome(bids: list[float], ask: float = 100.0, second: int = 0) -> int:
    """The label of one decision over a path of bids."""
    bid = np.array([bids], np.float32)
    return int(label(bid, np.full_like(bid, ask), np.array([0], np.int32), np.array([second], np.int32), RULE)[0])


@pytest.mark.parametrize(
    ("bids", "expected"),
    [
        ([99.9, 100.2, 100.6, 99.0], 1),
        ([99.9, 99.4, 100.6], 0),
        ([99.9, 100.0, 100.0, 100.0, 100.0, 100.0, 100.6], 0),
        ([99.9, 100.0], 0),
        ([100.6, 99.9, 99.9], 0),
    ],
    ids=["target first", "stop first", "target after the horizon", "session ends", "the second of the decision itself does not count"],
)
def test_which_comes_first_decides(bids: list[float], expected: int) -> None:
    """Target before stop within the horizon is a one, everything else closed is a zero."""
    assert outcome(bids) == expected


def test_without_an_ask_there_is_no_label() -> None:
    """A symbol without a quote could not have been bought."""
    assert outcome([99.9, 100.6], ask=float("nan")) == -1


@given(st.lists(st.floats(98, 102), min_size=8, max_size=30), st.integers(0, 6), st.randoms())
def test_the_past_does_not_change_a_label(bids: list[float], second: int, random: object) -> None:
    """Whatever was quoted before the decision, its label is the same."""
    changed = [50.0] * second + bids[second:]
    assert outcome(bids, second=second) == outcome(changed, second=second)
