"""Which models vote, and what makes their vote a signal. How votes are blended is learned and lives in the bundle, not here."""

from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import A_SET, Identifier, Minutes, PercentAboveZero, Seconds, Section, about

FOUNDING_MEMBERS = ("momentum_linear", "mean_reversion", "volatility_tree")


class Ensemble(Section, frozen=True, kw_only=True):
    """Members and the thresholds on what they say together."""

    members: Annotated[
        tuple[Identifier, ...],
        Meta(min_length=1, max_length=16),
        A_SET,
        about("Models that vote, by name; own ones come by the entry point group `tradingsystem.members`. Default: the founding three."),
    ] = FOUNDING_MEMBERS
    signal_threshold_percent: Annotated[
        PercentAboveZero,
        about("Confidence a signal needs: agreement of the members ranked against a trailing window, percent. 70: the founding threshold."),
    ] = 70
    signal_expiry_seconds: Annotated[
        Seconds, about("A signal older than this opens nothing, seconds of market time. 300: the founding expiry.")
    ] = 300
    symbol_cooldown_minutes: Annotated[
        Minutes,
        about("Quiet time of a symbol after a signal, minutes. 15: half the horizon of 30 minutes that p is defined on."),
    ] = 15
