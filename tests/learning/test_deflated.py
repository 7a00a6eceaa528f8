"""The deflated Sharpe ratio is the paper's, and does to luck what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tradingsystem.learning.deflated import deflated_sharpe, expected_best, probability_above, sharpe


def test_the_papers_own_example_comes_out() -> None:
    """Five years of daily returns, an annual ratio of 2.5 as the best of 100 trials whose ratios vary by 1/2, skewness -3, kurtosis 10: 0.90 (page 9)."""
    bar = expected_best(100, 0.5 / 250)
    assert bar == pytest.approx(0.1132, abs=1e-4)
    assert probability_above(2.5 / math.sqrt(250), bar, 1_250, -3.0, 10.0) == pytest.approx(0.9004, abs=1e-4)


def test_more_trials_make_the_same_returns_worth_less() -> None:
    """The same returns are less sure as the best of many."""
    returns = np.random.default_rng(1).normal(0.2, 1.0, 200)
    worth = [deflated_sharpe(returns, trials, np.zeros(0)) for trials in (1, 2, 10, 100, 1_000)]
    assert worth == sorted(worth, reverse=True)
    assert worth[0] > 0.95 > worth[-1]


def test_without_skill_one_trial_is_as_often_above_as_below() -> None:
    """Over many strategies without skill the probability is even: above 0.95 in about one of twenty."""
    random = np.random.default_rng(7)
    found = np.array([deflated_sharpe(random.normal(size=150), 1, np.zeros(0)) for _ in range(1_000)])
    assert 0.03 < (found > 0.95).mean() < 0.07


def test_the_best_of_many_without_skill_is_rarely_believed() -> None:
    """The best of 50 strategies without skill is above 0.95 in at most one of twenty families."""
    random = np.random.default_rng(11)
    believed = 0
    for _ in range(200):
        family = random.normal(size=(50, 120))
        ratios = np.array([sharpe(one) for one in family])
        believed += deflated_sharpe(family[int(ratios.argmax())], 50, ratios) > 0.95
    assert believed <= 10


def test_nothing_moving_is_worth_nothing() -> None:
    """Two models that never differ, or one return, say nothing."""
    assert deflated_sharpe(np.zeros(50), 1, np.zeros(0)) == 0.0
    assert deflated_sharpe(np.ones(1), 1, np.zeros(0)) == 0.0
    assert sharpe(np.full(9, 3.0)) == 0.0
