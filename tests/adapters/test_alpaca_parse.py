"""Alpaca's words into ours: nothing that merely is new loses an event, nothing that is broken is believed."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.adapters.alpaca import parse
from tradingsystem.adapters.alpaca.models import WireAccount, WireCalendarDay, WireOrder, WirePosition, WireUpdate
from tradingsystem.adapters.alpaca.symbols import from_alpaca, to_alpaca
from tradingsystem.domain import calendar
from tradingsystem.domain.orders import OrderClass, OrderIntent, OrderState, OrderType, Purpose, Side
from tradingsystem.domain.time import to_iso


def wire(**more: Any) -> dict[str, Any]:
    values = {
        "id": "11111111-1111-4111-8111-111111111111",
        "client_order_id": "t-ABC-e1",
        "symbol": "ABC",
        "side": "buy",
        "status": "partially_filled",
        "qty": "100",
        "filled_qty": "40",
        "filled_avg_price": "10.2500",
        "order_class": "",
        "type": "limit",
        "limit_price": "10.3",
        "submitted_at": "2026-11-20T15:00:00.123456789Z",
        "updated_at": None,
        "legs": None,
        "something_new": {"a": 1},
    }
    return values | more


def order(**more: Any) -> parse.BrokerOrder:
    return parse.order(parse.read(json.dumps(wire(**more)).encode(), WireOrder))


def test_an_order() -> None:
    """Totals, prices as decimals, nanoseconds, and fields nobody knew yesterday."""
    made = order()
    assert made.filled_quantity == 40
    assert made.filled_average_price == Decimal("10.25")
    assert made.order_class is OrderClass.SIMPLE
    assert made.state is OrderState.PARTIALLY_FILLED
    assert to_iso(made.submitted_at_ns) == "2026-11-20T15:00:00.123456789Z"
    assert made.updated_at_ns == 0


def test_every_documented_status_has_a_state() -> None:
    """The list of wire-protocols 2.4."""
    documented = {
        "new",
        "partially_filled",
        "filled",
        "done_for_day",
        "canceled",
        "expired",
        "replaced",
        "pending_cancel",
        "pending_replace",
        "accepted",
    }
    rare = {"pending_new", "accepted_for_bidding", "stopped", "rejected", "suspended", "calculated", "held", "pending_review"}
    assert set(parse.STATES) == documented | rare


def test_an_unknown_status_moves_nothing_and_keeps_its_word() -> None:
    """A status from the future is kept as text; it lies behind every state that was told."""
    made = order(status="teleported")
    assert made.state is parse.NOT_A_MOVE
    assert made.raw_status == "teleported"


def test_legs_know_their_parent() -> None:
    """A bracket's legs carry ids we did not choose; their parent is the order that holds them."""
    leg = wire(
        id="22222222-2222-4222-8222-222222222222", client_order_id="theirs", side="sell", type="stop", stop_price="9.9", status="held"
    )
    made = order(order_class="bracket", legs=[leg])
    assert made.legs[0].parent_order_id == made.order_id
    assert made.legs[0].order_type is OrderType.STOP
    assert made.legs[0].state is OrderState.HELD


@pytest.mark.parametrize(
    "broken",
    [{"side": "sideways"}, {"qty": "NaN"}, {"filled_avg_price": "much"}, {"submitted_at": "yesterday"}, {"limit_price": "Infinity"}],
)
def test_what_is_broken_is_not_believed(broken: dict[str, Any]) -> None:
    """A side, number or time that cannot be read raises ``Unreadable`` instead of becoming a zero."""
    with pytest.raises(parse.Unreadable):
        order(**broken)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"id": 1}', b"<html>", b'{"id":"a","client_order_id":"b","symbol":"c","side":"buy"}']
)
def test_what_is_no_order_is_unreadable(payload: bytes) -> None:
    """HTML, fragments and other shapes raise ``Unreadable``."""
    with pytest.raises(parse.Unreadable):
        parse.read(payload, WireOrder)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    """Whatever the wire brings, the adapter meets one kind of error."""
    for kind in (WireOrder, WireUpdate, WireAccount):
        try:
            parse.read(payload, kind)
        except parse.Unreadable:
            continue


