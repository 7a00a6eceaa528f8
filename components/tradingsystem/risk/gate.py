"""The one place where an order becomes allowed. Nothing else builds ``Approved``, and the broker takes nothing else.

An approval is bound to the exact order by its bytes, which the journal keeps, and to a moment by an expiry: who changes the order or waits too long has no
approval any more.
The gate refuses on the first rule that speaks, and it treats a rule that cannot be evaluated as a refusal, never as a pass.
"""

from __future__ import annotations

from decimal import InvalidOperation

from tradingsystem.domain.orders import Approved, OrderIntent, OrderRefusal, Purpose
from tradingsystem.messages.codec import encode
from tradingsystem.risk.question import APPROVAL_NS, SCALED_TICK_NS, Exposure, Limits, Market, Question, SystemState
from tradingsystem.risk.rules import BOTH_RULES, ENTRY_RULES, EXIT_RULES, Rule

EXPIRED = "the approval has expired"


def check(intent: OrderIntent, exposure: Exposure, limits: Limits, market: Market, state: SystemState) -> Approved | OrderRefusal:
    """Ask every rule that applies: all of them for an entry, the reduced gate for protection and exits."""
    question = Question(intent, exposure, limits, market, state)
    for rule in rules_for(intent.purpose):
        if (reason := _ask(rule, question)) is not None:
            return OrderRefusal(intent.client_order_id, intent.symbol, rule.code, reason, market.now_ns)
    expires_ns = market.now_ns + limits.age_ns(APPROVAL_NS, SCALED_TICK_NS)
    return Approved(intent=intent, record=encode(intent), approved_at_ns=market.now_ns, expires_at_ns=expires_ns)


def rules_for(purpose: Purpose) -> tuple[Rule, ...]:
    """The rules an order of that purpose must pass, in the order in which they are asked."""
    return BOTH_RULES + (ENTRY_RULES if purpose is Purpose.ENTRY else EXIT_RULES)


def invalid(approved: Approved, now_ns: int) -> str | None:
    """Why an approval does not hold for its order now, or None; asked again right before the order is sent."""
    if approved.record != encode(approved.intent):
        return "the order is not the one that was approved"
    return EXPIRED if expired(approved, now_ns) else None


def expired(approved: Approved, now_ns: int) -> bool:
    """Whether the moment to which an approval was bound is over; the part of ``invalid`` that only time changes."""
    return now_ns > approved.expires_at_ns


def rules_table() -> str:
    """The rules as a Markdown table, for the documentation."""
    rows = (
        [(rule, "all orders") for rule in BOTH_RULES]
        + [(rule, "entries") for rule in ENTRY_RULES]
        + [(rule, "exits, protection") for rule in EXIT_RULES]
    )
    lines = ["| Code | Applies to | Holds |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{rule.code}` | {whom} | {rule.holds} |" for rule, whom in rows]) + "\n"


def _ask(rule: Rule, question: Question) -> str | None:
    try:
        return rule.refuses(question)
    except InvalidOperation as error:  # a Decimal that is NaN cannot be ordered
        return f"cannot be compared: {error}"
