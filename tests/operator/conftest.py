"""One real API server with the committed definition installed, for every test here; started once, gone at the end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.operator.operating import Place, place
from tradingsystem.spec.crd import NAME

ROOT = Path(__file__).parents[2]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ESTABLISHED_WITHIN_SECONDS = 30.0


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server, nothing in it, no controllers, no node."""
    with ControlPlane(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="session")
def bare_api(plane: ControlPlane) -> Iterator[Api]:
    """The same, as its administrator."""
    with contextlib.closing(Api(plane.kubeconfig)) as api:
        yield api


@pytest.fixture(scope="session")
def api(bare_api: Api) -> Api:
    """The same with the committed definition installed and served."""
    committed = yaml.safe_load((ROOT / f"manifests/crd/{NAME}.yaml").read_text(encoding="utf-8"))
    status, answer = bare_api.ask("POST", DEFINITIONS, committed)
    assert status == 201, answer
    established(bare_api)
    return bare_api


@pytest.fixture
def here(plane: ControlPlane, api: Api, tmp_path: Path) -> Iterator[Place]:
    """A namespace of the test's own."""
    with place(plane, api, tmp_path) as made:
        yield made


def established(api: Api) -> dict[str, str]:
    """Every condition of the definition, once it is served; fails when that takes too long."""
    began, pause = time.monotonic(), threading.Event()
    while True:
        found: dict[str, Any] = api.ask("GET", f"{DEFINITIONS}/{NAME}")[1]
        conditions = {each["type"]: each["status"] for each in found.get("status", {}).get("conditions") or []}
        served = api.ask("GET", "/apis/tradingsystem.dev/v1alpha1/namespaces/default/tradingsystems")[0] == 200
        if conditions.get("Established") == "True" and served:
            return conditions
        assert time.monotonic() - began < ESTABLISHED_WITHIN_SECONDS, found.get("status")
        pause.wait(0.1)
