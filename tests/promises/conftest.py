"""The real nats-servers that promises are tried on: one per module, or three, JetStream on disk, users as in production."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.cluster import RunningCluster
from tests.promises.server import RunningServer


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A running server; module-wide, so each test uses subjects of its own or a system of its own."""
    folder: Path = tmp_path_factory.mktemp("nats")
    server = RunningServer(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Three running servers that keep everything together."""
    cluster = RunningCluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.stop()
