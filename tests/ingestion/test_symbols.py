"""The table holds what the past says, and NaN where it says nothing."""

from __future__ import annotations

import math
from datetime import date

import pytest

from tradingsystem.domain.calendar import previous_sessions, session
from tradingsystem.domain.control import SymbolFact
from tradingsystem.domain.rows import RowKind, Rows, empty
from tradingsystem.domain.time import NS_PER_MINUTE
from tradingsystem.ingestion.symbols import REFERENCE_SYMBOL, build_table, by_turnover, volume_profile

NAN = math.nan


def listed(*names: str) -> tuple[SymbolFact, ...]:
    return tuple(SymbolFact(name, "CS", "XNAS", NAN, NAN, NAN) for name in names)


def test_averages_come_from_the_days_that_are_usable() -> None:
    """Previous close is the last day's, volume and range are means; a day with a zero price does not count."""
    table = build_table(listed("B", "A"), {"A": [(11.0, 9.0, 10.0, 100.0), (0.0, 0.0, 0.0, 5.0), (22.0, 18.0, 20.0, 300.0)]}, None, 10)
    first, second = table.facts
    assert (first.symbol, first.previous_close, first.average_volume) == ("A", 20.0, 200.0)
    assert first.average_range == pytest.approx(0.2)
    assert second.symbol == "B"
    assert math.isnan(second.previous_close)


def test_too_many_symbols_leave_the_least_traded_out() -> None:
    """The bound keeps turnover, and the reference symbol whatever its own."""
    days = {name: [(11.0, 9.0, 10.0, volume)] for name, volume in (("A", 1.0), ("B", 900.0), ("C", 500.0))}
    table = build_table(listed("A", "B", "C", REFERENCE_SYMBOL, "D"), days, None, 3)
    assert [fact.symbol for fact in table.facts] == ["B", "C", REFERENCE_SYMBOL]
    assert [table.facts[position].symbol for position in by_turnover(table)] == [REFERENCE_SYMBOL, "B", "C"]


def test_a_list_is_followed_and_the_reference_added() -> None:
    """Only chosen symbols are in the table, plus the one the regime looks at; a chosen name that is not listed is absent."""
    table = build_table(listed("A", "B", REFERENCE_SYMBOL), {}, ["B", "GONE"], 10)
    assert [fact.symbol for fact in table.facts] == ["B", REFERENCE_SYMBOL]


def minutes(day_open_ns: int, volumes: list[float]) -> Rows:
    rows = empty(len(volumes))
    rows.kind[:] = RowKind.MINUTE_BAR
    rows.at_ns[:] = [day_open_ns + position * NS_PER_MINUTE for position in range(len(volumes))]
    rows.v4[:] = volumes
    return rows


def test_the_profile_is_the_mean_of_ordinary_days() -> None:
    """Days of the same length are averaged by share, whatever their volume; premarket minutes do not count."""
    today = session(date(2026, 3, 2))
    past = previous_sessions(today.day, 2)
    days = [(day, minutes(day.open_ns, [scale * 2.0] + [scale] * 389)) for day, scale in zip(past, (1.0, 50.0), strict=True)]
    profile = volume_profile(days, today)
    assert len(profile) == 390
    assert profile[0] == pytest.approx(2 / 391)
    assert profile[-1] == pytest.approx(1.0)
    early = minutes(past[0].open_ns - NS_PER_MINUTE, [1e9] + [1.0] * 390)
    assert volume_profile([(past[0], early)], today)[0] == pytest.approx(1 / 390)


def test_without_history_the_profile_is_a_u() -> None:
    """Open and close are busier than noon, on half-days too; half-days do not shape ordinary days."""
    half = session(date(2026, 11, 27))
    profile = volume_profile([], half)
    assert len(profile) == 210
    first, middle, last = profile[0], profile[105] - profile[104], profile[-1] - profile[-2]
    assert first == pytest.approx(last)
    assert first > 2.5 * middle
    assert profile[-1] == pytest.approx(210 / 390)
    ordinary = session(date(2026, 3, 2))
    assert volume_profile([(half, minutes(half.open_ns, [1.0] * 210))], ordinary) == volume_profile([], ordinary)
