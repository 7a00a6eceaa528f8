"""Who trades on the generated market: tickers, prices, liquidity, spreads, and a made-up past. Everything from one seed.

The distributions are heavy-tailed as real ones are: a few symbols carry most of the dollars, most have wide spreads.
It refuses to look like anybody in particular: tickers and names are generated, only SPY (and the VIX index) are real
words, because regime rules ask for them by name.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradingsystem.simulator import market_kernel as kernel
from tradingsystem.simulator.feed import (
    F64,
    DayBars,
    SymbolFacts,
    session_of,
    sessions_before,
)

SYMBOLS_MAX = 12_000
SECONDS_A_DAY = 23_400.0
CONSONANTS, VOWELS = "BCDFGHJKLMNPQRSTVWXZ", "AEIOUY"
PLACES = ("North", "River", "Summit", "Harbor", "Cedar", "Granite", "Prairie", "Atlas", "Vector", "Beacon", "Lumen", "Onyx")
TRADES = ("Foods", "Energy", "Devices", "Bancorp", "Software", "Therapeutics", "Logistics", "Materials", "Media", "Motors")
EXCHANGES = (("XNAS", 12, 3), ("XNYS", 10, 1), ("ARCX", 11, 2), ("XASE", 1, 2))


@dataclass(frozen=True, slots=True)
class Universe:
    """Symbols and their lasting properties; arrays in the order of `symbols`, which is sorted."""

    symbols: tuple[str, ...]
    types: tuple[str, ...]
    names: tuple[str, ...]
    listing: NDArray[np.int64]  # index into EXCHANGES
    price: F64  # close of the day before the simulated one
    dollar_volume: F64  # a day
    daily_volatility: F64
    beta: F64
    half_spread: F64  # share of the price
    shares_outstanding: NDArray[np.int64]

    @property
    def spy(self) -> int:
        """Index of SPY."""
        return self.symbols.index("SPY")

    def facts(self) -> list[SymbolFacts]:
        """Reference data of every symbol."""
        return [
            SymbolFacts(
                symbol=symbol,
                name=self.names[i],
                type=self.types[i],
                primary_exchange=EXCHANGES[self.listing[i]][0],
                tape=EXCHANGES[self.listing[i]][2],
                previous_close=float(self.price[i]),
                average_volume=float(np.round(self.dollar_volume[i] / self.price[i])),
                luld_tier=1 if self.dollar_volume[i] > 5e7 else 2,
                shares_outstanding=int(self.shares_outstanding[i]),
            )
            for i, symbol in enumerate(self.symbols)
        ]


def make_tickers(generator: np.random.Generator, count: int, taken: frozenset[str]) -> list[str]:
    """`count` different pronounceable tickers of 3 to 4 letters, none of them in `taken`."""
    found: list[str] = []
    seen = set(taken)
    while len(found) < count:
        letters = [CONSONANTS[generator.integers(20)], VOWELS[generator.integers(6)], CONSONANTS[generator.integers(20)]]
        if generator.random() < 0.85:
            letters.append((VOWELS + CONSONANTS)[generator.integers(26)])
        ticker = "".join(letters)
        if ticker not in seen:
            seen.add(ticker)
            found.append(ticker)
    return found


def tick_of(price: F64) -> F64:
    """Minimum price increment: a cent, a hundredth of a cent below one dollar (Rule 612)."""
    return np.where(price >= 1.0, 0.01, 0.0001)


def make_universe(seed: int, count: int) -> Universe:
    """Draw a universe of `count` symbols, SPY included. Raises ValueError outside 2..12,000."""
    if not 2 <= count <= SYMBOLS_MAX:
        raise ValueError(f"symbols {count} must lie in 2..{SYMBOLS_MAX}")
    generator = np.random.default_rng([seed, 0x0A11])
    tickers = sorted([*make_tickers(generator, count - 1, frozenset({"SPY"})), "SPY"])
    spy = tickers.index("SPY")
    dollar_volume = 2.5e7 * np.exp(1.6 * generator.standard_normal(count))
    price = np.clip(32.0 * np.exp(0.95 * generator.standard_normal(count)), 0.6, 2_500.0)
    size_rank = np.log(dollar_volume / 2.5e7)
    volatility = np.clip(0.021 * np.exp(0.35 * generator.standard_normal(count) - 0.10 * size_rank), 0.007, 0.08)
    beta = np.clip(1.0 + 0.4 * generator.standard_normal(count), 0.0, 2.5)
    spread = 9e-4 * np.exp(-0.42 * size_rank + 0.25 * generator.standard_normal(count))
    listing = generator.choice(4, size=count, p=[0.55, 0.33, 0.09, 0.03])
    kinds = generator.choice(3, size=count, p=[0.84, 0.12, 0.04])
    price[spy], dollar_volume[spy], volatility[spy], beta[spy], spread[spy] = 585.0, 3.5e10, 0.0, 1.0, 2e-5
    listing[spy], kinds[spy] = 2, 1
    price = np.round(price, 2)
    names = [
        f"{PLACES[generator.integers(12)]} {TRADES[generator.integers(10)]} {'Fund' if kinds[i] == 1 else 'Inc.'}" for i in range(count)
    ]
    names[spy] = "S&P 500 ETF (simulated)"
    return Universe(
        symbols=tuple(tickers),
        types=tuple(("CS", "ETF", "ADRC")[kind] for kind in kinds),
        names=tuple(names),
        listing=listing.astype(np.int64),
        price=price,
        dollar_volume=dollar_volume,
        daily_volatility=volatility,
        beta=beta,
        half_spread=np.clip(spread / 2.0, 1e-5, 0.01),
        shares_outstanding=np.round(dollar_volume / price * generator.uniform(80, 400, size=count), -3).astype(np.int64),
    )


def kernel_parameters(universe: Universe, events_per_second: float) -> F64:
    """The kernel's `fixed` table; trades and quotes are spread by liquidity so that events add up to the rate asked for.

    About 28 % of the events become trades (each with its second bar) and 30 % chance quotes; the rest are quotes that
    must follow the price, which nobody may thin out, because a stale quote is free money.
    """
    count = len(universe.symbols)
    fixed = np.zeros((count, kernel.FIXED_COLUMNS))
    activity = np.power(universe.dollar_volume, 0.55)
    trades = np.minimum(activity / activity.sum() * 0.28 * events_per_second, 5.0)
    fixed[:, kernel.SIGMA] = universe.daily_volatility / np.sqrt(SECONDS_A_DAY)
    fixed[:, kernel.BETA] = universe.beta
    fixed[:, kernel.HALF_SPREAD] = universe.half_spread
    fixed[:, kernel.TICK] = tick_of(universe.price)
    fixed[:, kernel.TRADE_RATE] = trades
    fixed[:, kernel.QUOTE_RATE] = np.minimum(trades * 1.1, 3.0)
    shares = universe.dollar_volume / universe.price
    fixed[:, kernel.MEAN_SIZE] = np.maximum(shares / (trades * SECONDS_A_DAY) * 1.25, 60.0)
    depth = 350.0 * np.power(universe.dollar_volume / 2.5e7, 0.35) * np.sqrt(30.0 / universe.price)
    fixed[:, kernel.DEPTH] = np.maximum(depth, 60.0)
    tier = np.where(universe.dollar_volume > 5e7, 1.0, 2.0)
    band = np.where(tier == 1.0, 0.05, 0.10)
    band = np.where(universe.price <= 3.0, 0.20, band)
    fixed[:, kernel.BAND] = np.where(universe.price < 0.75, 0.0, band)
    fixed[:, kernel.TIER] = tier
    fixed[:, kernel.OPEN_DELAY] = np.clip(4.0 - np.log10(universe.dollar_volume / 1e7), 0.0, 5.0).astype(np.int64)
    fixed[:, kernel.EXCHANGE] = np.array([entry[1] for entry in EXCHANGES])[universe.listing]
    return fixed


def past_days(universe: Universe, seed: int, date: datetime.date, count: int) -> list[DayBars]:
    """A made-up past: `count` daily bars that end at `universe.price`; the same for a seed and date whatever the count."""
    dates = sessions_before(date, count)
    size = len(universe.symbols)
    close = universe.price.copy()
    bars: list[DayBars] = []
    for back, day in enumerate(reversed(dates)):
        generator = np.random.default_rng([seed, 0xDA7, date.toordinal(), back])
        market = 0.009 * generator.standard_normal()
        change = universe.beta * market + universe.daily_volatility * generator.standard_normal(size)
        previous = close * np.exp(-change)
        opening = previous * np.exp(0.3 * universe.daily_volatility * generator.standard_normal(size))
        swing = universe.daily_volatility + 0.006
        high = np.maximum(opening, close) * np.exp(0.4 * swing * np.abs(generator.standard_normal(size)))
        low = np.minimum(opening, close) * np.exp(-0.4 * swing * np.abs(generator.standard_normal(size)))
        volume = np.round(universe.dollar_volume / close * np.exp(0.3 * generator.standard_normal(size)))
        opening, high, low, close = (np.round(column, 4) for column in (opening, high, low, close))
        vwap = np.round((high + low + close) / 3.0, 4)
        trades = np.maximum(volume / 180.0, 1.0).astype(np.int64)
        bars.append(DayBars(session_of(day), opening, high, low, close, np.maximum(volume, 1.0), vwap, trades))
        close = np.round(previous, 4)
    return bars[::-1]
