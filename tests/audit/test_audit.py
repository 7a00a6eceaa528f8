"""The auditor finds each kind of wrong in captures made by hand, and nothing in a right one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AUDITOR = Path(__file__).with_name("audit.py")
SECOND = 10**9

Wire = list[dict[str, Any]]


def order(name: str, side: str, kind: str, status: str, filled: int = 0, **more: Any) -> dict[str, Any]:
    """An order object as the broker writes it."""
    price = "10.00" if filled else None
    plain = {"id": name, "client_order_id": f"c-{name}", "symbol": "ABC", "side": side, "type": kind, "status": status, "qty": "10"}
    return {**plain, "filled_qty": str(filled), "filled_avg_price": price, "order_class": "bracket", "legs": None, **more}


def posted(at: float, sent: dict[str, Any], told: dict[str, Any], status: int = 200) -> Wire:
    """A POST and its answer."""
    request = "POST /v2/orders HTTP/1.1\r\nhost: x\r\n\r\n" + json.dumps(sent)
    answer = f"HTTP/1.1 {status} OK\r\n\r\n" + json.dumps(told)
    return [
        {"at_ns": int(at * SECOND), "connection": "h#1", "direction": "in", "kind": "http", "text": request},
        {"at_ns": int(at * SECOND), "connection": "h#1", "direction": "out", "kind": "http", "text": answer},
    ]


def update(at: float, event: str, told: dict[str, Any], execution: str | None = None) -> Wire:
    """A frame of the update stream."""
    data = {"event": event, "execution_id": execution, "qty": told["filled_qty"], "price": told["filled_avg_price"], "order": told}
    text = json.dumps({"stream": "trade_updates", "data": data})
    return [{"at_ns": int(at * SECOND), "connection": "s#1", "direction": "out", "kind": "binary", "text": text}]


SENT = {"client_order_id": "c-1", "symbol": "ABC", "side": "buy", "qty": "10", "limit_price": "10.00", "stop_loss": {"stop_price": "9.95"}}
LEGS = [order("2", "sell", "limit", "held"), order("3", "sell", "stop", "held")]


def right() -> Wire:
    """Bought under a bracket, sold at the target."""
    return [
        *posted(1, SENT, order("1", "buy", "limit", "new", legs=LEGS)),
        *update(2, "fill", order("1", "buy", "limit", "filled", 10, legs=LEGS), "e1"),
        *update(9, "fill", order("2", "sell", "limit", "filled", 10), "e2"),
    ]


def run(path: Path, wire: Wire, *options: str) -> subprocess.CompletedProcess[str]:
    """The auditor as a program of its own."""
    path.write_text("".join(json.dumps(row) + "\n" for row in wire))
    return subprocess.run([sys.executable, str(AUDITOR), str(path), *options], capture_output=True, text=True, check=False)


def test_a_right_day_has_no_findings(tmp_path: Path) -> None:
    """Otherwise every finding would be noise."""
    result = run(tmp_path / "wire", right())
    assert result.returncode == 0, result.stdout
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["flat"]
    assert summary["executions"] == 2


def accepted_twice() -> Wire:
    return [*right(), *posted(10, SENT, order("4", "buy", "limit", "new"))]


def oversold() -> Wire:
    return [*right(), *update(10, "fill", order("5", "sell", "market", "filled", 10, order_class=""), "e3")]


def left_open() -> Wire:
    return right()[:3]


def too_large() -> Wire:
    return [*posted(1, {**SENT, "qty": "1000"}, order("1", "buy", "limit", "rejected"))]


def without_stop() -> Wire:
    return [*posted(1, {key: value for key, value in SENT.items() if key != "stop_loss"}, order("1", "buy", "limit", "rejected"))]


def uncovered() -> Wire:
    partly = order("1", "buy", "limit", "canceled", 4, legs=[{**leg, "status": "canceled"} for leg in LEGS])
    sale = order("6", "sell", "market", "filled", 4, order_class="")
    return [*right()[:2], *update(2, "canceled", partly), *update(8, "new", partly), *update(9, "fill", sale, "e4")]


def changed_execution() -> Wire:
    return [*right(), *update(10, "fill", order("2", "sell", "limit", "filled", 9), "e2")]


def broker_disagrees() -> Wire:
    request = "GET /v2/positions HTTP/1.1\r\n\r\n"
    answer = "HTTP/1.1 200 OK\r\n\r\n" + json.dumps([{"symbol": "XYZ", "qty": "5"}])
    ask = {"at_ns": 11 * SECOND, "connection": "h#1", "direction": "in", "kind": "http", "text": request}
    return [*right(), ask, {**ask, "direction": "out", "text": answer}]


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (accepted_twice, "accepted twice"),
        (oversold, "more than was held"),
        (left_open, "not flat"),
        (too_large, "at most 5000"),
        (without_stop, "no stop"),
        (uncovered, "without a stop"),
        (changed_execution, "execution e2 changed"),
        (broker_disagrees, "last word on positions"),
    ],
)
def test_each_wrong_is_found(tmp_path: Path, wire: Callable[[], Wire], text: str) -> None:
    """One capture per kind of wrong; the finding names it and the exit code is 1."""
    result = run(tmp_path / "wire", wire())
    assert result.returncode == 1
    assert text in result.stdout


def test_an_unreadable_capture_is_no_success(tmp_path: Path) -> None:
    """A file that is missing or no capture exits with 2."""
    missing = subprocess.run([sys.executable, str(AUDITOR), str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    (tmp_path / "garbage").write_text("garbage\n")
    garbage = subprocess.run([sys.executable, str(AUDITOR), str(tmp_path / "garbage")], capture_output=True, text=True, check=False)
    assert garbage.returncode == 2
