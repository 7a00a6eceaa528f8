"""What is told of live feature rows: thinned by symbol and time, in the shares in which models read them, once a minute."""

from __future__ import annotations

import datetime
from collections import Counter

import numpy as np
import pytest

from tradingsystem.domain.calendar import session
from tradingsystem.ensemble.labels import SAMPLE_SECONDS
from tradingsystem.ensemble.outcomes import due
from tradingsystem.filter.sampling import EVERY, ROWS_MAX, Sampling

SESSION, NEXT = session(datetime.date(2026, 3, 2)), session(datetime.date(2026, 3, 3))
NAMES = tuple(f"S{row}" for row in range(1_200))


def values(rows: np.ndarray) -> np.ndarray:
    """Feature rows that name their symbol."""
    return np.repeat(rows.astype(np.float32)[:, None], 50, axis=1)


def test_a_steady_candidate_is_told_each_five_minutes() -> None:
    """Of the rows that are followed each symbol's fifteenth, spread over time; what is told is what was read, and no message waits past a minute."""
    sampling, told, times = Sampling(), Counter[str](), list[float]()
    candidates = np.arange(0, 1_200, 37, dtype=np.int32)
    for second in range(1, 3_661):
        rows = candidates[due(candidates, second, second - 1)] if second <= 3_600 else candidates[:0]
        sampling.take(SESSION, second, NAMES, rows, values(rows))
        if (sample := sampling.due(second)) is not None:
            times.append(sample.elapsed)
            told.update(sample.symbols)
            found = np.frombuffer(sample.values, "<f4").reshape(-1, 50)
            assert [f"S{row:.0f}" for row in found[:, 7]] == list(sample.symbols)
    assert told == dict.fromkeys((NAMES[row] for row in candidates), 3_600 // (SAMPLE_SECONDS * EVERY))
    assert times[-1] == pytest.approx(3_600 / 23_400, abs=61 / 23_400)
    assert max(np.diff(times)) * 23_400 < 121


def test_another_session_begins_anew_and_a_message_stays_small() -> None:
    """What waited of yesterday is nobody's any more; a flood of candidates is cut."""
    sampling = Sampling()
    sampling.take(SESSION, 20, NAMES, np.arange(0, 1, dtype=np.int32), values(np.arange(0, 1)))
    crowd = np.arange(10_000, dtype=np.int32)
    names = tuple(map(str, crowd))
    for second in range(300):
        sampling.take(NEXT, second, names, crowd, values(crowd))
    sample = sampling.due(400)
    assert sample is not None
    assert sample.session_open_ns == NEXT.open_ns
    assert len(sample.symbols) == ROWS_MAX
    assert len(sample.values) == ROWS_MAX * 200
    assert sampling.due(500) is None
