"""Brackets, OCO and OTO: legs live only after the entry has filled completely, share one lot of shares, and end together."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tradingsystem.simulator.exchange import ExchangeSettings, StopTrigger
from tradingsystem.simulator.ledger import Leg, Status

D = Decimal


def legs(trading: Any, order: Any) -> tuple[Any, Any]:
    target, stop = trading.ledger.legs(order)
    return target, stop


def test_legs_wait_until_the_entry_has_filled_completely(trading: Any) -> None:
    """A partial fill activates nothing; the full one makes the target `new` and leaves the stop `held`."""
    trading.quote(9.98, 10.00, ask_size=40)
    entry = trading.bracket()
    target, stop = legs(trading, entry)
    trading.wait()
    assert (entry.filled, target.status, stop.status) == (40, Status.HELD, Status.HELD)
    assert trading.ledger.held_for_orders("AAA") == 0
    trading.quote(9.98, 10.00, ask_size=60)
    trading.wait()
    assert (entry.status, target.status, stop.status) == (Status.FILLED, Status.NEW, Status.HELD)
    assert trading.ledger.held_for_orders("AAA") == 100


def test_leg_ids_are_not_the_clients_choice(trading: Any) -> None:
    """Legs carry ids of the venue; they are known by their parent."""
    entry = trading.bracket(client_order_id="mine")
    target, stop = legs(trading, entry)
    assert len({"mine", target.client_order_id, stop.client_order_id}) == 3
    assert {target.parent_id, stop.parent_id} == {entry.id}


def test_a_partly_filled_entry_that_is_canceled_leaves_no_legs(trading: Any) -> None:
    """The position stays without protection: that is the real broker's behaviour."""
    trading.quote(9.98, 10.00, ask_size=40)
    entry = trading.bracket()
    trading.wait()
    trading.exchange.cancel(entry.id, trading.now_ns)
    trading.wait()
    assert [leg.status for leg in legs(trading, entry)] == [Status.CANCELED, Status.CANCELED]
    assert trading.ledger.position("AAA").quantity == 40
    assert not list(trading.ledger.open_orders())


def test_the_target_fill_cancels_the_stop(trading: Any) -> None:
    """One exit for one lot of shares; the sibling's event is marked as such."""
    entry = trading.bracket()
    trading.wait()
    target, stop = legs(trading, entry)
    trading.quote(10.50, 10.52)
    assert (target.status, target.average_price, stop.status) == (Status.FILLED, D("10.50"), Status.CANCELED)
    assert [event.sibling for event in trading.events if event.order.id == stop.id] == [True]
    assert trading.ledger.position("AAA").quantity == 0


def test_a_partial_target_fill_reduces_the_stop(trading: Any) -> None:
    """The stop never sells more than what is left."""
    entry = trading.bracket()
    trading.wait()
    target, stop = legs(trading, entry)
    trading.quote(10.50, 10.52, bid_size=30)
    assert (target.filled, stop.quantity) == (30, 70)
    trading.quote(9.40, 9.42)
    assert (stop.status, target.status) == (Status.FILLED, Status.CANCELED)
    assert trading.ledger.position("AAA").quantity == 0


@pytest.mark.parametrize(
    ("mode", "target_status", "stop_status"),
    [
        (StopTrigger.CANCEL, Status.CANCELED, Status.FILLED),
        (StopTrigger.REPLACE_TAKE_PROFIT, Status.REPLACED, Status.FILLED),
        (StopTrigger.REPLACE_STOP_LOSS, Status.CANCELED, Status.REPLACED),
    ],
)
def test_an_elected_stop_takes_the_shares_in_each_reported_way(
    make_trading: Callable[..., Any], mode: StopTrigger, target_status: Status, stop_status: Status
) -> None:
    """Reports about the venue differ; whichever holds, the position is sold exactly once."""
    trading = make_trading(ExchangeSettings(latency_us=1, latency_jitter_us=0, stop_trigger=mode))
    trading.quote(9.99, 10.00)
    entry = trading.bracket()
    trading.wait()
    target, stop = (trading.ledger.orders[leg_id] for leg_id in entry.leg_ids)
    trading.quote(9.45, 9.47)
    assert (target.status, stop.status) == (target_status, stop_status)
    assert trading.ledger.position("AAA").quantity == 0
    assert sum(execution.quantity for execution in trading.ledger.executions if execution.side == "sell") == 100


