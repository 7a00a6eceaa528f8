"""The declared edge: small, bounded, absent at zero; alerts come late; the oracle's rate is what is promised."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest

from tradingsystem.simulator.edge import ORACLE_CEILING, drift_ratio_for, first_passage_probability
from tradingsystem.simulator.feed import SECOND_NS
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings
from tradingsystem.simulator.market_kernel import X
from tradingsystem.simulator.option_flow import receipt_lag
from tradingsystem.simulator.oracle import OracleReport, Outcome, measure

MANY = MarketSettings(seed=0, date=datetime.date(2026, 3, 2), symbols=400, episodes_per_symbol=5.0, halts=0, events_per_second=40.0)


@pytest.fixture(scope="module")
def with_edge() -> OracleReport:
    return measure(MANY, range(3))


@pytest.fixture(scope="module")
def without_edge() -> OracleReport:
    return measure(dataclasses.replace(MANY, edge=0.0), range(3))


def test_the_oracle_is_right_more_often_than_not_and_never_too_often(with_edge: OracleReport) -> None:
    """Who is told everything stays at or under 62 %: measured, with its error on the safe side."""
    assert with_edge.real.entries > 150
    assert 0.5 < with_edge.hit_rate <= ORACLE_CEILING + with_edge.real.standard_error


def test_decoys_pay_what_chance_pays(with_edge: OracleReport, without_edge: OracleReport) -> None:
    """A decoy is a random entry: its rate does not depend on the edge, and lies under one half by spread and fees."""
    difference = with_edge.decoy.hit_rate - without_edge.decoy.hit_rate
    assert abs(difference) < 3 * (with_edge.decoy.standard_error + without_edge.decoy.standard_error)
    assert with_edge.decoy.hit_rate < 0.5


def test_without_edge_the_oracle_knows_nothing(without_edge: OracleReport) -> None:
    """At edge 0 real and decoy episodes are the same thing."""
    real, decoy = without_edge.real, without_edge.decoy
    assert abs(real.hit_rate - decoy.hit_rate) < 3 * np.hypot(real.standard_error, decoy.standard_error)
    assert real.hit_rate < 0.5


def test_edge_adds_drift_and_changes_no_noise() -> None:
    """Prices with and without edge differ in symbols with a real episode and nowhere else."""
    plain, planted = (GeneratedMarket(dataclasses.replace(MANY, edge=edge)) for edge in (0.0, 1.0))
    for market in (plain, planted):
        market.advance(market.session.first_ns + 1_500 * SECOND_NS)
    moved = np.flatnonzero(plain.live[:, X] != planted.live[:, X])
    began = planted.episodes.real & (planted.episodes.start_second < 1_500)
    assert set(moved.tolist()) == set(planted.episodes.symbol[began].tolist())
    assert len(moved) > 5


def test_half_of_the_episodes_are_decoys_and_half_go_down() -> None:
    """Neither buying all that moves nor buying all that is announced pays by construction."""
    episodes = GeneratedMarket(MANY).episodes
    assert 0.4 < episodes.real.mean() < 0.6
    assert 0.4 < (episodes.direction > 0).mean() < 0.6


@pytest.mark.parametrize("probability", [0.3, 0.46, 0.5, 0.655])
def test_drift_and_probability_are_inverse(probability: float) -> None:
    """The drift chosen for a probability gives that probability."""
    ratio = drift_ratio_for(probability, 0.0054, 0.0046)
    assert first_passage_probability(0.0054, 0.0046, ratio) == pytest.approx(probability, abs=1e-9)


def test_alerts_arrive_five_to_sixteen_seconds_late_with_median_eight() -> None:
    """An alert known at its last print would be look-ahead."""
    lag = receipt_lag(np.linspace(0.0, 0.999999, 100_001))
    assert lag.min() == 5.0
    assert lag.max() <= 16.0
    assert np.median(lag) == pytest.approx(8.0, abs=0.01)


def test_outcomes_add_up() -> None:
    """Rates over seeds are of all entries, not means of means."""
    total = Outcome(10, 6, 4) + Outcome(90, 30, 60)
    assert (total.entries, total.hit_rate) == (100, 0.36)
    assert np.isnan(Outcome().hit_rate)
