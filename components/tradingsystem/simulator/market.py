"""The generated market: a seeded day of thousands of symbols, second by second, over the `Feed` seam.

Market time is cut into seconds internally, so the same (seed, universe, date, settings) gives the same events whatever
slices are asked for. It refuses to know who trades on it: orders never move its prices.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

import numpy as np

from tradingsystem.simulator import market_kernel as kernel
from tradingsystem.simulator.edge import Episodes, plan_episodes
from tradingsystem.simulator.feed import (
    F64,
    I64,
    MINUTE_NS,
    SECOND_NS,
    VIX_SYMBOL,
    DayBars,
    Kind,
    MinuteBars,
    Session,
    Slice,
    SymbolFacts,
    concatenate,
    empty_slice,
    no_minutes,
    session_of,
)
from tradingsystem.simulator.option_flow import plan_flow
from tradingsystem.simulator.universe import Universe, kernel_parameters, make_universe, past_days

VIX_EVERY_SECONDS = 15
EVENTS_PER_SYMBOL_SECOND = 0.225
PAST_SESSIONS = 65  # how far minute history reaches back


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """What shapes a generated day. `edge` 1 is the declared edge, 0 leaves nothing to predict."""

    seed: int
    date: datetime.date
    symbols: int = 2_000
    edge: float = 1.0
    episodes_per_symbol: float = 0.8
    halts: int = 4
    flow_alerts_per_minute: float = 6.0
    events_per_second: float | None = None  # market-wide mean in regular hours; None scales with the universe

    def problems(self) -> list[str]:
        """Every setting that cannot be, with what would be right; all at once."""
        limits = (
            ("edge", self.edge, 0.0, 1.0),
            ("episodes_per_symbol", self.episodes_per_symbol, 0.0, 5.0),
            ("halts", self.halts, 0, 1_000),
            ("flow_alerts_per_minute", self.flow_alerts_per_minute, 0.0, 600.0),
            ("events_per_second", self.events_per_second or 1.0, 1.0, 1e6),
            ("symbols", self.symbols, 2, 12_000),
        )
        return [
            f"simulation.{name}: {value} must lie in {low:g}..{high:g}" for name, value, low, high in limits if not low <= value <= high
        ]


def day_clock(session: Session, volatility_of_day: float) -> F64:
    """The kernel's `clock`: per second volatility, activity, spread factor, phase, and whether LULD bands double.

    Both volatility and activity are U-shaped over the regular session with mean square (mean) one.
    """
    count = (session.last_ns - session.first_ns) // SECOND_NS
    clock = np.zeros((count, kernel.CLOCK_COLUMNS))
    open_second = (session.open_ns - session.first_ns) // SECOND_NS
    close_second = (session.close_ns - session.first_ns) // SECOND_NS
    place = (np.arange(count) - open_second + 0.5) / (close_second - open_second)
    regular = (place > 0) & (place < 1)
    shape = 0.62 + 1.9 * np.exp(-place / 0.055) + 1.0 * np.exp(-(1.0 - place) / 0.09)
    swing = 0.78 + 1.1 * np.exp(-place / 0.06) + 0.25 * np.exp(-(1.0 - place) / 0.08)
    shape /= shape[regular].mean()
    swing /= math.sqrt(float((swing[regular] ** 2).mean()))
    clock[:, kernel.VOLATILITY] = np.where(regular, swing, 0.35) * volatility_of_day
    clock[:, kernel.ACTIVITY] = np.where(regular, shape, 0.06)
    clock[:, kernel.SPREAD_FACTOR] = np.where(regular, 1.0 + 1.2 * np.exp(-np.maximum(place, 0.0) / 0.01), 4.0)
    clock[:, kernel.PHASE] = np.where(regular, kernel.REGULAR, np.where(place < 0, kernel.PRE_OPEN, kernel.AFTER_CLOSE))
    clock[:, kernel.DOUBLE_BANDS] = regular & (np.arange(count) >= close_second - 25 * 60)
    return clock


class GeneratedMarket:
    """A day that never was, played forward once. Raises ValueError with every wrong setting at once."""

    def __init__(self, settings: MarketSettings) -> None:
        problems = settings.problems()
        if problems:
            raise ValueError("; ".join(problems))
        self.settings = settings
        self._session = session_of(settings.date)
        self.universe: Universe = make_universe(settings.seed, settings.symbols)
        self._prepare()

    def _prepare(self) -> None:
        settings, universe = self.settings, self.universe
        count = len(universe.symbols)
        generator = np.random.default_rng([settings.seed, 0xDAE, settings.date.toordinal()])
        self._open_second = int((self._session.open_ns - self._session.first_ns) // SECOND_NS)
        self._close_second = int((self._session.close_ns - self._session.first_ns) // SECOND_NS)
        vix = float(np.clip(16.5 * math.exp(0.32 * generator.standard_normal()), 10.5, 55.0))
        sigma = 0.85 * vix / 100.0 / math.sqrt(252.0 * 23_400.0)
        self._market = np.array([1.0, sigma, math.log(vix)])
        self._clock = day_clock(self._session, 1.0)
        rate = settings.events_per_second or EVENTS_PER_SYMBOL_SECOND * count
        self.fixed = kernel_parameters(universe, rate)
        self.live = np.zeros((count, kernel.LIVE_COLUMNS))
        gap = universe.beta * 0.004 * generator.standard_normal() + 0.35 * universe.daily_volatility * generator.standard_normal(count)
        self.live[:, kernel.X] = np.log(universe.price) + gap
        self.live[:, kernel.VARIANCE] = 1.0
        self.live[:, kernel.LAST] = universe.price
        # Episodes where somebody could trade on them: liquid, not SPY, not penny stocks.
        half_spread = universe.half_spread + 0.5 * self.fixed[:, kernel.TICK] / universe.price
        eligible = (universe.price >= 5.0) & (half_spread <= 0.0006) & (np.arange(count) != universe.spy)
        first, last = self._open_second + 240, self._close_second - 2_100
        self.episodes: Episodes = plan_episodes(generator, half_spread, eligible, settings.episodes_per_symbol, first, last)
        self._cursor = self.episodes.first.copy()
        self._shocks = self._plan_shocks(generator)
        self._flow = plan_flow(generator, self._session, universe, self.episodes, settings.flow_alerts_per_minute)
        self._flow_next = 0
        streams = np.random.SeedSequence([settings.seed, settings.date.toordinal()]).generate_state(2, dtype=np.uint64)
        self._noise, self._tape = streams[:1].copy(), streams[1:].copy()
        capacity = 70 * 64 + 24 * count
        self._ints = np.zeros((capacity, 5), dtype=np.int64)
        self._floats = np.zeros((capacity, 6))
        self._past: dict[datetime.date, DayBars] | None = None
        self._second = 0
        self._delivered_ns = self._session.first_ns
        self._pending: Slice = empty_slice(self._session.first_ns)

    def _plan_shocks(self, generator: np.random.Generator) -> dict[int, list[tuple[int, float, float]]]:
        """Second -> (symbol, jump in logs, pause seconds): half run into their bands, half are halted for news first."""
        plan: dict[int, list[tuple[int, float, float]]] = {}
        others = np.flatnonzero(np.arange(len(self.universe.symbols)) != self.universe.spy)
        chosen = generator.choice(others, size=min(self.settings.halts, len(others)), replace=False)
        for position, symbol in enumerate(chosen):
            second = int(generator.integers(self._open_second + 600, self._close_second - 1_500))
            sign = 1.0 if generator.random() < 0.5 else -1.0
            if position % 2 == 0:
                width = max(float(self.fixed[symbol, kernel.BAND]), 0.05)
                plan.setdefault(second, []).append((int(symbol), sign * width * float(generator.uniform(1.1, 1.5)), 0.0))
            else:
                pause = 300.0 * int(generator.integers(1, 4))
                plan.setdefault(second, []).append((int(symbol), 0.0, pause))
                jump = sign * float(generator.uniform(0.02, 0.09))
                plan.setdefault(second + int(pause) - 1, []).append((int(symbol), jump, 0.0))
        return plan

    @property
    def symbols(self) -> tuple[str, ...]:
        """Sorted tickers."""
        return self.universe.symbols

    @property
    def session(self) -> Session:
        """The generated day."""
        return self._session

    def advance(self, to_ns: int) -> Slice:
        """Everything after the last call up to `to_ns`; raises ValueError when asked to go back."""
        if to_ns < self._delivered_ns:
            raise ValueError(f"advance to {to_ns} goes back: {self._delivered_ns} was delivered")
        parts = [self._pending]
        while self._second < len(self._clock) and self._session.first_ns + self._second * SECOND_NS < to_ns:
            parts.append(self._one_second())
        whole = concatenate([part for part in parts if len(part)], to_ns)
        cut = int(np.searchsorted(whole.at_ns, to_ns, side="right"))
        self._pending = whole.select(np.arange(cut, len(whole)))
        self._delivered_ns = to_ns
        return whole if cut == len(whole) else whole.select(np.arange(cut))

    def _one_second(self) -> Slice:
        second = self._second
        begin = self._session.first_ns + second * SECOND_NS
        for symbol, jump, pause in self._shocks.get(second, ()):
            self.live[symbol, kernel.X] += jump
            self.live[symbol, kernel.HALT_REQUEST] = pause
        count = kernel.step_second(
            second, begin, self.fixed, self.live, self._market, self._clock, self.episodes.table, self._cursor,
            self.episodes.end, self.settings.edge, self._noise, self._tape, self._open_second, self._close_second,
            self._ints, self._floats,
        )  # fmt: skip
        self._second += 1
        made = _to_slice(self._ints[:count], self._floats[:count], begin + SECOND_NS)
        extra = [part for part in (self._vix(begin), self._flow_until(begin + SECOND_NS)) if part is not None]
        if not extra:
            return made
        joined = concatenate([made, *extra], begin + SECOND_NS)
        return joined.select(np.argsort(joined.at_ns, kind="stable"))

    def _vix(self, begin: int) -> Slice | None:
        if self._second % VIX_EVERY_SECONDS != 1:
            return None
        ints = np.array([[Kind.INDEX, VIX_SYMBOL, begin + SECOND_NS // 2, 0, 0]], dtype=np.int64)
        floats = np.zeros((1, 6))
        floats[0, 0] = round(math.exp(float(self._market[2])), 2)
        return _to_slice(ints, floats, begin + SECOND_NS)

    def _flow_until(self, to_ns: int) -> Slice | None:
        end = int(np.searchsorted(self._flow.at_ns, to_ns, side="right"))
        if end == self._flow_next:
            return None
        rows = np.arange(self._flow_next, end)
        self._flow_next = end
        return self._flow.select(rows)

    def reference(self) -> list[SymbolFacts]:
        """Facts in the order of `symbols`."""
        return self.universe.facts()

    def history_days(self, count: int) -> list[DayBars]:
        """The made-up past, oldest first."""
        return past_days(self.universe, self.settings.seed, self.settings.date, count)

    def history_minutes(self, symbol: int, date: datetime.date) -> MinuteBars:
        """Minute bars of a past session: a bridge from that day's open to its close with the usual U-shaped volume."""
        session = session_of(date)
        if self._past is None:
            self._past = {day.session.date: day for day in self.history_days(PAST_SESSIONS)}
        if date not in self._past:
            return no_minutes()
        count = int((session.close_ns - session.open_ns) // MINUTE_NS)
        day = self._past[date]
        generator = np.random.default_rng([self.settings.seed, date.toordinal(), symbol])
        volatility = float(self.universe.daily_volatility[symbol]) + 0.006
        return _bridge(generator, session, day, symbol, volatility, count)


def warm_up(date: datetime.date) -> None:
    """Compile what a second of the market needs, on two symbols: later no clock and no socket may stand still for it. Seconds once, then nothing."""
    market = GeneratedMarket(MarketSettings(seed=0, date=date, symbols=2))
    market.advance(market.session.first_ns + SECOND_NS)


def _bridge(generator: np.random.Generator, session: Session, day: DayBars, symbol: int, volatility: float, count: int) -> MinuteBars:
    walk = np.concatenate([[0.0], np.cumsum(generator.standard_normal(count))]) * volatility / math.sqrt(count)
    place = np.linspace(0.0, 1.0, count + 1)
    first, last = math.log(day.open[symbol]), math.log(day.close[symbol])
    path = np.exp(first + (last - first) * place + walk - walk[-1] * place)
    path = np.round(np.clip(path, day.low[symbol], day.high[symbol]), 4)
    clock = day_clock(session, 1.0)
    regular = clock[:, kernel.PHASE] == kernel.REGULAR
    shape = clock[regular, kernel.ACTIVITY].reshape(count, 60).mean(axis=1)
    volume = np.maximum(np.round(day.volume[symbol] * shape / shape.sum() * np.exp(0.3 * generator.standard_normal(count))), 1.0)
    opening, closing = path[:-1], path[1:]
    return MinuteBars(
        start_ns=session.open_ns + np.arange(count, dtype=np.int64) * MINUTE_NS,
        open=opening,
        high=np.maximum(opening, closing),
        low=np.minimum(opening, closing),
        close=closing,
        volume=volume,
        vwap=np.round(0.5 * (opening + closing), 4),
        trades=np.maximum(volume / 180.0, 1.0).astype(np.int64),
    )


def _to_slice(ints: I64, floats: F64, to_ns: int) -> Slice:
    order = np.argsort(ints[:, 2], kind="stable")
    whole, part = ints[order].T, floats[order].T.copy()
    return Slice(
        to_ns=to_ns,
        kind=whole[0].astype(np.uint8),
        symbol=whole[1].astype(np.int32),
        at_ns=whole[2].copy(),
        price=part[0],
        size=part[1],
        price2=part[2],
        size2=part[3],
        price3=part[4],
        price4=part[5],
        condition=whole[3].astype(np.int32),
        exchange=whole[4].astype(np.uint8),
    )
