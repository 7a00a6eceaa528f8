"""Nineteen ways in which execution could be wrong, each as one function that is put in the place of a right one. Applied only in a process of its own.

Exists to try the invariants: a world that finds none of these proves nothing by finding nothing. Each names the invariant that must speak.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from tradingsystem.domain.errors import OutcomeUnknown
from tradingsystem.domain.orders import Side
from tradingsystem.domain.trading import TradingState
from tradingsystem.execution import answers, courier, flatten, protection, service, state, step
from tradingsystem.execution.inbox import Outcome
from tradingsystem.execution.orders import OrderRecord
from tradingsystem.execution.positions import Position
from tradingsystem.messages.codec import encode
from tradingsystem.risk import gate, rules
from tradingsystem.world.trial import invariants


def intent_is_not_kept() -> None:
    """An order is sent without its intent in the journal."""

    async def intend(*_: Any) -> None:
        return None

    courier.Courier._intend = intend  # type: ignore[method-assign]


def approval_does_not_expire() -> None:
    """The approval is not asked again right before the order is sent."""
    courier.gate = SimpleNamespace(invalid=lambda *_: None, expired=lambda *_: False)  # type: ignore[assignment]


def unknown_is_sent_again() -> None:
    """A write without an answer is sent a second time, entries too."""
    right = courier.Courier.write

    async def write(self: Any, request: Any, approved: Any, send: Callable[[Any], Any], **more: Any) -> None:
        async def twice(one: Any) -> Any:
            try:
                return await send(one)
            except OutcomeUnknown:
                return await send(one)

        await right(self, request, approved, twice, **more)

    courier.Courier.write = write  # type: ignore[method-assign]


def unknown_is_refused() -> None:
    """No answer is taken for a refusal."""
    right = answers.on_write

    def on_write(now: Any, record: Any, answer: Any) -> Any:
        changed = msgspec.structs.replace(answer, outcome=Outcome.REFUSED) if answer.outcome is Outcome.UNKNOWN else answer
        return right(now, record, changed)

    answers.on_write = on_write


def halt_is_told_too_early() -> None:
    """A person hears of a latch before a restart would know of it."""

    async def answer(_: Any, reply: Callable[[bytes], None], told: Any, __: Any) -> None:
        reply(encode(told))

    service.ExecutionService._answer = answer  # type: ignore[method-assign]


def halt_is_not_heeded() -> None:
    """Whatever is latched, trading is Active."""
    state.state_of = lambda *_: (TradingState.ACTIVE, "")  # type: ignore[assignment]


def sale_counts_a_share_less() -> None:
    """Every sale of several shares is booked one share short, so that what is gone is sold again."""
    right = Position.apply

    def apply(self: Any, fill: Any, fee: Any) -> Any:
        less = fill.side is Side.SELL and fill.quantity > 1
        return right(self, msgspec.structs.replace(fill, quantity=fill.quantity - 1) if less else fill, fee)

    Position.apply = apply  # type: ignore[method-assign]


def account_is_not_compared() -> None:
    """Entries leave while the update stream is away and the account has not been compared."""
    gate.ENTRY_RULES = tuple(rule for rule in rules.ENTRY_RULES if rule.code not in {"not-connected", "not-reconciled"})


def half_filled_is_not_covered() -> None:
    """Only brackets protect: what an entry that ended half-filled has bought gets nothing."""
    protection.due = lambda *_: []  # type: ignore[assignment]


def close_is_not_flattened() -> None:
    """The close comes and goes."""
    flatten.schedule = lambda *_: []  # type: ignore[assignment]


def fill_counts_twice() -> None:
    """Shares that a total has counted are counted again when their execution comes late."""

    def execute(self: OrderRecord, execution_id: str, quantity: int, price: Any, at_ns: int) -> Any:
        told, self.told_filled = self.told_filled, self.told_filled + quantity
        try:
            return right(self, execution_id, quantity, price, at_ns)
        finally:
            self.told_filled = told

    right = OrderRecord.execute
    OrderRecord.execute = execute  # type: ignore[method-assign]


def positions_are_not_counted() -> None:
    """Any number of positions at once."""
    gate.ENTRY_RULES = tuple(rule for rule in rules.ENTRY_RULES if rule.code != "positions-open")


def what_is_held_is_not_counted() -> None:
    """The gross exposure is that of the order alone."""
    gate.ENTRY_RULES = tuple(rule for rule in rules.ENTRY_RULES if rule.code != "gross-exposure")


def skew_is_not_heeded() -> None:
    """Entries leave although the broker's answers prove that its clock is another."""
    gate.ENTRY_RULES = tuple(rule for rule in rules.ENTRY_RULES if rule.code != "clock-skewed")


