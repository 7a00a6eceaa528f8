"""The state of the market as a whole: three votes and a weight make a score, with hysteresis so that noise around a border does not switch rules.

The VIX is the vote that may not be missing: without it for 120 s the regime is Unknown, whatever the others say. Nothing here trades or sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from tradingsystem.domain.rows import F64
from tradingsystem.domain.signals import Regime
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.features import windows
from tradingsystem.market import columns as c
from tradingsystem.market.columns import Columns
from tradingsystem.market.compiling import compiled
from tradingsystem.market.state import MarketState, vix

VIX_AGE_MAX_NS = windows.VIX_AGE_MAX_NS
VIX_CALM = 14.0  # votes fully for Bull
VIX_USUAL = 20.0  # votes for nobody
VIX_ALARM = 30.0  # votes fully for Bear, and is Bear alone
MOMENTUM_FULL = 0.004  # SPY over the day and the last 300 s, half each
BREADTH_FULL = 0.25  # away from half of the symbols advancing
ENTER = 0.25  # score at which Bull (Bear below its negative) begins
LEAVE = 0.10  # score at which it ends
DWELL_NS = 60 * NS_PER_SECOND  # a regime lasts at least that long, Unknown and the alarm aside


class RegimeState(msgspec.Struct, frozen=True):
    """The regime and since when."""

    regime: Regime = Regime.UNKNOWN
    since_ns: int = 0


@dataclass(frozen=True, slots=True)
class MarketView:
    """What the regime is judged by. ``momentum`` is a return, ``breadth`` the share of symbols above their previous close, ``volume_ratio`` the
    universe's volume against the usual one by now; NaN when not known."""

    vix: float | None
    momentum: float
    breadth: float
    volume_ratio: float


@compiled
def _universe(a: Columns) -> F64:
    """Breadth and volume ratio over all symbols that have traded."""
    usual = windows.usual_share(a.profile, a.clock, a.clock[c.NOW])
    advancing = 0
    known = 0
    volume = 0.0
    expected = 0.0
    for i in range(a.clock[c.COUNT]):
        last = a.now[c.LAST, i]
        previous = a.now[c.PREVIOUS_CLOSE, i]
        average = a.now[c.AVERAGE_VOLUME, i]
        if last > 0 and previous > 0:
            known += 1
            advancing += 1 if last > previous else 0
        if average > 0 and usual > 0:
            volume += a.totals[c.DAY_VOLUME, i]
            expected += average * usual
    return np.array([advancing / known if known > 0 else np.nan, volume / expected if expected > 0 else np.nan])


def view(state: MarketState) -> MarketView:
    """The market as the state knows it now."""
    a = state.columns
    breadth, volume_ratio = _universe(a)
    spy = int(a.clock[c.SPY])
    momentum = np.nan
    if spy >= 0:
        last = float(a.now[c.LAST, spy])
        day = last / float(a.now[c.PREVIOUS_CLOSE, spy]) - 1.0
        slot = windows.slot_before(a.clock, 300)
        lately = last / float(a.second_close[slot, spy]) - 1.0 if slot >= 0 else np.nan
        momentum = 0.5 * (day + (0.0 if np.isnan(lately) else lately))
    return MarketView(vix=vix(state, VIX_AGE_MAX_NS), momentum=momentum, breadth=float(breadth), volume_ratio=float(volume_ratio))


def score(market: MarketView) -> float:
    """-1 (Bear) to 1 (Bull): the mean of the votes of VIX, SPY and breadth; a heavy day strengthens it by up to half, a quiet one weakens it as much.

    An absent vote counts as none for either side.
    """
    level = VIX_USUAL if market.vix is None else market.vix
    span = VIX_USUAL - VIX_CALM if level < VIX_USUAL else VIX_ALARM - VIX_USUAL
    votes = (_vote((VIX_USUAL - level) / span), _vote(market.momentum / MOMENTUM_FULL), _vote((market.breadth - 0.5) / BREADTH_FULL))
    weight = 1.0 if np.isnan(market.volume_ratio) else 1.0 + 0.5 * _vote(market.volume_ratio - 1.0)
    return weight * sum(votes) / len(votes)


def _vote(value: float) -> float:
    return 0.0 if np.isnan(value) else max(-1.0, min(1.0, float(value)))


def next_regime(state: RegimeState, market: MarketView, now_ns: int) -> RegimeState:
    """The regime after one full sweep."""
    if market.vix is None:
        found = Regime.UNKNOWN
    elif market.vix >= VIX_ALARM:
        found = Regime.BEAR
    elif state.regime is not Regime.UNKNOWN and now_ns - state.since_ns < DWELL_NS:
        return state
    else:
        found = _judge(state.regime, score(market))
    return state if found is state.regime else RegimeState(found, now_ns)


def _judge(regime: Regime, value: float) -> Regime:
    """Entering takes more than staying."""
    if value >= (LEAVE if regime is Regime.BULL else ENTER):
        return Regime.BULL
    if value <= -(LEAVE if regime is Regime.BEAR else ENTER):
        return Regime.BEAR
    return Regime.NEUTRAL
