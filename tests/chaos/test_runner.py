"""What `make chaos` concludes from what it saw: an order in flight is recognised, and one finding is enough to fail."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tests.chaos.run import Day, Kill, report
from tests.chaos.wire import Orders


def http(at_ns: int, direction: str, head: str, body: object) -> str:
    """One row of a capture."""
    row = {"monotonic_ns": at_ns, "direction": direction, "kind": "http", "text": f"{head}\r\n\r\n{json.dumps(body)}"}
    return json.dumps(row)


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    """``one`` is posted at 10, called new at 12 and filled as a member of a list at 20; ``two`` never arrives."""
    rows = [
        http(10, "in", "POST /v2/orders HTTP/1.1", {"client_order_id": "one"}),
        http(12, "out", "HTTP/1.1 200 OK", {"client_order_id": "one", "status": "new", "legs": []}),
        http(20, "out", "HTTP/1.1 200 OK", [{"client_order_id": "one", "status": "filled"}]),
    ]
    path = tmp_path / "wire.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return Orders.read(path)


def test_an_order_is_in_flight_from_its_intent_until_the_broker_calls_it_over(orders: Orders) -> None:
    """Before the intent and after the last word nothing flies; an acknowledgement is not the end."""
    heard = {"one": 9}
    assert [orders.in_flight(heard, at_ns, sent=False) for at_ns in (8, 9, 13, 20)] == [0, 1, 1, 0]


def test_an_intent_whose_order_never_arrived_counts_where_it_was_durable(orders: Orders) -> None:
    """Killed between intent and POST is in flight; where the message server died nobody knows whether the intent was durable."""
    assert orders.in_flight({"two": 9}, 15, sent=False) == 1
    assert orders.in_flight({"two": 9}, 15, sent=True) == 0


@pytest.mark.parametrize(("finding", "flying", "status"), [([], 1, 0), (["not flat at the end"], 1, 1), ([], 0, 1)])
def test_one_finding_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str], finding: list[str], flying: int, status: int) -> None:
    """A finding fails the run, and so do kills of which none met an order: they would have proved nothing."""
    asked = argparse.Namespace(seed=1, json=tmp_path / "figures.json")
    assert report(asked, [Day(1_000, [Kill("filter", 1, 2.5, flying)], finding, 2)]) == status
    assert "filter" in capsys.readouterr().out
    assert json.loads(asked.json.read_text())["kills"] == 1
