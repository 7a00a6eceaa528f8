"""Days to learn from, made of a seed: an outcome that some features know something about, everything about, or nothing."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from tradingsystem.domain import calendar
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.calibration import sigmoid
from tradingsystem.features.catalogue import NAMES
from tradingsystem.learning.rows import LearningRows
from tradingsystem.world.learning_days import Days, LearningDay

TOLD_BY = ("range_position_15m", "imbalance_slow", "volatility_fast")


def rows_of(
    session: calendar.Session, count: int, seed: int, edge: float, *, leak: float = 0.0, reach: float | None = None
) -> LearningRows:
    """Rows of one session. ``edge`` scales how much three features say of the outcome, ``leak`` how much a fourth copies of it; ``reach`` fixes all
    outcomes at once."""
    random = np.random.default_rng(seed)
    at_ns = session.open_ns + np.sort(random.integers(60, 21_000, count)).astype(np.int64) * NS_PER_SECOND
    features = random.normal(size=(count, FEATURE_COUNT)).astype(np.float32)
    told = features[:, [NAMES.index(name) for name in TOLD_BY]].sum(axis=1).astype(np.float64)
    labels = (random.random(count) < sigmoid(edge * told)).astype(np.float64) if reach is None else np.full(count, reach)
    features[:, NAMES.index("microprice_offset")] += (leak * (2.0 * labels - 1.0)).astype(np.float32)
    return LearningRows(
        features=features,
        labels=labels,
        at_ns=at_ns,
        closed_ns=at_ns + random.integers(60, 1_800, count) * NS_PER_SECOND,
        symbol=random.integers(0, 40, count),
        regime=random.integers(0, 3, count).astype(np.int8),
        gross=np.where(labels > 0, 50.5, -49.5).astype(np.float32),
        spread=np.full(count, 2.0, np.float32),
    )


def some_days(count: int, rows: int, edge: float, *, seed: int = 1, kind: str = "recorded", **more: float) -> Days:
    """So many sessions in a row."""
    found = []
    day = date(2026, 3, 2)
    while len(found) < count:
        if calendar.is_session(day):
            session = calendar.session(day)
            made = rows_of(session, rows, seed * 1_000 + len(found), edge, **more)  # type: ignore[arg-type]
            found.append(LearningDay(str(day), kind, session, "run", made, 1))
        day += timedelta(days=1)
    return Days(tuple(found), ())
