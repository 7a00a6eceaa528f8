"""Advice: the arithmetic is right, it speaks at its border and not before, and it never refuses."""

from __future__ import annotations

import pytest

from tests.spec.documents import LIVE, system
from tradingsystem.spec import warnings
from tradingsystem.spec.advice import REMARKS, break_even_percent, percent

PAPER = {"spec.mode": "Paper"}
_SERVER = {"type": "External", "urls": ["tls://nats:4222"], "secretRef": {"name": "nats-users"}}
_POLYGON = {"name": "p", "type": "Polygon", "secretRef": {"name": "p"}}


def _one_target(distance: int) -> list[dict[str, int]]:
    return [{"atBasisPoints": distance, "sharePercent": 100}]


SPEAKS = {
    "target-out-of-reach": (
        {"spec.risk.dailyTarget": 601},
        "20 positions x 4,000 x 0.75 % = 600 a day at best cannot reach the daily target of 601",
    ),
    "capital-too-small": (
        {"spec.execution.initialCapital": 19_999},
        "5 positions x 4,000 = 20,000 is more than the capital of 19,999; 4 fit",
    ),
    "gross-limit-before-count": (
        {"spec.risk.grossNotionalMax": 19_999},
        "5 positions x 4,000 = 20,000 is more than the gross limit of 19,999; 4 of the largest fit",
    ),
    "quantity-limit-before-notional": (
        {"spec.risk.orderQuantityMax": 799},
        "799 shares x the lowest price of 5 = 3,995 is less than the largest position of 4,000: below a price of 5.01 the largest is refused",
    ),
    "volume-limit-before-notional": (
        {"spec.universe.dollarVolumeMin": 399_999},
        "1 % of the lowest turnover of 399,999 = 4,000 is less than the largest position of 4,000: below a turnover of 400,000 a day the largest is refused",
    ),
    "few-stops-end-the-day": ({"spec.risk.dailyLossMax": 59}, "one stop loses 4,000 x 0.5 % = 20; 3.0 of them reach the daily loss of 59"),
    "drawdown-before-daily-loss": ({"spec.risk.dailyLossMax": 2_501}, "5 % of 50,000 = 2,500 is reached before the daily loss of 2,501"),
    "wins-needed": ({"spec.execution.takeProfits": _one_target(30)}, "(stop 0.5 % + spread 0.1 %) / (target 0.3 % + stop 0.5 %) = 75 %"),
    "spread-eats-target": ({"spec.universe.spreadMaxBasisPoints": 26}, "a spread of 0.26 % takes 52 % of the first target of 0.5 %"),
    "kelly-minimum": (
        {"spec.sizing.kellyFractionPercent": 7},
        "2,000 / (7 % x 50,000) = a full Kelly bet of 57 %, which at odds of 1.50 needs p of 74 %",
    ),
    "other-methods-fields": ({"spec.sizing.positionMaxPercent": 20}, "positionMaxPercent = 20 has no effect while method is Kelly"),
    "vix-is-missing": ({"spec.sources": [_POLYGON | {"channels": ["Trades", "Quotes"]}]}, "multiplied by 0.5"),
    "no-entries-on-half-days": ({"spec.execution.entryWindow": {"afterOpenMinutes": 180, "beforeCloseMinutes": 30}}, "180 + 30 minutes"),
    "expiry-outlives-cooldown": (
        {"spec.ensemble.signalExpirySeconds": 901},
        "lives 901 seconds, longer than the cooldown of 15 x 60 = 900",
    ),
    "one-exchange-only": ({"spec.sources": [_POLYGON, {"name": "free", "type": "Alpaca", "feed": "Iex"}]}, "free sees IEX only"),
    "few-symbols": ({"spec.universe": {"selection": "List", "symbols": ["A", "B"]}}, "at most 2 of 5 positions"),
    "pin-stops-promotion": (PAPER | {"spec.models.pinnedVersion": 12}, "version 12 is pinned"),
    "journal-on-one-server": ({"spec.messaging": _SERVER}, "one member keeps the journal"),
    "passwords-in-clear": (
        {"spec.messaging": _SERVER | {"urls": ["nats://nats:4222"], "replicas": 3}},
        "whoever sees the network sees the passwords",
    ),
    "shared-account-live": (LIVE | {"spec.execution.account": "Shared"}, "shared account"),
}
SILENT = {
    "target-out-of-reach": {"spec.risk.dailyTarget": 600},
    "capital-too-small": {"spec.execution.initialCapital": 20_000},
    "gross-limit-before-count": {"spec.risk.grossNotionalMax": 20_000},
    "quantity-limit-before-notional": {"spec.risk.orderQuantityMax": 800},
    "volume-limit-before-notional": {"spec.universe.dollarVolumeMin": 400_000},
    "few-stops-end-the-day": {"spec.risk.dailyLossMax": 60},
    "drawdown-before-daily-loss": {"spec.risk.dailyLossMax": 2_500},
    "wins-needed": {"spec.execution.takeProfits": _one_target(36)},
    "spread-eats-target": {"spec.universe.spreadMaxBasisPoints": 25},
    "kelly-minimum": {"spec.sizing.kellyFractionPercent": 8},
    "other-methods-fields": {"spec.sizing": {"method": "RiskBased", "positionMaxPercent": 20}},
    "vix-is-missing": {"spec.sizing.vixScaling": False, "spec.sources": [_POLYGON | {"channels": ["Trades", "Quotes"]}]},
    "no-entries-on-half-days": {"spec.execution.entryWindow": {"afterOpenMinutes": 179, "beforeCloseMinutes": 30}},
    "expiry-outlives-cooldown": {"spec.ensemble.signalExpirySeconds": 900},
    "one-exchange-only": {"spec.sources": [_POLYGON, {"name": "paid", "type": "Alpaca"}]},
    "few-symbols": {"spec.universe": {"selection": "List", "symbols": ["A", "B", "C", "D", "E"]}},
    "pin-stops-promotion": {"spec.models.pinnedVersion": 12},
    "journal-on-one-server": {"spec.messaging": _SERVER | {"replicas": 3}},
    "passwords-in-clear": {"spec.messaging": _SERVER},
    "shared-account-live": LIVE,
}


