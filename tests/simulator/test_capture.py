"""The captured wire is on disk as it is spoken."""

from __future__ import annotations

import json
from pathlib import Path

from tradingsystem.simulator.capture import Capture


def test_a_row_is_there_for_whoever_reads_beside_a_running_simulator(tmp_path: Path) -> None:
    """An auditor after a crash misses no row that was spoken before it: nothing waits in memory for an ordered end."""
    path = tmp_path / "wire.jsonl"
    capture = Capture(path, lambda: 7)
    connection = capture.connection("rest", "/v2/orders")
    for number in range(3):
        capture.event(connection, "in", "open", f"{number}")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["text"] for row in rows] == [str(each) for each in range(number + 1)]
    capture.close()
