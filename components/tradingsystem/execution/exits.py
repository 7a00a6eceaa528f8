"""One way to send an exit: name it, pass the reduced gate, enter it, submit it. Shared by protection and flattening, which decide when and why."""

from __future__ import annotations

from decimal import Decimal

from tradingsystem.domain.orders import OrderClass, OrderIntent, OrderRefusal, OrderType, Purpose, Side
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution.actions import Action, Alert, Replace, SetLatch, Submit
from tradingsystem.execution.exposure import exposure_for, limits_of, market_for, pending_exits, system_state
from tradingsystem.execution.latches import latch
from tradingsystem.execution.orders import OrderRecord
from tradingsystem.execution.prices import marketable_sell, near, stop_below
from tradingsystem.execution.state import State
from tradingsystem.messages.identifiers import exit_id
from tradingsystem.risk import gate

RETRY_SECONDS = 3.0
COVERS = ("cover", "cover-2", "cover-3", "cover-4")
"""Reasons of covers that may live side by side: each bracket of a decision can end half-filled."""
ATTEMPTS_MAX = 200  # of one position and reason; more is a loop, and latches


def attempt_of(state: State, symbol: str, reason: str, replaced: str | None = None) -> int | None:
    """The next attempt's number for the symbol's position, or None while an earlier attempt has not ended and is not the one being replaced."""
    epoch = state.positions[symbol].epoch
    number = 1
    while (record := state.book.orders.get(exit_id(state.settings.system, symbol, epoch, reason, number))) is not None:
        if record.open and record.key != replaced:
            return None
        number += 1
    return number


def sell(state: State, symbol: str, quantity: int, reason: str, limit: Decimal | None) -> list[Action]:
    """A simple sell of free shares: a limit, or a market order when no price is known."""
    number = attempt_of(state, symbol, reason)
    if number is None:
        return []
    kind = OrderType.LIMIT if limit is not None else OrderType.MARKET
    intent = _intent(state, symbol, quantity, Purpose.FLATTEN, reason, number, kind, limit_price=limit)
    return _send(state, intent, number)


def cover(state: State, symbol: str, quantity: int, target: Decimal, stop: Decimal) -> list[Action]:
    """An OCO over shares that nothing protects. Where an earlier cover of the position still lives, these are other shares: theirs stands beside it."""
    free = ((reason, number) for reason in COVERS if (number := attempt_of(state, symbol, reason)) is not None)
    reason, number = next(free, ("", 0))
    if not number:
        return [Alert("exit-refused", f"{symbol}: {len(COVERS)} covers of one position live already")]
    intent = _intent(
        state,
        symbol,
        quantity,
        Purpose.PROTECT,
        reason,
        number,
        OrderType.LIMIT,
        order_class=OrderClass.OCO,
        target_price=target,
        stop_loss_price=stop,
    )
    return _send(state, intent, number)


def rest(state: State, symbol: str) -> list[Action]:
    """A stop that outlives the session, over what could not be sold and no other exit holds: below what it cost, and below the market."""
    free = state.sellable(symbol) - pending_exits(state, symbol)
    number = attempt_of(state, symbol, "carried")
    if free <= 0 or number is None or state.now_ns < state.retry_at_ns.get(symbol, 0):
        return []
    average_price = state.positions[symbol].average_price
    below = marketable_sell(state.marks.get(symbol), 1, average_price)
    stop = min(stop_below(average_price, state.settings.execution.stop_loss_basis_points), near(below))
    state.retry_at_ns[symbol] = state.now_ns + state.wait_ns(RETRY_SECONDS)
    intent = _intent(state, symbol, free, Purpose.PROTECT, "carried", number, OrderType.STOP, stop_price=stop, time_in_force="gtc")
    return _send(state, intent, number)


def move(state: State, record: OrderRecord, reason: str, limit: Decimal) -> list[Action]:
    """Move an open exit to another limit; the shares stay with it."""
    number = attempt_of(state, record.symbol, reason, record.key)
    if number is None or record.order_id is None or not record.remaining:
        return []
    intent = _intent(
        state,
        record.symbol,
        record.remaining,
        Purpose.FLATTEN,
        reason,
        number,
        OrderType.LIMIT,
        limit_price=limit,
        replaces_order_id=record.order_id,
    )
    return _send(state, intent, number, record)


def _intent(
    state: State,
    symbol: str,
    quantity: int,
    purpose: Purpose,
    reason: str,
    attempt: int,
    order_type: OrderType,
    *,
    order_class: OrderClass = OrderClass.SIMPLE,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
    target_price: Decimal | None = None,
    stop_loss_price: Decimal | None = None,
    time_in_force: str = "day",
    replaces_order_id: str | None = None,
) -> OrderIntent:
    return OrderIntent(
        client_order_id=exit_id(state.settings.system, symbol, state.positions[symbol].epoch, reason, attempt),
        symbol=symbol,
        side=Side.SELL,
        quantity=quantity,
        purpose=purpose,
        order_class=order_class,
        order_type=order_type,
        limit_price=limit_price,
        stop_price=stop_price,
        target_price=target_price,
        stop_loss_price=stop_loss_price,
        time_in_force=time_in_force,
        decided_at_ns=state.now_ns,
        cause=reason,
        replaces_order_id=replaces_order_id,
    )


def _send(state: State, intent: OrderIntent, attempt: int, replaced: OrderRecord | None = None) -> list[Action]:
    group = replaced.group if replaced is not None else None
    exposure = exposure_for(state, intent, group)
    verdict = gate.check(
        intent, exposure, limits_of(state), market_for(state, state.marks.get(intent.symbol)), system_state(state, intent.symbol)
    )
    if isinstance(verdict, OrderRefusal):
        return [Alert("exit-refused", f"{intent.symbol}: {verdict.code}: {verdict.reason}")]
    assert exposure.held - exposure.pending_exits >= intent.quantity, (exposure, intent)
    state.book.intend(intent, group, replaced.key if replaced is not None else None)
    state.statistics.sent += 1
    actions: list[Action] = [Submit(verdict) if replaced is None else Replace(replaced.order_id or "", verdict)]
    return actions + (_loop(state, intent) if attempt == ATTEMPTS_MAX else [])


def _loop(state: State, intent: OrderIntent) -> list[Action]:
    reason = f"{ATTEMPTS_MAX} exits of {intent.symbol} for {intent.cause} have not closed it"
    made = latch(LatchKind.REPEATED_EXECUTION, TradingState.HALTED, reason, "execution", state.now_ns)
    state.latches[made.id] = made
    return [SetLatch(made)]
