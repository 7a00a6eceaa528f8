"""When the watcher acts, and on which orders: unfilled entries of ours and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain.control import Beat
from tradingsystem.domain.orders import TERMINAL, BrokerOrder, OrderClass, OrderState, OrderType, Side
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.messages.identifiers import entry_id, exit_id
from tradingsystem.watcher.watching import Watch, half_filled_entries, unfilled_entries

OURS = entry_id("desk", "signal", "AAA", 1)
BEGAN_NS = 50 * NS_PER_SECOND


def order(**changed: Any) -> BrokerOrder:
    """An entry of ours that rests."""
    values = {
        "order_id": "1",
        "client_order_id": OURS,
        "symbol": "AAA",
        "side": Side.BUY,
        "quantity": 40,
        "filled_quantity": 0,
        "filled_average_price": None,
        "state": OrderState.ACCEPTED,
        "raw_status": "new",
        "order_class": OrderClass.BRACKET,
        "order_type": OrderType.LIMIT,
        "limit_price": Decimal(100),
    }
    return BrokerOrder(**(values | changed))


def beat(phase: str) -> Beat:
    return Beat(
        service="execution",
        instance="1",
        build="1",
        schema=1,
        boot_hash="b",
        live_generation=0,
        phase=phase,
        applied_ns=0,
        detail={},
    )


def after(seconds: float) -> int:
    return BEGAN_NS + int(seconds * NS_PER_SECOND)


def test_silence_counts_from_the_last_beat() -> None:
    """Nothing before the limit, and nothing once it is heard again."""
    watch = Watch(5, BEGAN_NS)
    assert not watch.why(after(4.9), None)
    assert "silent for 5.0 s" in watch.why(after(5), None)
    watch.hear(beat("ready"), after(6))
    assert not watch.why(after(10.9), None)
    assert watch.why(after(11), None)


@pytest.mark.parametrize("phase", ["starting", "stopped", "failed"])
def test_only_a_working_execution_counts_as_heard(phase: str) -> None:
    """One that starts over and over, or says that it has failed, looks after nothing."""
    watch = Watch(5, BEGAN_NS)
    watch.hear(beat(phase), after(4))
    assert watch.why(after(5), None)


def test_a_halt_file_needs_less_silence() -> None:
    """A living execution acts on the file itself; a dead one is known after four missed beats, whatever stands in the file."""
    watch = Watch(5, BEGAN_NS)
    assert not watch.why(after(0.9), "fire")
    assert "fire" in watch.why(after(1), "fire")
    assert watch.why(after(1), "")


@pytest.mark.parametrize(
    "changed",
    [
        {"client_order_id": exit_id("desk", "AAA", "epoch", "close", 1)},
        {"client_order_id": entry_id("another", "signal", "AAA", 1)},
        {"client_order_id": "8a1e2b7c-0000-4000-8000-000000000000"},
        {"client_order_id": f"{OURS}-copy"},
        {"side": Side.SELL},
        {"parent_order_id": "9"},
        {"filled_quantity": 1},
        *({"state": state} for state in sorted(TERMINAL, key=str)),
    ],
)
def test_what_is_never_touched(changed: dict[str, Any]) -> None:
    """Exits, legs, orders of others, what has filled or ended: cancelling those would leave shares naked or reach into somebody else's."""
    assert unfilled_entries("desk", [order(**changed)]) == []


@given(st.sampled_from(OrderState), st.integers(0, 40))
def test_every_open_entry_is_one_or_the_other(state: OrderState, filled: int) -> None:
    """Whatever its state, an open entry of ours is either cancelled or told as half filled; UNKNOWN is open."""
    made = order(state=state, filled_quantity=filled)
    found = (unfilled_entries("desk", [made]), half_filled_entries("desk", [made]))
    assert [len(one) for one in found] == ([0, 0] if state.terminal else [0, 1] if filled else [1, 0])
