"""Rows into state: every share once, every price in its second, nothing lost when symbols move."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.market.histories import bar, facts, fresh, history, opened, play, row, trade
from tradingsystem.domain.rows import RowFlag, RowKind
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.features.kernel import features_of
from tradingsystem.market import columns as c
from tradingsystem.market import state as market_state
from tradingsystem.market.state import MarketState

OPEN_NS = opened().session.open_ns
SECOND = NS_PER_SECOND


def ring_volume(state: MarketState, symbol: int, seconds: int) -> int:
    """Shares of the last ``seconds`` by the ring."""
    a = state.columns
    now = int(a.clock[c.SECOND])
    return int(a.second_volume[now % c.SECONDS, symbol] - a.second_volume[(now - seconds) % c.SECONDS, symbol])


def closes(state: MarketState, symbol: int, seconds: int) -> list[float]:
    """Prices at the end of each of the last ``seconds``, oldest first."""
    now = int(state.columns.clock[c.SECOND])
    return [float(state.columns.second_close[at % c.SECONDS, symbol]) for at in range(now - seconds + 1, now + 1)]


Trades = list[list[tuple[float, float]]]
SECONDS_OF_TRADES = st.lists(
    st.lists(st.tuples(st.integers(9_900, 10_100).map(lambda cents: cents / 100), st.integers(1, 500).map(float)), max_size=4),
    min_size=5,
    max_size=130,
)


def by_trades(seconds: Trades) -> MarketState:
    state = fresh(2)
    for index, trades in enumerate(seconds):
        start_ns = OPEN_NS + index * SECOND
        market_state.advance(state, start_ns)
        for offset, (price, size) in enumerate(trades):
            market_state.apply(state, trade(1, start_ns + offset, price, size))
    market_state.advance(state, OPEN_NS + len(seconds) * SECOND)
    return state


def by_bars(seconds: Trades, mixed: set[int] = frozenset()) -> MarketState:  # type: ignore[assignment]
    """Each second's bar arrives in the second after it; in the ``mixed`` seconds the trades came before it as well."""
    state = fresh(2)
    for index, trades in enumerate(seconds):
        start_ns = OPEN_NS + index * SECOND
        market_state.advance(state, start_ns)
        if index in mixed:
            for offset, (price, size) in enumerate(trades):
                market_state.apply(state, trade(1, start_ns + offset, price, size))
        market_state.advance(state, start_ns + SECOND)
        if trades:
            market_state.apply(state, bar(RowKind.SECOND_BAR, 1, start_ns, trades))
    return state


@settings(max_examples=60)
@given(seconds=SECONDS_OF_TRADES, mixed=st.sets(st.integers(0, 130)))
def test_bars_from_trades_and_from_second_bars_agree(seconds: Trades, mixed: set[int]) -> None:
    """Whether a symbol sends trades, second bars or both, rings, minutes and the day are the same."""
    states = [by_trades(seconds), by_bars(seconds), by_bars(seconds, mixed)]
    one = states[0].columns
    reach = len(seconds)
    for other in (state.columns for state in states[1:]):
        assert one.totals[c.DAY_VOLUME, 1] == other.totals[c.DAY_VOLUME, 1] == sum(size for trades in seconds for _, size in trades)
        np.testing.assert_allclose(one.totals[c.DAY_VALUE, 1], other.totals[c.DAY_VALUE, 1], rtol=1e-9)
        for column in (c.DAY_OPEN, c.DAY_HIGH, c.DAY_LOW, c.LAST):
            np.testing.assert_array_equal(one.now[column, 1], other.now[column, 1])
        minutes = int(one.clock[c.MINUTE]) + 1
        np.testing.assert_allclose(one.minute[:, :minutes, 1], other.minute[:, :minutes, 1], rtol=1e-5)
    for other_state in states[1:]:
        np.testing.assert_array_equal(closes(states[0], 1, reach), closes(other_state, 1, reach))
        for window in range(1, reach):
            assert ring_volume(states[0], 1, window) == ring_volume(other_state, 1, window)


