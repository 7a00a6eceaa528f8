"""Agreement is counted over rows that both could judge; what is no number is counted, never averaged."""

from __future__ import annotations

import numpy as np
import pytest

from tests.filter.days import manifest
from tradingsystem.domain.outcomes import Role
from tradingsystem.domain.rows import F64
from tradingsystem.ensemble.blend import Assessed
from tradingsystem.filter.agreeing import LATENCIES_SAID, Comparison
from tradingsystem.filter.deciding import Judged

P = np.linspace(0.2, 0.8, 20)


def judged(p: F64, role: Role = Role.SERVING) -> Judged:
    """A version's word on twenty rows; NaN where it gave none."""
    usable = ~np.isnan(p)
    return Judged(manifest(), role, np.repeat(p[:, None], 3, axis=1).astype(np.float32), Assessed(p, p, p, usable))


def compared(p: F64, wanted: F64 = P, wishes: F64 | None = None) -> Comparison:
    """One cut: who would signal is whose p is above a half."""
    comparison = Comparison(4, Role.SHADOW, 7)
    comparison.add(judged(P), judged(p, Role.SHADOW), wanted > 0.5, (p if wishes is None else wishes) > 0.5, full=True)
    return comparison


@pytest.mark.parametrize(
    ("p", "correlation", "difference"), [(P, 1.0, 0.0), (P**2, 1.0, float((P**2 - P).mean())), (P[::-1].copy(), -1.0, 0.0)]
)
def test_ranks_and_difference(p: F64, correlation: float, difference: float) -> None:
    """The same order is 1 whatever the level, the opposite order -1; the mean difference says the level."""
    report = compared(p).report()
    assert report.rank_correlation == pytest.approx(correlation)
    assert report.difference_mean == pytest.approx(difference, abs=1e-12)
    assert (report.model, report.since_ns, report.cuts, report.rows) == (4, 7, 1, 20)


def test_no_number_is_counted_and_nothing_else() -> None:
    """A challenger of NaN has no correlation and no mean, and every one of its rows is told."""
    report = compared(np.full(20, np.nan)).report()
    assert (report.rows_not_finite, report.rank_correlation, report.difference_mean) == (20, None, None)
    assert report.decisions == report.decisions_changed == int((P > 0.5).sum())


def test_a_constant_challenger_has_no_rank() -> None:
    """The same p for every row orders nothing: no correlation rather than one that means nothing."""
    assert compared(np.full(20, 0.4)).report().rank_correlation is None


def test_changed_decisions() -> None:
    """Of the rows that anybody would signal, those that only one would."""
    report = compared(P, wanted=np.arange(20) / 20.0, wishes=(np.arange(20) + 2) / 20.0).report()
    assert (report.decisions, report.decisions_changed) == (11, 2)


def test_market_time_counts_where_it_answered() -> None:
    """Seconds between answered sweeps count; a hole in between does not, and no time runs backwards."""
    comparison = Comparison(4, Role.CANARY, 7)
    for second in (100, 101, 103, 500, 501, 10, 11):
        comparison.observed(second)
    assert comparison.report().open_seconds == 1 + 2 + 1 + 1


def test_latency_is_said_when_there_is_enough_of_it() -> None:
    """A percentile of three is no percentile."""
    comparison = Comparison(4, Role.SHADOW, 7)
    for number in range(LATENCIES_SAID):
        assert comparison.report().latency_p99_us is None
        comparison.took(float(number))
    assert comparison.report().latency_p50_us == pytest.approx((LATENCIES_SAID - 1) / 2)
