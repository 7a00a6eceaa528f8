"""The wire auditor: reads what the broker and the trader said to each other, byte for byte, and checks the trader against it.

It shares no code with the product and imports nothing of it, so that a misreading of the protocol on our side cannot hide here. Truth is every order
object the broker showed (answers and stream alike): the largest filled quantity per order, the last status, the legs.

    python tests/audit/audit.py wire.jsonl [--order-notional-max 5000] [--positions-max 5] [--orders-per-minute-max 60] [--cover-seconds 3]

Prints findings and a summary; exit 1 when something is wrong, 2 when the file cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

OPEN_STATUSES = {"new", "accepted", "held", "partially_filled", "pending_replace", "pending_new", "pending_cancel"}


@dataclass
class Audit:
    """What is known so far, and what was found wrong."""

    limits: argparse.Namespace
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    posted: dict[str, tuple[Decimal, str]] = field(default_factory=dict)
    executions: dict[str, str] = field(default_factory=dict)
    uncovered_since: dict[str, int] = field(default_factory=dict)
    reported: set[tuple[str, int]] = field(default_factory=set)
    entry_times: deque[int] = field(default_factory=deque)
    findings: list[str] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0
    unreadable: int = 0
    positions_peak: int = 0
    cover_worst_ns: int = 0
    last_positions: dict[str, Decimal] | None = None

    def find(self, at_ns: int, text: str) -> None:
        self.findings.append(f"at {at_ns}: {text}")

    def see(self, at_ns: int, order: dict[str, Any], parent: str | None = None) -> None:
        """Take an order object over, if it is not older than what is known."""
        known = self.orders.get(order["id"])
        if known is None or Decimal(order["filled_qty"] or 0) >= Decimal(known["filled_qty"] or 0):
            self.orders[order["id"]] = order
        if parent is not None:
            self.parents[order["id"]] = parent
        for leg in order.get("legs") or []:
            self.see(at_ns, leg, order["id"])

    def submitted(self, at_ns: int, body: dict[str, Any], status: int, answer: Any) -> None:
        """A POST of an order with the broker's answer."""
        if status >= 300 or not isinstance(answer, dict):
            self.refused += 1
            return
        self.accepted += 1
        ours = body.get("client_order_id")
        if ours and ours in self.ids and self.ids[ours] != answer["id"]:
            self.find(at_ns, f"client order id {ours} was accepted twice")
        self.ids[ours or answer["id"]] = answer["id"]
        if answer["side"] == "buy":
            self._entry(at_ns, answer, body)
        self.see(at_ns, answer)

    def _entry(self, at_ns: int, order: dict[str, Any], body: dict[str, Any]) -> None:
        price = Decimal(str(body.get("limit_price") or 0))
        notional = price * Decimal(str(body["qty"]))
        if not price > 0:
            self.find(at_ns, f"entry {order['id']} has no limit price")
        if notional > self.limits.order_notional_max:
            self.find(at_ns, f"entry {order['id']} is worth {notional}, at most {self.limits.order_notional_max}")
        if not body.get("stop_loss"):
            self.find(at_ns, f"entry {order['id']} carries no stop")
        self.entry_times.append(at_ns)
        while self.entry_times and self.entry_times[0] <= at_ns - 60 * 10**9:
            self.entry_times.popleft()
        if len(self.entry_times) > self.limits.orders_per_minute_max:
            self.find(at_ns, f"{len(self.entry_times)} entries within a minute")

    def update(self, at_ns: int, data: dict[str, Any]) -> None:
        """One trade update; repeats of an execution must repeat the same numbers."""
        execution = data.get("execution_id")
        if execution and data["event"] in ("fill", "partial_fill"):
            told = f"{data['order']['id']} {data['qty']} {data['price']}"
            if self.executions.setdefault(execution, told) != told:
                self.find(at_ns, f"execution {execution} changed from {self.executions[execution]} to {told}")
        self.see(at_ns, data["order"])
        self.check(at_ns)

    def held(self) -> dict[str, Decimal]:
        """Positions as the sum of what all orders filled."""
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for order in self.orders.values():
            sums[order["symbol"]] += Decimal(order["filled_qty"] or 0) * (1 if order["side"] == "buy" else -1)
        return sums

    def covered(self) -> dict[str, Decimal]:
        """Shares under a stop at the broker: open sell stops, those that wait as legs included once their entry has filled completely."""
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for order in self.orders.values():
            stops = order["side"] == "sell" and order["type"] in ("stop", "stop_limit") and order["status"] in OPEN_STATUSES
            parent = self.orders.get(self.parents.get(order["id"], ""))
            waiting = parent is not None and parent["side"] == "buy" and parent["status"] != "filled"
            if stops and not waiting:
                sums[order["symbol"]] += Decimal(order["qty"]) - Decimal(order["filled_qty"] or 0)
        return sums

    def check(self, at_ns: int) -> None:
        """What must hold at every moment."""
        held, covered = self.held(), self.covered()
        self.positions_peak = max(self.positions_peak, sum(quantity > 0 for quantity in held.values()))
        for symbol, quantity in held.items():
            if quantity < 0:
                self.find(at_ns, f"{symbol}: sold {-quantity} more than was held")
            if quantity <= covered[symbol] or self._leaving(symbol):
                since = self.uncovered_since.pop(symbol, at_ns)
            else:
                since = self.uncovered_since.setdefault(symbol, at_ns)
            self.cover_worst_ns = max(self.cover_worst_ns, at_ns - since)
            if at_ns - since > self.limits.cover_seconds * 10**9 and (symbol, since) not in self.reported:
                self.reported.add((symbol, since))
                self.find(at_ns, f"{symbol}: {quantity - covered[symbol]} shares without a stop for {(at_ns - since) / 1e9:.1f} s")

    def _leaving(self, symbol: str) -> bool:
        """Whether plain sells at work cover the whole holding: it is being closed. A target is no plain sell, it belongs to a group."""
        plain = (o for o in self.orders.values() if o["symbol"] == symbol and o["side"] == "sell" and o["order_class"] in ("", "simple"))
        working = sum(
            Decimal(o["qty"]) - Decimal(o["filled_qty"] or 0) for o in plain if o["status"] in OPEN_STATUSES and "stop" not in o["type"]
        )
        return working >= self.held()[symbol]

    def finish(self) -> None:
        """What must hold at the end."""
        fills = {symbol: quantity for symbol, quantity in self.held().items() if quantity}
        if fills:
            self.find(0, f"not flat at the end: {fills}")
        if self.last_positions is not None and {s: q for s, q in self.last_positions.items() if q} != fills:
            self.find(0, f"the broker's last word on positions is {self.last_positions}, the fills say {fills}")
        if self.positions_peak > self.limits.positions_max:
            self.find(0, f"{self.positions_peak} positions at once, at most {self.limits.positions_max}")

    def profit(self) -> Decimal:
        """Sells less buys at the average prices the broker named, before fees."""
        total = Decimal(0)
        for order in self.orders.values():
            if order["filled_qty"] and order.get("filled_avg_price"):
                total += Decimal(order["filled_qty"]) * Decimal(order["filled_avg_price"]) * (1 if order["side"] == "sell" else -1)
        return total


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The capture, line by line; ``payload`` is bytes."""
    with path.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            row["payload"] = base64.b64decode(row["base64"]) if "base64" in row else row["text"].encode()
            yield row


def read(audit: Audit, path: Path) -> None:
    """Feed the capture to the audit. HTTP answers belong to the oldest unanswered request of their connection."""
    waiting: dict[str, deque[tuple[str, str, bytes]]] = defaultdict(deque)
    for row in rows(path):
        payload = row["payload"]
        if row["kind"] == "http" and row["direction"] == "in":
            head, _, body = payload.partition(b"\r\n\r\n")
            method, target = head.split(b"\r\n")[0].decode().split(" ")[:2]
            waiting[row["connection"]].append((method, target.split("?")[0], body))
        elif row["kind"] == "http" and waiting[row["connection"]]:
            head, _, body = payload.partition(b"\r\n\r\n")
            answer(audit, row["at_ns"], waiting[row["connection"]].popleft(), int(head.split(None, 2)[1]), body)
        elif row["direction"] == "out" and b'"trade_updates"' in payload and b'"event"' in payload:
            try:
                data = json.loads(payload)["data"]
                Decimal(data["order"]["filled_qty"] or 0) < 0  # noqa: B015 - NaN cannot be compared
            except (ValueError, KeyError, ArithmeticError):
                audit.unreadable += 1  # a frame that a fault damaged told the trader nothing; answers and later updates tell the same
            else:
                audit.update(row["at_ns"], data)


def answer(audit: Audit, at_ns: int, request: tuple[str, str, bytes], status: int, body: bytes) -> None:
    """One request with its answer; bodies that are not JSON say nothing about orders."""
    method, target, sent = request
    try:
        told = json.loads(body) if body else None
    except ValueError:
        told = None
    if method == "POST" and target == "/v2/orders":
        audit.submitted(at_ns, json.loads(sent), status, told)
    elif target.startswith("/v2/orders") and status < 300 and told is not None:
        for order in told if isinstance(told, list) else [told]:
            if isinstance(order, dict) and "filled_qty" in order:
                audit.see(at_ns, order)
    elif method == "GET" and target == "/v2/positions" and status == 200:
        audit.last_positions = {position["symbol"]: Decimal(position["qty"]) for position in told or []}
    audit.check(at_ns)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a capture of the wire between a trader and its broker.")
    parser.add_argument("capture", type=Path)
    parser.add_argument("--order-notional-max", type=Decimal, default=Decimal(5000))
    parser.add_argument("--positions-max", type=int, default=5)
    parser.add_argument("--orders-per-minute-max", type=int, default=60)
    parser.add_argument("--cover-seconds", type=Decimal, default=Decimal(3))
    limits = parser.parse_args()
    audit = Audit(limits)
    try:
        read(audit, limits.capture)
    except (OSError, ValueError, KeyError) as error:
        print(f"audit: {limits.capture}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    audit.finish()
    print(*(f"  {finding}" for finding in audit.findings[:50]), sep="\n", end="\n" if audit.findings else "")
    sold = sum(Decimal(o["filled_qty"] or 0) for o in audit.orders.values() if o["side"] == "sell")
    print(
        json.dumps(
            {
                "findings": len(audit.findings),
                "orders_accepted": audit.accepted,
                "orders_refused": audit.refused,
                "executions": len(audit.executions),
                "shares_sold": str(sold),
                "unreadable": audit.unreadable,
                "flat": not any(audit.held().values()),
                "positions_peak": audit.positions_peak,
                "cover_worst_seconds": round(audit.cover_worst_ns / 1e9, 3),
                "profit_before_fees": str(audit.profit().quantize(Decimal("0.01"))),
            }
        )
    )
    return 1 if audit.findings else 0


if __name__ == "__main__":
    sys.exit(main())
