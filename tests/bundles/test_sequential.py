"""A version that is not worse is called so at most once in twenty however long it is watched, and one that has turned bad is found within a few sessions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.bundles.sequential import FALSE_ALARM, ROWS_MIN, LossTest

HORIZON_NS = 1_800 * 10**9
WINDOWS_A_SESSION = 13
LIVES = 200


def watched(seed: int, windows: int, bias: float) -> int:
    """After how many windows the alarm came, 0 for never. ``bias`` is added to the logit of the watched version's p; labels follow the other one."""
    random = np.random.default_rng([11, seed])
    test = LossTest(HORIZON_NS)
    for window in range(windows):
        true = random.normal(0.0, 0.6, ROWS_MIN) + random.normal(0.0, 0.4)
        compared = 1.0 / (1.0 + np.exp(-(true + random.normal(0.0, 0.2, ROWS_MIN))))
        other = 1.0 / (1.0 + np.exp(-(true + random.normal(0.0, 0.2, ROWS_MIN) + bias)))
        labels = random.random(ROWS_MIN) < 1.0 / (1.0 + np.exp(-true))
        at_ns = window * HORIZON_NS
        test.hear((at_ns, float(a), float(b), int(label)) for a, b, label in zip(other, compared, labels, strict=True))
        test.pass_to(at_ns + 2 * HORIZON_NS)
        if test.worse:
            return window + 1
    return 0


def test_false_alarms_are_as_rare_as_stated() -> None:
    """Twenty sessions of a version that is exactly as good."""
    alarms = sum(watched(seed, 20 * WINDOWS_A_SESSION, 0.0) > 0 for seed in range(LIVES // 4))
    assert alarms <= FALSE_ALARM * LIVES // 4 + 1


def test_a_version_that_turned_bad_is_found() -> None:
    """Logits off by 1.5: four of five are found within three sessions."""
    found = [watched(seed, 3 * WINDOWS_A_SESSION, 1.5) for seed in range(20)]
    assert sum(at > 0 for at in found) >= 16


def test_a_better_one_is_never_called_worse() -> None:
    """Watching the good one of the two."""
    test = LossTest(HORIZON_NS)
    for window in range(60):
        test.hear((window * HORIZON_NS, 0.7, 0.4, 1) for _ in range(ROWS_MIN))
        test.pass_to((window + 2) * HORIZON_NS)
    assert test.windows == 60
    assert test.wealth < 1.0


def test_a_thin_window_and_a_late_row_say_nothing() -> None:
    """Few rows prove nothing, and a window that has spoken does not speak again."""
    test = LossTest(HORIZON_NS)
    test.hear([(0, 0.9, 0.1, 0)] * (ROWS_MIN - 1))
    test.pass_to(3 * HORIZON_NS)
    test.hear([(0, 0.9, 0.1, 0)] * ROWS_MIN)
    test.pass_to(9 * HORIZON_NS)
    assert (test.windows, test.wealth) == (0, 1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 1)), min_size=ROWS_MIN, max_size=80), st.integers(1, 30))
def test_wealth_is_always_a_positive_number(rows: list[tuple[float, float, int]], windows: int) -> None:
    """Nothing that a model says makes the evidence negative, infinite or no number."""
    test = LossTest(HORIZON_NS)
    for window in range(windows):
        test.hear((window * HORIZON_NS, *row) for row in rows)
        test.pass_to((window + 2) * HORIZON_NS)
    assert 0.0 < test.wealth < float("inf")
