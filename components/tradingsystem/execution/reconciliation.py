"""Our fills against the broker's word.

A difference counts when it is seen twice, two seconds apart, with no event between and nothing in flight: then the symbol is frozen, and a second
frozen symbol halts. It refuses to repair: shares that no announced split explains are a person's to explain.
"""

from __future__ import annotations

from tradingsystem.domain.orders import OrderState, OrderUpdate, Side
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution import splits
from tradingsystem.execution.actions import Action, Alert, Lookup, SetLatch
from tradingsystem.execution.book import Learned
from tradingsystem.execution.inbox import SnapshotReceived
from tradingsystem.execution.latches import latch
from tradingsystem.execution.orders import Role
from tradingsystem.execution.positions import ZERO
from tradingsystem.execution.state import State, Suspicion
from tradingsystem.messages.identifiers import is_another_systems
from tradingsystem.spec.execution import Account as AccountKind

INTERVAL_SECONDS = 30.0
AGAIN_SECONDS = 2.0
TAKEN_BACK = frozenset({"trade_bust", "trade_correct"})
_IN_FLIGHT = frozenset(
    {OrderState.INTENDED, OrderState.SUBMITTED, OrderState.UNKNOWN, OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE}
)


def differences(ours: dict[str, int], theirs: dict[str, int], *, shared: bool) -> dict[str, tuple[int, int]]:
    """Symbols whose shares differ, as (ours, theirs). In a shared account a position that is wholly foreign is none of our business."""
    symbols = set(ours) | (set() if shared else set(theirs))
    found = {symbol: (ours.get(symbol, 0), theirs.get(symbol, 0)) for symbol in sorted(symbols)}
    if shared:
        return {symbol: pair for symbol, pair in found.items() if pair[0] > pair[1]}
    return {symbol: pair for symbol, pair in found.items() if pair[0] != pair[1]}


def compare(state: State, snapshot: SnapshotReceived) -> list[Action]:
    """Judge a snapshot whose orders have been applied already."""
    ours = {symbol: position.quantity for symbol, position in state.positions.items() if position.quantity}
    theirs = {position.symbol: position.quantity for position in snapshot.positions if position.quantity}
    found = differences(ours, theirs, shared=state.settings.execution.account is AccountKind.SHARED)
    for symbol in state.splits.announced:  # in a shared account more shares than ours are no difference by themselves
        mine, broker = ours.get(symbol, 0), theirs.get(symbol, 0)
        if mine != broker and splits.agreed(state, symbol, broker):
            found[symbol] = (mine, broker)
    for symbol, suspicion in list(state.suspicions.items()):
        if symbol not in found and suspicion.seen_at_ns <= snapshot.asked_at_ns:  # else this word is older than the reason for doubt
            del state.suspicions[symbol]
    for symbol in [symbol for symbol in state.frozen if symbol not in found]:
        del state.frozen[symbol]  # the broker agrees again; a latch that was set stays
    actions: list[Action] = []
    for symbol, (mine, broker) in found.items():
        actions += _suspect(state, symbol, mine, broker, snapshot.asked_at_ns)
    settled = not found and not missing(state, snapshot) and not state.book.parked
    if settled and not state.frozen:
        state.reconciled = state.connected
    state.snapshot_due_ns = state.now_ns + state.wait_ns(INTERVAL_SECONDS if settled or state.frozen else AGAIN_SECONDS)
    return actions


def missing(state: State, snapshot: SnapshotReceived) -> list[str]:
    """Keys of orders we think open and acknowledged, that the broker did not list and that nothing has changed since we asked."""
    listed = {order.order_id for order in snapshot.orders} | {leg.order_id for order in snapshot.orders for leg in order.legs}
    return [
        record.key
        for record in state.book.open()
        if record.role is not Role.EXTERNAL
        and record.order_id is not None
        and record.order_id not in listed
        and record.changed_at_ns < snapshot.asked_at_ns
    ]


def look_up(state: State, keys: list[str]) -> list[Action]:
    """Ask for orders one by one."""
    actions: list[Action] = []
    for key in keys:
        record = state.book.orders[key]
        record.asked_at_ns = state.now_ns
        actions.append(Lookup(key, record.order_id))
    return actions


