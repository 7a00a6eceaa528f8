"""Which symbols the system looks at. Symbols that fail a bound here are never shown to a model, whatever the regime."""

import enum
from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import (
    A_SET,
    BasisPointsAboveZero,
    Money,
    ResourceName,
    Section,
    Symbol,
    about,
)


class Selection(enum.StrEnum):
    """Where the list of symbols comes from."""

    ALL = "All"
    LIST = "List"
    CONFIG_MAP = "ConfigMap"


class ConfigMapRef(Section, frozen=True, kw_only=True):
    """A key of a ConfigMap in the system's namespace (locally a file of that name beside the manifest), one symbol a line. An edit is rolled out."""

    name: Annotated[ResourceName, about("Name of the ConfigMap. Empty: none.")] = ""
    key: Annotated[
        str,
        Meta(min_length=1, max_length=253, pattern="^[-._a-zA-Z0-9]+$"),
        about("Key whose value is the list, one symbol a line. `symbols` reads well in `kubectl create configmap --from-file`."),
    ] = "symbols"


class Universe(Section, frozen=True, kw_only=True):
    """The symbols that may be traded: where the list comes from, and the bounds of tradability."""

    selection: Annotated[
        Selection,
        about(
            "All: every stock and ETF the first source lists. List: `symbols`. ConfigMap: `configMapRef`. All, since finding is the filter's work."
        ),
    ] = Selection.ALL
    symbols: Annotated[
        tuple[Symbol, ...],
        Meta(max_length=12_000),
        A_SET,
        about("Tickers in Polygon's spelling; read only when selection is List."),
    ] = ()
    config_map_ref: Annotated[ConfigMapRef, about("Read only when selection is ConfigMap.")] = ConfigMapRef()
    symbols_max: Annotated[
        int,
        Meta(ge=1, le=12_000),
        about(
            "Symbols held at most; memory is allocated for this many once. 12,000 holds the 11,500 US listings with room for a day's new ones."
        ),
    ] = 12_000
    price_min: Annotated[
        Money,
        about("Lowest last price that is traded, in account currency. 5: below it spreads and halts eat a 50 basis point target."),
    ] = 5
    dollar_volume_min: Annotated[
        Money,
        about("Lowest average daily turnover, in account currency. 20,000,000: an order of 5,000 stays far under 0.1 % of a day."),
    ] = 20_000_000
    spread_max_basis_points: Annotated[
        BasisPointsAboveZero,
        about("Widest quoted spread, of the mid price. 10: entry at the ask and exit at the bid then cost a fifth of the first target."),
    ] = 10
