"""What others do on our account, and what the exchange takes back: seen, counted, told, never touched."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tests.execution.desk import Desk, execution_slice
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.orders import OrderState
from tradingsystem.domain.trading import LatchKind
from tradingsystem.execution import actions as act
from tradingsystem.execution import inbox
from tradingsystem.execution.exposure import external_exits
from tradingsystem.execution.orders import Role
from tradingsystem.simulator.ledger import Order, Position, Side


def desk(**more: object) -> Desk:
    made = Desk(**more)  # type: ignore[arg-type]
    for symbol in ("AAA", "BBB"):
        made.quote(symbol, 99.98, 100.00)
    return made


def by_hand(made: Desk, side: str, quantity: int, limit: str, symbol: str = "BBB") -> str:
    """A person's own order at the broker, under an id that is not ours."""
    body = {"symbol": symbol, "side": side, "qty": str(quantity), "type": "limit", "limit_price": limit, "time_in_force": "day"}
    placed = made.exchange.submit(body | {"client_order_id": f"ada-{made.now_ns}"}, made.now_ns)
    assert isinstance(placed, Order), placed
    made.tell(made.exchange.take_events())
    return placed.id


def foreign() -> Position:
    """Seven shares that nobody here bought."""
    held = Position("BBB")
    held.apply(Decimal(7), Decimal(50))
    return held


def touched(made: Desk, order_id: str) -> bool:
    """Whether anything that we sent was about this order."""
    sent = (action for action in made.log if isinstance(action, act.Cancel | act.Replace))
    return any(action.order_id == order_id for action in sent)


def test_an_external_order_is_adopted_and_never_touched() -> None:
    """A halt, a flatten and the close pass it by; it is known, it is nobody's of ours, and it goes on living."""
    made = desk()
    order_id = by_hand(made, "buy", 5, "90.00")
    made.advance(3)
    record = made.state.book.by_order_id(order_id)
    assert record is not None
    assert (record.role, record.state) == (Role.EXTERNAL, OrderState.ACCEPTED)
    made.signal("AAA")
    made.advance(2)
    made.command(CommandKind.FLATTEN)
    made.advance(10)
    made.command(CommandKind.HALT)
    made.advance(10)
    assert made.shares("AAA") == 0
    assert not touched(made, order_id)
    assert not made.ledger.orders[order_id].terminal


def test_an_external_sell_counts_against_what_we_may_sell() -> None:
    """Shares that a person's sell may take are not sold by us as well (invariant 6)."""
    made = desk()
    made.signal("AAA")
    made.advance(2)
    legs = [order for order in made.ledger.open_orders("AAA") if order.side is Side.SELL]
    made.wire.hold_events = True
    made.exchange.cancel(legs[0].id, made.now_ns)
    made.advance(0.25)
    order_id = by_hand(made, "sell", 20, "120.00", "AAA")
    made.release()
    made.advance(40)
    assert external_exits(made.state, "AAA") == 20
    made.command(CommandKind.FLATTEN)
    made.advance(30)
    assert made.shares("AAA") == 20
    assert not touched(made, order_id)


def test_nothing_is_bought_from_ourselves() -> None:
    """While a person's sell is open in a symbol, a buy of ours would meet it on the same account."""
    made = desk(settings=execution_slice(execution={"account": "Shared"}))
    made.ledger.positions["BBB"] = foreign()
    order_id = by_hand(made, "sell", 7, "120.00")
    made.advance(3)
    made.signal("BBB")
    assert made.codes() == ["self-cross"]
    made.exchange.cancel(order_id, made.now_ns)
    made.advance(3)
    made.signal("BBB")
    assert made.codes() == ["self-cross"]
    made.advance(2)
    assert made.shares("BBB") == 47


def test_a_dedicated_account_does_not_start_beside_foreign_shares() -> None:
    """Whoever holds them, they are not explained by our fills: nothing opens, and a person is told which (invariant 10)."""
    made = Desk()
    made.ledger.positions["BBB"] = foreign()
    made.crash()
    made.advance(10)
    assert not made.state.reconciled
    (latch,) = made.state.latches.values()
    assert latch.kind is LatchKind.RECONCILIATION
    assert "BBB: 0 shares by our fills, 7 by the broker" in latch.reason


def test_a_shared_account_leaves_foreign_shares_alone() -> None:
    """They are not counted, not covered, not sold; ours are bought and closed beside them."""
    made = desk(settings=execution_slice(execution={"account": "Shared"}))
    made.ledger.positions["BBB"] = foreign()
    made.crash()
    made.advance(10)
    assert made.state.reconciled
    made.signal("AAA")
    made.advance(2)
    assert made.shares("AAA") == 40
    made.command(CommandKind.FLATTEN)
    made.advance(10)
    assert (made.shares("AAA"), made.shares("BBB")) == (0, 7)


def test_a_trade_that_was_taken_back_freezes_its_symbol() -> None:
    """The exchange annuls a trade: nothing opens in the symbol, nothing is guessed, what the broker still has stays covered."""
    made = desk()
    made.signal("AAA")
    made.wire.hold_events = True
    made.advance(2)
    filled = next(update for update in made.wire.held if update.event == "fill" and str(update.order.side.value) == "Buy")
    made.release()
    made.ledger.positions["AAA"].quantity -= filled.quantity or 0
    busted = msgspec.structs.replace(filled, event="trade_bust", execution_id=None)
    made.enter(inbox.UpdateReceived(received_at_ns=made.now_ns, update=busted))
    assert "AAA" in made.state.frozen
    assert made.alerts()[-1] == "trade-taken-back"
    made.advance(20)
    assert "AAA" in made.state.frozen
    left = made.shares("AAA")
    working = [order for order in made.ledger.open_orders("AAA") if order.side is Side.SELL and str(order.leg) != "take_profit"]
    assert sum(order.remaining for order in working) == left
    made.signal("AAA")
    assert made.codes()[-1] == "symbol-frozen"