def _suspect(state: State, symbol: str, ours: int, theirs: int, asked_at_ns: int) -> list[Action]:
    position = state.positions.get(symbol)
    moving = any(record.state in _IN_FLIGHT and record.role is not Role.EXTERNAL for record in state.book.open(symbol))
    changed = position is not None and position.changed_at_ns >= (
        state.suspicions[symbol].seen_at_ns if symbol in state.suspicions else asked_at_ns
    )
    before = state.suspicions.get(symbol)
    if moving or changed or before is None or (before.ours, before.theirs) != (ours, theirs):
        state.suspicions[symbol] = Suspicion(asked_at_ns, ours, theirs)
        return splits.doubt(state, symbol)
    if asked_at_ns - before.seen_at_ns < state.wait_ns(AGAIN_SECONDS):
        return []
    if some := splits.agreed(state, symbol, theirs):
        return splits.apply(state, symbol, some)
    if symbol in state.frozen:
        return splits.doubt(state, symbol)
    if splits.asking(state, symbol):
        return []
    state.splits.standing.pop(symbol, None)
    reason = f"{symbol}: {ours} shares by our fills, {theirs} by the broker"
    state.frozen[symbol] = reason
    actions: list[Action] = [Alert("reconciliation", reason)]
    if len(state.frozen) >= 2 or not state.reconciled:
        made = latch(LatchKind.RECONCILIATION, TradingState.HALTED, "; ".join(state.frozen.values())[:400], "execution", state.now_ns)
        state.latches[made.id] = made
        actions.insert(0, SetLatch(made))
    return actions


def sold_by_another(state: State, update: OrderUpdate, learned: Learned) -> None:
    """Shares that an order which is not ours has sold are gone now, not at the next comparison. What nobody knows yet may be anybody's: believed gone
    until the account has been asked, which is at once."""
    symbol, held = update.order.symbol, state.held(update.order.symbol)
    if update.order.side is not Side.SELL or update.execution_id is None or held <= 0:
        return
    counted = sum(fill.quantity for fill in learned.fills if state.book.orders[fill.client_order_id].role is Role.EXTERNAL)
    gone = (update.quantity or 0) if learned.unknown else counted
    if gone:
        state.suspicions[symbol] = Suspicion(state.now_ns, held, state.present(symbol) - gone)
        state.snapshot_due_ns = state.now_ns


def sold(state: State, symbol: str) -> None:
    """A sale of ours is counted while the broker's word lacks shares: it may be the very sale that they lack, told a moment later. Then it is taken off
    twice and the rest seems covered, so the account is asked again at once."""
    suspicion = state.suspicions.get(symbol)
    if suspicion is not None and suspicion.ours > suspicion.theirs:
        state.snapshot_due_ns = state.now_ns


def taken_back(state: State, update: OrderUpdate) -> list[Action]:
    """The exchange has annulled or corrected a trade. What is left of it is the account's to say: the symbol is frozen at once, until our fills and the
    broker's shares agree."""
    if update.event not in TAKEN_BACK:
        return []
    reason = f"{update.order.symbol}: {update.event} of order {update.order.client_order_id}"
    state.frozen[update.order.symbol] = reason
    state.snapshot_due_ns = state.now_ns
    return [Alert("trade-taken-back", reason)]


def told(state: State, snapshot: SnapshotReceived) -> list[Action]:
    """Take the account over; one that is not ours alone latches."""
    assert snapshot.account is not None
    problem = not_ours(state, snapshot)
    actions: list[Action] = []
    if problem and not any(known.kind is LatchKind.ACCOUNT for known in state.latches.values()):
        made = latch(LatchKind.ACCOUNT, TradingState.HALTED, problem, "execution", state.now_ns)
        state.latches[made.id] = made
        actions.append(SetLatch(made))
    state.heard = True
    state.account = snapshot.account
    state.account_at_ns = snapshot.asked_at_ns
    state.bought_since_account = ZERO
    return actions


def not_ours(state: State, snapshot: SnapshotReceived) -> str:
    """Why this account is not the one to trade on; empty when it is."""
    assert snapshot.account is not None
    execution, number = state.settings.execution, snapshot.account.account_number
    wanted = execution.broker.account_number
    if wanted and number != wanted:
        return f"the keys lead to account {number}, spec.execution.broker.accountNumber is {wanted}"
    if state.account is not None and state.account.account_number != number:
        return f"the keys lead to account {number}, until now it was {state.account.account_number}"
    if execution.account is AccountKind.DEDICATED:
        others = sorted(
            order.client_order_id for order in snapshot.orders if is_another_systems(state.settings.system, order.client_order_id)
        )
        if others:
            return f"another trading system has orders on this account, and spec.execution.account is Dedicated: {', '.join(others[:3])}"
    return ""
