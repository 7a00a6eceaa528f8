"""The market of a seeded day: fourteen symbols that walk at random, and what a filter might have wished of them.

Prices move by nine basis points a second, so that a target or a stop is met within minutes and a short day has many positions. Nothing here can be
predicted and nothing is meant to be: wishes are drawn, not judged. It knows no broker and no execution.
"""

from __future__ import annotations

import math
import random

from tradingsystem.domain.signals import Regime, Signal
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.domain.trading import Mark
from tradingsystem.process.imagined import Quote

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH", "III", "JJJ", "KKK", "LLL", "MMM", "NNN")
SIGMA = 0.0009  # of one second
SIGNAL_EVERY_SECONDS = 8.5
HURRIED = 2.0  # so much more often come the signals of a day whose first half was taken away by faults
LIFE_NS = 60 * NS_PER_SECOND
THIN = 2  # symbols that show few shares all day: entries that fill in part
SELDOM = 2  # symbols of which so few shares trade on an ordinary day that some sizes are too large; of one more nothing is known
PER_SYMBOL_MAX, WINDOW_SECONDS = 4, 610.0  # more that are sent than the throttle allows are a runaway, and a rare one


class Market:
    """Quotes of every symbol, moved once a second."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._middle = [math.exp(chance.uniform(math.log(25.0), math.log(180.0))) for _ in SYMBOLS]
        self._drift = chance.choice((0.0, 0.0, 0.0, -0.5, 0.4)) * SIGMA / 4
        self._thin_until = [0.0] * len(SYMBOLS)
        for number in chance.sample(range(len(SYMBOLS)), THIN):
            self._thin_until[number] = math.inf
        self.bid = [0.0] * len(SYMBOLS)
        self.ask = [0.0] * len(SYMBOLS)

    def thin(self, symbol: str, until_seconds: float) -> None:
        """Show few shares of a symbol for a while."""
        number = SYMBOLS.index(symbol)
        self._thin_until[number] = max(self._thin_until[number], until_seconds)

    def move(self, at_ns: int, seconds: float) -> list[Quote]:
        """The next second's quotes."""
        gauss, uniform = self._chance.gauss, self._chance.random
        quotes = []
        for number in range(len(SYMBOLS)):
            middle = self._middle[number] * (1.0 + self._drift + SIGMA * gauss(0.0, 1.0))
            self._middle[number] = middle
            half = max(middle * 0.0001, 0.005)
            bid_cents = math.floor((middle - half) * 100.0)
            ask_cents = math.ceil((middle + half) * 100.0)
            self.bid[number] = bid_cents / 100.0
            self.ask[number] = (ask_cents if ask_cents > bid_cents else bid_cents + 1) / 100.0
            shares = 1.0 + math.floor(6.0 * uniform()) if seconds < self._thin_until[number] else 300.0 + math.floor(900.0 * uniform())
            quotes.append(Quote(number, at_ns, self.bid[number], self.ask[number], shares, shares))
        return quotes

    def marks(self, at_ns: int) -> list[Mark]:
        """The filter's marks of this second."""
        return [Mark(symbol, at_ns, bid, ask, ask) for symbol, bid, ask in zip(SYMBOLS, self.bid, self.ask, strict=True)]


class Wishes:
    """The day's signals: when, and of which symbol."""

    def __init__(self, chance: random.Random, system: str, volumes: random.Random) -> None:
        self._chance, self._system = chance, system
        self._average_volume: dict[str, float | None] = {symbol: float(volumes.randint(400_000, 4_000_000)) for symbol in SYMBOLS}
        seldom = volumes.sample(SYMBOLS, SELDOM + 1)
        self._average_volume |= {symbol: float(volumes.randint(1_000, 12_000)) for symbol in seldom[:SELDOM]} | {seldom[SELDOM]: None}
        self._wished: dict[str, list[float]] = {symbol: [] for symbol in SYMBOLS}
        self._number = 0

    def wait_seconds(self, *, hurried: bool) -> float:
        """Until the next one."""
        return self._chance.expovariate(1.0 / SIGNAL_EVERY_SECONDS) / (HURRIED if hurried else 1.0)

    def next(self, market: Market, at_ns: int, seconds: float) -> Signal | None:
        """A signal at the current quote; None when every symbol has been wished for often enough."""
        for symbol in self._wished:
            self._wished[symbol] = [at for at in self._wished[symbol] if seconds - at < WINDOW_SECONDS]
        runaway = self._chance.random() < 0.01
        free = [symbol for symbol in SYMBOLS if runaway or len(self._wished[symbol]) < PER_SYMBOL_MAX]
        if not free:
            return None
        symbol = self._chance.choice(free)
        self._wished[symbol].append(seconds)
        self._number += 1
        place = SYMBOLS.index(symbol)
        return Signal(
            id=f"{self._system}.1.{self._number}.{symbol}",
            system=self._system,
            epoch=1,
            last_seq=self._number,
            symbol=symbol,
            at_ns=at_ns,
            expires_at_ns=at_ns + LIFE_NS,
            p=0.75,
            p_low=0.7,
            confidence=0.9,
            bid=market.bid[place],
            ask=market.ask[place],
            vix=18.0,
            average_volume=self._average_volume[symbol],
            regime=Regime.BULL,
            model=1,
            members=(0.7, 0.7, 0.7),
            simulated_model=False,
        )
