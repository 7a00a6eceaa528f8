"""Seeded market histories for tests: batches of rows as ingestion would seal them, over a small table of symbols."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from tradingsystem.domain.calendar import Session, session
from tradingsystem.domain.control import SessionOpened, SymbolFact
from tradingsystem.domain.rows import RowKind, Rows, concatenate, empty
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.market import state as market_state
from tradingsystem.market.state import MarketState

DAY = date(2026, 3, 2)
ALL_FLAGS = 7


def facts(count: int, average_volume: float = 2e6) -> tuple[SymbolFact, ...]:
    """SPY first, then stocks at 100 dollars."""
    return tuple(
        SymbolFact(
            symbol="SPY" if index == 0 else f"S{index:04d}",
            type="CS",
            exchange="XNYS",
            previous_close=100.0,
            average_volume=average_volume,
            average_range=0.02,
        )
        for index in range(count)
    )


def opened(day: date = DAY) -> SessionOpened:
    """A session with an even profile."""
    found: Session = session(day)
    return SessionOpened(session=found, volume_profile=tuple(((np.arange(found.minutes) + 1) / found.minutes).tolist()))


def fresh(count: int, room: int | None = None) -> MarketState:
    """A state that knows its symbols and its session and nothing else."""
    state = market_state.allocate(room or count)
    market_state.set_symbols(state, facts(count))
    market_state.open_session(state, opened())
    return state


def row(kind: RowKind, symbol: int, at_ns: int, *values: float, flags: int = ALL_FLAGS) -> Rows:
    """One row."""
    rows = empty(1)
    rows.kind[0], rows.flags[0], rows.symbol[0], rows.at_ns[0] = kind, flags, symbol, at_ns
    for column, value in zip(("v0", "v1", "v2", "v3", "v4", "v5"), values, strict=False):
        getattr(rows, column)[0] = value
    return rows


def trade(symbol: int, at_ns: int, price: float, size: float, flags: int = ALL_FLAGS) -> Rows:
    """One trade that updates everything."""
    return row(RowKind.TRADE, symbol, at_ns, price, size, flags=flags)


def bar(kind: RowKind, symbol: int, start_ns: int, trades: list[tuple[float, float]]) -> Rows:
    """The bar of those (price, size) trades."""
    prices = [price for price, _ in trades]
    volume = sum(size for _, size in trades)
    vwap = sum(price * size for price, size in trades) / volume
    return row(kind, symbol, start_ns, prices[0], max(prices), min(prices), prices[-1], volume, vwap, flags=0)


@dataclass(frozen=True)
class Sealed:
    """Rows and the moment of their seal."""

    at_ns: int
    rows: Rows


def history(seed: int, count: int, seconds: int, from_ns: int, per_second: int = 12) -> Iterator[Sealed]:
    """A random market of all kinds of rows; two batches a second. Some symbols never appear, VIX and flow come now and then."""
    random = np.random.default_rng(seed)
    price = np.full(count, 100.0)
    for second in range(seconds):
        for half in range(2):
            at_ns = from_ns + second * NS_PER_SECOND + half * NS_PER_SECOND // 2
            parts = [_event(random, price, count, at_ns) for _ in range(random.integers(0, per_second))]
            yield Sealed(at_ns + 1_000_000, concatenate(parts) if parts else empty())


def _event(random: np.random.Generator, price: np.ndarray, count: int, at_ns: int) -> Rows:
    symbol = int(random.integers(0, max(1, count - 1)))
    price[symbol] *= 1 + random.normal(0, 3e-4)
    paid = round(float(price[symbol]), 2)
    kind = random.choice([1, 1, 1, 2, 2, 2, 3, 5, 6, 7])
    if kind == RowKind.TRADE:
        return trade(symbol, at_ns, paid, float(random.integers(1, 500)))
    if kind == RowKind.QUOTE:
        spread = 0.01 * int(random.integers(1, 6))
        return row(RowKind.QUOTE, symbol, at_ns, paid - spread, paid, float(random.integers(1, 900)), float(random.integers(1, 900)))
    if kind == RowKind.SECOND_BAR:
        start_ns = (at_ns // NS_PER_SECOND - 1) * NS_PER_SECOND
        return bar(RowKind.SECOND_BAR, symbol, start_ns, [(paid, float(random.integers(1, 900)))])
    if kind == RowKind.LULD:
        return row(RowKind.LULD, symbol, at_ns, paid * 0.95, paid * 1.05)
    if kind == RowKind.INDEX:
        return row(RowKind.INDEX, -1, at_ns, float(random.uniform(12, 30)))
    asked, bid = random.uniform(0, 1e5, 2)
    return row(RowKind.FLOW, symbol, at_ns, asked + bid, asked, bid, 10.0, float(random.integers(0, 2)))


def play(state: MarketState, batches: Iterator[Sealed] | list[Sealed]) -> MarketState:
    """Apply batches as the filter does."""
    for sealed in batches:
        market_state.advance(state, sealed.at_ns)
        market_state.apply(state, sealed.rows)
    return state