def test_cancelling_one_leg_cancels_the_other(trading: Any) -> None:
    """Protection goes as a group."""
    entry = trading.bracket()
    trading.wait()
    target, stop = legs(trading, entry)
    trading.exchange.cancel(stop.id, trading.now_ns)
    trading.wait()
    assert (target.status, stop.status) == (Status.CANCELED, Status.CANCELED)
    assert trading.ledger.held_for_orders("AAA") == 0


def test_moving_the_target_to_a_marketable_limit_flattens(trading: Any) -> None:
    """The successor of the target sells at once, and the stop goes with it."""
    entry = trading.bracket()
    trading.wait()
    target, stop = legs(trading, entry)
    trading.exchange.replace(target.id, {"limit_price": "9.90"}, trading.now_ns)
    trading.wait()
    successor = trading.ledger.latest(target)
    assert (target.status, successor.status, successor.average_price) == (Status.REPLACED, Status.FILLED, D("9.99"))
    assert (successor.leg, successor.parent_id) == (Leg.TAKE_PROFIT, entry.id)
    assert stop.status is Status.CANCELED
    assert trading.ledger.position("AAA").quantity == 0


def test_a_held_stop_can_be_moved_and_still_protects(trading: Any) -> None:
    """Its successor waits in `held` and is elected at the new price."""
    entry = trading.bracket()
    trading.wait()
    _, stop = legs(trading, entry)
    trading.exchange.replace(stop.id, {"stop_price": "9.80"}, trading.now_ns)
    trading.wait()
    moved = trading.ledger.latest(stop)
    assert (moved.status, moved.stop_price) == (Status.HELD, D("9.80"))
    assert trading.ledger.held_for_orders("AAA") == 100
    trading.quote(9.79, 9.81)
    assert moved.status is Status.FILLED
    assert trading.ledger.position("AAA").quantity == 0


def test_a_moved_entry_keeps_its_legs(trading: Any) -> None:
    """Replacing the entry hands its legs to the successor, and they start when that one fills."""
    entry = trading.bracket(limit="9.95")
    trading.wait()
    trading.exchange.replace(entry.id, {"limit_price": "10.00"}, trading.now_ns)
    trading.wait()
    trading.wait()
    successor = trading.ledger.latest(entry)
    target, stop = legs(trading, successor)
    assert (successor.status, target.status, stop.status) == (Status.FILLED, Status.NEW, Status.HELD)
    assert target.parent_id == successor.id


def test_oco_protects_shares_that_are_held(trading: Any) -> None:
    """The target is the parent and holds the shares; the stop waits; one fill ends both."""
    trading.hold(100)
    oco = trading.post(
        "sell",
        type="limit",
        order_class="oco",
        take_profit={"limit_price": "10.40"},
        stop_loss={"stop_price": "9.60"},
    )
    trading.wait()
    (stop,) = trading.ledger.legs(oco)
    assert (oco.status, oco.limit_price, stop.status) == (Status.NEW, D("10.40"), Status.HELD)
    assert trading.ledger.held_for_orders("AAA") == 100
    trading.quote(9.55, 9.57)
    assert (oco.status, stop.status) == (Status.CANCELED, Status.FILLED)


def test_oto_has_one_leg_that_holds_the_shares(trading: Any) -> None:
    """Its stop works as soon as the entry has filled."""
    entry = trading.post(limit_price="10.00", order_class="oto", stop_loss={"stop_price": "9.50"})
    trading.wait()
    (stop,) = trading.ledger.legs(entry)
    assert stop.status is Status.NEW
    assert trading.ledger.held_for_orders("AAA") == 100


def test_legs_whose_shares_were_sold_in_between_are_rejected(make_trading: Callable[..., Any]) -> None:
    """Between fill and activation shares are free; if they are sold then, the legs must not go short."""
    trading = make_trading(ExchangeSettings(latency_us=100_000, latency_jitter_us=0))
    trading.quote(9.99, 10.00)
    entry = trading.bracket()
    trading.wait(0.15)
    assert entry.status is Status.FILLED
    trading.post("sell", qty=60)
    trading.wait()
    assert [leg.status for leg in legs(trading, entry)] == [Status.REJECTED, Status.REJECTED]
    assert trading.ledger.position("AAA").quantity == 40


def test_all_of_a_day_bracket_expires_at_the_close(trading: Any) -> None:
    """Legs have their parent's time in force; afterwards the position stands alone."""
    entry = trading.bracket()
    trading.wait()
    trading.to(trading.session.close_ns)
    assert [leg.status for leg in legs(trading, entry)] == [Status.EXPIRED, Status.EXPIRED]
    assert trading.ledger.position("AAA").quantity == 100
