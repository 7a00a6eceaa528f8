"""One real API server for every test of the chart here; each test installs under names of its own and leaves nothing but the definition."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The administrator's way to a real API server. It has no node: pods stay Pending."""
    with ControlPlane(tmp_path_factory.mktemp("cluster")) as plane:
        yield plane.kubeconfig


@pytest.fixture(scope="session")
def api(kubeconfig: Path) -> Iterator[Api]:
    """The same server, asked directly."""
    with contextlib.closing(Api(kubeconfig)) as made:
        yield made
