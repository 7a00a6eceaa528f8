"""The limits the risk gate holds. They apply to entries; exits are never blocked by loss, notional, count or rate.

The schema fills in no default here, so that it can be seen which limits a person wrote: Live needs all of them written.
"""

from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import NO_SCHEMA_DEFAULT, BasisPointsAboveZero, Money, MoneyAboveZero, PercentAboveZero, Section, about


class Risk(Section, frozen=True, kw_only=True):
    """Limits of the whole system. Live: each written out; Simulation and Paper: what is left out takes the founding value."""

    positions_open_max: Annotated[
        int, Meta(ge=1, le=100), NO_SCHEMA_DEFAULT, about("Positions held at once. 5: the founding max_positions.")
    ] = 5
    positions_per_day_max: Annotated[
        int,
        Meta(ge=1, le=1_000),
        NO_SCHEMA_DEFAULT,
        about("Positions opened in one day. 20: the founding maximum."),
    ] = 20
    daily_loss_max: Annotated[
        MoneyAboveZero,
        NO_SCHEMA_DEFAULT,
        about("Loss of one day, realised and marked, that latches a halt, account currency. 500: the founding shutdown at -500."),
    ] = 500
    drawdown_max_percent: Annotated[
        PercentAboveZero,
        NO_SCHEMA_DEFAULT,
        about("Fall from the highest equity that latches a halt, percent. 5: the founding max_drawdown."),
    ] = 5
    daily_target: Annotated[
        Money,
        NO_SCHEMA_DEFAULT,
        about(
            "Realised profit of one day after which nothing more is opened, account currency; it never enlarges a size. 0: none. 1,000: the founding target."
        ),
    ] = 1_000
    order_notional_max: Annotated[
        MoneyAboveZero,
        NO_SCHEMA_DEFAULT,
        about("Notional of one order, account currency. 5,000: above the largest position of 4,000, so only a mistake meets it."),
    ] = 5_000
    order_quantity_max: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        NO_SCHEMA_DEFAULT,
        about("Shares of one entry, all its brackets together. 1,000: an order of 5,000 at the lowest price of 5 has no more."),
    ] = 1_000
    gross_notional_max: Annotated[
        MoneyAboveZero,
        NO_SCHEMA_DEFAULT,
        about(
            "Cost of all that is held and of all entries that are open or UNKNOWN, account currency; nothing is sold short, so it is the net exposure, "
            "too. 25,000: five positions of the largest order of 5,000."
        ),
    ] = 25_000
    daily_volume_share_max_basis_points: Annotated[
        BasisPointsAboveZero,
        NO_SCHEMA_DEFAULT,
        about(
            "Shares of one entry, all its brackets together, of the symbol's average daily volume; a symbol whose average is unknown is not bought. 100: one "
            "percent, forty times the largest order at the lowest turnover that is traded, so only a mistake or a thin symbol meets it."
        ),
    ] = 100
    orders_per_minute_max: Annotated[
        int,
        Meta(ge=1, le=200),
        NO_SCHEMA_DEFAULT,
        about("Entry orders in one minute. 60: under Alpaca's 200 requests a minute, with room for exits."),
    ] = 60
    price_collar_basis_points: Annotated[
        BasisPointsAboveZero,
        NO_SCHEMA_DEFAULT,
        about("Distance of an entry's limit from the current ask. 20: twice the widest spread that is traded."),
    ] = 20
