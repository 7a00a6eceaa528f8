"""What the filter says: a cut (which input was judged, how) and the signals that came out of it."""

from __future__ import annotations

import enum

import msgspec


class Regime(enum.Enum):
    """State of the market as a whole; Unknown when the VIX is missing: bear rules then apply."""

    BULL = "Bull"
    BEAR = "Bear"
    NEUTRAL = "Neutral"
    UNKNOWN = "Unknown"


class CutOutcome(enum.Enum):
    """How the inference of a cut ended. A late cut has no signals."""

    OK = "Ok"
    LATE = "Late"
    FALLBACK = "Fallback"
    NONE = "None"  # no row passed the rules: nothing was asked


class Cut(msgspec.Struct, frozen=True):
    """Batches ``first_seq`` to ``last_seq`` of an epoch were applied and judged once. Recorded before its signals, never remade."""

    epoch: int
    first_seq: int
    last_seq: int
    sealed_at_ns: int
    full: bool  # the whole universe was swept, because a second boundary was crossed
    model: int  # version number of the bundle
    runtime: str
    outcome: CutOutcome
    regime: Regime
    candidates: int
    signals: int
    weights: int = 0  # the update of the weights that the version blended its members with, 0: its bundle's own
    canary: int = 0  # version that decided for a part of the symbols, 0: none
    canary_percent: int = 0
    canary_outcome: CutOutcome = CutOutcome.NONE  # how its inference ended; late costs its part of the symbols only


class Signal(msgspec.Struct, frozen=True):
    """A wish to buy. ``p`` is the probability of reaching the first target before the stop within 30 minutes, entry at the ask, exit at the bid, fees in."""

    id: str
    system: str
    epoch: int
    last_seq: int
    symbol: str
    at_ns: int  # the sealed_at of its cut
    expires_at_ns: int
    p: float
    p_low: float
    confidence: float  # 0 to 1: member agreement, ranked against a trailing window
    bid: float
    ask: float
    vix: float | None
    average_volume: float | None  # shares of the symbol on an ordinary day, None when unknown: what an entry's size is held against
    regime: Regime
    model: int
    members: tuple[float, ...]
    simulated_model: bool  # trained on simulated data: opens nothing in Paper or Live
    probe: bool = False  # a scheduled exercise of the order path, Simulation only


def signal_id(system: str, epoch: int, last_seq: int, symbol: str) -> str:
    """A signal's identity: a pure function of what was judged."""
    return f"{system}.{epoch}.{last_seq}.{symbol}"
