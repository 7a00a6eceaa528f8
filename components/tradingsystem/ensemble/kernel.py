"""The compiled part of the ensemble: one pass over an inference's rows for everything that is said of a row alone, and the rank in a window.

It exists because the same in numpy passes a dozen times over memory and costs more than the features do. What the numbers mean is said where they are
used: ``blend``, ``calibration``, ``confidence``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import F32, F64, I32
from tradingsystem.market.compiling import compiled

PROBABILITY_EPSILON = 1e-6
LOWER_BOUND_DEVIATIONS = 1.0  # one standard error below: about 84 % of the time the true p lies above
_ROOT_HALF_BITS = int(np.array(math.sqrt(0.5)).view(np.int64))
_LN_2 = math.log(2.0)
_CROWD = 64
BINS = 8_192
"""A window is searched in one of so many equally wide pieces of its range: a step or two instead of thirteen."""


@compiled
def logits(probabilities: F64, out: F64) -> None:
    """log(p / (1 - p)), bounded away from infinity; what is no number counts as the least.

    The logarithm is taken apart by hand, exponent from the bits and 2 atanh((m - 1) / (m + 1)) as a series for the mantissa, m within sqrt(2) of 1: the
    library's cannot be vectorised, and four of its calls a row were most of the time. Right to a few units in the last place.
    """
    for k in range(len(out)):
        bounded = min(max(probabilities[k], PROBABILITY_EPSILON), 1.0 - PROBABILITY_EPSILON)
        out[k] = bounded / (1.0 - bounded)
    bits = out.view(np.int64)
    exponents = np.empty(len(out), np.int64)
    for k in range(len(out)):
        exponents[k] = (bits[k] - _ROOT_HALF_BITS) >> 52
        bits[k] -= exponents[k] << 52
    for k in range(len(out)):
        s = (out[k] - 1.0) / (out[k] + 1.0)
        z = s * s
        series = 1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17 + z / 19)))))))
        out[k] = exponents[k] * _LN_2 + 2.0 * (s + s * z * series)


@compiled
def agreements(members: F32, out: F64) -> None:
    """Mean less standard deviation of each row's logits, members F32[n, m]. From the two sums: logits are bounded, so nothing is lost that matters."""
    rows, count = members.shape
    total, squares, logit, member = np.zeros(rows), np.zeros(rows), np.empty(rows), np.empty(rows)
    for m in range(count):
        for k in range(rows):
            member[k] = members[k, m]
        logits(member, logit)
        for k in range(rows):
            total[k] += logit[k]
            squares[k] += logit[k] * logit[k]
    for k in range(rows):
        mean = total[k] / count
        out[k] = mean - math.sqrt(max(squares[k] / count - mean * mean, 0.0))


@compiled
def lower_bounds(probabilities: F64, parameters: F64, out: F64) -> None:
    """The lower bound of each calibrated probability; parameters are slope, intercept, their variances and their covariance."""
    slope, intercept = parameters[0], parameters[1]
    per_slope = 1.0 / slope if slope != 0.0 else 0.0
    logit = np.empty(len(out))
    logits(probabilities, logit)
    for k in range(len(out)):
        raw = (logit[k] - intercept) * per_slope
        variance = parameters[2] * raw * raw + 2.0 * parameters[4] * raw + parameters[3]
        logit[k] -= LOWER_BOUND_DEVIATIONS * math.sqrt(max(variance, 0.0))
    for k in range(len(out)):
        out[k] = 1.0 / (1.0 + math.exp(-logit[k]))


@compiled
def usable_rows(members: F32, blend: F32, usable: npt.NDArray[np.bool_]) -> int:
    """Mark the rows whose every score is a probability; NaN is none. Returns how many there are."""
    for k in range(len(blend)):
        usable[k] = blend[k] >= 0.0 and blend[k] <= 1.0
    for k in range(members.shape[0]):
        for m in range(members.shape[1]):
            usable[k] &= members[k, m] >= 0.0 and members[k, m] <= 1.0
    count = 0
    for k in range(len(usable)):
        count += usable[k]
    return count


@compiled
def _bin_of(value: float, low: float, per_unit: float) -> int:
    """Rises with the value, whatever the rounding does: that alone makes the search right."""
    place = (value - low) * per_unit
    if not place > 0.0:
        return 0
    return BINS - 1 if place >= BINS - 1 else int(place)


@compiled
def _finish(window: F64, starts: I32) -> None:
    """Sort what lies in order of its bins: by insertion, which never leaves a bin, unless one holds so many that this would take long."""
    for place in range(BINS):
        if starts[place + 1] - starts[place] > _CROWD:
            window.sort()
            return
    for k in range(1, len(window)):
        value = window[k]
        at = k
        while at > 0 and window[at - 1] > value:
            window[at] = window[at - 1]
            at -= 1
        window[at] = value


@compiled
def sort_window(ring: F64, window: F64, starts: I32) -> float:
    """Write the ring's values in order and where each bin's begin, I32[BINS + 1]; returns bins per unit.

    Values go to their bin first and are sorted there, which for as many bins as values is a few moves each.
    """
    low, high = ring[0], ring[0]
    for value in ring:
        low, high = min(low, value), max(high, value)
    per_unit = BINS / (high - low) if high > low else 0.0
    starts[:] = 0
    for value in ring:
        starts[_bin_of(value, low, per_unit) + 1] += 1
    for place in range(BINS):
        starts[place + 1] += starts[place]
    filled = starts.copy()
    for value in ring:
        place = _bin_of(value, low, per_unit)
        window[filled[place]] = value
        filled[place] += 1
    _finish(window, starts)
    return per_unit


@compiled
def ranks(values: F64, window: F64, starts: I32, per_unit: float, out: F64) -> None:
    """Share of the sorted window below each value."""
    for k in range(len(values)):
        place = _bin_of(values[k], window[0], per_unit)
        low, high = starts[place], starts[place + 1]
        while low < high:
            middle = (low + high) // 2
            if window[middle] < values[k]:
                low = middle + 1
            else:
                high = middle
        out[k] = low / len(window)
