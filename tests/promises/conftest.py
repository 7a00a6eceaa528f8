"""The real nats-server that promises are tried on: one per module, JetStream on disk, users as in production."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.server import RunningServer


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A running server; module-wide, so each test uses subjects of its own or a system of its own."""
    folder: Path = tmp_path_factory.mktemp("nats")
    server = RunningServer(folder)
    server.start()
    yield server
    server.stop()
