"""Prices that a venue accepts: ticks, brackets around an entry, and limits that trade at once. Decimal in, Decimal out; it refuses to guess a missing side."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from tradingsystem.domain.trading import Mark
from tradingsystem.risk.rules import tick_of

BASIS = 10_000
EXIT_SLIP_BASIS_POINTS = (10, 50, 150, 400)  # below the bid, by attempt: each is more willing than the last


def decimal(price: float) -> Decimal:
    """The shortest decimal that is that float; NaN stays NaN."""
    return Decimal(repr(price))


def down(price: Decimal) -> Decimal:
    """The tick at or below."""
    return price.quantize(tick_of(price), ROUND_FLOOR)


def up(price: Decimal) -> Decimal:
    """The tick at or above."""
    return price.quantize(tick_of(price), ROUND_CEILING)


def near(price: Decimal) -> Decimal:
    """The nearest tick."""
    return price.quantize(tick_of(price), ROUND_HALF_EVEN)


def moved(price: Decimal, basis_points: int) -> Decimal:
    """``price`` moved by so many basis points, unrounded."""
    return price * (BASIS + basis_points) / BASIS


def stop_below(entry: Decimal, basis_points: int) -> Decimal:
    """A stop at least one cent (one tick below a dollar) under the entry, as brokers demand."""
    return min(near(moved(entry, -basis_points)), entry - tick_of(entry))


def target_above(entry: Decimal, basis_points: int) -> Decimal:
    """A target at least one tick over the entry."""
    return max(near(moved(entry, basis_points)), entry + tick_of(entry))


def marketable_sell(mark: Mark | None, attempt: int, fallback: Decimal) -> Decimal:
    """A sell limit that trades at once: below the bid by a slip that grows with ``attempt``, never under the LULD band; without a bid, below ``fallback``."""
    slip = EXIT_SLIP_BASIS_POINTS[min(attempt, len(EXIT_SLIP_BASIS_POINTS)) - 1]
    usable = mark is not None and math.isfinite(mark.bid) and mark.bid > 0
    base = decimal(mark.bid) if mark is not None and usable else fallback
    price = max(down(moved(base, -slip)), tick_of(base))
    band = mark.lower_band if mark is not None else None
    return max(price, up(decimal(band))) if band is not None and math.isfinite(band) and band > 0 else price
