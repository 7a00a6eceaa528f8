"""Reading a recorded day: everything once, nothing invented, and what cannot be read is counted."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.world.recordings import answer as answered
from tests.world.recordings import at, beat, cut, fill, intent, quotes, record, started, traded_day
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.orders import OrderType, Purpose, Side
from tradingsystem.domain.signals import Regime
from tradingsystem.domain.splits import Rebased, Split
from tradingsystem.domain.time import new_york_date
from tradingsystem.execution.inbox import Outcome, Request
from tradingsystem.world.day import Day, Execution, Span, read_day
from tradingsystem.world.price_paths import price_paths
from tradingsystem.world.report import render


def test_a_day_is_what_was_recorded(tmp_path: Path) -> None:
    """Signals, orders, executions, statuses and settings all arrive, from a run's folder or its recording."""
    day = read_day(record(tmp_path, traded_day()))
    assert (len(day.signals), len(day.intents), len(day.executions), len(day.statuses)) == (1, 1, 2, 2)
    assert day.system == "paper"
    assert day.settings is not None
    assert day.cash() == Decimal("1.00")
    assert day.positions() == {}
    assert read_day(tmp_path / "recording").cash() == day.cash()
    trade = day.trades()[0]
    assert (trade.symbol, trade.quantity, trade.bought_at, trade.sold_at, trade.way) == ("ABC", 10, 10, Decimal("10.1"), "target")
    assert trade.profit == 1


def test_an_execution_told_twice_counts_once(tmp_path: Path) -> None:
    """The stream repeats after a reconnect; positions must not double."""
    twice = [fill("e1", "c-1", Side.BUY, 10, "10.00", 5), fill("e1", "c-1", Side.BUY, 10, "10.00", 5)]
    assert read_day(record(tmp_path, twice)).positions() == {"ABC": 10}


def test_how_shares_were_sold(tmp_path: Path) -> None:
    """Target, stop and flattening are told apart: by our own intent, else by the leg's type."""
    entries = [
        intent("c-1"),
        intent("c-2", Side.SELL, Purpose.FLATTEN),
        fill("e1", "c-1", Side.BUY, 9, "10.00", 1),
        fill("e2", "leg-a", Side.SELL, 3, "10.05", 2),
        fill("e3", "leg-b", Side.SELL, 3, "9.95", 3, OrderType.STOP),
        fill("e4", "c-2", Side.SELL, 3, "10.00", 4),
    ]
    day = read_day(record(tmp_path, entries))
    assert [one.way for one in day.executions.values()] == ["entry", "target", "stop", "flattened"]
    assert day.trades()[0].way == "target, stop, flattened"


def test_a_position_goes_on_over_a_split(tmp_path: Path) -> None:
    """What was held is what the journal says it became; each share is bought and sold once, and the report says what happened."""
    rebased = Rebased(
        symbol="ABC",
        splits=(Split(symbol="ABC", ex_date=new_york_date(at(0)), old_rate=Decimal(1), new_rate=Decimal(3)),),
        at_ns=at(3),
        quantity_before=8,
        quantity=24,
        average_price_before=Decimal(12),
        average_price=Decimal(4),
    )
    entries = [
        started(),
        fill("e1", "c-1", Side.BUY, 10, "12.00", 1),
        fill("e2", "c-2", Side.SELL, 2, "12.50", 2),
        rebased,
        fill("e3", "c-3", Side.SELL, 14, "4.50", 4),
    ]
    day = read_day(record(tmp_path, entries))
    assert day.positions() == {"ABC": 10}
    day.executions["e4"] = dataclasses.replace(day.executions["e3"], id="e4", quantity=10, at_ns=at(5))
    assert day.positions() == {}
    assert [(trade.quantity, trade.profit) for trade in day.trades()] == [(2, Decimal(1)), (24, Decimal(12))]
    assert sum(trade.profit for trade in day.trades()) == day.cash()
    assert "ABC: 8 at 12.0000 are 24 at 4.0000 by the split" in render(day, {}, "made up")


