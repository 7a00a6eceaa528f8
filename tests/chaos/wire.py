"""What became of each order, by the capture of the broker's wire alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TERMINAL = {"filled", "canceled", "expired", "rejected"}


@dataclass
class Orders:
    """By client order id, in machine time: when it was posted, and when the broker first called it over."""

    posted: dict[str, int] = field(default_factory=dict)
    over: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, capture: Path) -> Orders:
        """Of a whole capture; bodies that are not JSON say nothing about orders."""
        found = cls()
        with capture.open("rb") as lines:
            for line in lines:
                row = json.loads(line)
                text, at_ns = row.get("text", ""), row["monotonic_ns"]
                body = _json(text.partition("\r\n\r\n")[2] if row["kind"] == "http" else text)
                if row["direction"] == "in" and text.startswith("POST /v2/orders ") and isinstance(body, dict):
                    found.posted.setdefault(str(body.get("client_order_id")), at_ns)
                elif row["direction"] == "out":
                    for order in _orders(body):
                        if order["status"] in TERMINAL:
                            found.over.setdefault(order["client_order_id"], at_ns)
        return found

    def in_flight(self, entries: dict[str, int], at_ns: int, *, sent: bool) -> int:
        """How many of ``entries`` (id -> when its intent was heard) had been decided and were not over; ``sent``: only those the broker ever got."""
        decided = (key for key, heard_ns in entries.items() if heard_ns <= at_ns < self.over.get(key, at_ns + 1))
        return sum(1 for key in decided if key in self.posted or not sent)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _orders(node: Any) -> Iterator[dict[str, Any]]:
    """Every order object in a body, however deep."""
    if isinstance(node, list):
        for member in node:
            yield from _orders(member)
    elif isinstance(node, dict):
        if isinstance(node.get("client_order_id"), str) and isinstance(node.get("status"), str):
            yield node
        for member in node.values():
            if isinstance(member, dict | list):
                yield from _orders(member)
