"""The passage of market time over the state: seconds and minutes begin, flows decay. Nothing here reads a row.

Every second that begins copies the last row of the ring forward, so that a price is known at every second; what arrives late is written back by
``applying``. Decays are applied once per second of market time, to all symbols, whether or not they traded.
"""

from __future__ import annotations

import math

import numpy as np

from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.market import columns as c
from tradingsystem.market.columns import Columns
from tradingsystem.market.compiling import compiled


def decay(half_life_seconds: float) -> np.float32:
    """What is left of a quantity after one second."""
    return np.float32(0.5 ** (1.0 / half_life_seconds))


KEEP_10 = decay(10)
KEEP_60 = decay(60)
KEEP_120 = decay(120)
KEEP_180 = decay(180)
KEEP_300 = decay(300)
KEEP_600 = decay(600)
KEEP_900 = decay(900)
SECONDS_PER_SESSION = 23_400
RANGE_OF_SIGMA = math.sqrt(8 / math.pi)  # expected range of a Brownian day over its sigma (Parkinson 1980)
_PRIOR = np.float32(1.0 / (RANGE_OF_SIGMA**2 * SECONDS_PER_SESSION))


@compiled
def roll(a: Columns, now_ns: int) -> int:
    """Move market time to ``now_ns``; returns how many seconds began. Time that goes back is ignored."""
    second = now_ns // NS_PER_SECOND
    if now_ns > a.clock[c.NOW]:
        a.clock[c.NOW] = now_ns
    began = 0
    if a.clock[c.SECOND] == 0:
        a.clock[c.SECOND] = second
        a.clock[c.STARTED_SECOND] = second
        a.clock[c.CHANGED_SECOND] = second
        a.second_close[second % c.SECONDS, :] = np.float32(math.nan)
        a.second_volume[second % c.SECONDS, :] = 0
        began = 1
    elif second > a.clock[c.SECOND]:
        began = second - a.clock[c.SECOND]
        _roll_seconds(a, second)
    _roll_minutes(a, now_ns)
    return began


@compiled
def _roll_seconds(a: Columns, second: int) -> None:
    count = a.clock[c.COUNT]
    source = a.clock[c.SECOND] % c.SECONDS
    first = max(a.clock[c.SECOND] + 1, second - c.SECONDS + 1)
    for at in range(first, second + 1):
        slot = at % c.SECONDS
        a.second_close[slot, :count] = a.second_close[source, :count]
        a.second_volume[slot, :count] = a.second_volume[source, :count]
        source = slot
        _decay_quotes(a.now, count)
        _decay_sums(a.now, count)
    a.clock[c.SECOND] = second


@compiled
def _decay_quotes(now: np.ndarray, count: int) -> None:
    """Moving averages of squared return, spread and imbalance; an absent quote leaves them as they are."""
    one = np.float32(1)
    for i in range(count):
        last = now[c.LAST, i]
        change = last / now[c.ROLLED_LAST, i] - one
        square = change * change
        if square == square:
            fast = now[c.VARIANCE_FAST, i]
            slow = now[c.VARIANCE_SLOW, i]
            prior = now[c.AVERAGE_RANGE, i] * now[c.AVERAGE_RANGE, i] * _PRIOR
            prior = prior if prior > 0 else square
            fast = fast if fast == fast else prior
            slow = slow if slow == slow else prior
            now[c.VARIANCE_FAST, i] = square + KEEP_60 * (fast - square)
            now[c.VARIANCE_SLOW, i] = square + KEEP_900 * (slow - square)
        now[c.ROLLED_LAST, i] = last
    for i in range(count):
        bid_size = now[c.BID_SIZE, i]
        ask_size = now[c.ASK_SIZE, i]
        imbalance = (bid_size - ask_size) / (bid_size + ask_size)
        fast = now[c.IMBALANCE_FAST, i]
        slow = now[c.IMBALANCE_SLOW, i]
        moved_fast = imbalance + KEEP_10 * (fast - imbalance) if fast == fast else imbalance
        moved_slow = imbalance + KEEP_180 * (slow - imbalance) if slow == slow else imbalance
        now[c.IMBALANCE_FAST, i] = moved_fast if imbalance == imbalance else fast
        now[c.IMBALANCE_SLOW, i] = moved_slow if imbalance == imbalance else slow
    for i in range(count):
        bid = now[c.BID, i]
        ask = now[c.ASK, i]
        spread = np.float32(2) * (ask - bid) / (ask + bid)
        slow = now[c.SPREAD_SLOW, i]
        moved = spread + KEEP_300 * (slow - spread) if slow == slow else spread
        now[c.SPREAD_SLOW, i] = moved if spread == spread else slow


@compiled
def _decay_sums(now: np.ndarray, count: int) -> None:
    now[c.BOUGHT_FAST, :count] *= KEEP_10
    now[c.SOLD_FAST, :count] *= KEEP_10
    now[c.BOUGHT_SLOW, :count] *= KEEP_120
    now[c.SOLD_SLOW, :count] *= KEEP_120
    now[c.TRADES_FAST, :count] *= KEEP_10
    now[c.TRADES_SLOW, :count] *= KEEP_300
    now[c.CALL_FLOW, :count] *= KEEP_600
    now[c.PUT_FLOW, :count] *= KEEP_600
    now[c.GROSS_FLOW, :count] *= KEEP_600


@compiled
def _roll_minutes(a: Columns, now_ns: int) -> None:
    if a.clock[c.OPEN] == 0 or now_ns < a.clock[c.OPEN]:
        return
    count = a.clock[c.COUNT]
    minute = min((now_ns - a.clock[c.OPEN]) // NS_PER_MINUTE, a.clock[c.SESSION_MINUTES] - 1)
    begun = a.clock[c.MINUTE]
    if minute <= begun:
        return
    for m in range(begun + 1, minute + 1):
        for i in range(count):
            a.minute[c.MINUTE_HIGH, m, i] = np.nan
            a.minute[c.MINUTE_LOW, m, i] = np.nan
            a.minute[c.MINUTE_VOLUME, m, i] = 0
            a.minute[c.MINUTE_CLOSE, m, i] = a.minute[c.MINUTE_CLOSE, m - 1, i] if m > 0 else a.now[c.LAST, i]
    a.clock[c.MINUTE] = minute
    a.clock[c.CHANGED_MINUTE] = min(a.clock[c.CHANGED_MINUTE], begun + 1)
    _window_extremes(a, minute, count)


@compiled
def _window_extremes(a: Columns, minute: int, count: int) -> None:
    """Highs and lows of the whole minutes before ``minute``: 15 and 30 of them at most."""
    nothing = np.float32(np.nan)
    a.now[c.HIGH_15, :count] = nothing
    a.now[c.LOW_15, :count] = nothing
    a.now[c.HIGH_30, :count] = nothing
    for m in range(max(0, minute - 30), minute):
        for i in range(count):
            high = a.minute[c.MINUTE_HIGH, m, i]
            known = a.now[c.HIGH_30, i]
            a.now[c.HIGH_30, i] = known if known >= high or high != high else high
    for m in range(max(0, minute - 15), minute):
        for i in range(count):
            high = a.minute[c.MINUTE_HIGH, m, i]
            known = a.now[c.HIGH_15, i]
            a.now[c.HIGH_15, i] = known if known >= high or high != high else high
            low = a.minute[c.MINUTE_LOW, m, i]
            known = a.now[c.LOW_15, i]
            a.now[c.LOW_15, i] = known if known <= low or low != low else low