@settings(max_examples=40)
@given(seconds=SECONDS_OF_TRADES)
def test_rings_hold_what_a_plain_count_says(seconds: Trades) -> None:
    """Window volumes and closes equal those counted from the trades themselves."""
    state = by_trades(seconds)
    last = float("nan")
    expected = []
    for trades in seconds:
        last = trades[-1][0] if trades else last
        expected.append(np.float32(last))
    np.testing.assert_array_equal(closes(state, 1, len(seconds) + 1)[:-1], expected)
    for window in range(1, len(seconds)):
        # the running second is empty: the window holds window - 1 of the seconds
        assert ring_volume(state, 1, window) == sum(size for trades in seconds[len(seconds) - window + 1 :] for _, size in trades)


def test_a_repeated_bar_and_a_late_trade_count_once() -> None:
    """A bar sent twice, and a trade that comes after the bar of its second, add nothing."""
    state = fresh(2)
    market_state.advance(state, OPEN_NS + 3 * SECOND)
    for _ in range(2):
        market_state.apply(state, bar(RowKind.SECOND_BAR, 1, OPEN_NS + 2 * SECOND, [(100.0, 300.0)]))
    market_state.apply(state, trade(1, OPEN_NS + 2 * SECOND + 5, 100.0, 100.0))
    assert state.columns.totals[c.DAY_VOLUME, 1] == 300


def test_a_minute_bar_repairs_what_its_minute_lacks() -> None:
    """After lost trades the minute's bar brings the missing shares, and second bars of that minute that come later bring none."""
    state = fresh(2)
    market_state.advance(state, OPEN_NS + 10 * SECOND)
    market_state.apply(state, trade(1, OPEN_NS + 10 * SECOND, 101.0, 100.0))
    market_state.advance(state, OPEN_NS + 61 * SECOND)
    market_state.apply(state, bar(RowKind.MINUTE_BAR, 1, OPEN_NS, [(101.0, 100.0), (103.0, 50.0), (102.0, 250.0)]))
    market_state.apply(state, bar(RowKind.SECOND_BAR, 1, OPEN_NS + 59 * SECOND, [(102.0, 250.0)]))
    a = state.columns
    assert a.totals[c.DAY_VOLUME, 1] == 400
    assert (a.now[c.DAY_HIGH, 1], a.now[c.LAST, 1], a.now[c.HIGH_15, 1]) == (103.0, 102.0, 103.0)
    assert a.minute[c.MINUTE_CLOSE, 0, 1] == 102.0


def test_backfill_fills_the_day_and_touches_nothing() -> None:
    """Minute bars fetched at mid-day give open, range and volume, but no symbol to judge."""
    state = fresh(2)
    noon_ns = OPEN_NS + 150 * NS_PER_MINUTE
    market_state.advance(state, noon_ns)
    market_state.apply(state, trade(1, noon_ns, 105.0, 10.0))
    assert market_state.take_touched(state).tolist() == [1]
    for minute in range(150):
        rows = bar(RowKind.MINUTE_BAR, 1, OPEN_NS + minute * NS_PER_MINUTE, [(100.0 + minute / 100, 10.0)])
        rows.flags[:] = RowFlag.BACKFILL
        market_state.apply(state, rows)
    a = state.columns
    assert a.totals[c.DAY_VOLUME, 1] == 1510
    assert a.now[c.DAY_OPEN, 1] == 100.0
    assert a.now[c.LAST, 1] == 105.0
    np.testing.assert_allclose(a.minute[c.MINUTE_CLOSE, 149, 1], 101.49)
    assert len(market_state.take_touched(state)) == 0


def test_premarket_moves_the_price_and_not_the_day() -> None:
    """Before the open a trade sets the last price; day's volume, open and range begin at the open."""
    state = fresh(2)
    market_state.advance(state, OPEN_NS - SECOND)
    market_state.apply(state, trade(1, OPEN_NS - SECOND, 98.0, 700.0))
    a = state.columns
    assert a.now[c.LAST, 1] == 98.0
    assert a.totals[c.DAY_VOLUME, 1] == 0
    assert np.isnan(a.now[c.DAY_OPEN, 1])


