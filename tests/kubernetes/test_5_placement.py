"""Issue 5, "Shows it works", 5: which node a system with a GPU gets, or why none.

Nodes are kwok's, so only the scheduler's choice is real here; the API server, the scheduler and the operator are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.kubernetes.gpu_nodes import A100_40, A100_80, A100_MIG, T4, kwok, without_gpu
from tests.kubernetes.installation import SYSTEMS, Object, say, simulation, wait
from tests.kubernetes.operator_process import ask, create, define, operator

pytestmark = [pytest.mark.pods, pytest.mark.kwok, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A control plane with a scheduler, kwok's nodes, and the operator."""
    folder = tmp_path_factory.mktemp("scheduled")
    with ControlPlane(folder, whole=True, say=say) as plane, contextlib.closing(Api(plane.kubeconfig)) as api:
        define(api)
        for path, body in volumes():
            ask(api, "POST", path, body)
        for each in (A100_40, A100_80, A100_MIG, T4, without_gpu("plain")):
            ask(api, "POST", "/api/v1/nodes", each)
        told = operator(plane.kubeconfig, folder / "log" / "operator.log", "--triton-image", "none:1")
        with kwok(plane.kubeconfig, folder / "log" / "kwok.log"), told:
            yield api


def volumes() -> Iterator[tuple[str, Object]]:
    """What claims are bound to; nothing is ever mounted."""
    default = {"name": "none", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    yield (
        "/apis/storage.k8s.io/v1/storageclasses",
        {"metadata": default, "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"},
    )
    for number in range(12):
        spec = {
            "capacity": {"storage": "200Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "none",
            "hostPath": {"path": "/none"},
        }
        yield "/api/v1/persistentvolumes", {"metadata": {"name": f"volume-{number:02}"}, "spec": spec}


def pod_of(api: Api, name: str, component: str) -> Object | None:
    """The pod of one part of a system."""
    selector = f"tradingsystem.dev/system={name},app.kubernetes.io/component={component}"
    items = ask(api, "GET", f"/api/v1/namespaces/default/pods?labelSelector={selector}")["items"]
    return items[0] if items else None


def with_gpu(name: str, **gpu: Any) -> Object:
    document = simulation(name)
    document["spec"]["inference"] = {"runtime": "Triton", "placement": "SameNode", "gpu": gpu}
    return document


@pytest.mark.parametrize(
    ("name", "gpu", "expected"),
    [
        ("at-least-forty", {"memoryMiBMin": 39_000, "computeCapability": "8.0"}, {"a100-40", "a100-80"}),
        ("eighty", {"memoryMiBMin": 79_000, "computeCapability": "8.0"}, {"a100-80"}),
        ("slice", {"memoryMiBMin": 9_000, "computeCapability": "8.0", "resourceName": "nvidia.com/mig-2g.10gb"}, {"a100-mig"}),
        ("small", {"memoryMiBMin": 15_000, "computeCapability": "7.5"}, {"t4", "a100-40", "a100-80"}),
    ],
)
def test_a_gpu_is_found_by_what_it_can_do(scheduled: Api, name: str, gpu: Object, expected: set[str]) -> None:
    """Triton's pod, which holds the GPU, is bound to a node that has what was asked for; the filter's follows it there."""
    create(scheduled, with_gpu(name, **gpu))

    def bound(component: str) -> str | None:
        found = pod_of(scheduled, name, component)
        return found["spec"].get("nodeName") if found else None

    node = wait(f"{name}: Triton bound", lambda: bound("triton"), 60)
    assert node in expected
    assert wait(f"{name}: the filter bound", lambda: bound("filter"), 240) == node
    ask(scheduled, "DELETE", f"{SYSTEMS}/{name}")


def test_no_such_gpu_is_said_with_its_reason(scheduled: Api) -> None:
    """Triton's pod is not bound, and the status names it and that no node fits; the filter, which needs no GPU, runs all the same."""
    create(scheduled, with_gpu("none", memoryMiBMin=500_000, computeCapability="9.0"))

    def said() -> Object | None:
        conditions = ask(scheduled, "GET", f"{SYSTEMS}/none").get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["reason"] in {"NoMatchingNode", "GpuNotFree"}), None)

    condition = wait("none: the reason", said, 90)
    assert "triton" in condition["message"]
    say(f"{condition['type']} {condition['reason']}: {condition['message']}")
    pod = pod_of(scheduled, "none", "triton")
    assert pod is None or not pod["spec"].get("nodeName")
    wait("none: the filter bound", lambda: (pod_of(scheduled, "none", "filter") or {"spec": {}})["spec"].get("nodeName"), 240)
    ask(scheduled, "DELETE", f"{SYSTEMS}/none")
