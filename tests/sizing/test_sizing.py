"""What sizing promises: it only lowers, and what is not a number is no trade."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.sizing import Bet, NotSized, Sized, equity_to_size_with, kelly_fraction, size, vix_scale
from tradingsystem.spec.sizing import Sizing, SizingMethod

KELLY = Sizing()
RISK = Sizing(method=SizingMethod.RISK_BASED)


def bet(**more: object) -> Bet:
    values = {"p_low": 0.7, "target_basis_points": 50, "stop_basis_points": 50, "price": Decimal("100.00"), "vix": 18.0} | more
    return Bet(**values)  # type: ignore[arg-type]


def test_kelly_by_hand() -> None:
    """A quarter of Kelly's 0.4 at even odds is 10 % of 30,000, which buys 30 shares at 100."""
    sized = size(KELLY, bet(), Decimal(30_000))
    assert isinstance(sized, Sized)
    assert (sized.quantity, sized.notional) == (30, Decimal(3_000))
    assert kelly_fraction(0.7, Decimal(1)) == Decimal("0.4")


def test_risk_based_by_hand() -> None:
    """Half a percent of 30,000 is lost by a half-percent stop on 30,000; a tenth of equity caps it at 3,000."""
    sized = size(RISK, bet(), Decimal(30_000))
    assert isinstance(sized, Sized)
    assert sized.quantity == 30


@pytest.mark.parametrize(
    ("vix", "scale"), [(10.0, 1.0), (20.0, 1.0), (40.0, 0.5), (200.0, 0.25), (None, 0.5), (math.nan, 0.5), (0.0, 0.5), (-3.0, 0.5)]
)
def test_vix_scale(vix: float | None, scale: float) -> None:
    """clamp(20 / VIX, 0.25, 1), and a half whenever the VIX is not a usable number."""
    assert vix_scale(vix) == scale


def test_scaling_can_be_switched_off() -> None:
    """With vixScaling off a missing VIX does not halve the size."""
    off = Sizing(vix_scaling=False)
    assert size(off, bet(vix=None), Decimal(30_000)) == size(KELLY, bet(vix=12.0), Decimal(30_000))


@pytest.mark.parametrize("p_low", [0.5, 0.3, 0.0])
def test_no_edge_no_trade(p_low: float) -> None:
    """At or below break-even nothing is bought, however rich the account."""
    answer = size(KELLY, bet(p_low=p_low), Decimal(10_000_000))
    assert isinstance(answer, NotSized)
    assert answer.code == "no-edge"


def test_below_the_minimum_is_no_trade() -> None:
    """A size below the minimum is not rounded up to it, also when only whole shares push it below."""
    small = size(KELLY, bet(p_low=0.55), Decimal(10_000))
    uneven = size(KELLY, bet(price=Decimal(1_600)), Decimal(30_000))
    assert isinstance(small, NotSized)
    assert isinstance(uneven, NotSized)
    assert small.code == uneven.code == "below-minimum"


def test_equity_is_the_smaller_of_ours_and_the_account() -> None:
    """More money in the account than we earned is not used, and a smaller account binds."""
    assert equity_to_size_with(Decimal(50_000), Decimal(-400), Decimal(90_000)) == 49_600
    assert equity_to_size_with(Decimal(50_000), Decimal(1_000), Decimal(20_000)) == 20_000


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(
    p_low=numbers,
    price=st.decimals(allow_nan=True, allow_infinity=True),
    vix=st.none() | numbers,
    equity=st.decimals(allow_nan=True, allow_infinity=True),
    settings=st.sampled_from([KELLY, RISK]),
)
def test_never_above_the_maximum_never_below_the_minimum(
    p_low: float, price: Decimal, vix: float | None, equity: Decimal, settings: Sizing
) -> None:
    """Whatever comes in, NaN and infinities included: no trade, or whole shares whose cost lies between minimum and maximum."""
    answer = size(settings, bet(p_low=p_low, price=price, vix=vix), equity)
    if isinstance(answer, Sized):
        assert answer.quantity >= 1
        assert answer.notional == answer.quantity * price
        assert settings.position_notional_min <= answer.notional <= settings.position_notional_max


@given(
    low=st.floats(0.5, 1.0),
    more=st.floats(0.0, 0.5),
    equity=st.integers(1_000, 1_000_000),
    vix=st.floats(5.0, 90.0),
    calmer=st.floats(0.0, 80.0),
)
def test_size_rises_with_odds_and_falls_with_fear(low: float, more: float, equity: int, vix: float, calmer: float) -> None:
    """Better odds never buy less; a higher VIX never buys more."""

    def shares(p_low: float, fear: float) -> int:
        answer = size(KELLY, bet(p_low=p_low, vix=fear), Decimal(equity))
        return answer.quantity if isinstance(answer, Sized) else 0

    assert shares(min(low + more, 1.0), vix) >= shares(low, vix)
    assert shares(low, vix + calmer) <= shares(low, vix)
