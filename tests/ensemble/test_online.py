"""Live weights: bounded whatever is heard, better where there is something to learn, back to the bundle's own where there is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tradingsystem.bundles.manifest import Calibration
from tradingsystem.domain.rows import F64
from tradingsystem.ensemble.calibration import sigmoid
from tradingsystem.ensemble.online import FLOOR, INTERCEPT_CHANGE_MAX, SLOPE_FACTOR_MAX, Blend, OnlineBlend, bounded_logits, reblend
from tradingsystem.ensemble.weights import log_loss
from tradingsystem.process.serving import choose_in

OWN = Blend(
    np.array([0.5, 0.3, 0.2]),
    Calibration(slope=1.2, intercept=0.1, variance_slope=1e-3, variance_intercept=1e-3, covariance=2e-4, rows=60_000, brier=0.2),
)
HORIZON_NS = 1_800 * 10**9


def batch(chance: np.random.Generator, true: F64, rows: int = 500, intercept: float = 0.1) -> tuple[F64, F64]:
    """Members' probabilities, and labels drawn as if the weights ``true`` were right."""
    members = sigmoid(chance.normal(0.0, 1.0, (rows, 3)))
    p = sigmoid(1.2 * (bounded_logits(members) @ true) + intercept)
    return members, (chance.random(rows) < p).astype(np.float64)


def taught(seed: int, true: F64, updates: int = 30, intercept: float = 0.1) -> OnlineBlend:
    """A learner after so many batches, every row an opportunity of its own."""
    chance = np.random.default_rng(seed)
    learner = OnlineBlend(OWN, 1_800)
    for number in range(updates):
        members, labels = batch(chance, true, intercept=intercept)
        learner.learn(members, labels, np.arange(500), np.full(500, number * HORIZON_NS))
    return learner


@settings(max_examples=40)
@given(
    arrays(np.float64, (6, 8, 3), elements=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))),
    arrays(np.float64, (6, 8), elements=st.sampled_from([0.0, 1.0])),
)
def test_weights_stay_in_their_bounds_whatever_is_heard(members: F64, labels: F64) -> None:
    """Each weight keeps half of what the bundle gave it, all sum to one, and the calibration stays near the bundle's: for any batches at all."""
    learner = OnlineBlend(OWN, 1_800)
    for number in range(len(members)):
        blend = learner.learn(members[number], labels[number], np.arange(8), np.full(8, number)).blend
        assert blend.weights.sum() == pytest.approx(1.0)
        assert (blend.weights >= FLOOR * OWN.weights - 1e-12).all()
        assert (blend.weights <= FLOOR * OWN.weights + (1 - FLOOR) + 1e-12).all()
        assert OWN.calibration.slope / SLOPE_FACTOR_MAX <= blend.calibration.slope <= OWN.calibration.slope * SLOPE_FACTOR_MAX
        assert abs(blend.calibration.intercept - OWN.calibration.intercept) <= INTERCEPT_CHANGE_MAX
        assert blend.calibration.variance_slope > 0


def test_it_learns_which_member_is_right() -> None:
    """Where the third member is the one to believe, its weight grows, and later predictions lose less than the bundle's own would."""
    true = np.array([0.05, 0.05, 0.9])
    learner = taught(1, true)
    assert learner.current.weights[2] > 0.35
    members, labels = batch(np.random.default_rng(2), true, 20_000)
    logits = bounded_logits(members)
    assert log_loss(learner.current.p(logits), labels) < log_loss(OWN.p(logits), labels) - 0.01


def test_noise_moves_little() -> None:
    """Where the bundle is right, thirty batches leave the weights within a tenth of it, over twenty seeds: on average it loses hardly more than by standing
    still."""
    excess = []
    for seed in range(20):
        learner = taught(seed, OWN.weights)
        assert np.abs(learner.current.weights - OWN.weights).max() < 0.1
        members, labels = batch(np.random.default_rng(1_000 + seed), OWN.weights, 5_000)
        logits = bounded_logits(members)
        excess.append(log_loss(learner.current.p(logits), labels) - log_loss(OWN.p(logits), labels))
    assert np.mean(excess) < 0.001


def test_the_calibration_follows_the_level() -> None:
    """When targets are reached less often than trained, the intercept goes down towards where it is now."""
    learner = taught(3, OWN.weights, intercept=-0.5)
    assert learner.current.calibration.intercept == pytest.approx(-0.5, abs=0.1)


def test_rows_of_one_opportunity_are_not_ninety_witnesses() -> None:
    """The same rows told as one opportunity leave the calibration less sure and nearer to the bundle's than told as many."""
    members, labels = batch(np.random.default_rng(4), OWN.weights, 500, intercept=-1.0)
    many, one = OnlineBlend(OWN, 1_800), OnlineBlend(OWN, 1_800)
    many.learn(members, labels, np.arange(500), np.zeros(500, np.int64))
    one.learn(members, labels, np.arange(500) // 90, np.zeros(500, np.int64))
    assert one.current.calibration.variance_intercept > many.current.calibration.variance_intercept
    own = OWN.calibration.intercept
    assert abs(one.current.calibration.intercept - own) < abs(many.current.calibration.intercept - own)


def test_what_loses_more_than_the_bundle_is_taken_back() -> None:
    """After the market turns against what was learned, the bundle's own weights are in force again, by itself."""
    learner = taught(5, np.array([0.05, 0.05, 0.9]))
    chance = np.random.default_rng(6)
    reverted = False
    for number in range(100, 120):
        members, labels = batch(chance, np.array([0.9, 0.3, -0.6]))
        update = learner.learn(members, labels, np.arange(500), np.full(500, number * HORIZON_NS))
        if update.reverted:
            reverted = True
            assert learner.current is OWN
            break
    assert reverted


def test_the_same_outcomes_give_the_same_weights() -> None:
    """To the bit: what a tape says must not depend on when it was computed."""
    first, second = taught(7, np.array([0.2, 0.2, 0.6]), 5), taught(7, np.array([0.2, 0.2, 0.6]), 5)
    assert first.current.weights.tobytes() == second.current.weights.tobytes()
    assert first.current.calibration == second.current.calibration


def test_the_bundles_own_blend_is_the_graphs() -> None:
    """With the manifest's weights and calibration, p from the graph's member outputs is the graph's own p on its golden rows."""
    bundle = choose_in(None, 0).bundle
    manifest, golden = bundle.manifest, bundle.golden
    own = Blend(np.array(manifest.weights), manifest.calibration)
    assert np.abs(reblend(golden.members, own) - golden.blend).max() < 1e-4


@pytest.mark.parametrize("bad", [np.array([[0.5, np.nan, 0.5]]), np.array([[0.5, 1.5, 0.5]]), np.empty((0, 3))])
def test_what_is_no_probability_teaches_nothing(bad: F64) -> None:
    """Refused before anything has changed."""
    learner = OnlineBlend(OWN, 1_800)
    with pytest.raises(ValueError, match="probability"):
        learner.learn(bad, np.ones(len(bad)), np.arange(len(bad)), np.zeros(len(bad), np.int64))
    assert learner.current is OWN
