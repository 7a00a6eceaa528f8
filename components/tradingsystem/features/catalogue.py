"""The one table of features: name, formula, source, window, and the value that stands in when the input is absent.

Order is part of the contract with every model bundle: ``schema_hash`` changes with any change here, and a bundle made for another hash is not loaded.
Values are raw: clipping and standardising belong to the bundle.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

from tradingsystem.domain.features import FEATURE_COUNT


class Source(enum.StrEnum):
    """Which input a feature needs."""

    PRICES = "prices"
    VOLUMES = "volumes"
    QUOTES = "quotes"
    TRADES = "trades"
    MARKET = "SPY and VIX"
    UNIVERSE = "full sweep"
    FLOW = "options flow"
    CALENDAR = "calendar"
    BANDS = "LULD bands"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the feature matrix. ``window_seconds`` is how far it looks back, 0 for the present, -1 since the open."""

    name: str
    formula: str
    source: Source
    window_seconds: int
    neutral: float = 0.0


_PRICES, _VOLUMES, _QUOTES, _TRADES = Source.PRICES, Source.VOLUMES, Source.QUOTES, Source.TRADES
_DAY = -1

FEATURES: tuple[Feature, ...] = (
    Feature("change_5s", "last / close[-5 s] - 1", _PRICES, 5),
    Feature("change_10s", "last / close[-10 s] - 1", _PRICES, 10),
    Feature("change_30s", "last / close[-30 s] - 1", _PRICES, 30),
    Feature("change_60s", "last / close[-60 s] - 1", _PRICES, 60),
    Feature("change_120s", "last / close[-120 s] - 1", _PRICES, 120),
    Feature("change_300s", "last / close[-300 s] - 1", _PRICES, 300),
    Feature("change_900s", "last / close[-900 s] - 1", _PRICES, 900),
    Feature("change_30m", "last / close of the minute 30 minutes before the running one - 1", _PRICES, 1860),
    Feature("change_day", "last / previous close - 1", _PRICES, _DAY),
    Feature("change_open", "last / day's open - 1", _PRICES, _DAY),
    Feature("gap", "day's open / previous close - 1", _PRICES, _DAY),
    Feature("acceleration_60s", "(last / close[-60 s] - 1) - (close[-60 s] / close[-120 s] - 1)", _PRICES, 120),
    Feature("scaled_change_60s", "change_60s / sqrt(60 x variance of 1 s returns, half-life 900 s)", _PRICES, 900),
    Feature("scaled_change_300s", "change_300s / sqrt(300 x variance of 1 s returns, half-life 900 s)", _PRICES, 900),
    Feature("volatility_fast", "sqrt(variance of 1 s returns, half-life 60 s)", _PRICES, 60),
    Feature("volatility_slow", "sqrt(variance of 1 s returns, half-life 900 s)", _PRICES, 900),
    Feature("volatility_ratio", "volatility_fast / volatility_slow", _PRICES, 900, 1.0),
    Feature("range_day", "(day's high - day's low) / last", _PRICES, _DAY),
    Feature("range_day_ratio", "range_day / average daily range", _PRICES, _DAY, 1.0),
    Feature("volume_ratio_day", "day's volume / (average volume x profile by now)", _VOLUMES, _DAY, 1.0),
    Feature("volume_burst_10s", "volume of 10 s / (volume of 900 s x 10 / 900)", _VOLUMES, 900, 1.0),
    Feature("volume_burst_60s", "volume of 60 s / (volume of 900 s x 60 / 900)", _VOLUMES, 900, 1.0),
    Feature("volume_pace_60s", "volume of 60 s / (average volume x profile of those 60 s)", _VOLUMES, 60, 1.0),
    Feature("volume_pace_300s", "volume of 300 s / (average volume x profile of those 300 s)", _VOLUMES, 300, 1.0),
    Feature("trade_rate_ratio", "trades decayed with half-life 10 s x 30 / trades decayed with half-life 300 s", _TRADES, 300, 1.0),
    Feature("liquidity", "turnover / (turnover + 1e8), turnover = average volume x previous close", _VOLUMES, _DAY, 0.5),
    Feature("spread", "(ask - bid) / mid", _QUOTES, 0),
    Feature("spread_ratio", "spread / its moving average with half-life 300 s", _QUOTES, 300, 1.0),
    Feature("imbalance", "(bid size - ask size) / (bid size + ask size)", _QUOTES, 0),
    Feature("imbalance_fast", "moving average of imbalance with half-life 10 s", _QUOTES, 10),
    Feature("imbalance_slow", "moving average of imbalance with half-life 180 s", _QUOTES, 180),
    Feature("microprice_offset", "(size-weighted mid - mid) / mid = spread / 2 x imbalance", _QUOTES, 0),
    Feature("trade_sign_fast", "(bought - sold) / (bought + sold), decayed with half-life 10 s", _TRADES, 10),
    Feature("trade_sign_slow", "(bought - sold) / (bought + sold), decayed with half-life 120 s", _TRADES, 120),
    Feature("vwap_distance", "last / (day's value / day's volume) - 1", _VOLUMES, _DAY),
    Feature("range_position_day", "(last - day's low) / (day's high - day's low)", _PRICES, _DAY, 0.5),
    Feature("range_position_15m", "(last - low) / (high - low) of the 15 minutes before the running one", _PRICES, 960, 0.5),
    Feature("breakout_30m", "last / high of the 30 minutes before the running one - 1", _PRICES, 1860),
    Feature("relative_60s", "change_60s - SPY's", Source.MARKET, 60),
    Feature("relative_300s", "change_300s - SPY's", Source.MARKET, 300),
    Feature("relative_day", "change_day - SPY's", Source.MARKET, _DAY),
    Feature("vix", "VIX / 20, at most 120 s old", Source.MARKET, 120, 1.0),
    Feature("market_change_300s", "SPY's change_300s", Source.MARKET, 300),
    Feature("rank_change", "share of the universe with a smaller change_day", Source.UNIVERSE, _DAY, 0.5),
    Feature("rank_volume", "share of the universe with a smaller volume_ratio_day", Source.UNIVERSE, _DAY, 0.5),
    Feature("rank_momentum", "share of the universe with a smaller change_300s", Source.UNIVERSE, 300, 0.5),
    Feature(
        "flow_direction",
        "(call premium bought net - put premium bought net) / gross premium, decayed with half-life 600 s",
        Source.FLOW,
        600,
    ),
    Feature("flow_intensity", "gross premium, decayed with half-life 600 s / (average volume x previous close) x 1,000", Source.FLOW, 600),
    Feature("session_elapsed", "share of the session that has passed", Source.CALENDAR, _DAY),
    Feature("luld_room", "upper band / last - 1", Source.BANDS, 0, 0.05),
)

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

assert len(FEATURES) == FEATURE_COUNT
assert len(set(NAMES)) == FEATURE_COUNT


def schema_hash() -> str:
    """sha256 of the whole table, hex: what a bundle was trained on and what this build computes must agree in it."""
    text = "\n".join(f"{at}|{f.name}|{f.formula}|{f.source}|{f.window_seconds}|{f.neutral!r}" for at, f in enumerate(FEATURES))
    return hashlib.sha256(text.encode()).hexdigest()
