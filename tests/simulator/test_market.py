"""The generated market: one seed is one day, books are sane, bars are the trades, the index and its fear disagree."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingsystem.simulator.feed import COLUMNS, MINUTE_NS, SECOND_NS, Kind, Slice, concatenate
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings
from tradingsystem.simulator.recorded import bars_of

DATE = datetime.date(2026, 3, 2)


def make(**changes: object) -> GeneratedMarket:
    return GeneratedMarket(MarketSettings(**{"seed": 11, "date": DATE, "symbols": 60, **changes}))  # type: ignore[arg-type]


def until(market: GeneratedMarket, seconds: float) -> Slice:
    return market.advance(market.session.first_ns + int(seconds * SECOND_NS))


@pytest.fixture(scope="module")
def day() -> tuple[GeneratedMarket, Slice]:
    market = make(halts=6, events_per_second=40.0)
    return market, market.advance(market.session.last_ns)


def same(a: Slice, b: Slice) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


@settings(max_examples=10, deadline=None, print_blob=True)
@given(st.lists(st.integers(1, 90_000_000_000), min_size=1, max_size=12))
def test_the_same_seed_gives_the_same_events_whatever_the_slices(steps: list[int]) -> None:
    """Where a slice ends must not change what happens, not even within a second."""
    end = 400 * SECOND_NS
    whole, cut = make(), make()
    expected = whole.advance(whole.session.first_ns + end)
    at, parts = 0, []
    for step in steps:
        at = min(at + step, end)
        part = cut.advance(cut.session.first_ns + at)
        assert len(part) == 0 or part.at_ns[-1] <= part.to_ns
        parts.append(part)
    parts.append(cut.advance(cut.session.first_ns + end))
    assert same(expected, concatenate(parts, end))


def test_another_seed_and_another_day_are_another_market() -> None:
    """A seed that changes nothing would make fifty seeds one."""
    first, seed, later = make(), make(seed=12), make(date=datetime.date(2026, 3, 3))
    assert first.symbols != seed.symbols
    assert first.symbols == later.symbols
    assert not same(until(first, 60), until(later, 60))


def test_time_never_goes_back(day: tuple[GeneratedMarket, Slice]) -> None:
    """Events are in order of time and a second request for the past is refused."""
    market, events = day
    assert (np.diff(events.at_ns) >= 0).all()
    with pytest.raises(ValueError, match="goes back"):
        market.advance(market.session.first_ns)


def test_every_quote_has_a_positive_spread_and_a_size(day: tuple[GeneratedMarket, Slice]) -> None:
    """A crossed or empty book would hand out money or divide by zero."""
    _, events = day
    quotes = events.select(np.flatnonzero(events.kind == Kind.QUOTE))
    assert len(quotes) > 10_000
    assert (quotes.price > 0).all()
    assert (quotes.price2 > quotes.price).all()
    assert (quotes.size >= 100).all()
    assert (quotes.size2 >= 100).all()


def test_trades_print_at_or_inside_the_standing_quote(day: tuple[GeneratedMarket, Slice]) -> None:
    """Only average prices may lie outside the book; everything else must have been available to somebody."""
    _, events = day
    bid, ask = np.zeros(60), np.full(60, np.inf)
    outside = 0
    for kind, symbol, price, ask_price, condition in zip(
        events.kind.tolist(), events.symbol.tolist(), events.price.tolist(), events.price2.tolist(), events.condition.tolist(),
        strict=True,
    ):  # fmt: skip
        if kind == Kind.QUOTE:
            bid[symbol], ask[symbol] = price, ask_price
        elif kind == Kind.TRADE and condition not in (2, 15, 16):
            outside += not bid[symbol] - 0.005 <= price <= ask[symbol] + 0.005
    assert outside == 0


@pytest.mark.parametrize(("kind", "window"), [(Kind.SECOND_BAR, SECOND_NS), (Kind.MINUTE_BAR, MINUTE_NS)])
def test_bars_are_exactly_what_their_trades_say(day: tuple[GeneratedMarket, Slice], kind: Kind, window: int) -> None:
    """Two independent ways to make bars agree: the kernel's running ones and `bars_of` over the printed trades."""
    _, events = day
    for symbol in range(0, 60, 7):
        rows = events.symbol == symbol
        expected = bars_of(events.select(np.flatnonzero(rows & (events.kind == Kind.TRADE))), window, kind)
        made = events.select(np.flatnonzero(rows & (events.kind == kind)))
        assert made.at_ns.tolist() == expected.at_ns.tolist()
        for name in ("price", "size", "price2", "price3", "price4", "condition"):
            assert np.array_equal(getattr(made, name), getattr(expected, name)), name
        assert np.allclose(made.size2, expected.size2)
        assert (made.price3 <= made.size2 + 1e-9).all()
        assert (made.size2 <= made.price2 + 1e-9).all()


