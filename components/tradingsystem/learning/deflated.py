"""How sure a Sharpe ratio is once it is known how many were tried: the best of many is high by luck alone.

Source: D. H. Bailey and M. Lopez de Prado, "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest Overfitting and Non-Normality", Journal of
Portfolio Management 40(5), 2014. Ratios are per block, never annualised here.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from tradingsystem.domain.rows import F64

_NORMAL = NormalDist()
TRIALS_FOR_SPREAD = 5
"""Below so many known ratios their own variance says nothing; then it is that of ratios without any skill, 1 / (blocks - 1)."""


def sharpe(returns: F64) -> float:
    """Mean over standard deviation of returns F64[n]; 0 for fewer than two, or when nothing moves."""
    if len(returns) < 2:
        return 0.0
    spread = float(returns.std(ddof=1))
    return float(returns.mean()) / spread if spread > 1e-12 else 0.0


def expected_best(trials: int, variance: float) -> float:
    """The ratio that the best of so many trials without skill shows on average: the paper's equation 1 (0 for a single trial)."""
    if trials < 2 or variance <= 0.0:
        return 0.0
    return math.sqrt(variance) * (
        (1.0 - np.euler_gamma) * _NORMAL.inv_cdf(1.0 - 1.0 / trials) + np.euler_gamma * _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    )


def probability_above(ratio: float, bar: float, count: int, skewness: float, kurtosis: float) -> float:
    """Probability that the true ratio is above ``bar``: the paper's equation 2 over ``count`` returns; ``kurtosis`` is 3 for normal ones."""
    if count < 2:
        return 0.0
    spread = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if spread <= 0.0:
        return 0.0
    return _NORMAL.cdf((ratio - bar) * math.sqrt(count - 1.0) / math.sqrt(spread))


def deflated_sharpe(returns: F64, trials: int, known: F64) -> float:
    """Probability that returns F64[n] hold more than the luck of the best of ``trials``; ``known`` F64[k] are those trials' ratios, where known.

    0 when nothing can be said: fewer than two returns, or none that differs.
    """
    ratio = sharpe(returns)
    if len(returns) < 2 or float(returns.std()) < 1e-12:
        return 0.0
    variance = float(known.var(ddof=1)) if len(known) >= TRIALS_FOR_SPREAD else 1.0 / (len(returns) - 1.0)
    centred = (returns - returns.mean()) / returns.std()
    skewness, kurtosis = float(np.mean(centred**3)), float(np.mean(centred**4))
    return probability_above(ratio, expected_best(trials, variance), len(returns), skewness, kurtosis)
