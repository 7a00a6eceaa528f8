"""The same 50 features in plain float64 over ``xp``: what the kernel is held against with numpy, and the GPU path with CuPy.

Written from the catalogue's formulas, one line each, without looking at speed. It shares the definitions of windows with the kernel, and no arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tradingsystem.domain.rows import F64, I32
from tradingsystem.features import ranks, windows
from tradingsystem.features.catalogue import FEATURES
from tradingsystem.market import columns as c
from tradingsystem.market.columns import Columns
from tradingsystem.market.state import MarketState

Array = Any  # an array of numpy or CuPy


class _Inputs:
    """The state's columns as float64 arrays of ``xp`` over the whole table."""

    def __init__(self, state: MarketState, xp: Any) -> None:
        self.a: Columns = state.columns
        self.count = state.count
        self.xp = xp

    def now(self, column: int) -> Array:
        return self.xp.asarray(self.a.now[column, : self.count].astype(np.float64))

    def total(self, column: int) -> Array:
        return self.xp.asarray(self.a.totals[column, : self.count])

    def absent(self) -> Array:
        return self.xp.full(self.count, np.nan)

    def close_before(self, seconds: int) -> Array:
        slot = windows.slot_before(self.a.clock, seconds)
        return self.absent() if slot < 0 else self.xp.asarray(self.a.second_close[slot, : self.count].astype(np.float64))

    def volume_of_last(self, seconds: int) -> Array:
        slot = windows.slot_before(self.a.clock, seconds)
        if slot < 0:
            return self.absent()
        current = int(self.a.clock[c.SECOND]) % c.SECONDS
        traded = self.a.second_volume[current, : self.count] - self.a.second_volume[slot, : self.count]
        return self.xp.asarray(traded.astype(np.float64))

    def close_30m(self) -> Array:
        minute = windows.minute_before(self.a.clock)
        return self.absent() if minute < 0 else self.xp.asarray(self.a.minute[c.MINUTE_CLOSE, minute, : self.count].astype(np.float64))

    def share(self, one: Array, whole: Array) -> Array:
        """one / whole, absent where the whole is not above zero."""
        return self.xp.where(whole > 0, one / whole, np.nan)

    def alone(self, value: float) -> Array:
        """One value for every symbol. An array, since CuPy mixes its own with nothing of numpy's but numbers."""
        return self.xp.asarray(value, dtype=self.xp.float64)

    def of_spy(self, values: Array) -> Array:
        spy = int(self.a.clock[c.SPY])
        return values[spy] if spy >= 0 else self.alone(np.nan)


def features_of(state: MarketState, rows: I32, xp: Any = np) -> tuple[F64, Array]:
    """Features F64[n, 50] of the symbols ``rows`` and the mask bool[n, 50] of absent ones, which hold their neutral value; arrays of ``xp``."""
    inputs = _Inputs(state, xp)
    with np.errstate(all="ignore"):
        columns = {
            **_prices(inputs),
            **_volumes(inputs),
            **_quotes(inputs),
            **_trades_and_flow(inputs),
        }
        columns |= _market(inputs, columns)
    table = xp.stack([xp.broadcast_to(columns[feature.name], (inputs.count,)) for feature in FEATURES], axis=1)[xp.asarray(rows)]
    missing = ~xp.isfinite(table)
    return xp.where(missing, xp.asarray([feature.neutral for feature in FEATURES]), table), missing


def _prices(i: _Inputs) -> dict[str, Array]:
    last, opened, previous = i.now(c.LAST), i.now(c.DAY_OPEN), i.now(c.PREVIOUS_CLOSE)
    high, low = i.now(c.DAY_HIGH), i.now(c.DAY_LOW)
    sigma = i.xp.sqrt(i.now(c.VARIANCE_SLOW))
    change = {seconds: last / i.close_before(seconds) - 1 for seconds in (5, 10, 30, 60, 120, 300, 900)}
    return {
        **{f"change_{seconds}s": value for seconds, value in change.items()},
        "change_30m": last / i.close_30m() - 1,
        "change_day": last / previous - 1,
        "change_open": last / opened - 1,
        "gap": opened / previous - 1,
        "acceleration_60s": change[60] - (i.close_before(60) / i.close_before(120) - 1),
        "scaled_change_60s": i.share(change[60], sigma * 60**0.5),
        "scaled_change_300s": i.share(change[300], sigma * 300**0.5),
        "volatility_fast": i.xp.sqrt(i.now(c.VARIANCE_FAST)),
        "volatility_slow": sigma,
        "volatility_ratio": i.share(i.xp.sqrt(i.now(c.VARIANCE_FAST)), sigma),
        "range_day": (high - low) / last,
        "range_day_ratio": i.share((high - low) / last, i.now(c.AVERAGE_RANGE)),
        "range_position_day": (last - low) / (high - low),
        "range_position_15m": (last - i.now(c.LOW_15)) / (i.now(c.HIGH_15) - i.now(c.LOW_15)),
        "breakout_30m": last / i.now(c.HIGH_30) - 1,
        "luld_room": i.now(c.UPPER_BAND) / last - 1,
    }


