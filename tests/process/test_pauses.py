"""Who falls again and again waits longer before each start; who had worked in between is back at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tradingsystem.process.supervisor import PAUSES_SECONDS, STEADY_SECONDS, WORKED_SECONDS, _Child
from tradingsystem.spec import Placement, load_file, plan

WORKLOAD = plan(
    load_file(Path(__file__).parents[2] / "manifests" / "samples" / "simulation.yaml"), Placement.PROCESSES, build="b"
).workloads[0]


def lives(child: _Child, at: float, *, ready_after: float | None, lasts: float) -> float:
    """One life; the pause after it."""
    child.started, child.ready = at, asyncio.Event()
    if ready_after is not None:
        child.ready.set()
        child.ready_at = at + ready_after
    return child.fell(at + lasts)


def test_who_never_works_waits_longer_each_time() -> None:
    """Falling at once, ready or not."""
    child = _Child(WORKLOAD)
    pauses = [lives(child, 10.0 * number, ready_after=1.0 if number % 2 else None, lasts=1.5) for number in range(8)]
    assert pauses == [*PAUSES_SECONDS, PAUSES_SECONDS[-1], PAUSES_SECONDS[-1]]


def test_who_worked_in_between_is_back_at_once() -> None:
    """However often it is killed."""
    child = _Child(WORKLOAD)
    assert [lives(child, 10.0 * number, ready_after=1.0, lasts=1.1 + WORKED_SECONDS) for number in range(8)] == [0.0] * 8


def test_a_long_life_that_never_was_ready_begins_anew() -> None:
    """It waited for something for half a minute: that is no fall in a row."""
    child = _Child(WORKLOAD)
    lives(child, 0.0, ready_after=None, lasts=1.0)
    assert lives(child, 5.0, ready_after=None, lasts=1.0) > 0
    assert lives(child, 10.0, ready_after=None, lasts=STEADY_SECONDS + 1) == 0
