"""Regimes: who votes, what a missing VIX means, and that noise around a border does not switch rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.market.histories import Sealed, fresh, opened, play, row, trade
from tradingsystem.domain.rows import RowKind, concatenate
from tradingsystem.domain.signals import Regime
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.filter.regimes import DWELL_NS, MarketView, RegimeState, next_regime, score, view
from tradingsystem.filter.rules import rule_of
from tradingsystem.spec.filtering import FOUNDING_RULES, Filter, RuleRegime

CALM = MarketView(vix=14.0, momentum=0.004, breadth=0.8, volume_ratio=1.2)
FEAR = MarketView(vix=29.0, momentum=-0.01, breadth=0.1, volume_ratio=1.5)
FLAT = MarketView(vix=20.0, momentum=0.0, breadth=0.5, volume_ratio=1.0)
NOTHING = MarketView(vix=None, momentum=np.nan, breadth=np.nan, volume_ratio=np.nan)


@pytest.mark.parametrize(
    ("market", "regime"), [(CALM, Regime.BULL), (FEAR, Regime.BEAR), (FLAT, Regime.NEUTRAL), (NOTHING, Regime.UNKNOWN)]
)
def test_clear_markets_are_called_what_they_are(market: MarketView, regime: Regime) -> None:
    """From Unknown the first full sweep decides."""
    assert next_regime(RegimeState(), market, 5).regime is regime


def test_without_vix_the_regime_is_unknown_at_once() -> None:
    """However bullish the rest, a missing VIX ends a regime without dwelling, and its return begins one."""
    bull = RegimeState(Regime.BULL, 100)
    unknown = next_regime(bull, MarketView(None, 0.004, 0.8, 1.2), 101)
    assert unknown == RegimeState(Regime.UNKNOWN, 101)
    assert next_regime(unknown, CALM, 102).regime is Regime.BULL


def test_alarm_is_bear_at_once() -> None:
    """A VIX of 30 does not wait for a minute to pass, nor for SPY to agree."""
    assert next_regime(RegimeState(Regime.BULL, 100), MarketView(30.0, 0.004, 0.9, 1.0), 101).regime is Regime.BEAR


def test_a_regime_lasts_a_minute() -> None:
    """Within its first minute a regime is not given up for another score."""
    bull = RegimeState(Regime.BULL, 0)
    assert next_regime(bull, FLAT, DWELL_NS - 1) is bull
    assert next_regime(bull, FLAT, DWELL_NS).regime is Regime.NEUTRAL


@given(noise=st.lists(st.floats(-0.03, 0.03), min_size=1, max_size=50), level=st.floats(0.14, 0.21))
def test_noise_between_the_borders_switches_nothing(noise: list[float], level: float) -> None:
    """A score that moves between leaving and entering keeps Bull when Bull, and Neutral when Neutral."""
    for regime in (Regime.BULL, Regime.NEUTRAL):
        state = RegimeState(regime, 0)
        for minute, wobble in enumerate(noise, start=1):
            market = MarketView(vix=20.0 - 6.0 * 3 * (level + wobble), momentum=0.0, breadth=0.5, volume_ratio=1.0)
            assert 0.1 < score(market) < 0.25
            state = next_regime(state, market, minute * DWELL_NS)
            assert state.regime is regime


@given(
    vix=st.one_of(st.none(), st.floats(5, 80)), momentum=st.floats(-0.2, 0.2) | st.just(np.nan), breadth=st.floats(0, 1) | st.just(np.nan)
)
def test_score_is_bounded(vix: float | None, momentum: float, breadth: float) -> None:
    """Whatever is known, the score stays a number within its range."""
    assert -1.5 <= score(MarketView(vix, momentum, breadth, np.nan)) <= 1.5


def test_the_view_is_counted_from_the_state() -> None:
    """Breadth counts symbols above their previous close, momentum is SPY's, absent ones abstain."""
    state = fresh(5)
    at_ns = opened().session.open_ns + 120 * NS_PER_SECOND
    rows = concatenate(
        [
            trade(0, at_ns, 101.0, 100.0),
            trade(1, at_ns, 102.0, 100.0),
            trade(2, at_ns, 99.0, 100.0),
            row(RowKind.INDEX, -1, at_ns, 17.0),
        ]
    )
    found = view(play(state, [Sealed(at_ns, rows)]))
    assert found.vix == 17.0
    assert found.breadth == pytest.approx(2 / 3)
    assert found.momentum == pytest.approx(0.005)
    assert found.volume_ratio == pytest.approx(300 / (5 * 2e6 * 2 / 390))


def test_bulls_rule_needs_a_bull() -> None:
    """Unknown and Neutral get the Bear rule; a single rule holds always."""
    spec = Filter()
    assert rule_of(Regime.BULL, spec).regime is RuleRegime.BULL
    for regime in (Regime.BEAR, Regime.NEUTRAL, Regime.UNKNOWN):
        assert rule_of(regime, spec).regime is RuleRegime.BEAR
    assert rule_of(Regime.BEAR, Filter(rules=FOUNDING_RULES[:1])) is FOUNDING_RULES[0]
