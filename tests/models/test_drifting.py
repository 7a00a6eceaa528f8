"""What live rows say of each version: half a session against the same half of its golden rows; a broken feature is named, an ordinary day is silent."""

from __future__ import annotations

import numpy as np
import pytest

from tradingsystem.domain.outcomes import FeatureSample
from tradingsystem.domain.rows import F32
from tradingsystem.features.catalogue import NAMES
from tradingsystem.models.drifting import WATCHED, DriftWatch

SPREAD, ELAPSED, VIX, GAP = (NAMES.index(name) for name in ("spread", "session_elapsed", "vix", "gap"))
MINUTES = 390
ROWS = 3  # a minute


def market(seed: int, rows: int) -> F32:
    """Rows of some days, spread evenly over the session."""
    made = np.random.default_rng(seed).normal(size=(rows, 50)).astype(np.float32)
    made[:, ELAPSED] = np.linspace(0.0, 1.0, rows) * 5 % 1.0
    return made


def sample(session: int, minute: int, values: F32) -> FeatureSample:
    """What the filter tells in a minute: each row another symbol's."""
    symbols = tuple(f"S{minute}-{row}" for row in range(len(values)))
    return FeatureSample(session_open_ns=session, elapsed=(minute + 1) / MINUTES, symbols=symbols, values=values.astype("<f4").tobytes())


def hear(watch: DriftWatch, session: int, minutes: range, column: int = SPREAD, shift: float = 0.0) -> None:
    """Minutes of a session in which one column is off by ``shift`` standard deviations."""
    live = np.random.default_rng(session).normal(size=(MINUTES, ROWS, 50)).astype(np.float32)
    live[:, :, column] += shift
    for minute in minutes:
        watch.hear(sample(session, minute, live[minute]))


def watching(*versions: int) -> DriftWatch:
    watch = DriftWatch()
    watch.over({version: market(version, 512) for version in versions})
    return watch


def test_an_ordinary_session_is_silent() -> None:
    """Morning and afternoon, for each version."""
    watch = watching(3, 4)
    hear(watch, 1, range(MINUTES))
    assert watch.told() == {}


def test_a_feature_that_broke_is_named_when_the_half_is_over() -> None:
    """Not before: a few rows of the morning are no morning. The afternoon is judged on its own, and another session forgets."""
    watch = watching(3, 4)
    hear(watch, 1, range(190), shift=3.0)
    assert watch.told() == {}
    hear(watch, 1, range(190, 200))
    assert set(watch.told()) == {3, 4}
    assert watch.told()[3].startswith("stability index over half a session: spread ")
    assert watch.drifted(3) == 1
    hear(watch, 1, range(200, MINUTES))
    assert watch.told() == {}


@pytest.mark.parametrize("column", [VIX, GAP, ELAPSED])
def test_what_is_one_value_a_session_is_left_out(column: int) -> None:
    """The market's fear, what has been since the open, and the time of day: a session is one observation of each."""
    watch = watching(3)
    hear(watch, 1, range(MINUTES), column, 5.0)
    assert watch.told() == {}
    assert column not in WATCHED


def test_one_symbol_is_one_observation() -> None:
    """However often it was a candidate."""
    watch = watching(3)
    for minute in range(200):
        watch.hear(
            FeatureSample(session_open_ns=1, elapsed=minute / 390, symbols=("AAA",) * 9, values=np.full((9, 50), 9.0, "<f4").tobytes())
        )
    assert watch.told() == {}


def test_a_version_that_comes_later_is_judged_by_the_half_that_is_over() -> None:
    """A candidate does not have to wait for the next one; one that leaves is forgotten."""
    watch = watching(3)
    hear(watch, 1, range(250), shift=3.0)
    watch.over({3: market(3, 512), 5: market(5, 512)})
    assert set(watch.told()) == {3, 5}
    watch.over({5: market(5, 512)})
    assert set(watch.told()) == {5}


def test_what_is_not_what_it_says_is_refused() -> None:
    """Half a message; rows that no model could read are left out."""
    watch = watching(3)
    with pytest.raises(ValueError, match="reshape"):
        watch.hear(FeatureSample(session_open_ns=1, elapsed=0.1, symbols=("A", "B"), values=bytes(200)))
    hear(watch, 1, range(200), shift=np.nan)
    assert watch.told() == {}
