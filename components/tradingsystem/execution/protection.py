"""Every filled share has a stop at the broker within three seconds: count what is covered, cover what is not.

A bracket protects only when its entry has filled completely; an entry that ends half-filled leaves shares with nothing, and they get an OCO. It refuses
to believe that legs live because they should: it asks. Shares that the broker does not have are not covered, and what would sell them is cancelled.
"""

from __future__ import annotations

import msgspec

from tradingsystem.domain.orders import OrderState
from tradingsystem.execution.actions import Action, Alert, Covered, Lookup
from tradingsystem.execution.entries import ask_cancel
from tradingsystem.execution.exits import COVERS, cover
from tradingsystem.execution.exposure import exit_shares, external_exits, groups_of, open_exits, working
from tradingsystem.execution.orders import OrderRecord, Role
from tradingsystem.execution.positions import bid_of
from tradingsystem.execution.prices import stop_below, target_above
from tradingsystem.execution.state import State

LIMIT_SECONDS = 3.0
GRACE_SECONDS = 1.0
RETRY_SECONDS = 1.0
REFUSALS_MAX = 3
STOPS = frozenset({Role.STOP})


class Cover(msgspec.Struct, frozen=True):
    """A symbol's shares that are there, by what protects them: a working stop, a sell under way, or a bracket whose legs have not shown themselves yet."""

    held: int
    stopped: int
    selling: int
    promised: int

    @property
    def bare(self) -> int:
        """Shares that need an order now."""
        return max(self.held - self.stopped - self.selling - self.promised, 0)

    @property
    def unprotected(self) -> int:
        """Shares without a stop that is known to live."""
        return max(self.held - self.stopped, 0)


def cover_of(state: State, symbol: str) -> Cover:
    """Count one symbol's protection from its groups."""
    stopped = selling = promised = 0
    for group in groups_of(state, symbol).values():
        if not working(group):
            continue
        known = [record for record in group if record.state is not OrderState.UNKNOWN]
        stop = open_exits(state, known, STOPS) if known else 0
        shares = open_exits(state, group)
        stopped += stop
        selling += max(shares - stop, 0)
        if not shares:
            promised += _promised(state, group)
    return Cover(state.present(symbol), stopped, selling + external_exits(state, symbol), promised)


def _promised(state: State, group: list[OrderRecord]) -> int:
    """Shares of a completely filled bracket whose legs nobody has told of, while that is young."""
    entries = [record for record in group if record.role is Role.ENTRY]
    if any(record.role is not Role.ENTRY for record in group):
        return 0
    young = [record for record in entries if state.now_ns - record.changed_at_ns < state.wait_ns(LIMIT_SECONDS)]
    return sum(record.filled for record in young)


def due(state: State) -> list[Action]:
    """Cover every bare share; measure from the fill to the cover; ask for legs that have not shown themselves."""
    actions: list[Action] = []
    for symbol, position in state.positions.items():
        if position.quantity <= 0:
            continue
        covered = cover_of(state, symbol)
        actions += _measure(state, symbol, covered)
        if symbol in state.frozen:
            actions += _shed(state, symbol, covered.held)
        if not covered.unprotected or symbol in state.flattening:
            continue
        actions += _ask_for_legs(state, symbol)
        if covered.bare and state.heard and state.now_ns >= state.retry_at_ns.get(symbol, 0):
            actions += _cover(state, symbol, covered.bare)
    return actions


def _shed(state: State, symbol: str, there: int) -> list[Action]:
    """Cancel exits of ours that would sell more than is there, the newest first; what is bare afterwards gets a cover of its own."""
    working_ones = [(group, exit_shares(state, group)) for group in groups_of(state, symbol).values()]
    surplus = sum(shares for _, shares in working_ones) + external_exits(state, symbol) - there
    actions: list[Action] = []
    for group, shares in reversed(working_ones):
        if surplus > 0 and shares:
            surplus -= shares
            exits = [record for record in group if record.open and record.role is not Role.ENTRY and record.order_id is not None]
            actions += [action for record in exits for action in ask_cancel(state, record)][:1]
    return actions


def _measure(state: State, symbol: str, covered: Cover) -> list[Action]:
    position = state.positions[symbol]
    if covered.unprotected and not position.uncovered_since_ns:
        position.uncovered_since_ns = state.now_ns
    elif not covered.unprotected and position.uncovered_since_ns:
        took_ns = state.now_ns - position.uncovered_since_ns
        state.statistics.cover_ns.add(took_ns)
        position.uncovered_since_ns = 0
        return [Covered(symbol, took_ns)]
    return []


def _ask_for_legs(state: State, symbol: str) -> list[Action]:
    actions: list[Action] = []
    for record in state.book.current(symbol):
        if record.role is not Role.ENTRY or record.state is not OrderState.FILLED or not _promised_alone(state, record):
            continue
        if state.now_ns - max(record.changed_at_ns, record.asked_at_ns) >= state.wait_ns(GRACE_SECONDS):
            record.asked_at_ns = state.now_ns
            actions.append(Lookup(record.key, record.order_id))
    return actions


def _promised_alone(state: State, entry: OrderRecord) -> bool:
    return not any(record.group == entry.group and record is not entry for record in state.book.current(entry.symbol))


def _cover(state: State, symbol: str, bare: int) -> list[Action]:
    filling = [record for record in state.book.open(symbol) if record.role is Role.ENTRY and record.filled]
    in_open_entries = sum(record.filled for record in filling)
    actions: list[Action] = []
    for record in filling:
        if state.now_ns - record.first_fill_ns >= state.wait_ns(GRACE_SECONDS):
            actions += ask_cancel(state, record)
    quantity = bare - in_open_entries
    if quantity <= 0:
        return actions
    return actions + protect(state, symbol, quantity)


def protect(state: State, symbol: str, quantity: int) -> list[Action]:
    """An OCO at the entry's distances. When the stop has been passed already, or the broker keeps refusing, the shares are sold. Where the broker counts
    other shares than we do (a split, a hand), what ours cost says nothing of them: theirs are covered from where the market is."""
    position, execution = state.positions[symbol], state.settings.execution
    bid = bid_of(state.marks.get(symbol))
    doubted = symbol in state.frozen or symbol in state.suspicions
    base = bid if doubted and bid is not None else position.average_price
    stop = stop_below(base, execution.stop_loss_basis_points)
    nearest = min(target.at_basis_points for target in execution.take_profits)
    target = target_above(base, nearest)
    covers = (record for record in state.book.of(symbol) if record.intent is not None and record.intent.cause in COVERS)
    refusals = sum(1 for record in covers if record.refusal and record.created_at_ns >= position.opened_at_ns)
    if (bid is not None and bid <= stop) or refusals >= REFUSALS_MAX:
        state.flattening[symbol] = "unprotectable"
        return [
            Alert(
                "unprotectable", f"{symbol}: {quantity} shares cannot be covered at {stop} (bid {bid}, {refusals} refusals): they are sold"
            )
        ]
    if refusals:  # the first cover of other shares must not wait behind that of the ones before
        state.retry_at_ns[symbol] = state.now_ns + state.wait_ns(RETRY_SECONDS)
    return cover(state, symbol, quantity, target, stop)


def safe_to_leave(state: State) -> bool:
    """Whether nothing may still open and every held share has its stop: then nobody needs to watch."""
    bare = any(position.uncovered_since_ns for position in state.positions.values() if position.quantity > 0)
    return not bare and not any(record.role is Role.ENTRY for record in state.book.open())
