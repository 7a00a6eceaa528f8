"""The ending says what happened: success only when everybody agrees, else every number on which they differ."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.world.recordings import answer as answered
from tests.world.recordings import broker, fill, intent, record, status, traded_day
from tradingsystem.domain.orders import Side
from tradingsystem.domain.trading import PositionView
from tradingsystem.execution.inbox import Outcome
from tradingsystem.world.day import Day, read_day
from tradingsystem.world.report import label_of
from tradingsystem.world.verdict import Audited, Verdict, ending, judge, label, orders_of

HONEST = label(generated=True, edge=True, probe=False)
SUMMARY = {"findings": 0, "executions": 2, "flat": True, "profit_before_fees": "1.00"}


def audited(status: int = 0, *findings: str, **summary: Any) -> Audited:
    """What the auditor says of that day."""
    return Audited(status, findings, SUMMARY | summary)


@pytest.fixture
def day(tmp_path: Path) -> Day:
    """The day on which everything went right."""
    return read_day(record(tmp_path, traded_day()))


def verdict(day: Day, told: Audited | None = None, *, may_be_idle: bool = False, **books: Any) -> Verdict:
    """The judgement."""
    return judge(day, broker(**books), told or audited(), may_be_idle=may_be_idle)


def test_a_right_day_ends_as_promised(day: Day) -> None:
    """The very words, with orders, refusals by name, the four-fold agreement, the money and the label."""
    found = verdict(day)
    assert found.problems == ()
    assert ending(found, 234.4, HONEST) == (
        "Day done in 3:54. 2 orders, 1 filled, 1 refused (price collar). Flat. Positions = fills = broker = auditor. "
        "P&L +0.98 on a simulated market with planted edge: it says nothing about profit."
    )


@pytest.mark.parametrize(
    ("books", "words"),
    [
        ({"positions": {"ABC": "10"}}, "positions differ: execution none, fills none, broker ABC 10, auditor none"),
        ({"fills": 3}, "executions differ: fills 2, broker 3, auditor 2"),
        ({"realised_profit": "2.00"}, "profit before fees differs: execution +1.00, fills +1.00, broker +2.00, auditor +1.00"),
        ({"day_profit": "-7.00"}, "profit after fees differs: execution +0.98, broker -7.00"),
        ({"consistent": False}, "the broker's own books do not add up"),
    ],
)
def test_the_broker_differs(day: Day, books: dict[str, Any], words: str) -> None:
    """Each kind of difference is a failure that names every side's number."""
    found = verdict(day, **books)
    assert any(words in problem for problem in found.problems), found.problems
    assert "Positions = fills" not in ending(found, 1, HONEST)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (audited(1, "ABC: 10 shares without a stop for 9.0 s"), "auditor: ABC: 10 shares without a stop"),
        (audited(0, executions=1), "executions differ"),
        (audited(0, profit_before_fees="9.00"), "profit before fees differs"),
        (audited(1, flat=False), "positions differ"),
        (audited(2), "the auditor ended with status 2"),
        (audited(1), "no finding to show"),
    ],
)
def test_the_auditor_differs(day: Day, told: Audited, words: str) -> None:
    """What the auditor found, or that it could not look, is never a success."""
    assert any(words in problem for problem in verdict(day, told).problems)


def test_the_money_may_round_by_a_cent_an_execution(day: Day) -> None:
    """Average prices are rounded on the wire; a cent each is forgiven, a dime is not."""
    assert verdict(day, realised_profit="1.03").problems == ()
    assert verdict(day, realised_profit="1.10").problems != ()


def test_zero_trades_is_a_failure_unless_real_data_said_so(tmp_path: Path) -> None:
    """A demo in which nothing trades has shown nothing; recorded ticks judged by the model have."""
    quiet = read_day(record(tmp_path, [status(900)]))
    told = audited(0, executions=0, profit_before_fees="0.00")
    books: dict[str, Any] = {"fills": 0, "realised_profit": "0.00", "day_profit": "0.00"}
    assert any("no trade" in problem for problem in verdict(quiet, told, **books).problems)
    found = verdict(quiet, told, may_be_idle=True, **books)
    assert found.problems == ()
    assert "0 orders, 0 filled. Flat." in ending(found, 61, HONEST)


def test_an_unflat_end_says_who_holds_what(tmp_path: Path) -> None:
    """All four agree that ten shares are left: still a failure, and the ending shouts it."""
    view = PositionView(symbol="ABC", quantity=10, average_price=Decimal(10), mark=None, unrealised=Decimal(0), protected_quantity=10)
    entries = [intent("c-1"), fill("e1", "c-1", Side.BUY, 10, "10.00", 5), status(900, positions=(view,))]
    told = Audited(1, ("at 0: not flat at the end",), {"flat": False, "executions": 1})
    found = judge(read_day(record(tmp_path, entries)), broker(positions={"ABC": "10"}, fills=1, day_profit="0"), told, may_be_idle=False)
    assert any(problem.startswith("not flat at the end: execution ABC 10, fills ABC 10, broker ABC 10") for problem in found.problems)
    assert "NOT FLAT." in ending(found, 1, HONEST)


def test_an_unknown_order_is_a_failure(tmp_path: Path) -> None:
    """The outcome of every order is known at the end, or the day was not done."""
    day = read_day(record(tmp_path, [*traded_day(), status(901, day_realised=Decimal("1.00"), day_fees=Decimal("0.02"), unknown_orders=2)]))
    assert "2 orders whose outcome is unknown" in verdict(day).problems


def test_execution_that_never_spoke_is_a_failure(tmp_path: Path) -> None:
    """A recording without a status proves nothing about execution."""
    day = read_day(record(tmp_path, [entry for entry in traded_day() if not hasattr(entry, "day_realised")]))
    assert "execution has said nothing of itself" in verdict(day).problems


def test_each_order_is_counted_once(tmp_path: Path) -> None:
    """What the broker refused is refused, not sent; what found no buyer is neither filled nor refused."""
    entries = [intent("a"), intent("b"), intent("c"), answered("b", 5, Outcome.REFUSED, code="wash-trade")]
    entries += [fill("e1", "a", Side.BUY, 10, "10.00", 5), status(900, orders_refused={"wash-trade": 1, "price-collar": 2})]
    day = read_day(record(tmp_path, entries))
    orders = orders_of(day)
    assert (orders.wanted, orders.sent, orders.filled) == (5, 2, 1)
    words = ending(Verdict(orders, Decimal("-1.5"), True, (), 0), 59, HONEST)
    assert "5 orders, 1 filled, 1 not filled, 3 refused (price collar 2, wash trade 1)" in words
    assert "P&L -1.50 on" in words


def test_the_label_is_said_of_every_kind_of_run(day: Day) -> None:
    """Planted edge, no edge, real ticks, probes: each is called what it is."""
    assert label_of(day) == "a simulated market with planted edge: it says nothing about profit"
    assert "without edge" in label(generated=True, edge=False, probe=False)
    assert label(generated=False, edge=True, probe=True, day="2013-10-09").startswith("recorded ticks of 2013-10-09")
    assert "PROBE" in label(generated=False, edge=True, probe=True)
