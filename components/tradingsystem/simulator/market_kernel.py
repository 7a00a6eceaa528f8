"""One market second of every symbol, compiled. Prices move, quotes follow, trades print at standing quotes, bars close.

Why compiled and per second: the same (seed, universe) must give the same events whatever slices are asked for, and two
thousand symbols must run some hundred times faster than the clock. It refuses to know what an episode is worth: it
applies the drift it is given. Random numbers come from two counters in its arguments, so it has no hidden state:
`noise` drives prices (a fixed pattern of draws), `tape` drives who trades and quotes; changing a drift therefore
leaves the noise of every price as it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Columns of `fixed`: what a symbol is.
SIGMA, BETA, HALF_SPREAD, TICK, TRADE_RATE, QUOTE_RATE, MEAN_SIZE, DEPTH, BAND, OPEN_DELAY, TIER, EXCHANGE = range(12)
FIXED_COLUMNS = 12

# Columns of `live`: where a symbol stands. 13..19 gather the minute bar.
X, VARIANCE, BID, ASK, BID_SIZE, ASK_SIZE, IMBALANCE, LAST, REFERENCE, AVERAGE = range(10)
LOWER, UPPER, LIMIT_SECONDS = 10, 11, 12
BAR_OPEN, BAR_HIGH, BAR_LOW, BAR_CLOSE, BAR_VOLUME, BAR_TURNOVER, BAR_TRADES = range(13, 20)
HALT_UNTIL, HALT_REASON, HALT_REQUEST, OPENED, CLOSED, BURST, PRESSURE, SIGMA_NOW, BAR_PRICED_VOLUME = range(20, 29)
LIVE_COLUMNS = 29

# Columns of `clock`, one row a second.
VOLATILITY, ACTIVITY, SPREAD_FACTOR, PHASE, DOUBLE_BANDS = range(5)
CLOCK_COLUMNS = 5
PRE_OPEN, REGULAR, AFTER_CLOSE = 0.0, 1.0, 2.0

# Columns of `episodes`, sorted by symbol, then start.
EPISODE_START, EPISODE_END, EPISODE_DIRECTION, EPISODE_REAL, EPISODE_JUMP, EPISODE_DRIFT, EPISODE_SIGMA = range(7)
EPISODE_COLUMNS = 7

KIND_TRADE, KIND_QUOTE, KIND_SECOND_BAR, KIND_MINUTE_BAR, KIND_LULD, KIND_HALT, KIND_RESUME = 1, 2, 3, 4, 5, 8, 9
REGULAR_SALE, AVERAGE_PRICE, CLOSING_PRINT, DERIVATIVE, FORM_T = 0, 2, 8, 10, 12
SWEEP, OFFICIAL_CLOSE, OFFICIAL_OPEN, OPENING_PRINT, REOPENING_PRINT, ODD_LOT = 14, 15, 16, 25, 28, 37
FINRA_TRF = 4
LIT_EXCHANGES = np.array([12, 11, 19, 8, 10, 21, 15, 18, 2], dtype=np.int64)

LIMIT_STATE_SECONDS = 15
LULD_PAUSE_SECONDS = 300
SECOND = 1_000_000_000
BURST_SECONDS = 240.0
PRESSURE_SECONDS = 180.0


@njit(cache=True)
def uniform(state: Any) -> Any:
    """Next number in [0, 1) of a splitmix64 counter (Steele, Lea, Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def normal(state: Any) -> Any:
    """Standard normal by Marsaglia's polar method (one of the pair is dropped: no state to carry)."""
    while True:
        a = 2.0 * uniform(state) - 1.0
        b = 2.0 * uniform(state) - 1.0
        q = a * a + b * b
        if 0.0 < q < 1.0:
            return a * math.sqrt(-2.0 * math.log(q) / q)


@njit(cache=True)
def poisson(state: Any, rate: float) -> Any:
    """Poisson count by multiplication (Knuth), cut at 60: rates here are at most some ten a second."""
    limit = math.exp(-rate)
    product = uniform(state)
    count = 0
    while product > limit and count < 60:
        product *= uniform(state)
        count += 1
    return count


@njit(cache=True)
def emit(ints: Any, floats: Any, at: Any, kind: int, symbol: int, when: int, condition: int, exchange: int, values: Any) -> None:
    """Write one event at the cursor `at[0]`."""
    row = at[0]
    if row >= ints.shape[0]:
        raise ValueError("event buffer of the generated market is too small")
    ints[row, 0], ints[row, 1], ints[row, 2], ints[row, 3], ints[row, 4] = kind, symbol, when, condition, exchange
    for column in range(6):
        floats[row, column] = values[column]
    at[0] = row + 1


@njit(cache=True)
def move_market(market: Any, clock_row: Any, noise: Any) -> Any:
    """One second of the market factor. `market`: variance, sigma a second, log VIX. Returns the factor's log return."""
    z = normal(noise)
    spread = normal(noise)
    market[0] = min(max(market[0] + 0.0006 * (1.0 - market[0]) + 0.012 * (z * z - 1.0) * market[0], 0.15), 12.0)
    change = market[1] * math.sqrt(market[0]) * clock_row[VOLATILITY] * z
    # VIX answers a fall of the index with a rise: about -4.5 in logs, plus noise of its own.
    market[2] += -4.5 * change + 0.00012 * clock_row[VOLATILITY] * spread
    return change


@njit(cache=True)
def apply_episode(second: int, live: Any, episodes: Any, cursor: Any, ends: Any, i: int, edge: float) -> Any:
    """Set burst, pressure and volatility of a symbol for this second; returns its drift (log a second) with any jump.

    Real and decoy announce themselves alike: jump, volume burst, quote pressure. Only the drift, and with it a part of
    the pressure that does not fade, belongs to the real one; `edge` scales the drift and nothing else.
    """
    while cursor[i] < ends[i] and episodes[cursor[i], EPISODE_END] <= second:
        cursor[i] += 1
    row = live[i]
    row[BURST], row[PRESSURE], row[SIGMA_NOW] = 1.0, 0.0, -1.0
    if cursor[i] >= ends[i] or episodes[cursor[i], EPISODE_START] > second:
        return 0.0
    episode = episodes[cursor[i]]
    elapsed = second - episode[EPISODE_START]
    fading = math.exp(-elapsed / PRESSURE_SECONDS)
    lasting = 0.45 if episode[EPISODE_REAL] > 0.0 else 0.0
    row[BURST] = 1.2 + 5.0 * math.exp(-elapsed / BURST_SECONDS)
    row[PRESSURE] = episode[EPISODE_DIRECTION] * (lasting + (1.0 - lasting) * fading)
    row[SIGMA_NOW] = episode[EPISODE_SIGMA]
    jump = episode[EPISODE_JUMP] * episode[EPISODE_DIRECTION] if elapsed < 1.0 else 0.0
    return jump + edge * episode[EPISODE_REAL] * episode[EPISODE_DIRECTION] * episode[EPISODE_DRIFT]


@njit(cache=True)
def move_price(row: Any, fixed_row: Any, clock_row: Any, change: float, drift: float, noise: Any) -> None:
    """Move one efficient log price: beta x factor + own noise with GARCH-like variance + rare jumps + drift."""
    z = normal(noise)
    chance = uniform(noise)
    size = normal(noise)
    row[VARIANCE] = min(max(row[VARIANCE] + 0.001 * (1.0 - row[VARIANCE]) + 0.015 * (z * z - 1.0) * row[VARIANCE], 0.2), 25.0)
    sigma = fixed_row[SIGMA] * math.sqrt(row[VARIANCE]) * clock_row[VOLATILITY]
    if row[SIGMA_NOW] > sigma:
        sigma = row[SIGMA_NOW]
    step = sigma * z
    if chance < 1.0 / 23_400.0 and fixed_row[SIGMA] > 0.0:
        step += 25.0 * fixed_row[SIGMA] * size
    row[X] += fixed_row[BETA] * change + step + drift


@njit(cache=True)
def lots(value: float) -> Any:
    """Displayed shares: whole round lots, at least one."""
    return max(100.0, math.floor(value / 100.0 + 0.5) * 100.0)


@njit(cache=True)
def set_quote(row: Any, fixed_row: Any, clock_row: Any, tape: Any) -> None:
    """Put bid and ask around the efficient price on the tick grid; bands cap the bid from above, the ask from below."""
    price = math.exp(row[X])
    tick = fixed_row[TICK]
    half = price * fixed_row[HALF_SPREAD] * clock_row[SPREAD_FACTOR] * math.sqrt(0.5 + 0.5 * row[VARIANCE])
    bid = max(math.floor((price - half) / tick + 1e-9), 1.0)
    ask = max(math.ceil((price + half) / tick - 1e-9), bid + 1.0)
    bid, ask = bid * tick, ask * tick
    if row[UPPER] > 0.0 and bid > row[UPPER]:
        bid = row[UPPER]
    if row[LOWER] > 0.0 and ask < row[LOWER]:
        ask = row[LOWER]
    tilt = 0.9 * row[IMBALANCE]
    row[BID], row[ASK] = math.floor(bid * 10_000.0 + 0.5) / 10_000.0, math.floor(ask * 10_000.0 + 0.5) / 10_000.0
    row[BID_SIZE] = lots(fixed_row[DEPTH] * math.exp(0.5 * normal(tape) + tilt))
    row[ASK_SIZE] = lots(fixed_row[DEPTH] * math.exp(0.5 * normal(tape) - tilt))


@njit(cache=True)
def wants_quote(row: Any, fixed_row: Any, clock_row: Any, tape: Any) -> Any:
    """Whether a symbol's quote moves this second: the price has left it (no stale quote to pick off), or by chance."""
    price = math.exp(row[X])
    chance = uniform(tape)
    row[IMBALANCE] += 0.05 * (row[PRESSURE] - row[IMBALANCE]) + 0.12 * normal(tape)
    if row[BID] == 0.0 or price <= row[BID] or price >= row[ASK]:
        return True
    middle = 0.5 * (row[BID] + row[ASK])
    half = 0.5 * (row[ASK] - row[BID])
    if clock_row[PHASE] == REGULAR and abs(price - middle) > 0.9 * half:
        return True
    return chance < 1.0 - math.exp(-fixed_row[QUOTE_RATE] * clock_row[ACTIVITY] * row[BURST])


@njit(cache=True)
def draw_trade(row: Any, fixed_row: Any, phase: float, tape: Any) -> Any:
    """One print at the standing quote: (price, shares, condition, exchange)."""
    buy = uniform(tape) < 0.5 + 0.3 * math.tanh(row[IMBALANCE])
    if row[UPPER] > 0.0 and row[ASK] > row[UPPER]:
        buy = False
    if row[LOWER] > 0.0 and row[BID] < row[LOWER]:
        buy = True
    price = row[ASK] if buy else row[BID]
    exchange = LIT_EXCHANGES[int(uniform(tape) * uniform(tape) * len(LIT_EXCHANGES))]
    kind = uniform(tape)
    shares = fixed_row[MEAN_SIZE] * math.exp(1.1 * normal(tape) - 0.35)
    middle = 0.5 * (row[BID] + row[ASK])
    if phase != REGULAR:
        return price, max(1.0, math.floor(min(shares, 500.0))), FORM_T, exchange
    if kind < 0.25:
        return price, 1.0 + math.floor(99.0 * uniform(tape)), ODD_LOT, exchange
    shares = lots(shares)
    inside = (row[UPPER] == 0.0 or middle <= row[UPPER]) and middle >= row[LOWER]
    if kind < 0.40 and inside:
        return math.floor(middle * 10_000.0 + 0.5) / 10_000.0, shares, REGULAR_SALE, FINRA_TRF
    if kind < 0.70:
        return price, shares, SWEEP, exchange
    if kind < 0.703:
        away = math.floor(price * (1.0 + 0.002 * (uniform(tape) - 0.5)) * 10_000.0 + 0.5) / 10_000.0
        return away, shares, AVERAGE_PRICE, FINRA_TRF
    if kind < 0.704:
        return price, shares, DERIVATIVE, FINRA_TRF
    return price, shares, REGULAR_SALE, exchange


@njit(cache=True)
def count_trade(bar: Any, row: Any, price: float, shares: float, condition: int) -> None:
    """Add a print to the second's bar `bar` and to the minute's in `row`, as the consolidated rules allow.

    Odd lots and average prices count as volume only; derivatively priced prints may be high or low but neither open
    nor close; official open and close count not at all. Extended-hours prints (Form T) make extended-hours bars.
    Turnover, and so the VWAP, is of prints that may set high and low: low <= VWAP <= high.
    """
    if condition in (OFFICIAL_OPEN, OFFICIAL_CLOSE):
        return
    for target, base in ((bar, 0), (row, BAR_OPEN)):
        target[base + 4] += shares
        target[base + 6] += 1.0
        if condition in (ODD_LOT, AVERAGE_PRICE):
            continue
        target[base + 5] += price * shares
        target[base + 1] = max(target[base + 1], price)
        target[base + 2] = price if target[base + 2] == 0.0 else min(target[base + 2], price)
        if condition != DERIVATIVE:
            target[base] = price if target[base] == 0.0 else target[base]
            target[base + 3] = price
    if condition not in (ODD_LOT, AVERAGE_PRICE):
        bar[7] += shares
        row[BAR_PRICED_VOLUME] += shares
        if condition != DERIVATIVE:
            row[LAST] = price


@njit(cache=True)
def print_trade(
    ints: Any,
    floats: Any,
    at: Any,
    i: int,
    when: int,
    row: Any,
    bar: Any,
    price: float,
    shares: float,
    condition: int,
    exchange: int,
) -> None:
    """Emit a trade and count it."""
    emit(ints, floats, at, KIND_TRADE, i, when, condition, exchange, (price, shares, 0.0, 0.0, 0.0, 0.0))
    count_trade(bar, row, price, shares, condition)


@njit(cache=True)
def close_bar(ints: Any, floats: Any, at: Any, kind: int, i: int, when: int, bar: Any, priced: float) -> None:
    """Emit a bar when a print made an open, else nothing."""
    if bar[0] > 0.0:
        emit(ints, floats, at, kind, i, when, int(bar[6]), 0, (bar[0], bar[4], bar[1], bar[5] / priced, bar[2], bar[3]))


@njit(cache=True)
def emit_quote(ints: Any, floats: Any, at: Any, i: int, when: int, row: Any, exchange: int) -> None:
    """Emit the standing quote."""
    emit(ints, floats, at, KIND_QUOTE, i, when, 1, exchange, (row[BID], row[BID_SIZE], row[ASK], row[ASK_SIZE], 0.0, 0.0))


@njit(cache=True)
def set_bands(ints: Any, floats: Any, at: Any, i: int, when: int, row: Any, fixed_row: Any, clock_row: Any) -> None:
    """Publish LULD bands around the reference price: percent by tier and price, $0.15 or 75 % below $0.75."""
    reference = row[REFERENCE]
    width = fixed_row[BAND] * reference if fixed_row[BAND] > 0.0 else min(0.15, 0.75 * reference)
    if clock_row[DOUBLE_BANDS] > 0.0 and fixed_row[TIER] == 1.0:
        width *= 2.0
    tick = fixed_row[TICK]
    row[LOWER] = max(math.floor((reference - width) / tick + 0.5), 1.0) * tick
    row[UPPER] = math.floor((reference + width) / tick + 0.5) * tick
    row[LOWER] = math.floor(row[LOWER] * 10_000.0 + 0.5) / 10_000.0
    row[UPPER] = math.floor(row[UPPER] * 10_000.0 + 0.5) / 10_000.0
    emit(ints, floats, at, KIND_LULD, i, when, 15, int(fixed_row[EXCHANGE]), (row[LOWER], 0.0, row[UPPER], 0.0, 0.0, 0.0))


@njit(cache=True)
def auction(
    ints: Any,
    floats: Any,
    at: Any,
    i: int,
    when: int,
    row: Any,
    fixed_row: Any,
    clock_row: Any,
    bar: Any,
    tape: Any,
    condition: int,
    share: float,
) -> None:
    """One auction print at the middle of the book on the tick grid, with the quote before it and bands after it."""
    row[UPPER] = row[LOWER] = 0.0
    set_quote(row, fixed_row, clock_row, tape)
    exchange = int(fixed_row[EXCHANGE])
    emit_quote(ints, floats, at, i, when, row, exchange)
    steps = math.floor(0.5 * (row[BID] + row[ASK]) / fixed_row[TICK] + 0.5)
    price = math.floor(steps * fixed_row[TICK] * 10_000.0 + 0.5) / 10_000.0
    day = fixed_row[MEAN_SIZE] * fixed_row[TRADE_RATE] * 23_400.0
    shares = lots(share * day * math.exp(0.4 * normal(tape)))
    print_trade(ints, floats, at, i, when + 1_000_000, row, bar, price, shares, condition, exchange)
    official = OFFICIAL_OPEN if condition == OPENING_PRINT else OFFICIAL_CLOSE
    if condition != REOPENING_PRINT:
        print_trade(ints, floats, at, i, when + 2_000_000, row, bar, price, shares, official, exchange)
    row[REFERENCE] = row[AVERAGE] = price
    if clock_row[PHASE] == REGULAR:
        set_bands(ints, floats, at, i, when + 3_000_000, row, fixed_row, clock_row)


@njit(cache=True)
def watch_bands(ints: Any, floats: Any, at: Any, i: int, second: int, end: int, row: Any, fixed_row: Any, clock_row: Any) -> None:
    """Move the reference price, count the limit state, pause when it lasted 15 s or news asks for it."""
    row[AVERAGE] += (row[LAST] - row[AVERAGE]) / 300.0
    if row[HALT_REQUEST] > 0.0 or row[LIMIT_SECONDS] >= LIMIT_STATE_SECONDS:
        news = row[HALT_REQUEST] > 0.0
        row[HALT_UNTIL] = second + (row[HALT_REQUEST] if news else LULD_PAUSE_SECONDS)
        row[HALT_REASON] = 2.0 if news else 1.0
        row[HALT_REQUEST] = row[LIMIT_SECONDS] = 0.0
        emit(
            ints,
            floats,
            at,
            KIND_HALT,
            i,
            end - 1_000_000,
            int(row[HALT_REASON]),
            int(fixed_row[EXCHANGE]),
            (row[LAST], 0.0, 0.0, 0.0, 0.0, 0.0),
        )
        return
    limit = row[BID] >= row[UPPER] or row[ASK] <= row[LOWER]
    row[LIMIT_SECONDS] = row[LIMIT_SECONDS] + 1.0 if limit else 0.0
    if abs(row[AVERAGE] / row[REFERENCE] - 1.0) >= 0.01:
        row[REFERENCE] = row[AVERAGE]
        set_bands(ints, floats, at, i, end - 2_000_000, row, fixed_row, clock_row)


@njit(cache=True)
def trade_symbol(
    ints: Any, floats: Any, at: Any, i: int, begin: int, row: Any, fixed_row: Any, clock_row: Any, bar: Any, tape: Any
) -> None:
    """Quotes and trades of one symbol in one second: the quote first, then prints at it, then perhaps a shrunk quote."""
    phase = clock_row[PHASE]
    if wants_quote(row, fixed_row, clock_row, tape):
        set_quote(row, fixed_row, clock_row, tape)
        emit_quote(ints, floats, at, i, begin + 1 + int(0.2 * SECOND * uniform(tape)), row, int(fixed_row[EXCHANGE]))
    rate = fixed_row[TRADE_RATE] * clock_row[ACTIVITY] * row[BURST]
    count = poisson(tape, rate)
    for j in range(count):
        price, shares, condition, exchange = draw_trade(row, fixed_row, phase, tape)
        when = begin + int(SECOND * (0.25 + 0.7 * (j + uniform(tape)) / count))
        print_trade(ints, floats, at, i, when, row, bar, price, shares, condition, exchange)


@njit(cache=True)
def step_symbol(
    ints: Any,
    floats: Any,
    at: Any,
    i: int,
    second: int,
    begin: int,
    row: Any,
    fixed_row: Any,
    clock_row: Any,
    bar: Any,
    tape: Any,
    open_second: int,
    close_second: int,
) -> None:
    """The life of one symbol in one second, by phase of the day."""
    offset = begin + 1 + int(0.1 * SECOND * uniform(tape))
    if row[HALT_UNTIL] > second:
        return
    if row[HALT_UNTIL] > 0.0:
        if clock_row[PHASE] == REGULAR:
            emit(
                ints,
                floats,
                at,
                KIND_RESUME,
                i,
                begin + 1,
                int(row[HALT_REASON]),
                int(fixed_row[EXCHANGE]),
                (row[LAST], 0.0, 0.0, 0.0, 0.0, 0.0),
            )
            auction(ints, floats, at, i, offset, row, fixed_row, clock_row, bar, tape, REOPENING_PRINT, 0.003)
        row[HALT_UNTIL] = 0.0
        return
    if clock_row[PHASE] == REGULAR and row[OPENED] == 0.0:
        if second < open_second + fixed_row[OPEN_DELAY]:
            return
        auction(ints, floats, at, i, offset, row, fixed_row, clock_row, bar, tape, OPENING_PRINT, 0.015)
        row[OPENED] = 1.0
        return
    if clock_row[PHASE] == AFTER_CLOSE and row[CLOSED] == 0.0:
        if second < close_second + fixed_row[OPEN_DELAY]:
            return
        auction(ints, floats, at, i, offset, row, fixed_row, clock_row, bar, tape, CLOSING_PRINT, 0.06)
        row[CLOSED] = 1.0
        return
    trade_symbol(ints, floats, at, i, begin, row, fixed_row, clock_row, bar, tape)
    if clock_row[PHASE] == REGULAR:
        watch_bands(ints, floats, at, i, second, begin + SECOND, row, fixed_row, clock_row)


@njit(cache=True)
def step_second(
    second: int,
    begin: int,
    fixed: Any,
    live: Any,
    market: Any,
    clock: Any,
    episodes: Any,
    cursor: Any,
    ends: Any,
    edge: float,
    noise: Any,
    tape: Any,
    open_second: int,
    close_second: int,
    ints: Any,
    floats: Any,
) -> Any:
    """All symbols through the second (begin, begin + 1 s]; returns how many events were written, not yet in time order."""
    at = np.zeros(1, dtype=np.int64)
    bar = np.zeros(8)
    clock_row = clock[second]
    change = move_market(market, clock_row, noise)
    minute_ends = (second + 1) % 60 == 0
    for i in range(fixed.shape[0]):
        row = live[i]
        drift = apply_episode(second, live, episodes, cursor, ends, i, edge)
        move_price(row, fixed[i], clock_row, change, drift, noise)
        bar[:] = 0.0
        step_symbol(ints, floats, at, i, second, begin, row, fixed[i], clock_row, bar, tape, open_second, close_second)
        close_bar(ints, floats, at, KIND_SECOND_BAR, i, begin + SECOND, bar, bar[7])
        if minute_ends:
            close_bar(ints, floats, at, KIND_MINUTE_BAR, i, begin + SECOND, row[BAR_OPEN:], row[BAR_PRICED_VOLUME])
            row[BAR_OPEN : BAR_TRADES + 1] = 0.0
            row[BAR_PRICED_VOLUME] = 0.0
    return at[0]