def test_regimes_are_spans_without_gaps(tmp_path: Path) -> None:
    """One span per change, each ending where the next begins: what is shaded in the report."""
    cuts = [cut(1, Regime.UNKNOWN), cut(2, Regime.BULL), cut(3, Regime.BULL), cut(9, Regime.BEAR), cut(12, Regime.BEAR)]
    day = read_day(record(tmp_path, [cuts[:2], cuts[2:]]))
    assert day.regimes == [Span(Regime.UNKNOWN, at(1), at(2)), Span(Regime.BULL, at(2), at(9)), Span(Regime.BEAR, at(9), at(12))]
    assert day.cuts.count == 5


def test_the_funnel_is_of_sweeps_that_saw_symbols(tmp_path: Path) -> None:
    """Beats before the open and after the close count nobody and must not thin the mean."""
    beats = [beat(funnel_type=0.0, funnel_passed=0.0), beat(funnel_type=8.0, funnel_passed=2.0), beat(funnel_type=6.0, funnel_passed=4.0)]
    assert read_day(record(tmp_path, [started(), *beats])).funnel == {"type": 7.0, "passed": 3.0}


def test_latencies_are_of_orders_the_broker_took(tmp_path: Path) -> None:
    """A refusal or a cancel says nothing about the way to the market."""
    entries = [answered("a", 9_000), answered("b", 5, Outcome.REFUSED), answered("c", 7, request=Request.CANCEL), answered("d", 11_000)]
    assert read_day(record(tmp_path, entries)).latencies_us() == [9_000, 11_000]


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    """One damaged message costs itself and nothing else."""
    day = read_day(record(tmp_path, [("journal.paper.cut", b"\xc1"), ("journal.paper.signal", b""), *traded_day()]))
    assert day.unreadable == 2
    assert len(day.executions) == 2


def test_a_folder_without_a_recording_is_a_sentence(tmp_path: Path) -> None:
    """What was looked for, instead of an empty day that looks like a quiet one."""
    with pytest.raises(InvalidInput, match="no recording there"):
        read_day(tmp_path)


def test_a_file_that_is_no_segment_is_named(tmp_path: Path) -> None:
    """Which file, instead of a traceback."""
    record(tmp_path, traded_day())
    (tmp_path / "recording" / "journal-00001.arrows").write_bytes(b"x" * 4096)
    with pytest.raises(InvalidInput, match=r"journal-00001\.arrows"):
        read_day(tmp_path)


def test_prices_come_from_the_tape_thinned(tmp_path: Path) -> None:
    """The newest mid of each interval, for the chosen symbols only."""
    folder = record(tmp_path, traded_day(), [quotes(0, [10.0 + place / 100 for place in range(25)])]) / "recording"
    paths = price_paths(folder, {"ABC"})
    assert [round(price, 2) for _, price in paths["ABC"]] == [10.09, 10.19, 10.24]
    assert price_paths(folder, {"XYZ"}) == {"XYZ": []}


SHARES = st.lists(st.tuples(st.booleans(), st.integers(1, 50), st.integers(100, 10_000)), max_size=30)


@given(SHARES)
def test_round_trips_add_up_to_the_cash(steps: list[tuple[bool, int, int]]) -> None:
    """Whatever was bought and sold in whatever parts: once flat, the trades' profits are the cash, to the last digit that averaging leaves."""
    day, held = Day(), 0
    for number, (buying, quantity, cents) in enumerate(steps):
        quantity = quantity if buying else min(quantity, held)
        if quantity:
            held += quantity if buying else -quantity
            side = Side.BUY if buying else Side.SELL
            day.executions[str(number)] = Execution(str(number), "ABC", side, quantity, Decimal(cents) / 100, at(number), "entry")
    if held:
        day.executions["last"] = Execution("last", "ABC", Side.SELL, held, Decimal(50), at(len(steps)), "flattened")
    assert day.positions() == {}
    assert abs(sum((trade.profit for trade in day.trades()), Decimal(0)) - day.cash()) < Decimal("1e-9")
