"""The arithmetic of splits: whole shares, prices that go with them, money that stays."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain.splits import Split
from tradingsystem.domain.trading import Mark

DAY = datetime.date(2026, 3, 3)
RATES = st.integers(1, 100).map(Decimal)


def split(old_rate: Decimal, new_rate: Decimal) -> Split:
    return Split(symbol="AAA", ex_date=DAY, old_rate=old_rate, new_rate=new_rate)


@given(quantity=st.integers(0, 100_000), old_rate=RATES, new_rate=RATES)
def test_whole_shares_and_no_more(quantity: int, old_rate: Decimal, new_rate: Decimal) -> None:
    """Never more than the ratio gives, and less than one share below it."""
    shares = split(old_rate, new_rate).shares(quantity)
    assert shares * old_rate <= quantity * new_rate < (shares + 1) * old_rate


@given(quantity=st.integers(1, 10_000), cents=st.integers(1, 100_000), old_rate=RATES, new_rate=RATES)
def test_each_share_costs_what_the_ratio_says(quantity: int, cents: int, old_rate: Decimal, new_rate: Decimal) -> None:
    """Whole shares keep all of the cost; a fraction takes what it cost with it, never more than one share's price."""
    one, cost = split(old_rate, new_rate), Decimal(cents) * quantity / 100
    shares = one.shares(quantity)
    if not shares:
        return
    after = one.cost(cost, quantity, shares)
    assert after / shares == pytest.approx(cost / quantity * old_rate / new_rate)
    assert after <= cost * (1 + Decimal("1e-20"))
    assert cost - after < after / shares * (1 + Decimal("1e-20"))


def test_a_mark_goes_with_it() -> None:
    """Every price of it, and nothing else; what is unknown stays unknown."""
    mark = Mark("AAA", 7, 100.0, 100.5, 100.25, lower_band=95.0, halted=True)
    assert split(Decimal(1), Decimal(2)).mark(mark) == Mark("AAA", 7, 50.0, 50.25, 50.125, lower_band=47.5, halted=True)


@pytest.mark.parametrize("rates", [("0", "2"), ("1", "0"), ("-1", "2"), ("NaN", "2"), ("1", "Infinity")])
def test_a_rate_is_a_number_above_zero(rates: tuple[str, str]) -> None:
    """Anything else is refused where it is made."""
    with pytest.raises(ValueError, match="rates are above zero"):
        split(Decimal(rates[0]), Decimal(rates[1]))


def test_its_key_tells_it_from_others() -> None:
    """However its rates are written, and by ratio and day."""
    assert split(Decimal(1), Decimal("2.0")).key == split(Decimal("1.00"), Decimal(2)).key == "AAA 2026-03-03 1:2"
    assert split(Decimal(1), Decimal(3)).key != split(Decimal(1), Decimal(2)).key
