"""What venues do wrong: counted by reason and dropped, and nobody dies of it. And Ctrl-C with a position: protected at the broker, nobody left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.commands import assert_no_traceback, command, left_of, refused
from tests.e2e.running import AUDITOR, Running, manifest

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(300)]

SPEED = 150
TRADE = '[{"ev":"T","sym":"SPY","x":4,"i":"1","z":1,"p":%s,"s":100,"t":1772461800000}]'


class Disturbed:
    """A running day whose venues can be told to misbehave."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.base: int = running.document["spec"]["telemetry"]["metricsPort"]

    def disturb(self, **scenario: Any) -> None:
        """Replace what goes wrong."""
        url = f"http://127.0.0.1:{self.base + 20}/simulator/scenario"
        request = urllib.request.Request(url, json.dumps(scenario).encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def refused_rows(self) -> dict[str, float]:
        """Ingestion's counts of what it dropped, by reason."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.base + 1}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found: dict[str, float] = {}
        for line in lines:
            if line.startswith("tradingsystem_rows_refused_total{"):
                reason = line.split('reason="')[1].split('"')[0]
                found[reason] = found.get(reason, 0.0) + float(line.rsplit(" ", 1)[1])
        return found

    def counted(self, reason: str, **fault: Any) -> None:
        """Let one frame of the market feed suffer that and wait until it is counted under that reason."""
        before = self.refused_rows().get(reason, 0.0)
        self.disturb(stream=[{"endpoint": "/stocks", **fault}])
        self.running.until(lambda: self.refused_rows().get(reason, 0.0) > before, 30)

    def instead(self, value: str, reason: str, times: int = 1) -> None:
        """The same for a frame that is sent in place of a real one."""
        self.counted(reason, kind="Raw", value=value, count=times)

    def fired(self, kind: str, endpoint: str) -> bool:
        """Whether such a fault has hit."""
        return bool(self.running.ask("/simulator/scenario")["fired"].get(f"{endpoint}:{kind}"))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disturbed]:
    """A day in which probes trade."""
    document = manifest("disturbed", seed=5, speed=SPEED, symbols=40, signals="Probe")
    running = Running.start(document, tmp_path_factory.mktemp("disturbed"))
    try:
        running.wait_for("all ready")
        yield Disturbed(running)
    finally:
        running.stop()


def test_bad_market_data_is_counted_and_dropped(day: Disturbed) -> None:
    """Garbage, half frames, nesting, NaN, strings and unknown events: each under its reason, and no process falls."""
    pids = day.running.note["pids"]
    day.instead("{[ not json", "not_an_array")
    day.instead('{"ev":"T"}', "not_an_array")
    day.instead("[", "not_an_array", times=100_000)
    day.instead('[{"ev":"ZZ","sym":"SPY"}]', "unknown_event")
    day.instead(TRADE % "NaN", "not_an_array")
    day.instead(TRADE % '"many"', "bad_field")
    day.instead(TRADE % "1e400", "bad_field")
    day.counted("not_positive", kind="Rewrite", match='"ev":"T"', path="p", value=-5)  # of this moment: an old one is refused as old
    lost = len(day.running.lines)
    day.disturb(stream=[{"endpoint": "/stocks", "kind": "Raw", "value": "x", "count": 20_000_000, "times": 1}])
    day.running.until(lambda: day.fired("Raw", "/stocks"), 30)
    day.disturb(stream=[{"endpoint": "/stocks", "kind": "Truncate", "times": 3}])
    day.running.until(lambda: day.fired("Truncate", "/stocks"), 30)
    assert day.running.note["pids"] == pids
    assert not any("ended" in line for line in day.running.lines[lost:])


def test_a_second_start_of_the_same_system_is_refused(day: Disturbed) -> None:
    """Two of them would trade one account."""
    file = day.running.state.parent.parent / "system.yaml"
    said = refused("up", str(file), state=day.running.state.parent)
    assert "is running already" in said


def test_status_tells_a_person_and_a_program(day: Disturbed) -> None:
    """One line per service for the one, everything as JSON for the other; status 0 because all is well."""
    day.disturb()
    for_person = command("status", state=day.running.state.parent)
    for_program = command("status", "--json", state=day.running.state.parent)
    for name in ("simulator", "ingestion", "filter", "execution", "recorder", "models", "monitor"):
        assert sum(line.startswith(f"{name} ") for line in for_person.stdout.splitlines()) == 1, for_person.stdout
    told = json.loads(for_program.stdout)
    assert told["trading"]["state"] == "Active"
    assert told["services"]["filter"]["phase"] == "ready"
    assert for_person.returncode == (1 if "problem:" in for_person.stdout else 0), for_person.stdout


def test_interrupted_with_a_position_the_account_is_protected(day: Disturbed) -> None:
    """Ctrl-C: what is held has its stop at the broker, it is said, and nobody is left. The auditor misses nothing but the end of the day."""
    running = day.running
    running.until(lambda: bool(running.ask("/simulator/summary")["positions"]), 200)
    running.process.send_signal(signal.SIGINT)
    assert running.finish(60) == 0, "\n".join(running.lines)
    running.wait_for("account    left")
    assert "WITHOUT A STOP" not in running.lines[-2]
    assert_no_traceback("\n".join(running.lines))
    assert not left_of(running.run_folder)
    audit = subprocess.run(
        [sys.executable, str(AUDITOR), str(running.run_folder / "wire.jsonl")], capture_output=True, text=True, check=False
    )
    findings, summary = audit.stdout.splitlines()[:-1], json.loads(audit.stdout.splitlines()[-1])
    assert summary["executions"] >= 1
    assert all(finding.strip().startswith("at 0:") for finding in findings), audit.stdout + audit.stderr


def test_a_recording_that_breaks_off_is_read_as_far_as_it_goes(day: Disturbed) -> None:
    """A disk that was full, a machine that fell: what is whole is used. What is no recording at all is refused by the file's name."""
    recording, state = day.running.run_folder / "recording", day.running.state.parent
    page = str(day.running.run_folder / "page.html")
    (journal,), (tape,) = recording.glob("journal-*.arrows"), recording.glob("tape-*.arrows")
    os.truncate(journal, journal.stat().st_size // 2 + 3)
    assert command("report", str(day.running.run_folder), "-o", page, state=state).returncode == 0
    assert command("replay", str(day.running.run_folder), state=state).returncode == 0
    os.truncate(tape, tape.stat().st_size // 10)
    assert "was not recorded" in refused("replay", str(day.running.run_folder), state=state)
    with journal.open("r+b") as file:
        file.write(b"this is no Arrow stream" * 10)
    for verb in (("report", "-o", page), ("replay",)):
        assert str(journal) in refused(verb[0], str(day.running.run_folder), *verb[1:], state=state)
