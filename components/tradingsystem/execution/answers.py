"""What a REST answer means for the order it was about. Receipts move nothing that events have moved; no answer is UNKNOWN, never a refusal.

An UNKNOWN entry is asked for until the broker has said often enough, late enough, that it does not know it; it is never posted again. An UNKNOWN
exit that the broker does not know is posted again under its own id.
"""

from __future__ import annotations

from tradingsystem.domain.orders import OrderRefusal, OrderState
from tradingsystem.domain.time import NS_PER_MINUTE
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution.actions import Action, Alert, Lookup, Replace, Resubmit, SetLatch
from tradingsystem.execution.exposure import exposure_for, limits_of, market_for, system_state
from tradingsystem.execution.inbox import AnswerReceived, Outcome
from tradingsystem.execution.latches import latch
from tradingsystem.execution.orders import Move, OrderRecord, Role
from tradingsystem.execution.state import State
from tradingsystem.risk import gate

NEVER_ARRIVED_ASKS = 3
NEVER_ARRIVED_SECONDS = 30.0
REPOST_SECONDS = 2.0
ASK_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
SILENCE_SECONDS = 2.0  # of an order that should have been heard of
DUPLICATE = "duplicate-id"
REFUSALS_MAX = 20  # of one minute
REASON_MAX = 400

_FRESH = frozenset({OrderState.INTENDED, OrderState.SUBMITTED, OrderState.UNKNOWN})


def on_write(state: State, record: OrderRecord, answer: AnswerReceived) -> list[Action]:
    """The end of a submit or replace that the book has not learned an order from."""
    if answer.outcome is Outcome.UNKNOWN or (answer.outcome is Outcome.REFUSED and answer.code == DUPLICATE):
        if record.advance(OrderState.UNKNOWN, state.now_ns) is not Move.MOVED:
            return []
        return ask(state, record)
    if answer.outcome is Outcome.REFUSED or (answer.outcome is Outcome.NOT_SENT and record.state is OrderState.INTENDED):
        if record.state not in _FRESH:
            state.book.illegal += 1
            return [Alert("refused-but-alive", f"{record.key} is {record.state.value}, the broker refused it: {answer.code}")]
        record.refusal = answer.code or answer.outcome.value
        record.advance(OrderState.REJECTED, state.now_ns)
        state.statistics.refuse(record.refusal)
        told = Alert("order-refused", f"{record.symbol} {record.key}: {answer.code}: {answer.reason}")
        return [told, *_many(state, told.reason)] if answer.outcome is Outcome.REFUSED else [told]
    return []


def _many(state: State, newest: str) -> list[Action]:
    """A broker that refuses order after order knows something that we do not: a person finds out what."""
    state.refused_ns = [at_ns for at_ns in state.refused_ns if state.now_ns - at_ns < NS_PER_MINUTE] + [state.now_ns]
    if len(state.refused_ns) < REFUSALS_MAX or any(one.kind is LatchKind.REFUSALS for one in state.latches.values()):
        return []
    reason = f"the broker has refused {len(state.refused_ns)} orders within a minute, the newest: {newest}"[:REASON_MAX]
    made = latch(LatchKind.REFUSALS, TradingState.HALTED, reason, "execution", state.now_ns)
    state.latches[made.id] = made
    return [SetLatch(made)]


def on_cancel(state: State, record: OrderRecord, answer: AnswerReceived) -> list[Action]:
    """A cancel that was not simply taken: ask where the order stands."""
    return [] if answer.outcome in {Outcome.DONE, Outcome.NOT_SENT} or not record.open else ask(state, record)


def on_not_found(state: State, record: OrderRecord) -> list[Action]:
    """The broker does not know the order."""
    if not record.open:
        return []
    if record.state not in _FRESH:
        return [Alert("order-vanished", f"{record.key} is {record.state.value} here, the broker does not know it")]
    record.advance(OrderState.UNKNOWN, state.now_ns)
    record.asks += 1
    age_ns = state.now_ns - record.created_at_ns
    if record.role is Role.ENTRY or record.intent is None:
        if record.asks >= NEVER_ARRIVED_ASKS and age_ns >= state.wait_ns(NEVER_ARRIVED_SECONDS):
            record.refusal = "never-arrived"
            record.advance(OrderState.REJECTED, state.now_ns)
            return [Alert("never-arrived", f"{record.key}: the broker has not known it {record.asks} times")]
        return []
    return _post_again(state, record) if age_ns >= state.wait_ns(REPOST_SECONDS) else []


def _post_again(state: State, record: OrderRecord) -> list[Action]:
    """The same exit under the same id: approved anew, since shares may have gone in between."""
    intent = record.intent
    assert intent is not None
    exposure = exposure_for(state, intent, record.group)
    verdict = gate.check(
        intent, exposure, limits_of(state), market_for(state, state.marks.get(record.symbol)), system_state(state, record.symbol)
    )
    if isinstance(verdict, OrderRefusal):
        record.refusal = "superseded"
        record.advance(OrderState.REJECTED, state.now_ns)
        return []
    return [Resubmit(verdict)] if intent.replaces_order_id is None else [Replace(intent.replaces_order_id, verdict, journaled=True)]


def ask(state: State, record: OrderRecord) -> list[Action]:
    """Ask the broker for an order now."""
    record.asked_at_ns = state.now_ns
    return [Lookup(record.key, record.order_id)]


def due(state: State) -> list[Action]:
    """Orders that must be asked for: UNKNOWN ones with backoff, silent ones, those with fewer executions than the broker has told, unheeded cancels."""
    actions: list[Action] = []
    for record in state.book.unfinished():
        if record.role is Role.EXTERNAL or not _overdue(state, record):
            continue
        actions += ask(state, record)
        if state.book.orphaned(record) and record.replaced_by is not None:
            actions.append(Lookup("", record.replaced_by))
    return actions


def _overdue(state: State, record: OrderRecord) -> bool:
    if not record.open and not record.uncounted and record.state is not OrderState.REPLACED:
        return False
    silent_ns = state.now_ns - max(record.changed_at_ns, record.asked_at_ns)
    if record.state is OrderState.UNKNOWN:
        patience = min(record.asks, len(ASK_SECONDS) - 1) if record.role is Role.ENTRY else 0  # shares may stand bare behind an exit
        return silent_ns >= state.wait_ns(ASK_SECONDS[patience])
    if record.uncounted or state.book.orphaned(record):
        return silent_ns >= state.wait_ns(SILENCE_SECONDS / 2)
    if record.state in {OrderState.SUBMITTED, OrderState.PENDING_REPLACE, OrderState.PENDING_CANCEL}:
        return silent_ns >= state.wait_ns(SILENCE_SECONDS)
    asked_to_cancel = record.open and record.cancel_asked_ns > 0
    return asked_to_cancel and state.now_ns - max(record.cancel_asked_ns, record.asked_at_ns) >= state.wait_ns(SILENCE_SECONDS)
