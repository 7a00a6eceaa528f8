"""Which symbols are candidates in which market regime. A symbol must pass the universe first; these bounds only narrow."""

import enum
from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import BasisPointsAboveZero, Section, about, keyed_by


class RuleRegime(enum.StrEnum):
    """The regimes that have rules of their own. While the regime is unknown, the Bear rule applies."""

    BULL = "Bull"
    BEAR = "Bear"


class FilterRule(Section, frozen=True, kw_only=True):
    """What makes a symbol a candidate in one regime."""

    regime: Annotated[RuleRegime, about("The market regime this rule is for.")]
    volume_ratio_min_percent: Annotated[
        int,
        Meta(ge=0, le=10_000),
        about("Volume so far today against the usual volume by this minute, percent. Founding values: 120 in Bull, 150 in Bear."),
    ]
    price_change_min_basis_points: Annotated[
        int,
        Meta(ge=-10_000, le=10_000),
        about("Change against the previous close. Founding values: 200 in Bull, -200 in Bear (a fall of at most 2 %)."),
    ]
    volatility_max_basis_points: Annotated[
        BasisPointsAboveZero,
        about("Range of the day against its price. Founding values: 500 in Bull, 800 in Bear."),
    ]


FOUNDING_RULES = (
    FilterRule(
        regime=RuleRegime.BULL,
        volume_ratio_min_percent=120,
        price_change_min_basis_points=200,
        volatility_max_basis_points=500,
    ),
    FilterRule(
        regime=RuleRegime.BEAR,
        volume_ratio_min_percent=150,
        price_change_min_basis_points=-200,
        volatility_max_basis_points=800,
    ),
)


class Filter(Section, frozen=True, kw_only=True):
    """The rules that turn thousands of symbols into candidates."""

    rules: Annotated[
        tuple[FilterRule, ...],
        Meta(min_length=1, max_length=2),
        keyed_by("regime"),
        about("One rule for each regime. The defaults are the founding document's thresholds."),
    ] = FOUNDING_RULES