def test_older_news_do_not_replace_newer() -> None:
    """A late quote, trade or VIX leaves the newer one in place."""
    state = fresh(2)
    now_ns = OPEN_NS + 5 * SECOND
    market_state.advance(state, now_ns)
    for at_ns, price in ((now_ns, 100.0), (now_ns - SECOND, 90.0)):
        market_state.apply(state, trade(1, at_ns, price, 1.0))
        market_state.apply(state, row(RowKind.QUOTE, 1, at_ns, price - 1, price, 1.0, 1.0))
        market_state.apply(state, row(RowKind.INDEX, -1, at_ns, price))
    a = state.columns
    assert (a.now[c.LAST, 1], a.now[c.BID, 1], a.levels[c.VIX]) == (100.0, 99.0, 100.0)


def test_vix_is_missing_when_old() -> None:
    """At 120 s the VIX still counts, a nanosecond later it does not."""
    state = fresh(1)
    market_state.advance(state, OPEN_NS)
    market_state.apply(state, row(RowKind.INDEX, -1, OPEN_NS, 18.5))
    market_state.advance(state, OPEN_NS + 120 * SECOND)
    assert market_state.vix(state, 120 * SECOND) == 18.5
    market_state.advance(state, OPEN_NS + 120 * SECOND + 1)
    assert market_state.vix(state, 120 * SECOND) is None


def test_unknown_symbols_are_counted_and_skipped() -> None:
    """A row outside the table changes a count and nothing else."""
    state = fresh(2)
    market_state.advance(state, OPEN_NS)
    market_state.apply(state, trade(2, OPEN_NS, 1.0, 1.0))
    market_state.apply(state, trade(-7, OPEN_NS, 1.0, 1.0))
    assert state.columns.clock[c.ROWS_UNKNOWN] == 2
    assert len(market_state.take_touched(state)) == 0


def test_a_new_table_carries_symbols_to_their_new_places() -> None:
    """After a new epoch's table, what was known of a symbol is at its new place; new symbols know nothing."""
    state = fresh(5, room=8)
    play(state, list(history(3, 5, 90, OPEN_NS)))
    before = {name: state.columns.now[: c.PREVIOUS_CLOSE, index].copy() for index, name in enumerate(state.symbols)}
    a = state.columns
    known = [at % c.SECONDS for at in range(int(a.clock[c.STARTED_SECOND]), int(a.clock[c.SECOND]) + 1)]
    minutes = range(int(a.clock[c.MINUTE]) + 1)

    def rings(index: int) -> list[np.ndarray]:
        return [a.second_close[known, index], a.second_volume[known, index], a.minute[:, minutes, index]]

    ring = {name: rings(index) for index, name in enumerate(state.symbols)}
    table = [*reversed(facts(5)), *facts(7)[5:]]
    market_state.set_symbols(state, tuple(table))
    assert state.symbols[:5] == ("S0004", "S0003", "S0002", "S0001", "SPY")
    for name in before:
        np.testing.assert_array_equal(state.columns.now[: c.PREVIOUS_CLOSE, state.places[name]], before[name])
        for now, then in zip(rings(state.places[name]), ring[name], strict=True):
            np.testing.assert_array_equal(now, then)
    for newcomer in (5, 6):
        close, volume, minute = rings(newcomer)
        assert np.isnan(close).all()
        assert not volume.any()
        assert np.isnan(minute[: c.MINUTE_VOLUME]).all()
        assert not minute[c.MINUTE_VOLUME].any()
    assert np.isnan(state.columns.now[c.LAST, 5:7]).all()
    assert state.columns.clock[c.SPY] == 4


def test_a_new_session_begins_empty() -> None:
    """Yesterday's range and volume are gone, its last price is not."""
    state = fresh(3)
    play(state, list(history(5, 3, 60, OPEN_NS)))
    last = state.columns.now[c.LAST].copy()
    market_state.open_session(state, opened(DAY_AFTER))
    np.testing.assert_array_equal(state.columns.now[c.LAST], last)
    assert (state.columns.totals[c.DAY_VOLUME] == 0).all()
    assert np.isnan(state.columns.now[c.DAY_HIGH]).all()


DAY_AFTER = opened().session.day.replace(day=3)


