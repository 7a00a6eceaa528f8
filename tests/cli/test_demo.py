"""`tradingsystem demo` as a person runs it: real processes, a real message server, real sockets; and none of them left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HALF_DAY = ("--date", "2026-11-27")  # the session ends at 13:00: three and a half hours of market time
SMALL = ("--symbols", "60", "--speed", "200")


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tradingsystem.cli", "demo", *arguments],
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200"},
    )


def left_behind(folder: Path) -> list[str]:
    """Processes that were told of a path in this folder: services and the message server alike."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words or any(str(run) in words for run in folder.glob("runs/*")) or f"runs/{_run(folder)}/" in words:
            found.append(words)
    return found


def _run(folder: Path) -> str:
    return next((path.name for path in folder.glob("runs/*")), "no run")


@pytest.mark.slow
@pytest.mark.nats
@pytest.mark.timeout(400)
def test_a_whole_day_through_real_processes(tmp_path: Path) -> None:
    """Trades, flat at a half-day's close, four reckonings that agree, a report, exit 0, and nobody left."""
    process = started(tmp_path, *HALF_DAY, *SMALL, "--signals", "Probe")
    told, _ = process.communicate(timeout=380)
    assert process.returncode == 0, told
    lines = told.splitlines()
    assert re.fullmatch(r"\$ tradingsystem up runs/demo-\S+/system\.yaml --until-end", lines[0])
    assert lines[1].startswith("Set-up: NATS server and")
    assert lines[2].startswith("Compiling: the filter's kernels")
    assert re.search(r"(?m)^\d\d:\d\d:\d\d  (Bull|Bear|Neutral|Unknown)", told)
    ending = next(text for text in lines if text.startswith("Day done in"))
    assert re.search(r"(\d+) orders?, [1-9]\d* filled", ending)
    assert "Flat. Positions = fills = broker = auditor. P&L" in ending
    assert "it says nothing about profit" in ending
    assert (tmp_path / "reports" / "demo.html").stat().st_size > 1_000_000
    assert left_behind(tmp_path) == []


@pytest.mark.slow
@pytest.mark.nats
@pytest.mark.timeout(200)
@pytest.mark.parametrize("after", ["$ tradingsystem", "Set-up:", "Compiling:"])
def test_ctrl_c_at_any_moment_leaves_nobody(tmp_path: Path, after: str) -> None:
    """While it starts, while it compiles, while it trades: an ordered end with status 130."""
    process = started(tmp_path, *SMALL)
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith(after):
            break
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=90)
    assert process.returncode == 130, told
    assert "Every process has ended." in told
    assert "Traceback" not in told
    assert left_behind(tmp_path) == []


def test_no_auditor_is_a_sentence_before_anything_runs(tmp_path: Path) -> None:
    """Status 2, the path, and no folder left."""
    process = started(tmp_path, "--audit", "nowhere.py")
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "nowhere.py: no wire auditor there" in told
    assert not list(tmp_path.iterdir())


def test_a_folder_without_days_is_a_sentence(tmp_path: Path) -> None:
    """What was looked at and how to look closer, status 2."""
    process = started(tmp_path, "--data", str(tmp_path))
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no recorded day there" in told
    assert "Traceback" not in told
