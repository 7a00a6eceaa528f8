"""Programs of some ten lines that know nothing of this project use the simulated venues as they would the real ones."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.running import PROGRAM, ROOT, free_block

EXAMPLES = ROOT / "docs" / "examples"
PROGRAM_SECONDS = 60

pytestmark = [pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def venues() -> Iterator[str]:
    """The address of `tradingsystem simulate`."""
    address = f"http://127.0.0.1:{free_block()}"
    command = [str(PROGRAM), "simulate", "--port", address.rsplit(":", 1)[1], "--symbols", "50", "--speed", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    giving_up = threading.Timer(60, process.kill)
    giving_up.start()
    try:
        assert process.stdout is not None
        with process.stdout as output:
            assert any(address in line for line in output), "it ended without listening"
            giving_up.cancel()
            yield address
    finally:
        giving_up.cancel()
        process.terminate()
        process.wait(20)


def example(name: str, address: str) -> list[str]:
    """What the example prints; it has to end by itself."""
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / name), address]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


def test_alpaca_s_own_client_places_hears_and_cancels_a_bracket(venues: str) -> None:
    """The order is taken with both legs, its updates arrive, and the cancel ends it."""
    lines = example("alpaca_bracket.py", venues)
    assert "placed bracket with 2 legs" in lines
    assert any(line.startswith("new bracket 10 SPY") for line in lines)
    assert lines[-1].startswith("canceled bracket")


def test_polygon_s_own_client_streams(venues: str) -> None:
    """Trades and quotes of a symbol arrive."""
    lines = example("polygon_stream.py", venues)
    assert len(lines) >= 20
    assert all("SPY" in line for line in lines)


def test_any_websocket_client_streams(venues: str) -> None:
    """Who knows the protocol needs no client library: the venue's greeting, its confirmations, then the index and the bars."""
    lines = example("plain_websocket.py", venues)
    assert "status authenticated" in lines
    assert "status subscribed to: A.SPY" in lines
    assert len([line for line in lines if line.startswith("V ")]) >= 3
    assert len([line for line in lines if line.startswith("A ")]) >= 10
