"""What became of predictions, and how a challenger agrees with the model that serves: what the filter sees of models live, for who promotes them.

A prediction is closed exactly as a training row is labelled (``ensemble.labels``): target before stop by the bid, within the horizon and the session.
Nothing here decides anything; no signal depends on it.
"""

from __future__ import annotations

import enum

import msgspec


class Role(enum.Enum):
    """The role that a version had when it scored a row. A canary scores every row and decides for its part of the symbols; a shadow is not heard."""

    SERVING = "Serving"
    CANARY = "Canary"
    SHADOW = "Shadow"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One closed prediction. A challenger and the serving version score the same rows, so their outcomes pair by (symbol, at_ns); the label is then
    the same, unless their manifests ask for other distances."""

    model: int  # version
    role: Role
    symbol: str
    at_ns: int  # market time of the prediction
    closed_ns: int  # market time at which the label was known: touched, horizon over or session over
    p: float  # calibrated blend, 0 to 1
    members: tuple[float, ...]  # the members' probabilities, in the order of the manifest
    label: int  # 1: target first; 0: stop first, or neither in time


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger beside the serving version, over the cuts since it was given its role. Counts only grow while the filter runs; a restart begins
    again at zero with a new ``since_ns``."""

    model: int
    role: Role  # SHADOW or CANARY
    since_ns: int  # market time of the first cut in this role
    open_seconds: int  # seconds of open market in which it answered
    cuts: int  # cuts that it scored
    dropped: int  # cuts that it was not asked about, because the serving path needed the time
    late: int  # cuts whose answer missed the deadline or failed
    rows: int  # rows scored by both
    rows_not_finite: int  # of its rows, those whose scores are no probabilities
    decisions: int  # rows on which at least one of the two would have signalled, cooldown aside
    decisions_changed: int  # of these, where only one would have
    rank_correlation: float | None  # Spearman's, mean over full sweeps of at least ten rows, weighted by rows; None while there was none
    difference_mean: float | None  # mean of p(challenger) - p(serving) over usable rows; None while there was none
    latency_p50_us: float | None  # of its inferences, machine time; None while there was none
    latency_p99_us: float | None


class FilterModels(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter says of the models it really uses: the tape's wish may name a version that it could not load."""

    serving: int
    canary: int  # 0: none
    canary_percent: int
    shadow: int  # 0: none
    refused: dict[str, str]  # version -> why it could not be loaded
    expired: tuple[int, ...]  # of these, the versions whose ``valid_until`` has passed: they open nothing
    agreements: tuple[Agreement, ...]  # of the canary and of the shadow, where there is one
    outcomes: int  # closed predictions published since the start
    outcomes_open: int
    outcomes_dropped: int  # predictions that could not be followed to their end, or were never answered


class FeatureSample(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that models read live in about a minute, thinned: for who watches drift."""

    session_open_ns: int
    elapsed: float  # share of that session that had passed, 0 to 1
    symbols: tuple[str, ...]  # of the rows
    values: bytes  # float32, little endian, rows x 50 in the order of the catalogue
