"""The gate lets at most one worthless candidate in twenty through, and four of five good ones; too little data is an answer of its own."""

from __future__ import annotations

import hashlib
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.bundles.evidence import Block, Evidence
from tradingsystem.bundles.gate import FALSE_PROMOTION_AIMED, TRADED_BLOCKS_MIN, Answer, better_probability, judge, probability_needed
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.rows import F64

SEEDS = 100


def evidence(differences: F64, trials: int = 1, deflated_sharpe: float = 1.0) -> Evidence:
    """The champion earns what it earns; the challenger that and the difference."""
    champion = np.random.default_rng(5).normal(size=len(differences))
    blocks = tuple(
        Block(
            session="2026-03-02",
            start_ns=at * 1_800_000_000_000,
            trades=3,
            champion_return_basis_points=float(champion[at]),
            challenger_return_basis_points=float(champion[at] + difference),
        )
        for at, difference in enumerate(differences)
    )
    return Evidence(champion=1, data_kind="recorded", block_seconds=1800, blocks=blocks, trials=trials, deflated_sharpe=deflated_sharpe)


def asked(given: Evidence | None, seed: int = 0) -> Answer:
    """With the founding threshold."""
    return judge(given, champion=1, better_probability_min_percent=80, digest=hashlib.sha256(bytes([seed])).digest())


def passed(effect: float, blocks: int, trials: int = 1) -> int:
    """How many of 100 seeds promote: the best of ``trials`` candidates is the one that is asked about."""
    count = 0
    for seed in range(SEEDS):
        tried = np.random.default_rng([trials, seed]).normal(loc=effect, size=(trials, blocks))
        best = tried[int(np.argmax(tried.mean(axis=1)))]
        count += asked(evidence(best, trials), seed).refusal is None
    return count


def test_worthless_candidates_rarely_pass() -> None:
    """No difference at all: at most 5 of 100."""
    assert passed(effect=0.0, blocks=100) <= 5


def test_the_best_of_ten_worthless_ones_rarely_passes() -> None:
    """Trying often does not help: the more were tried, the more the best one must show."""
    assert passed(effect=0.0, blocks=100, trials=10) <= 5


def test_good_candidates_mostly_pass() -> None:
    """0.4 standard deviations of a block, 100 blocks: at least 80 of 100."""
    assert passed(effect=0.4, blocks=100) >= 80


def test_one_lucky_half_is_not_enough() -> None:
    """Whatever the earlier stretch shows, the later one must show it too."""
    random = np.random.default_rng(1)
    lucky = np.concatenate([random.normal(2.0, 1.0, 60), random.normal(-0.1, 1.0, 60)])
    answer = asked(evidence(lucky))
    assert answer.refusal is Refusal.NOT_BETTER
    assert answer.difference_basis_points > 0.5


def test_too_little_data_is_an_answer() -> None:
    """Counted are blocks in which anybody traded; the text says how many are needed and why."""
    few = evidence(np.full(2 * TRADED_BLOCKS_MIN - 1, 5.0))
    answer = asked(few)
    assert answer.refusal is Refusal.NOT_ENOUGH_DATA
    assert "80 are needed" in answer.detail
    idle = tuple(msgspec.structs.replace(block, trades=0) for block in evidence(np.full(500, 5.0)).blocks)
    assert asked(msgspec.structs.replace(few, blocks=(*few.blocks, *idle))).refusal is Refusal.NOT_ENOUGH_DATA
    assert asked(msgspec.structs.replace(few, blocks=())).refusal is Refusal.NOT_ENOUGH_DATA
    assert asked(None).refusal is Refusal.NOT_ENOUGH_DATA


def test_evidence_against_another_champion_is_outdated() -> None:
    """It says nothing about the version that serves now."""
    other = msgspec.structs.replace(evidence(np.full(200, 5.0)), champion=7)
    answer = asked(other)
    assert answer.refusal is Refusal.OUTDATED
    assert "version 7" in answer.detail


def test_a_deflated_sharpe_ratio_below_the_threshold_refuses() -> None:
    """Both halves may agree and the whole still be what luck gives the best of many."""
    answer = asked(evidence(np.random.default_rng(2).normal(1.0, 1.0, 120), deflated_sharpe=0.79))
    assert answer.refusal is Refusal.NOT_BETTER
    assert "deflated" in answer.detail


def test_the_same_evidence_gets_the_same_answer() -> None:
    """The digest is the seed; two versions that trade alike are not better than each other."""
    given = evidence(np.random.default_rng(3).normal(0.1, 1.0, 120))
    assert asked(given, seed=4) == asked(given, seed=4)
    assert asked(given, seed=4).probability != asked(given, seed=5).probability
    assert asked(evidence(np.zeros(120))).probability == pytest.approx(0.5)


@given(st.integers(50, 100), st.integers(1, 1_000))
def test_more_trials_never_need_less(percent: int, trials: int) -> None:
    """And both halves together never err more often than is allowed for, unless the person's own threshold is stricter."""
    needed = probability_needed(percent, trials)
    assert probability_needed(percent, trials + 1) >= needed >= percent / 100
    assert 1 - (1 - (1 - needed) ** 2) ** trials <= FALSE_PROMOTION_AIMED + 1e-9 or math.isclose(needed, percent / 100)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3.0))
def test_a_constant_gain_only_helps(seed: int, gain: float) -> None:
    """The same differences and a little more each: P(better) does not fall."""
    differences = np.random.default_rng(seed).normal(size=40)
    before = better_probability(differences, np.random.default_rng(seed))
    assert better_probability(differences + gain, np.random.default_rng(seed)) >= before
