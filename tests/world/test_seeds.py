"""What signals would have met is reckoned honestly: at the ask in, at the bid out, and not more than the limits allow."""

from __future__ import annotations

import numpy as np
import pytest

from tradingsystem.domain.rows import F32
from tradingsystem.world.seeds import ENTRIES_MAX, NOTIONAL, OPEN_MAX, Distribution, _trades, play


def quoted(path: list[float], spread: float = 0.02) -> tuple[F32, F32]:
    """Bids and asks of one symbol."""
    bid = np.array([path], np.float32)
    return bid, bid + np.float32(spread)


def test_a_round_trip_pays_the_spread_and_the_fee() -> None:
    """A price that never moves loses spread and fees, and is no hit."""
    bid, ask = quoted([100.0] * 4_000)
    ((hit, net),) = _trades([(10, 0)], bid, ask)
    assert not hit
    assert net == pytest.approx(-NOTIONAL * (0.02 / 100.02 + 0.00005), rel=1e-3)


@pytest.mark.parametrize(("jump", "hit"), [(1.0, True), (-1.0, False)])
def test_target_and_stop_are_met_at_the_bid(jump: float, hit: bool) -> None:
    """A jump is sold at the price that was there, better or worse than the level."""
    bid, ask = quoted([100.0] * 50 + [100.0 + jump] * 50)
    ((found, net),) = _trades([(10, 0)], bid, ask)
    assert found is hit
    assert np.sign(net) == np.sign(jump)


def test_limits_hold() -> None:
    """At most five at once, and twenty a day."""
    bid, ask = quoted([100.0] * 3_000)
    assert len(list(_trades([(10 + at, 0) for at in range(12)], bid, ask))) == OPEN_MAX
    long_bid, long_ask = quoted([100.0] * 60_000)
    assert len(list(_trades([(at * 1_900, 0) for at in range(30)], long_bid, long_ask))) == ENTRIES_MAX


def test_without_a_quote_nothing_is_bought() -> None:
    """A symbol without an ask cannot be entered."""
    bid, _ = quoted([100.0] * 100)
    assert list(_trades([(10, 0)], bid, np.full_like(bid, np.nan))) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_model_finds_what_is_planted_and_nothing_where_nothing_is() -> None:
    """Three days with the edge: hits lie between a loss and what can be known; the same days without it earn nothing beyond chance."""
    planted = Distribution(1.0, tuple(play(seed, 300, 1.0) for seed in (1, 2, 3)))
    nothing = Distribution(0.0, tuple(play(seed, 300, 0.0) for seed in (1, 2, 3)))
    assert planted.trades >= 10
    assert planted.hit_rate < planted.oracle + 3 * planted.hit_rate_error
    assert nothing.net_mean < 3 * nothing.net_error
