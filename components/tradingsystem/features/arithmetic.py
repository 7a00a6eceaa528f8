"""The few shapes that all feature formulas are made of, over one block of symbols, in float32. NaN in, NaN out: absence is decided once, at the end.

Each loop touches few arrays, so that the compiler can prove that they do not overlap and use vector instructions.
"""

from __future__ import annotations

import math

import numba

from tradingsystem.domain.rows import F32
from tradingsystem.market.compiling import compiled


@compiled
def change(out: F32, now: F32, then: F32) -> None:
    """now / then - 1."""
    for k in range(len(out)):
        out[k] = now[k] / then[k] - numba.float32(1)


@compiled
def ratio(out: F32, part: F32, whole: F32, factor: float) -> None:
    """part / whole x factor; nothing where the whole is not above zero."""
    scale = numba.float32(factor)
    for k in range(len(out)):
        value = part[k] / whole[k] * scale
        out[k] = value if whole[k] > 0 else numba.float32(math.nan)


@compiled
def balance(out: F32, one: F32, other: F32) -> None:
    """(one - other) / (one + other)."""
    for k in range(len(out)):
        out[k] = (one[k] - other[k]) / (one[k] + other[k])


@compiled
def position(out: F32, value: F32, low: F32, high: F32) -> None:
    """Where the value lies between low and high: 0 to 1, beyond when it broke out."""
    for k in range(len(out)):
        out[k] = (value[k] - low[k]) / (high[k] - low[k])


@compiled
def spread(out: F32, bid: F32, ask: F32) -> None:
    """(ask - bid) / mid."""
    for k in range(len(out)):
        out[k] = numba.float32(2) * (ask[k] - bid[k]) / (ask[k] + bid[k])


@compiled
def width(out: F32, low: F32, high: F32, value: F32) -> None:
    """(high - low) / value."""
    for k in range(len(out)):
        out[k] = (high[k] - low[k]) / value[k]


@compiled
def root(out: F32, value: F32) -> None:
    """Square root."""
    for k in range(len(out)):
        out[k] = math.sqrt(value[k])


@compiled
def scaled(out: F32, value: F32, sigma: F32, seconds: float) -> None:
    """value / (sigma x sqrt(seconds)); nothing where sigma is not above zero."""
    scale = numba.float32(1.0 / math.sqrt(seconds))
    for k in range(len(out)):
        result = value[k] / sigma[k] * scale
        out[k] = result if sigma[k] > 0 else numba.float32(math.nan)


@compiled
def product(out: F32, one: F32, other: F32, factor: float) -> None:
    """one x other x factor."""
    scale = numba.float32(factor)
    for k in range(len(out)):
        out[k] = one[k] * other[k] * scale


@compiled
def less(out: F32, value: F32, subtrahend: float) -> None:
    """value - subtrahend."""
    amount = numba.float32(subtrahend)
    for k in range(len(out)):
        out[k] = value[k] - amount


@compiled
def difference(out: F32, one: F32, other: F32) -> None:
    """one - other."""
    for k in range(len(out)):
        out[k] = one[k] - other[k]


@compiled
def saturating(out: F32, one: F32, other: F32, half: float) -> None:
    """t / (t + half) with t = one x other."""
    middle = numba.float32(half)
    for k in range(len(out)):
        turnover = one[k] * other[k]
        out[k] = turnover / (turnover + middle)
