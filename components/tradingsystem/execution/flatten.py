"""Close positions without ever standing naked and without ever selling more than is held.

The open target is moved to a limit that trades at once: the stop stays beside it until the shares are gone. Where that is refused the group is
cancelled, its end awaited, and the free shares sold. Before the close of that day's real session this happens by itself, whatever the trading state.
"""

from __future__ import annotations

from tradingsystem.domain.orders import OrderState
from tradingsystem.domain.time import NS_PER_MINUTE
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution import splits
from tradingsystem.execution.actions import Action, Alert, Cancel, SetLatch
from tradingsystem.execution.entries import ask_cancel
from tradingsystem.execution.exits import RETRY_SECONDS, move, rest, sell
from tradingsystem.execution.exposure import exit_shares, groups_of, pending_exits, working
from tradingsystem.execution.latches import latch
from tradingsystem.execution.orders import OrderRecord, Role
from tradingsystem.execution.prices import marketable_sell
from tradingsystem.execution.state import State

CLOSE = "close"
MOVES_REFUSED_MAX = 2
AFTER_CLOSE_SECONDS = 1.0
_MOVABLE = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.HELD})


def schedule(state: State) -> list[Action]:
    """Begin the close's flattening at its time; after the close, latch what could not be sold."""
    session = state.closing_session()
    if session is None:
        return []
    if not state.day.flattened and state.now_ns >= session.close_ns - state.settings.execution.flatten_before_close_minutes * NS_PER_MINUTE:
        state.day.flattened = True
        begin(state, CLOSE)
    if state.day.flattened and state.now_ns < session.close_ns:
        begin(state, CLOSE)  # an entry that filled late is closed as well
    if state.now_ns >= session.close_ns + state.wait_ns(AFTER_CLOSE_SECONDS):
        return carry(state)
    return []


def begin(state: State, reason: str) -> list[str]:
    """Mark all positions and all symbols with open entries for flattening."""
    symbols = [symbol for symbol, position in state.positions.items() if position.quantity > 0]
    symbols += [record.symbol for record in state.book.open() if record.role is Role.ENTRY and record.symbol not in symbols]
    for symbol in symbols:
        state.flattening.setdefault(symbol, reason)
    return symbols


def due(state: State) -> list[Action]:
    """The next act for every symbol that is being closed."""
    session = state.closing_session()
    if session is None or not session.contains(state.now_ns):
        return []
    actions: list[Action] = []
    for symbol in list(state.flattening):
        if state.held(symbol) <= 0 and not any(record.role is Role.ENTRY for record in state.book.open(symbol)):
            del state.flattening[symbol]
            state.retry_at_ns.pop(symbol, None)
        elif (mark := state.marks.get(symbol)) is None or not mark.halted:
            actions += _close(state, symbol)
    return actions


def _close(state: State, symbol: str) -> list[Action]:
    actions: list[Action] = []
    for record in state.book.open(symbol):
        if record.role is Role.ENTRY:
            actions += ask_cancel(state, record)
    if state.sellable(symbol) <= 0 or state.now_ns < state.retry_at_ns.get(symbol, 0) or splits.undecided(state, symbol):
        return actions
    reason, mark, fallback = state.flattening[symbol], state.marks.get(symbol), state.positions[symbol].average_price
    sent: list[Action] = []
    for key, group in groups_of(state, symbol).items():
        if working(group) and exit_shares(state, group):
            sent += _close_group(state, symbol, key, group)
    undecided = sum(
        record.filled for record in state.book.open(symbol) if record.role is Role.ENTRY
    )  # should it fill, its legs will need them
    free = state.sellable(symbol) - pending_exits(state, symbol) - undecided
    if free > 0 and not any(record.state is OrderState.UNKNOWN and record.role is not Role.ENTRY for record in state.book.open(symbol)):
        refused = sum(1 for record in state.book.of(symbol) if record.intent is not None and record.intent.cause == reason)
        sent += sell(state, symbol, free, reason, marketable_sell(mark, refused + 1, fallback))
    if any(not isinstance(action, Cancel) for action in sent):  # what a cancel sets free is sold the moment it is free
        state.retry_at_ns[symbol] = state.now_ns + state.wait_ns(RETRY_SECONDS)
    return actions + sent


def _close_group(state: State, symbol: str, key: str, group: list[OrderRecord]) -> list[Action]:
    """Move the group's sell to the market, or cancel the group when the broker will not move it."""
    if any(record.open and record.role is Role.STOP and record.filled for record in group):
        return []  # elected, and selling already: nothing that we could send is quicker
    sells = [record for record in group if record.open and record.role in {Role.TARGET, Role.EXIT}]
    reason = f"{state.flattening[symbol]}:{key}"
    tried = [record for record in group if record.intent is not None and record.intent.cause == reason]
    refused = sum(1 for record in tried if record.refusal)
    movable = [record for record in sells if record.state in _MOVABLE]
    if movable and refused < MOVES_REFUSED_MAX:
        return move(
            state, movable[0], reason, marketable_sell(state.marks.get(symbol), len(tried) + 1, state.positions[symbol].average_price)
        )
    if sells and not movable and refused < MOVES_REFUSED_MAX:
        return []  # its last change is still under way
    return [action for record in group if record.open and record.role is not Role.ENTRY for action in ask_cancel(state, record)][:1]


def carry(state: State) -> list[Action]:
    """What is still held after the close: a stop that rests until it can trade, and a latch that only a person clears."""
    actions: list[Action] = []
    for symbol, position in state.positions.items():
        if position.quantity <= 0 or state.now_ns < state.retry_at_ns.get(symbol, 0):
            continue
        actions += rest(state, symbol)
        if not state.day.carried:
            state.day.carried = True
            reason = f"{position.quantity} {symbol} could not be sold before the close"
            made = latch(LatchKind.CARRIED, TradingState.REDUCING, reason, "execution", state.now_ns)
            state.latches[made.id] = made
            actions += [SetLatch(made), Alert("carried", made.reason)]
    return actions
