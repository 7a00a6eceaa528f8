"""Splits at the simulated broker: alpaca-py reads their announcement unchanged, and an account over which one has gone adds up."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import CorporateActionsType
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import CorporateActionsRequest

from tradingsystem.simulator.alpaca_corporate_actions import StockSplit
from tradingsystem.simulator.faults import Scenario
from tradingsystem.simulator.ledger import Side, Status

Open = Callable[..., AbstractAsyncContextManager[Any]]
DAY = datetime.date(2026, 3, 2)
SPLITS = (
    StockSplit(symbol="AAA", ex_date=DAY, old_rate=Decimal(1), new_rate=Decimal(2)),
    StockSplit(symbol="BBB", ex_date=DAY, old_rate=Decimal(2), new_rate=Decimal(3)),
    StockSplit(symbol="AAA", ex_date=DAY + datetime.timedelta(days=1), old_rate=Decimal("2.5"), new_rate=Decimal(1)),
)


def asked(venues: Open, scenario: Scenario | None = None, key: str = "simulation", **fields: Any) -> Any:
    async def run() -> Any:
        async with venues(splits=SPLITS, scenario=scenario or Scenario()) as here:
            client = CorporateActionsClient(key, "simulation", url_override=here.address.http)
            return await asyncio.to_thread(client.get_corporate_actions, CorporateActionsRequest(**fields))

    return asyncio.run(run())


def test_alpaca_py_reads_it(venues: Open) -> None:
    """Both kinds, with every field that its models demand; days are days, rates numbers."""
    found = asked(venues, symbols=["AAA", "BBB"], start=DAY, end=DAY + datetime.timedelta(days=3)).data
    assert [(one.symbol, one.old_rate, one.new_rate, one.ex_date) for one in found["forward_splits"]] == [
        ("AAA", 1, 2, DAY),
        ("BBB", 2, 3, DAY),
    ]
    (reverse,) = found["reverse_splits"]
    assert (reverse.symbol, reverse.old_rate, reverse.new_rate) == ("AAA", 2.5, 1)
    assert reverse.old_cusip != reverse.new_cusip


def test_by_kind_day_and_symbol(venues: Open) -> None:
    """What was not asked for is not there; without days it is today."""
    assert set(asked(venues, symbols=["AAA"], types=[CorporateActionsType.REVERSE_SPLIT], start=DAY, end=DAY).data) == set()
    assert [one.symbol for one in asked(venues, types=[CorporateActionsType.FORWARD_SPLIT]).data["forward_splits"]] == ["AAA", "BBB"]
    assert asked(venues, symbols=["ZZZ"]).data == {}


def test_page_by_page(venues: Open) -> None:
    """With one row a page alpaca-py follows the tokens to the same answer."""
    days = {"start": DAY, "end": DAY + datetime.timedelta(days=3)}
    assert asked(venues, Scenario(page_rows_max=1), **days).data == asked(venues, **days).data


def test_another_key_is_refused(venues: Open) -> None:
    """As everywhere at this host."""
    with pytest.raises(APIError, match="forbidden"):
        asked(venues, key="another")


@pytest.mark.parametrize(
    ("bought", "old_rate", "new_rate", "shares"), [(40, 1, 2, 80), (41, 2, 3, 61), (45, 10, 1, 4)], ids=["forward", "odd shares", "reverse"]
)
def test_an_account_over_a_split(venues: Open, bought: int, old_rate: int, new_rate: int, shares: int) -> None:
    """Whole shares at prices that go with them, a fraction in cash, open orders of the symbol ended: nothing is lost and nothing made."""

    async def run() -> None:
        async with venues() as here:
            exchange, ledger = here.simulator.exchange, here.simulator.ledger
            body = {"symbol": "AAA", "qty": str(bought), "side": "buy", "type": "limit", "limit_price": "10", "time_in_force": "day"}
            exchange.submit(body, here.now_ns)
            here.wait(2)
            stop = {"symbol": "AAA", "qty": str(bought), "side": "sell", "type": "stop", "stop_price": "9", "time_in_force": "gtc"}
            exchange.submit(stop, here.now_ns)
            here.wait(2)
            position = ledger.position("AAA")
            assert position.quantity == bought
            price = position.average_price * old_rate / new_rate
            worth = ledger.cash + position.cost
            exchange.split("AAA", Decimal(old_rate), Decimal(new_rate), price)
            assert position.quantity == shares
            assert position.average_price == pytest.approx(price)
            assert ledger.cash + position.cost == pytest.approx(worth, abs=Decimal("0.005"))
            assert ledger.cash == ledger.cash_expected()
            ended = [order.status for order in ledger.orders.values() if order.side is Side.SELL]
            assert ended == [Status.CANCELED]
            assert [event.event for event in exchange.take_events()] == ["canceled"]

    asyncio.run(run())
