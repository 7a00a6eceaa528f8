"""A whole simulated day through real processes: it trades, ends flat, the wire auditor agrees, and it can be made again byte for byte."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import PROGRAM, Running, manifest

SPEED = 300
COVER_SECONDS = 3 + SPEED * 0.05

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A finished day with probes as signals."""
    document = manifest("day", seed=11, speed=SPEED, symbols=120, signals="Probe")
    running = Running.start(document, tmp_path_factory.mktemp("day"))
    try:
        assert running.finish() == 0, "\n".join(running.lines)
        yield running
    finally:
        running.stop()


def test_the_day_trades_and_ends_flat_by_the_auditor_s_word(day: Running) -> None:
    """Orders were filled, nothing was sold twice or left uncovered, and nothing is held."""
    found = day.audit(COVER_SECONDS)
    assert found["executions"] >= 2, found
    assert found["flat"]


def test_no_process_is_left(day: Running) -> None:
    """What was started has ended with it: no pid of the run is alive."""
    output = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(day.run_folder) not in output


def replay(folder: Path, *options: str) -> str:
    """The hash that a replay prints; fails when anything differs."""
    result = subprocess.run([str(PROGRAM), "replay", str(folder), *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.split()[-1]


def test_replayed_in_one_process_and_in_several_it_is_the_same_day(day: Running) -> None:
    """Every cut, signal and action comes out again with the same bytes, whatever pauses are put in between."""
    once = replay(day.run_folder)
    assert replay(day.run_folder, "--processes", "--times", "2", "--delays", "5") == once
