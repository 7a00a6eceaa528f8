"""What is kept of old days is an even sample of each regime, and the same one every time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.learning.some_rows import some_rows
from tradingsystem.learning.reservoir import reservoir, sample


def one_pass(offered: int, most: int, seed: int) -> list[int]:
    """Algorithm R as the paper has it, one item after the other."""
    chances = np.random.default_rng(seed).random(max(offered - most, 0))
    held = list(range(min(offered, most)))
    for number in range(most, offered):
        place = int(chances[number - most] * (number + 1))
        if place < most:
            held[place] = number
    return sorted(held)


@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 2**32))
def test_the_sample_is_algorithm_r(offered: int, most: int, seed: int) -> None:
    """All at once gives what one pass gives."""
    assert sample(offered, most, seed).tolist() == one_pass(offered, most, seed)


def test_a_rare_regime_is_kept_beside_a_common_one() -> None:
    """Each regime has room of its own: the rarest keeps all of its rows where the commonest is cut down."""
    days = [some_rows(1_000, seed, seed * 1_000) for seed in range(5)]
    kept = reservoir(days, seed=1, rows_per_regime=100)
    offered = np.bincount(np.concatenate([day.regime for day in days]), minlength=4)
    np.testing.assert_array_equal(np.bincount(kept.regime, minlength=4), np.minimum(offered, 100))
    assert (np.diff(kept.at_ns) >= 0).all()


def test_every_day_has_the_same_chance() -> None:
    """Over many seeds each of five days gives a fifth of what is kept."""
    counts = np.zeros(5)
    for seed in range(400):
        counts += np.bincount(sample(500, 20, seed) // 100, minlength=5)
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.02)


def test_the_same_days_and_seed_give_the_same_rows() -> None:
    """A replayed job learns from the same rows."""
    days = [some_rows(500, seed, seed * 1_000) for seed in range(3)]
    assert reservoir(days, 3, 50).digest() == reservoir(days, 3, 50).digest()
    assert reservoir(days, 3, 50).digest() != reservoir(days, 4, 50).digest()
