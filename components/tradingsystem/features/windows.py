"""What the formulas look back at: which row of which ring is "60 seconds ago", and what share of a day's volume is usual by now.

Kernel and oracle share these definitions and nothing else. A window that began before the state did is absent, not short.
"""

from __future__ import annotations

import math

from tradingsystem.domain.rows import F64, I64
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.market import columns as c
from tradingsystem.market.compiling import compiled

VIX_AGE_MAX_NS = 120 * NS_PER_SECOND
VIX_USUAL = 20.0
LIQUIDITY_HALF = 1e8  # dollars of average daily turnover at which liquidity is one half
FLOW_SCALE = 1_000.0
MINUTES_BACK = 31  # the close 30 whole minutes before the running minute began


@compiled
def slot_before(clock: I64, seconds: int) -> int:
    """Row of the second ring at the end of the second ``seconds`` before the running one; -1 when the state did not exist then."""
    second = clock[c.SECOND] - seconds
    if second < clock[c.STARTED_SECOND]:
        return -1
    return int(second % c.SECONDS)


@compiled
def minute_before(clock: I64) -> int:
    """Row of the minutes whose close is ``change_30m``'s base; -1 before there is one."""
    minute = clock[c.MINUTE] - MINUTES_BACK
    return int(minute) if minute >= 0 else -1


@compiled
def usual_share(profile: F64, clock: I64, at_ns: int) -> float:
    """Share of an ordinary day's volume that is usual by ``at_ns``, linear within a minute; NaN before the open, the last after the close."""
    if clock[c.OPEN] == 0 or at_ns < clock[c.OPEN]:
        return math.nan
    elapsed = at_ns - clock[c.OPEN]
    minute = elapsed // NS_PER_MINUTE
    if minute >= clock[c.SESSION_MINUTES]:
        return float(profile[clock[c.SESSION_MINUTES]])
    within = (elapsed - minute * NS_PER_MINUTE) / NS_PER_MINUTE
    return float(profile[minute] + within * (profile[minute + 1] - profile[minute]))


@compiled
def usual_share_of_last(profile: F64, clock: I64, seconds: int) -> float:
    """Share of a day's volume that is usual in the last ``seconds``; NaN in a session younger than that."""
    now_ns = clock[c.NOW]
    before = usual_share(profile, clock, now_ns - seconds * NS_PER_SECOND)
    return usual_share(profile, clock, now_ns) - before
