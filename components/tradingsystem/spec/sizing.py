"""How much a signal may buy. Sizing only ever lowers: a size below the minimum is no trade, never rounded up."""

import enum
from typing import Annotated

from tradingsystem.spec.section import BasisPointsAboveZero, MoneyAboveZero, PercentAboveZero, Section, about


class SizingMethod(enum.StrEnum):
    """Kelly sizes by the odds; RiskBased by what the stop would lose."""

    KELLY = "Kelly"
    RISK_BASED = "RiskBased"


class Sizing(Section, frozen=True, kw_only=True):
    """Method and bounds of the notional of one entry."""

    method: Annotated[SizingMethod, about("Kelly, as in the founding executor; RiskBased is the founding configuration file's.")] = (
        SizingMethod.KELLY
    )
    kelly_fraction_percent: Annotated[
        PercentAboveZero,
        about(
            "Share of the full Kelly bet, percent; read only when method is Kelly. 25: a quarter gives up little growth and halves ruin."
        ),
    ] = 25
    risk_per_trade_basis_points: Annotated[
        BasisPointsAboveZero,
        about("Equity one stop may cost; read only when method is RiskBased. 50: the founding risk_per_trade of 0.005."),
    ] = 50
    position_max_percent: Annotated[
        PercentAboveZero,
        about("Largest position, percent of equity; read only when method is RiskBased. 10: the founding max_position_size."),
    ] = 10
    position_notional_min: Annotated[
        MoneyAboveZero, about("Smallest entry, account currency; below it there is no trade. 2,000: the founding minimum.")
    ] = 2_000
    position_notional_max: Annotated[MoneyAboveZero, about("Largest entry, account currency. 4,000: the founding maximum.")] = 4_000
    vix_scaling: Annotated[
        bool,
        about("Multiply sizes by clamp(20 / VIX, 0.25, 1), and by 0.5 while VIX is missing. On, since losses cluster when VIX is high."),
    ] = True
