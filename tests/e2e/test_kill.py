"""kill -9 of any service in the middle of the day: it comes back, the day ends flat, and the auditor finds nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from tests.e2e.running import Running, manifest
from tests.faults import recovery

SPEED = 150
VICTIMS = ("execution", "filter", "ingestion", "recorder", "monitor", "models")
EVERY_NS = 40 * 60 * 10**9  # market time between two kills

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A day that has begun."""
    system = Running.start(manifest("kill", seed=12, speed=SPEED, symbols=120, signals="Probe"), tmp_path_factory.mktemp("kill"))
    try:
        system.wait_for("all ready")
        yield system
    finally:
        system.stop()


def test_every_service_can_be_killed_in_one_day(
    running: Running, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each victim is killed once while the market is open and an order has been filled, the next only after the last one is ready again."""
    running.until(lambda: running.ask("/simulator/summary")["fills"] > 0, 240)
    took: dict[str, float] = {}
    for victim in VICTIMS:
        due = running.ask("/simulator/clock")["market_ns"] + EVERY_NS
        running.until(lambda due=due: running.ask("/simulator/clock")["market_ns"] >= due)
        place, before = len(running.lines), time.monotonic()
        os.kill(running.note["pids"][victim], signal.SIGKILL)
        running.wait_for(f"{victim:<10} ready", after=place)
        took[victim] = time.monotonic() - before
    with capsys.disabled():
        recovery.took(request.node.nodeid, max(took.values()))
        sys.stdout.write("back and ready after kill -9: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()) + "\n")
    assert running.finish(600) == 0, "\n".join(running.lines)
    found = running.audit(3 + SPEED * 0.05 + 60)  # a dead process covers nothing: what it may take is said in the limit
    assert found["flat"]
    assert found["executions"] >= 2