def test_every_remark_has_a_case() -> None:
    """A new remark comes with a resource at which it speaks and one at which it is silent."""
    assert set(SPEAKS) == set(SILENT) == {name for name, _, _ in REMARKS}


@pytest.mark.parametrize("name", SPEAKS)
def test_remark_speaks_with_its_arithmetic(name: str) -> None:
    """The numbers stand in the sentence, so that a person can check and disagree."""
    changes, text = SPEAKS[name]
    found = [advice for advice in warnings(system(changes)) if advice.name == name]
    assert len(found) == 1
    assert text in str(found[0])
    assert found[0].field.startswith("spec.")


@pytest.mark.parametrize("name", SILENT)
def test_remark_is_silent_at_its_border(name: str) -> None:
    """Advice that always speaks is not read."""
    assert name not in {advice.name for advice in warnings(system(SILENT[name]))}


def test_the_founding_target_cannot_be_reached_and_is_said() -> None:
    """The defaults are the founding documents', and their daily target is out of reach: that is the one remark on them."""
    assert [str(advice) for advice in warnings(system())] == [
        "spec.risk.dailyTarget: 20 positions x 4,000 x 0.75 % = 600 a day at best cannot reach the daily target of 1,000"
    ]


def test_nothing_can_be_bought_is_said_plainly() -> None:
    """A minimum that needs more than certainty is not dressed up as a probability."""
    changes = {"spec.sizing.kellyFractionPercent": 3}
    assert any("nothing will ever be bought" in advice.text for advice in warnings(system(changes)))


def test_break_even_of_the_founding_values() -> None:
    """(50 + 10) / (75 + 50) = 48 %."""
    assert break_even_percent(system().spec) == pytest.approx(48)


@pytest.mark.parametrize(
    ("basis_points", "text"), [(75, "0.75 %"), (50, "0.5 %"), (100, "1 %"), (0, "0 %"), (62.5, "0.625 %"), (1_000, "10 %")]
)
def test_percent_is_written_without_noise(basis_points: float, text: str) -> None:
    """Trailing zeros say nothing; zeros before the point do."""
    assert percent(basis_points) == text
