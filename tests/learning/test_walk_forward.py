"""No fold learns from a future that its test can see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.learning.walk_forward import Gap, in_parts, walk_forward

moments = st.lists(st.integers(0, 50_000), min_size=2, max_size=300).map(
    lambda seconds: np.sort(np.array(seconds, np.int64)) * NS_PER_SECOND
)
gaps = st.builds(Gap, horizon_seconds=st.integers(1, 5_000), embargo_seconds=st.integers(0, 5_000))


@given(moments, gaps, st.integers(1, 6))
def test_no_future_learned_from_reaches_into_the_test_or_its_features_window(at_ns: np.ndarray, gap: Gap, count: int) -> None:  # type: ignore[type-arg]
    """Every label of the training part has ended, and the embargo has passed, before the first row of the test."""
    for fold in walk_forward(at_ns, gap, count):
        ended = at_ns[fold.training] + gap.horizon_seconds * NS_PER_SECOND
        assert ended.max() + gap.embargo_seconds * NS_PER_SECOND <= at_ns[fold.test].min()
        assert not set(fold.training) & set(fold.test)


@given(moments, gaps, st.integers(1, 6))
def test_tests_follow_each_other_and_no_row_is_judged_twice(at_ns: np.ndarray, gap: Gap, count: int) -> None:  # type: ignore[type-arg]
    """Tests are disjoint, in the order of time, and each later fold may learn from all that an earlier one could."""
    folds = walk_forward(at_ns, gap, count)
    for earlier, later in itertools.pairwise(folds):
        assert at_ns[earlier.test].max() < at_ns[later.test].min()
        assert set(earlier.training) <= set(later.training)


@given(moments, gaps)
def test_parts_are_kept_apart_by_the_whole_gap(at_ns: np.ndarray, gap: Gap) -> None:  # type: ignore[type-arg]
    """What fits, what calibrates and what judges never share a second of market time."""
    parts = in_parts(at_ns, gap, (0.5, 0.25, 0.25))
    for place, part in enumerate(parts[:-1]):
        later = np.concatenate(parts[place + 1 :])
        if len(part) and len(later):
            assert at_ns[part].max() + gap.whole_ns < at_ns[later].min() + 1


def test_rows_out_of_order_are_refused() -> None:
    """A fold over rows that are not in the order of time would leak silently."""
    with pytest.raises(ValueError, match="order of time"):
        walk_forward(np.array([2, 1], np.int64), Gap(1), 1)
    with pytest.raises(ValueError, match="sum to"):
        in_parts(np.array([1, 2], np.int64), Gap(1), (0.5, 0.4))
