"""A halt, until the broker's own word says that it is done: no entry of ours is open any more.

Exists because a cancel that was asked for is not a cancel: the account is polled, what is still there is asked for again, and a person is told. It refuses
to touch what protects a position, and to end a halt that the broker itself has set.
"""

from __future__ import annotations

import msgspec

from tradingsystem.domain.trading import Latch, LatchKind, TradingState
from tradingsystem.execution.actions import Action, Alert, SetLatch
from tradingsystem.execution.inbox import SnapshotReceived
from tradingsystem.execution.latches import latch
from tradingsystem.execution.orders import OrderRecord, Role
from tradingsystem.execution.state import Halting, State

BY_FILE, BY_BROKER = "file", "broker"
CONFIRM_SECONDS = 5.0
POLL_SECONDS = 2.0


def due(state: State) -> list[Action]:
    """Begin to ask the account when trading has become Halted; tell that the broker has not confirmed it for too long. The cancels are ``entries.due``'s."""
    if state.stopping or state.trading()[0] is not TradingState.HALTED:
        state.since_ns = state.now_ns if state.halting is not None else state.since_ns
        state.halting = None
        return []
    halting, left = state.halting, open_entries(state)
    if halting is None:
        state.since_ns = state.now_ns
    if halting is None or (halting.confirmed and left):
        state.halting = halting = Halting(since_ns=state.now_ns)
        state.snapshot_due_ns = state.now_ns
    overdue = state.now_ns - max(halting.since_ns, halting.alarmed_ns) >= state.wait_ns(CONFIRM_SECONDS)
    if halting.confirmed or not overdue:
        return []
    halting.alarmed_ns = state.now_ns
    which = ", ".join(record.key for record in left) or "none that we know of, but the account could not be read"
    return [Alert("halt-unconfirmed", f"the broker has not confirmed that no entry is open: {which}")]


def open_entries(state: State) -> list[OrderRecord]:
    """Entries of ours that may still fill, as far as we know."""
    return [record for record in state.book.open() if record.role is Role.ENTRY]


def told(state: State, snapshot: SnapshotReceived) -> list[Action]:
    """Judge a snapshot whose orders have been applied: the broker's own switch latches, and its list confirms a halt or is asked for again."""
    halting = state.halting
    if halting is not None and not halting.confirmed:
        halting.confirmed = snapshot.asked_at_ns >= halting.since_ns and not open_entries(state)
        if not halting.confirmed:
            state.snapshot_due_ns = min(state.snapshot_due_ns, state.now_ns + state.wait_ns(POLL_SECONDS))
    reason = at_broker(state)
    return _set(state, reason, BY_BROKER) if reason else []


def at_broker(state: State) -> str:
    """Why the broker takes no orders, by its last word; empty when it takes them."""
    account = state.account
    if account is None or not (account.suspended or account.blocked):
        return ""
    if account.suspended:
        return "the account is suspended at the broker; lift it: tradingsystem resume --at-broker"
    return "the broker has blocked the account"


def by_file(state: State, text: str) -> list[Action]:
    """A person's HALT file is there: one latch, which outlives the file."""
    return _set(state, text, BY_FILE)


def locked(state: State) -> dict[str, str]:
    """Latches that nobody can clear now, and why: the broker's own switch is lifted at the broker."""
    reason = at_broker(state)
    return {one.id: reason for one in state.latches.values() if reason and _is(one, BY_BROKER)}


def _set(state: State, reason: str, by: str) -> list[Action]:
    if any(_is(one, by) for one in state.latches.values()):
        return []
    made = latch(LatchKind.HALT, TradingState.HALTED, reason, by, state.now_ns)
    made = msgspec.structs.replace(made, id=f"{made.id}-{by}")  # a person's own halt may come in the same moment
    state.latches[made.id] = made
    return [SetLatch(made)]


def _is(one: Latch, by: str) -> bool:
    return one.kind is LatchKind.HALT and one.set_by == by
