"""Starting tritonserver: what is said when there is none, and what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.triton_server import HOME_VARIABLE, TritonServerSettings, command, home


def test_an_absent_server_names_the_target_that_sets_it_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who sees the message knows what to type."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    with pytest.raises(InvalidInput, match="make triton"):
        home()


def test_nobody_else_reaches_it_or_loads_into_it(tmp_path: Path) -> None:
    """Every listener is on the loopback, nothing is loaded by itself, and what changes the server asks for the key on both protocols."""
    words = command(TritonServerSettings(tmp_path / "repository", tmp_path, 1, 2, 3), tmp_path, "secret")
    addresses = {word.partition("=")[2] for word in words if word.partition("=")[0].endswith("-address")}
    assert addresses == {"127.0.0.1"}
    assert "--model-control-mode=explicit" in words
    restricted = [word for word in words if "restricted" in word]
    assert len(restricted) == 2
    assert all(word.endswith("=secret") and "model-repository" in word and "shared-memory" in word for word in restricted)
