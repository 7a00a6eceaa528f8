"""Two execution processes of one system forced alive: one writes, whichever of them was frozen, thawed or told to end (invariant 4)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Running, manifest
from tests.faults import recovery

SPEED = 400
FROZEN_SECONDS = 16.0  # longer than the lease's ten
COUNTED = "tradingsystem_intents"
WRITES = ("POST /v2/orders", "PATCH /v2/orders")

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Second:
    """An execution process that a person started by hand beside the supervised one."""

    process: subprocess.Popen[bytes]
    log_file: Path
    port: int

    @classmethod
    def beside(cls, running: Running, folder: Path) -> Second:
        """The same slice and keys, but another machine as far as it can tell: its own state folder and ports."""
        folder.mkdir()
        log_file, port = folder / "log", max(port for each in running.note["ports"].values() for port in each.values()) + 1
        command = [part.decode() for part in Path(f"/proc/{running.note['pids']['execution']}/cmdline").read_bytes().split(b"\0")[:-1]]
        changed = {"--state-folder": str(folder), "--metrics-port": str(port), "--log-file": str(log_file)}
        for flag, value in changed.items():
            command[command.index(flag) + 1] = value
        return cls(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), log_file, port)

    def said(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log_file.read_bytes().splitlines()] if self.log_file.exists() else []

    def phases(self) -> list[str]:
        """Which phases it has been in."""
        return [event["phase"] for event in self.said() if event["event"] == "phase"]

    def intents(self) -> int:
        """How many orders it has meant to send, by its own count."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith(f"{COUNTED}_total{{")))

    def events(self) -> set[str]:
        """What has happened in it."""
        return {event["event"] for event in self.said()}


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A day that has begun and filled orders."""
    system = Running.start(manifest("two", seed=12, speed=SPEED, symbols=120, signals="Probe"), tmp_path_factory.mktemp("two"))
    try:
        system.wait_for("all ready")
        system.until(lambda: system.ask("/simulator/summary")["fills"] > 0, 240)
        yield system
    finally:
        system.stop()


@pytest.fixture
def second(running: Running, tmp_path: Path) -> Iterator[Second]:
    """The other one, ended whatever happens."""
    other = Second.beside(running, tmp_path / "second")
    try:
        yield other
    finally:
        if other.process.poll() is None:
            other.process.kill()
        other.process.wait()


def writes(running: Running, after_ns: int, until_ns: int) -> list[str]:
    """First lines of the order requests that the broker got between two machine times; what is being written just now is not looked at."""
    rows = map(json.loads, (running.run_folder / "wire.jsonl").read_text().rpartition("\n")[0].splitlines())
    sent = (row for row in rows if row["direction"] == "in" and after_ns < row["monotonic_ns"] <= until_ns)
    return [row["text"].splitlines()[0] for row in sent if row.get("text", "").startswith(WRITES)]


def test_two_forced_alive_write_one_after_the_other(
    running: Running, second: Second, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second stands by; it takes over from a frozen first, which sends nothing when it thaws, ends, and stands by in its turn."""
    running.until(lambda: "lease_held_by_another" in second.events())
    assert second.phases() in (["starting"], [])
    first, place = running.note["pids"]["execution"], len(running.lines)
    frozen_ns = time.monotonic_ns()
    os.kill(first, signal.SIGSTOP)
    pause = threading.Event()
    running.until(lambda: "ready" in second.phases(), 60)
    took_over = (time.monotonic_ns() - frozen_ns) / 1e9
    pause.wait(max(0.0, FROZEN_SECONDS - took_over))
    thawed_ns = time.monotonic_ns()
    os.kill(first, signal.SIGCONT)
    running.wait_for("execution  ended", after=place)
    place = running.wait_for("execution  started", after=place)
    ended = (time.monotonic_ns() - thawed_ns) / 1e9
    running.until(lambda: running.note["pids"]["execution"] != first)
    running.until(lambda: writes(running, frozen_ns, time.monotonic_ns()), 60)  # on the wire: what is meant is not sent yet
    assert second.phases()[-1] == "ready"
    assert not any("execution  ready" in line for line in running.lines[place:]), "the replaced one became ready beside the other"

    handed_ns, meant = time.monotonic_ns(), second.intents()
    second.process.send_signal(signal.SIGTERM)
    running.wait_for("execution  ready", after=place)
    handed_over = (time.monotonic_ns() - handed_ns) / 1e9
    assert second.process.wait(20) == 0
    with capsys.disabled():
        recovery.took(request.node.nodeid, took_over)
        sys.stdout.write(f"thawed, the first ended after {ended:.1f} s; handed back in {handed_over:.1f} s\n")
    assert running.finish(300) == 0, "\n".join(running.lines)
    sent = writes(running, frozen_ns, handed_ns)
    assert 0 < len(sent) <= meant, f"the broker got {sent}, the second meant to send {meant}: the rest came from the first"
    found = running.audit(3 + SPEED * (0.05 + FROZEN_SECONDS + 5))  # nobody covers while nobody may write
    assert found["flat"]
    assert found["executions"] >= 2
