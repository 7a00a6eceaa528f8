"""Live predictions are closed by the same word as training rows are labelled, through gaps, restarts and another symbol table."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingsystem.domain.rows import F32
from tradingsystem.ensemble import outcomes
from tradingsystem.ensemble.labels import SAMPLE_SECONDS, LabelRule
from tradingsystem.ensemble.outcomes import Closed, OpenPredictions, due
from tradingsystem.learning.labels import label

RULE = LabelRule(target_basis_points=30, stop_basis_points=40, horizon_seconds=9, fee_basis_points=0.5)
SECONDS = 40
SYMBOLS = 5
ALL = np.arange(SYMBOLS, dtype=np.int32)


def paths(seed: int) -> tuple[F32, F32]:
    """Bids and asks F32[symbols, seconds], some of them missing."""
    chance = np.random.default_rng(seed)
    bid = (100.0 * np.exp(np.cumsum(chance.normal(0, 0.0012, (SYMBOLS, SECONDS)), axis=1))).astype(np.float32)
    ask = (bid * np.float32(1.0002)).astype(np.float32)
    missing = chance.random((SYMBOLS, SECONDS)) < 0.1
    bid[missing], ask[missing] = np.nan, np.nan
    return bid, ask


def predict(held: OpenPredictions, model: int, second: int, ask: F32, rows: np.ndarray = ALL, rule: LabelRule = RULE) -> None:
    """Every symbol is predicted, at even seconds at once; p and the members tell which one it was."""
    p, members = 0.1 + rows / 100.0, np.repeat(rows[:, None], 3, axis=1).astype(np.float32)
    at_once = second % 2 == 0
    held.expect(model, rows, ask[rows], second, SECONDS - 1, rule, said=(p, members) if at_once else None)
    if not at_once:
        held.answer(model, second, rows, p, members)


def told(closed: Closed) -> set[tuple[int, int, int, int]]:
    """(version, symbol, second, label) of each."""
    return set(zip(closed.model.tolist(), closed.symbol.tolist(), closed.second.tolist(), closed.label.tolist(), strict=True))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, SECONDS - 1))
def test_closed_live_as_labelled_for_training(seed: int, restarted: int) -> None:
    """For every decision of every symbol the live label is the training label, each told once, and a restart in between changes nothing."""
    bid, ask = paths(seed)
    held = OpenPredictions()
    held.begin(1)
    found: list[tuple[int, int, int, int]] = []
    for second in range(SECONDS):
        closed = held.advance(second, np.ascontiguousarray(bid[:, second]))
        assert np.array_equal(closed.p, (0.1 + closed.symbol / 100.0).astype(np.float32))
        assert np.array_equal(closed.members[:, 2], closed.symbol.astype(np.float32))
        found += told(closed)
        if second < SECONDS - 1:
            predict(held, 1, second, ask[:, second])
        if second == restarted:
            again = OpenPredictions()
            again.restore(held.snapshot())
            held = again
    symbol, second_of = (grid.ravel().astype(np.int32) for grid in np.meshgrid(ALL, np.arange(SECONDS - 1), indexing="ij"))
    expected = label(bid, ask, symbol, second_of, RULE)
    known = expected >= 0
    assert len(found) == len(set(found))
    assert set(found) == set(
        zip([1] * known.sum(), symbol[known].tolist(), second_of[known].tolist(), expected[known].tolist(), strict=True)
    )
    assert len(held) == 0


def test_a_sweep_that_comes_late_closes_what_is_over() -> None:
    """A price after the horizon closes nothing as reached: between two sweeps the horizon has passed, and what happened in it was not seen."""
    bid = np.full(SYMBOLS, 100.0, np.float32)
    held = OpenPredictions()
    predict(held, 1, 0, bid)
    late = held.advance(RULE.horizon_seconds + 1, bid * np.float32(1.1))
    assert sorted(late.label.tolist()) == [0] * SYMBOLS


def test_an_answer_that_never_comes_is_not_told() -> None:
    """A prediction that nobody made has no outcome; it is counted as dropped. One that came late, before the end, counts."""
    price = np.full(SYMBOLS, 100.0, np.float32)
    held = OpenPredictions()
    held.expect(7, ALL, price, 0, SECONDS, RULE)
    held.expect(8, ALL, price, 0, SECONDS, RULE)
    assert len(held.advance(1, price)) == 0
    held.answer(8, 0, ALL, np.where(ALL == 2, np.nan, 0.5), np.zeros((SYMBOLS, 3), np.float32))
    closed = held.advance(RULE.horizon_seconds, price)
    assert told(closed) == {(8, symbol, 0, 0) for symbol in (0, 1, 3, 4)}
    assert held.dropped == SYMBOLS + 1


def test_another_table_moves_what_is_open() -> None:
    """Predictions follow their symbol to its new place; those of a symbol that is gone are dropped, not given to its successor."""
    price = np.full(SYMBOLS, 100.0, np.float32)
    held = OpenPredictions()
    predict(held, 1, 0, price)
    held.rename(np.array([4, -1, 0, 1, 2], np.int32))
    up = price.copy()
    up[4] = 110.0
    closed = held.advance(1, up)
    assert told(closed) == {(1, 4, 0, 1)}
    assert closed.p.tolist() == [np.float32(0.1)]
    assert (held.dropped, len(held)) == (1, 3)


def test_what_another_session_left_open_is_dropped() -> None:
    """Counted, never told: nobody saw its end."""
    price = np.full(SYMBOLS, 100.0, np.float32)
    held = OpenPredictions()
    held.begin(1)
    predict(held, 1, 0, price)
    held.begin(1)
    assert len(held) == SYMBOLS
    held.begin(2)
    assert (held.dropped, len(held)) == (SYMBOLS, 0)


def test_memory_is_bounded() -> None:
    """What does not fit is counted, and what is held goes on."""
    rows = np.arange(60_000, dtype=np.int32)
    price = np.full(len(rows), 100.0, np.float32)
    held = OpenPredictions()
    for model in (1, 2, 3):
        held.expect(model, rows, price, 0, SECONDS, RULE)
    assert (len(held), held.dropped) == (outcomes.OPEN_MAX, 3 * len(rows) - outcomes.OPEN_MAX)


@given(st.lists(st.integers(1, 45), min_size=1, max_size=30))
def test_each_symbol_is_sampled_once_in_twenty_seconds(steps: list[int]) -> None:
    """Swept each second: exactly the seconds that training keeps. Swept seldom: at most once per sweep, and nobody is passed over for ever."""
    rows = np.arange(SAMPLE_SECONDS + 3, dtype=np.int32)
    for second in range(1, 50):
        assert np.array_equal(due(rows, second, second - 1), (rows + second) % SAMPLE_SECONDS == 0)
    second, taken = 0, np.zeros(len(rows), np.int64)
    for step in steps:
        taken += due(rows, second + step, second)
        second += step
    most = second // SAMPLE_SECONDS + 1
    assert (taken <= most).all()
    if all(step <= SAMPLE_SECONDS for step in steps):
        assert (taken >= second // SAMPLE_SECONDS).all()