def test_an_event_is_of_one_execution() -> None:
    """``qty`` of a fill is this execution; other events have no execution id that could be counted, even when the wire carries one."""
    fill = {"execution_id": "e1", "price": "10.25", "qty": "40", "position_qty": "40"}
    data = {"event": "partial_fill", "timestamp": "2026-11-20T15:00:00Z", "order": wire()} | fill
    made = parse.update(parse.read(json.dumps(data).encode(), WireUpdate))
    assert (made.execution_id, made.quantity, made.price, made.position_quantity) == ("e1", 40, Decimal("10.25"), 40)
    assert (
        parse.update(parse.read(json.dumps(data | {"event": "canceled", "qty": None, "price": None}).encode(), WireUpdate)).execution_id
        is None
    )


@given(st.integers(946_684_800 * 10**9, 4_102_444_799 * 10**9))
def test_times_survive_to_the_nanosecond(at_ns: int) -> None:
    """RFC 3339 with nine digits comes back exactly."""
    assert parse.moment(to_iso(at_ns)) == at_ns


def test_times_with_an_offset() -> None:
    """New York's offset and few digits are understood."""
    assert parse.moment("2026-03-02T09:30:00.5-05:00") == parse.moment("2026-03-02T14:30:00.500Z")


def test_positions_and_account() -> None:
    """Negative quantities stay negative, a fraction counts as one more share, and a missing sum of money can only forbid."""
    short = parse.position(parse.read(b'{"symbol":"ABC.PRA","qty":"-5","avg_entry_price":"10"}', WirePosition))
    assert (short.symbol, short.quantity) == ("ABCpA", -5)
    assert parse.position(parse.read(b'{"symbol":"ABC","qty":"2.25"}', WirePosition)).quantity == 3
    account = parse.account(
        parse.read(b'{"account_number":"PA1","equity":"1","cash":"1","buying_power":null,"trading_blocked":true}', WireAccount)
    )
    assert account.buying_power == 0
    assert account.blocked


def test_half_day() -> None:
    """The broker's calendar row of a half-day is the session our calendar has."""
    day = date(2026, 11, 27)
    rows = parse.read(
        b'[{"date":"2026-11-27","open":"09:30","close":"13:00","session_open":"0400","session_close":"1700"}]', list[WireCalendarDay]
    )
    assert parse.session(rows, day) == calendar.session(day)
    assert parse.session(rows, date(2026, 11, 26)) is None


@pytest.mark.parametrize(("ours", "theirs"), [("AAPL", "AAPL"), ("BRK.B", "BRK.B"), ("ABCpA", "ABC.PRA"), ("ABCp", "ABC.PR")])
def test_symbols(ours: str, theirs: str) -> None:
    """Each venue's spelling, there and back."""
    assert to_alpaca(ours) == theirs
    assert from_alpaca(theirs) == ours


def test_bodies_have_no_floats() -> None:
    """Every number leaves as a string; a bracket has its class and both legs, a simple order neither."""
    intent = OrderIntent(
        client_order_id="t-ABC-e1",
        symbol="ABC",
        side=Side.BUY,
        quantity=7,
        purpose=Purpose.ENTRY,
        order_class=OrderClass.BRACKET,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("10.10"),
        target_price=Decimal("10.20"),
        stop_loss_price=Decimal("10.00"),
        decided_at_ns=1,
        cause="signal",
    )
    assert parse.post_body(intent) == {
        "symbol": "ABC",
        "qty": "7",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "client_order_id": "t-ABC-e1",
        "limit_price": "10.10",
        "order_class": "bracket",
        "take_profit": {"limit_price": "10.20"},
        "stop_loss": {"stop_price": "10.00"},
    }