def _volumes(i: _Inputs) -> dict[str, Array]:
    average = i.now(c.AVERAGE_VOLUME)
    day = i.total(c.DAY_VOLUME)
    usual = windows.usual_share(i.a.profile, i.a.clock, int(i.a.clock[c.NOW]))
    usual_60 = windows.usual_share_of_last(i.a.profile, i.a.clock, 60)
    usual_300 = windows.usual_share_of_last(i.a.profile, i.a.clock, 300)
    turnover = average * i.now(c.PREVIOUS_CLOSE)
    return {
        "volume_ratio_day": i.share(day, average * usual),
        "volume_burst_10s": i.share(i.volume_of_last(10) * 90, i.volume_of_last(900)),
        "volume_burst_60s": i.share(i.volume_of_last(60) * 15, i.volume_of_last(900)),
        "volume_pace_60s": i.share(i.volume_of_last(60), average * usual_60),
        "volume_pace_300s": i.share(i.volume_of_last(300), average * usual_300),
        "liquidity": turnover / (turnover + windows.LIQUIDITY_HALF),
        "vwap_distance": i.now(c.LAST) / (i.total(c.DAY_VALUE) / day) - 1,
    }


def _quotes(i: _Inputs) -> dict[str, Array]:
    bid, ask, bid_size, ask_size = i.now(c.BID), i.now(c.ASK), i.now(c.BID_SIZE), i.now(c.ASK_SIZE)
    mid = (bid + ask) / 2
    return {
        "spread": (ask - bid) / mid,
        "spread_ratio": i.share((ask - bid) / mid, i.now(c.SPREAD_SLOW)),
        "imbalance": (bid_size - ask_size) / (bid_size + ask_size),
        "imbalance_fast": i.now(c.IMBALANCE_FAST),
        "imbalance_slow": i.now(c.IMBALANCE_SLOW),
        "microprice_offset": (bid * ask_size + ask * bid_size) / (bid_size + ask_size) / mid - 1,
    }


def _trades_and_flow(i: _Inputs) -> dict[str, Array]:
    bought_fast, sold_fast = i.now(c.BOUGHT_FAST), i.now(c.SOLD_FAST)
    bought_slow, sold_slow = i.now(c.BOUGHT_SLOW), i.now(c.SOLD_SLOW)
    gross = i.now(c.GROSS_FLOW)
    turnover = i.now(c.AVERAGE_VOLUME) * i.now(c.PREVIOUS_CLOSE)
    return {
        "trade_rate_ratio": i.share(i.now(c.TRADES_FAST) * 30, i.now(c.TRADES_SLOW)),
        "trade_sign_fast": (bought_fast - sold_fast) / (bought_fast + sold_fast),
        "trade_sign_slow": (bought_slow - sold_slow) / (bought_slow + sold_slow),
        "flow_direction": i.share(i.now(c.CALL_FLOW) - i.now(c.PUT_FLOW), gross),
        "flow_intensity": i.xp.where(gross > 0, i.share(gross, turnover) * windows.FLOW_SCALE, np.nan),
    }


def _market(i: _Inputs, columns: dict[str, Array]) -> dict[str, Array]:
    clock = i.a.clock
    now_ns, open_ns, close_ns = int(clock[c.NOW]), int(clock[c.OPEN]), int(clock[c.CLOSE])
    fresh = now_ns - int(clock[c.VIX_AT]) <= windows.VIX_AGE_MAX_NS
    running = open_ns > 0 and now_ns >= open_ns
    return {
        "relative_60s": columns["change_60s"] - i.of_spy(columns["change_60s"]),
        "relative_300s": columns["change_300s"] - i.of_spy(columns["change_300s"]),
        "relative_day": columns["change_day"] - i.of_spy(columns["change_day"]),
        "vix": i.alone(float(i.a.levels[c.VIX]) / windows.VIX_USUAL if fresh else np.nan),
        "market_change_300s": i.of_spy(columns["change_300s"]),
        "rank_change": i.now(c.RANK_CHANGE),
        "rank_volume": i.now(c.RANK_VOLUME),
        "rank_momentum": i.now(c.RANK_MOMENTUM),
        "session_elapsed": i.alone(min(1.0, (now_ns - open_ns) / (close_ns - open_ns)) if running else np.nan),
    }


def ranks_of(state: MarketState) -> dict[str, F64]:
    """The three ranks of all symbols as a full sweep writes them, in float64."""
    inputs = _Inputs(state, np)
    with np.errstate(all="ignore"):
        usual = windows.usual_share(inputs.a.profile, inputs.a.clock, int(inputs.a.clock[c.NOW]))
        change = inputs.now(c.LAST) / inputs.now(c.PREVIOUS_CLOSE) - 1
        volume = inputs.total(c.DAY_VOLUME) / (inputs.now(c.AVERAGE_VOLUME) * usual)
        momentum = inputs.now(c.LAST) / inputs.close_before(300) - 1
    return {
        "rank_change": ranks.rank_exactly(change, ranks.CHANGE_SCALE),
        "rank_volume": ranks.rank_exactly(volume, ranks.VOLUME_SCALE),
        "rank_momentum": ranks.rank_exactly(momentum, ranks.MOMENTUM_SCALE),
    }
