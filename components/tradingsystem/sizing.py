"""How much a signal may buy: Kelly or risk-based, in whole shares.

Exists so that size has one place where it can be read, tested and argued about. It only ever lowers: it refuses to round a small size up to the
minimum, to enlarge anything because a target is near, and to size on a number that is not finite.
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal

import msgspec

from tradingsystem.spec.sizing import Sizing, SizingMethod

VIX_NEUTRAL = 20.0
VIX_SCALE_MIN = 0.25
VIX_SCALE_UNKNOWN = 0.5


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """Whole shares to buy, and the numbers they came from. ``fraction`` is of equity, after scaling, before the caps."""

    quantity: int
    notional: Decimal
    fraction: float
    scale: float


class NotSized(msgspec.Struct, frozen=True):
    """No trade: ``code`` is counted, ``reason`` has the numbers."""

    code: str
    reason: str


class Bet(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one trade before it is sized: ``p_low`` is the lower bound of the probability of target before stop."""

    p_low: float
    target_basis_points: int
    stop_basis_points: int
    price: Decimal
    vix: float | None


def equity_to_size_with(initial_capital: Decimal, realised: Decimal, account_equity: Decimal) -> Decimal:
    """min(initial capital + own realised profit and loss, account equity): neither other people's money nor paper gains enlarge a size."""
    return min(initial_capital + realised, account_equity)


def vix_scale(vix: float | None) -> float:
    """clamp(20 / VIX, 0.25, 1); 0.5 while the VIX is unknown, not a number or not positive."""
    if vix is None or not math.isfinite(vix) or vix <= 0:
        return VIX_SCALE_UNKNOWN
    return min(max(VIX_NEUTRAL / vix, VIX_SCALE_MIN), 1.0)


def kelly_fraction(p_low: float, ratio: Decimal) -> Decimal:
    """Kelly's share of capital for a bet won with ``p_low`` that pays ``ratio`` times the stake: f = p - (1 - p) / b (Kelly, 1956)."""
    p = Decimal(repr(p_low))
    return p - (1 - p) / ratio


def size(settings: Sizing, bet: Bet, equity: Decimal) -> Sized | NotSized:
    """Shares for one bet with ``equity`` account dollars. Anything that is not a finite positive number is no trade."""
    if (problem := _unusable(bet, equity)) is not None:
        return NotSized("sizing-input", problem)
    scale = vix_scale(bet.vix) if settings.vix_scaling else 1.0
    if settings.method is SizingMethod.KELLY:
        full = kelly_fraction(bet.p_low, Decimal(bet.target_basis_points) / bet.stop_basis_points)
        if full <= 0:
            return NotSized("no-edge", f"Kelly fraction {full:.4f} at p {bet.p_low:.4f} is not above 0")
        fraction = full * settings.kelly_fraction_percent / 100 * Decimal(repr(scale))
        ceiling = Decimal(settings.position_notional_max)
    else:
        fraction = Decimal(settings.risk_per_trade_basis_points) / bet.stop_basis_points * Decimal(repr(scale))
        ceiling = min(Decimal(settings.position_notional_max), equity * settings.position_max_percent / 100)
    notional = min(equity * fraction, ceiling)
    quantity = int((notional / bet.price).to_integral_value(ROUND_FLOOR))
    actual = quantity * bet.price
    if quantity < 1 or actual < settings.position_notional_min:
        return NotSized("below-minimum", f"{notional:.2f} buys {quantity} shares for {actual:.2f}, below {settings.position_notional_min}")
    assert actual <= settings.position_notional_max, (actual, settings.position_notional_max)
    return Sized(quantity=quantity, notional=actual, fraction=float(fraction), scale=scale)


def _unusable(bet: Bet, equity: Decimal) -> str | None:
    if not (math.isfinite(bet.p_low) and 0.0 <= bet.p_low <= 1.0):
        return f"p_low is {bet.p_low}"
    if not bet.price.is_finite() or bet.price <= 0:
        return f"price is {bet.price}"
    if not equity.is_finite() or equity <= 0:
        return f"equity is {equity}"
    if bet.stop_basis_points <= 0 or bet.target_basis_points <= 0:
        return f"stop {bet.stop_basis_points} and target {bet.target_basis_points} basis points must be above 0"
    return None