def over_a_night(previous_closes: tuple[float, ...]) -> tuple[MarketState, MarketState]:
    """A state after a day at about a hundred dollars and the next session's table, and one that has only seen the table."""
    state = fresh(len(previous_closes))
    play(state, list(history(5, len(previous_closes), 60, OPEN_NS)))
    new = market_state.allocate(len(previous_closes))
    for one in (state, new):
        table = [
            msgspec.structs.replace(fact, previous_close=close) for fact, close in zip(facts(state.count), previous_closes, strict=True)
        ]
        market_state.set_symbols(one, tuple(table))
        market_state.open_session(one, opened(DAY_AFTER))
    return state, new


def test_a_symbol_that_has_split_over_the_night_begins_as_a_new_one() -> None:
    """Its close as told today is half of where it was last seen: no price, volume or average of before the split is left to make a feature of; its facts
    are the table's, and its neighbours go on."""
    state, new = over_a_night((100.0, 50.0, 100.0, 1_000.0))
    assert np.isnan(state.columns.now[c.LAST, [1, 3]]).all()
    assert not np.isnan(state.columns.now[c.LAST, [0, 2]]).any()
    for split in (1, 3):
        np.testing.assert_array_equal(state.columns.now[:, split], new.columns.now[:, split])
        np.testing.assert_array_equal(state.columns.totals[:, split], new.columns.totals[:, split])
        np.testing.assert_array_equal(state.columns.times[:, split], new.columns.times[:, split])
        assert np.isnan(closes(state, split, 30)).all()
        assert ring_volume(state, split, 30) == 0
    assert not np.isnan(closes(state, 2, 30)).all()


def test_its_features_are_those_of_a_symbol_that_is_new() -> None:
    """Once the longest window of seconds is filled with prices after the split, every feature is what a filter started in the morning computes."""
    state, new = over_a_night((50.0, 50.0))  # SPY as well: some features are beside it
    new_open_ns = opened(DAY_AFTER).session.open_ns
    for one in (state, new):
        for second in range(c.SECONDS):
            at_ns = new_open_ns + second * SECOND
            market_state.advance(one, at_ns)
            market_state.apply(one, trade(1, at_ns, 50.0 + 0.01 * (second % 7), 100.0))
        market_state.advance(one, new_open_ns + c.SECONDS * SECOND)
    rows = np.array([1], np.int32)
    was, wanted = features_of(state, rows), features_of(new, rows)
    np.testing.assert_array_equal(was.values, wanted.values)
    np.testing.assert_array_equal(was.missing, wanted.missing)


def test_a_night_without_a_split_forgets_nothing() -> None:
    """Less than a tenth up or down is a night's news."""
    state, _ = over_a_night((108.0, 92.0, 100.0))
    before = fresh(3)
    play(before, list(history(5, 3, 60, OPEN_NS)))
    np.testing.assert_array_equal(state.columns.now[c.LAST], before.columns.now[c.LAST])
    assert closes(state, 1, 30) == closes(before, 1, 30)


def test_memory_is_bounded_and_known() -> None:
    """12,000 symbols fit in 200 MB, so that the filter stays under 400."""
    assert market_state.allocate(12_000).memory_bytes < 200e6


def test_a_first_table_leaves_the_rings_alone() -> None:
    """Rows whose time has not come take no memory: the system backs with it what is written, and a day's rings at once would be most of what there is."""
    state = fresh(3)
    for ring in (state.columns.second_close[1:], state.columns.second_volume, state.columns.minute):
        assert not ring.any()
    market_state.advance(state, OPEN_NS)
    first = state.columns.clock[c.SECOND] % c.SECONDS
    assert np.isnan(state.columns.second_close[first]).all()
    assert not state.columns.second_close[first + 1 :].any()


def test_too_many_symbols_are_refused_with_the_remedy() -> None:
    """The error names the setting to change."""
    with pytest.raises(ValueError, match=r"universe\.symbolsMax"):
        market_state.set_symbols(market_state.allocate(2), facts(3))


def test_half_days_have_half_a_profile() -> None:
    """A profile of another length than the session is refused."""
    half = opened().session.day.replace(month=11, day=27)
    state = fresh(1)
    market_state.open_session(state, opened(half))
    assert state.columns.clock[c.SESSION_MINUTES] == 210
    with pytest.raises(ValueError, match="profile"):
        market_state.open_session(state, type(opened())(session=opened(half).session, volume_profile=(1.0,)))