def test_the_day_is_u_shaped(day: tuple[GeneratedMarket, Slice]) -> None:
    """The first and the last half hour trade more than lunch."""
    market, events = day
    trades = events.at_ns[events.kind == Kind.TRADE]
    minute = (trades - market.session.open_ns) // MINUTE_NS
    counts = np.bincount(minute[(minute >= 0) & (minute < 390)], minlength=390)
    lunch = counts[150:210].mean()
    assert counts[:30].mean() > 2.0 * lunch
    assert counts[-30:].mean() > 1.3 * lunch


def test_vix_moves_against_spy(day: tuple[GeneratedMarket, Slice]) -> None:
    """The volatility index answers falls of SPY with rises."""
    market, events = day
    vix = events.select(np.flatnonzero(events.kind == Kind.INDEX))
    spy = events.select(np.flatnonzero((events.kind == Kind.QUOTE) & (events.symbol == market.symbols.index("SPY"))))
    grid = np.arange(market.session.open_ns, market.session.close_ns, 5 * MINUTE_NS)
    values = np.log(vix.price[np.searchsorted(vix.at_ns, grid, side="right") - 1])
    prices = np.log(spy.price[np.searchsorted(spy.at_ns, grid, side="right") - 1])
    assert np.corrcoef(np.diff(values), np.diff(prices))[0, 1] < -0.5


def test_nothing_trades_while_halted_and_every_halt_ends(day: tuple[GeneratedMarket, Slice]) -> None:
    """Quotes or prints of a halted symbol would let somebody trade what cannot be traded."""
    market, events = day
    halted: set[int] = set()
    seen = 0
    for kind, symbol, at_ns in zip(events.kind.tolist(), events.symbol.tolist(), events.at_ns.tolist(), strict=True):
        if kind == Kind.HALT:
            halted.add(symbol)
            seen += 1
        elif kind == Kind.RESUME:
            halted.discard(symbol)
        elif at_ns < market.session.close_ns and kind in (Kind.TRADE, Kind.QUOTE):
            assert symbol not in halted
    assert seen >= 6
    assert not halted


def test_bands_surround_the_price_they_are_published_at(day: tuple[GeneratedMarket, Slice]) -> None:
    """Each symbol gets LULD bands after its opening print."""
    market, events = day
    bands = events.select(np.flatnonzero(events.kind == Kind.LULD))
    assert set(bands.symbol.tolist()) == set(range(60))
    assert (bands.price < bands.price2).all()
    assert bands.at_ns.min() >= market.session.open_ns


def test_half_days_end_at_one() -> None:
    """2026-11-27 closes at 13:00 in New York, and so does its market."""
    market = make(date=datetime.date(2026, 11, 27), symbols=10)
    assert market.session.early_close
    assert market.session.close_ns - market.session.open_ns == 210 * MINUTE_NS


def test_every_wrong_setting_is_told_at_once() -> None:
    """One run, all mistakes."""
    with pytest.raises(ValueError, match=r"edge.*symbols"):
        make(edge=2.0, symbols=1)


def test_history_ends_at_the_previous_close() -> None:
    """Facts and history must agree on yesterday, or gaps are computed from nowhere."""
    market = make()
    days = market.history_days(5)
    assert [day.session.date.isoformat() for day in days][-1] == "2026-02-27"
    assert np.allclose(days[-1].close, [fact.previous_close for fact in market.reference()])
    assert np.allclose(days[-1].close, market.history_days(2)[-1].close)
    minutes = market.history_minutes(3, days[-1].session.date)
    assert len(minutes.start_ns) == 390
    assert minutes.close[-1] == pytest.approx(days[-1].close[3], abs=1e-3)