def skew_is_never_over() -> None:
    """What was once proven of the clocks is believed for ever."""
    right = step._snapshot

    def snapshot(now: Any, entry: Any) -> Any:
        known = now.clock_skew_ns
        actions = right(now, entry)
        now.clock_skew_ns = now.clock_skew_ns or known
        return actions

    step._snapshot = snapshot


def silence_is_not_heeded() -> None:
    """Nobody asks how long ago ingestion or the operator was heard."""
    service.Ages.changes = lambda *_: []  # type: ignore[method-assign]


def silence_is_never_over() -> None:
    """Who was silent once is not heard again."""
    right = service.Ages.changes

    def changes(self: Any, now_ns: int) -> Any:
        return [judged for judged in right(self, now_ns) if judged.state is not TradingState.ACTIVE]

    service.Ages.changes = changes  # type: ignore[method-assign]


def volume_is_not_counted() -> None:
    """Any part of what trades of a symbol in a day, known or not."""
    gate.ENTRY_RULES = tuple(rule for rule in rules.ENTRY_RULES if rule.code not in {"volume-unknown", "daily-volume"})


def unknown_volume_is_enough() -> None:
    """Of a symbol whose volume nobody knows any number of shares is bought."""
    right = rules.daily_volume

    def daily_volume(question: Any) -> Any:
        return None if question.market.average_volume is None else right(question)

    kept = (rule for rule in rules.ENTRY_RULES if rule.code != "volume-unknown")
    gate.ENTRY_RULES = tuple(rule._replace(refuses=daily_volume) if rule.code == "daily-volume" else rule for rule in kept)


MUTANTS: dict[str, tuple[str, Callable[[], None]]] = {
    "intent-is-not-kept": (invariants.DURABLE, intent_is_not_kept),
    "approval-does-not-expire": (invariants.APPROVED, approval_does_not_expire),
    "unknown-is-sent-again": (invariants.ONCE, unknown_is_sent_again),
    "unknown-is-refused": (invariants.NEVER_FLAT, unknown_is_refused),
    "halt-is-told-too-early": (invariants.LATCHED, halt_is_told_too_early),
    "halt-is-not-heeded": (invariants.HALTED, halt_is_not_heeded),
    "sale-counts-a-share-less": (invariants.NEVER_SHORT, sale_counts_a_share_less),
    "account-is-not-compared": (invariants.FRESH, account_is_not_compared),
    "skew-is-not-heeded": (invariants.AGREED, skew_is_not_heeded),
    "skew-is-never-over": (invariants.AGREED, skew_is_never_over),
    "silence-is-not-heeded": (invariants.HEARD, silence_is_not_heeded),
    "silence-is-never-over": (invariants.HEARD, silence_is_never_over),
    "half-filled-is-not-covered": (invariants.COVERED, half_filled_is_not_covered),
    "close-is-not-flattened": (invariants.FLAT, close_is_not_flattened),
    "fill-counts-twice": (invariants.EQUAL, fill_counts_twice),
    "positions-are-not-counted": (invariants.LIMITS, positions_are_not_counted),
    "what-is-held-is-not-counted": (invariants.LIMITS, what_is_held_is_not_counted),
    "volume-is-not-counted": (invariants.LIMITS, volume_is_not_counted),
    "unknown-volume-is-enough": (invariants.LIMITS, unknown_volume_is_enough),
}
"""Name to the invariant that must find it, and how it is put in place."""

FOUND_LATE: dict[str, int] = {"unknown-is-refused": 53, "halt-is-told-too-early": 34, "account-is-not-compared": 9}
"""The day by which a mutant was found last, where that was after many others."""
