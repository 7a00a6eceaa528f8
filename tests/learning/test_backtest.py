"""A backtest acts as the filter would, pays what it costs, and puts every result into the block in which it was closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.learning.some_rows import some_rows
from tests.learning.test_labels import RULE
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.learning.backtest import Rules, blocks, entries, result
from tradingsystem.learning.labels import closings, label
from tradingsystem.learning.rows import LearningRows, net
from tradingsystem.process.serving import SHIPPED_MODELS, choose_in

MANIFEST = choose_in(SHIPPED_MODELS, 1).bundle.manifest


def answers(rows: LearningRows, sure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Members and blend that are sure of the chosen rows and doubt all others."""
    blend = np.where(sure, 0.9, 0.2).astype(np.float32)
    return np.repeat(blend[:, None], 3, axis=1), blend


def one_symbol(count: int) -> LearningRows:
    """One row each 20 seconds of one symbol."""
    rows = some_rows(count, 1)
    at_ns = np.arange(count, dtype=np.int64) * 20 * NS_PER_SECOND
    return replace(rows, at_ns=at_ns, closed_ns=at_ns + 60 * NS_PER_SECOND, symbol=np.zeros(count, np.int64))


def test_a_symbol_is_quiet_until_its_cooldown_is_over_and_its_confidence_fell() -> None:
    """Sure all the time buys once; doubting in between buys again, and not before the cooldown has passed."""
    rows, manifest = one_symbol(200), MANIFEST
    always = np.ones(200, np.bool_)
    assert np.flatnonzero(entries(rows, *answers(rows, always), manifest, Rules())).tolist() == [0]
    doubted = always.copy()
    doubted[5] = False
    assert np.flatnonzero(entries(rows, *answers(rows, doubted), manifest, Rules())).tolist() == [0, 45]
    late = replace(rows, closed_ns=rows.at_ns + 1_200 * NS_PER_SECOND)
    assert np.flatnonzero(entries(late, *answers(late, doubted), manifest, Rules())).tolist() == [0, 60]


def test_answers_that_are_no_probabilities_buy_nothing() -> None:
    """NaN from a broken graph is no wish."""
    rows = one_symbol(20)
    members, blend = answers(rows, np.ones(20, np.bool_))
    blend[:] = np.nan
    assert not entries(rows, members, blend, MANIFEST, Rules()).any()


def test_doubled_costs_take_the_spread_and_the_fee_once_more() -> None:
    """What is met at one time costs twice the spread and twice the fee at two."""
    rows = some_rows(10, 3)
    np.testing.assert_allclose(net(rows, 0.5) - net(rows, 0.5, times=2.0), 2.0 + 0.5)
    assert net(rows, 0.5)[rows.labels > 0] == pytest.approx(50.0)


def test_every_result_lies_in_the_block_in_which_it_was_closed() -> None:
    """Sums over blocks are the sums over trades, blocks are as long as said, and an empty one is there with zeros."""
    rows = some_rows(3_000, 5)
    session = Session(date(2026, 3, 2), 0, 4_300 * NS_PER_SECOND)
    champion, challenger = rows.symbol == 1, rows.symbol == 2
    returns = net(rows, 0.5)
    made = blocks([session], rows, returns, champion, challenger, 600)
    assert [block.start_ns // NS_PER_SECOND for block in made] == list(range(0, 4_200, 600))
    assert sum(block.champion_return_basis_points for block in made) == pytest.approx(returns[champion].sum())
    assert sum(block.challenger_return_basis_points for block in made) == pytest.approx(returns[challenger].sum())
    assert sum(block.trades for block in made) == champion.sum() + challenger.sum()
    inside = (rows.closed_ns > 600 * NS_PER_SECOND) & (rows.closed_ns <= 1_200 * NS_PER_SECOND)
    assert made[1].champion_return_basis_points == pytest.approx(returns[champion & inside].sum())
    assert made[-1].trades == 0
    assert result(rows, returns, champion).sum_basis_points == pytest.approx(returns[champion].sum())
    assert result(rows, returns, np.zeros(len(rows), np.bool_)).trades == 0


paths = st.lists(st.floats(98, 102), min_size=8, max_size=30)


@given(paths, st.integers(0, 6), st.integers(0, 30))
def test_a_label_is_given_only_once_its_future_is_closed(bids: list[float], second: int, known: int) -> None:
    """Cut off anywhere, a decision has the label of the whole day or none, and none only while its horizon is open."""
    bid = np.array([bids], np.float32)
    ask = np.full_like(bid, 100.0)
    place, moment = np.array([0], np.int32), np.array([second], np.int32)
    known = min(known, len(bids) - 1)
    seen = np.where(np.arange(len(bids)) <= known, bid, np.nan).astype(np.float32)
    cut = closings(seen, np.where(np.isnan(seen), np.nan, ask).astype(np.float32), place, moment, RULE, known)
    whole = int(label(bid, ask, place, moment, RULE)[0])
    assert int(cut.labels[0]) in (-1, whole)
    if cut.labels[0] < 0:
        assert known < min(second + RULE.horizon_seconds, len(bids) - 1)
    else:
        assert second < cut.seconds[0] <= min(second + RULE.horizon_seconds, known)


def test_what_a_trade_returns_is_what_it_was_sold_at() -> None:
    """At the target its own price, at the stop and at the end the bid that was there."""
    for bids, expected in (([99.9, 103.0], 50.0), ([99.9, 97.0, 101.0], -300.0), ([99.9, 100.2, 100.1], 10.0)):
        bid = np.array([bids], np.float32)
        found = closings(bid, np.full_like(bid, 100.0), np.zeros(1, np.int32), np.zeros(1, np.int32), RULE, len(bids) - 1)
        assert float(found.gross[0]) == pytest.approx(expected, abs=0.05)
