"""How long a full sweep takes. The caller brings the clock, since nothing here may read one; a benchmark, never a timed test.

Measured is what a cut with every symbol passing would cost: ranks, and all 50 features of every symbol, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np

from tradingsystem.domain.calendar import session
from tradingsystem.domain.control import SessionOpened, SymbolFact
from tradingsystem.domain.rows import RowKind, Rows, empty
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.features import kernel
from tradingsystem.features.ranks import update_ranks
from tradingsystem.market import state as market_state
from tradingsystem.market.state import MarketState

SYMBOLS = 11_500
FILL_SECONDS = 1_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Durations of one thing done many times, microseconds."""

    name: str
    repeats: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


def measure(name: str, timer_ns: Callable[[], int], action: Callable[[], object], repeats: int) -> Measured:
    """Do it ``repeats`` times after ten that do not count."""
    for _ in range(10):
        action()
    took = np.empty(repeats)
    for index in range(repeats):
        begun_ns = timer_ns()
        action()
        took[index] = (timer_ns() - begun_ns) / 1e3
    p50, p99, p999 = np.quantile(took, (0.5, 0.99, 0.999))
    return Measured(name, repeats, float(p50), float(p99), float(p999), float(took.max()))


def busy_market(symbols: int = SYMBOLS, seconds: int = FILL_SECONDS, seed: int = 7) -> MarketState:
    """A state in which all symbols have traded and been quoted about once a second, with rings filled."""
    random = np.random.default_rng(seed)
    state = market_state.allocate(symbols)
    names = ("SPY", *(f"S{index}" for index in range(1, symbols)))
    market_state.set_symbols(state, tuple(SymbolFact(name, "CS", "XNYS", 100.0, 1e6, 0.02) for name in names))
    opened = session(date(2026, 3, 2))
    market_state.open_session(state, SessionOpened(opened, tuple(((np.arange(opened.minutes) + 1) / opened.minutes).tolist())))
    for second in range(seconds):
        now_ns = opened.open_ns + (second + 1) * NS_PER_SECOND
        market_state.advance(state, now_ns)
        market_state.apply(state, busy_rows(random, symbols, symbols, now_ns))
    return state


def busy_rows(random: np.random.Generator, count: int, symbols: int, at_ns: int) -> Rows:
    """``count`` trades and quotes of random symbols around 100 dollars."""
    rows = empty(count)
    quote = random.random(count) < 0.5
    price = np.round(100 + random.normal(0, 0.5, count), 2)
    rows.kind[:] = np.where(quote, RowKind.QUOTE, RowKind.TRADE)
    rows.flags[:] = 7
    rows.symbol[:] = random.integers(0, symbols, count)
    rows.at_ns[:] = at_ns
    rows.v0[:] = price
    rows.v1[:] = np.where(quote, price + 0.02, 100)
    rows.v2[:] = random.integers(1, 900, count)
    rows.v3[:] = random.integers(1, 900, count)
    return rows


def sweeps(timer_ns: Callable[[], int], *, symbols: int = SYMBOLS, repeats: int = 500) -> list[Measured]:
    """Features of all symbols, of 512 and of one; ranks; one second's roll; rows applied by 1, 50 and 256."""
    state = busy_market(symbols)
    random = np.random.default_rng(3)
    every = np.arange(symbols, dtype=np.int32)
    some = np.sort(random.choice(every, min(512, symbols), replace=False))
    memory = kernel.features_of(state, every)
    found = [
        measure(f"features of {symbols} symbols", timer_ns, lambda: kernel.features_of(state, every, memory), repeats),
        measure(f"features of {len(some)} symbols", timer_ns, lambda: kernel.features_of(state, some), repeats),
        measure("features of 1 symbol", timer_ns, lambda: kernel.features_of(state, every[:1]), repeats),
        measure(f"ranks of {symbols} symbols", timer_ns, lambda: update_ranks(state), repeats),
        measure("one second begins", timer_ns, lambda: market_state.advance(state, state.now_ns + NS_PER_SECOND), repeats),
    ]
    for count in (1, 50, 256):
        rows = busy_rows(random, count, symbols, state.now_ns)
        found.append(measure(f"apply {count} rows", timer_ns, lambda rows=rows: market_state.apply(state, rows), repeats))  # type: ignore[misc]
    return found
