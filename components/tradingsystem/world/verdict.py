"""Four reckonings of one day side by side: execution's status, the fills in the recording, the broker's books, the wire auditor. Then the last line.

It forgives rounding of averages and nothing else: whatever differs is named with all its numbers, and a day without trades is never called a success unless
real data and the model said so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tradingsystem.execution.inbox import Outcome, Request
from tradingsystem.world.day import Day

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Reckoning:
    """One side's word on the day. ``None`` where that side does not keep the number. Money before fees unless named otherwise."""

    side: str
    positions: dict[str, int]
    executions: int | None
    profit: Decimal | None
    profit_after_fees: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Audited:
    """What the auditor said: its exit status, its findings in words, its summary."""

    status: int
    findings: tuple[str, ...]
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Orders:
    """What became of what we wanted to send. ``refused`` by reason; each order is counted once."""

    sent: int
    filled: int
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def wanted(self) -> int:
        return self.sent + sum(self.refused.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """The day's outcome. ``problems`` is empty exactly when it may be called a success."""

    orders: Orders
    profit: Decimal
    flat: bool
    problems: tuple[str, ...]
    trades: int


def reckonings(day: Day, broker: dict[str, Any], audited: Audited) -> list[Reckoning]:
    """All four; execution's is left out when it never spoke."""
    found = [
        Reckoning("fills", day.positions(), len(day.executions), day.cash() if not day.positions() else None),
        Reckoning(
            "broker",
            {symbol: int(Decimal(str(quantity))) for symbol, quantity in broker["positions"].items()},
            int(broker["fills"]),
            Decimal(broker["realised_profit"]),
            Decimal(broker["day_profit"]),
        ),
    ]
    if (status := day.status) is not None:
        positions = {position.symbol: position.quantity for position in status.positions}
        net = status.day_realised + status.day_unrealised - status.day_fees
        found.insert(0, Reckoning("execution", positions, None, status.day_realised, net))
    if audited.summary:
        flat = bool(audited.summary["flat"])
        told = Decimal(audited.summary["profit_before_fees"]) if flat else None
        found.append(Reckoning("auditor", {} if flat else {"(not flat)": 1}, int(audited.summary["executions"]), told))
    return found


def disagreements(sides: list[Reckoning], rounding: Decimal) -> list[str]:
    """Every number on which two sides differ, with all their words. ``rounding`` is the most that averaging may cost in money."""
    found = []
    if len({tuple(sorted(side.positions.items())) for side in sides}) > 1:
        found.append("positions differ: " + ", ".join(f"{side.side} {_held(side.positions)}" for side in sides))
    counts = {side.side: side.executions for side in sides if side.executions is not None}
    if len(set(counts.values())) > 1:
        found.append("executions differ: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    for what, profits in (
        ("profit before fees", {side.side: side.profit for side in sides if side.profit is not None}),
        ("profit after fees", {side.side: side.profit_after_fees for side in sides if side.profit_after_fees is not None}),
    ):
        if profits and max(profits.values()) - min(profits.values()) > rounding:
            found.append(f"{what} differs: " + ", ".join(f"{name} {value:+.2f}" for name, value in profits.items()))
    return found


def _held(positions: dict[str, int]) -> str:
    return "none" if not positions else " ".join(f"{symbol} {quantity}" for symbol, quantity in sorted(positions.items()))


def orders_of(day: Day) -> Orders:
    """Sent: intents that are durable. Filled: those of them with a fill of their own. Refused: by the gate or the broker, by reason."""
    refused: Counter[str] = Counter(day.status.orders_refused if day.status is not None else {})
    placing = (answer for answer in day.answers if answer.request in {Request.SUBMIT, Request.REPLACE})
    by_broker = {answer.client_order_id for answer in placing if answer.outcome is Outcome.REFUSED}
    sent = [name for name in day.intents if name not in by_broker]
    return Orders(len(sent), sum(name in day.filled_orders for name in sent), dict(refused))


def judge(day: Day, broker: dict[str, Any], audited: Audited, *, may_be_idle: bool) -> Verdict:
    """The outcome. ``may_be_idle``: no trade is an answer too (real data, judged by the model)."""
    sides = reckonings(day, broker, audited)
    problems = disagreements(sides, CENT + CENT * len(day.executions))
    problems += [f"auditor: {finding}" for finding in audited.findings]
    if audited.status not in (0, 1) or (audited.status == 1 and not audited.findings):
        problems.append(f"the auditor ended with status {audited.status} and no finding to show")
    flat = not any(side.positions for side in sides)
    if not flat:
        problems.append("not flat at the end: " + ", ".join(f"{side.side} {_held(side.positions)}" for side in sides if side.positions))
    if not broker.get("consistent", True):
        problems.append("the broker's own books do not add up: cash is not what its executions say")
    status = day.status
    if status is None:
        problems.append("execution has said nothing of itself")
    elif status.unknown_orders:
        problems.append(f"{status.unknown_orders} orders whose outcome is unknown")
    if not day.executions and not may_be_idle:
        problems.append("no trade in the whole day; the funnel and the refusals in the report say where it stopped")
    profit = next((side.profit_after_fees for side in sides if side.profit_after_fees is not None), Decimal(0))
    return Verdict(orders_of(day), profit, flat, tuple(problems), len(day.trades()))


def label(*, generated: bool, edge: bool, probe: bool, day: str = "") -> str:
    """What the numbers are worth, said wherever they are shown."""
    if generated:
        market = "a simulated market with planted edge" if edge else "a simulated market without edge"
    else:
        market = f"recorded ticks of {day} with a simulated broker"
    return f"{market}{', PROBE signals by schedule' if probe else ''}: it says nothing about profit"


def ending(verdict: Verdict, seconds: float, honest: str) -> str:
    """The last line: what happened, in numbers, with the label."""
    minutes, rest = divmod(round(seconds), 60)
    parts = [f"{'Day done' if not verdict.problems else 'Day over'} in {minutes}:{rest:02d}.", f"{_orders(verdict.orders)}."]
    parts.append("Flat." if verdict.flat else "NOT FLAT.")
    if not verdict.problems:
        parts.append("Positions = fills = broker = auditor.")
    parts.append(f"P&L {verdict.profit:+.2f} on {honest}.")
    return " ".join(parts)


def _orders(orders: Orders) -> str:
    refused = sum(orders.refused.values())
    words = [f"{orders.wanted} order{'' if orders.wanted == 1 else 's'}", f"{orders.filled} filled"]
    if unfilled := orders.sent - orders.filled:
        words.append(f"{unfilled} not filled")
    if refused:
        ranked = sorted(orders.refused.items(), key=lambda item: (-item[1], item[0]))
        reasons = [f"{code.replace('-', ' ').replace('_', ' ')}{f' {count}' if len(ranked) > 1 else ''}" for code, count in ranked[:4]]
        more = f", {len(ranked) - 4} more reasons" if len(ranked) > 4 else ""
        words.append(f"{refused} refused ({', '.join(reasons)}{more})")
    return ", ".join(words)
