"""Nodes that exist for the scheduler alone, kept alive by kwok: NVIDIA's labels, capacity and taint, and no machine behind them.

Pods that are bound to one are said to run by kwok; nothing runs. They show where a pod would go, and nothing about GPUs.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster import build
from tradingsystem.process.nats_server import free_ports

FAKE = "kwok.x-k8s.io/node"
STAGES = ("node/fast/node-*.yaml", "node/heartbeat-with-lease/node-*.yaml", "pod/fast/pod-*.yaml")  # kwok's own, of the pinned module
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(name: str, *, memory_mib: int, capability: str, resource: str = "nvidia.com/gpu", count: int = 1) -> dict[str, Any]:
    """A node as NVIDIA's GPU feature discovery would label it."""
    major, minor = capability.split(".")
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
        f"{resource}.memory": str(memory_mib),
        f"{resource}.count": str(count),
    }
    capacity = {"cpu": "64", "memory": "512Gi", "pods": "110", resource: str(count)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {FAKE: "fake"}},
        "spec": {"taints": [TAINT]},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def without_gpu(name: str) -> dict[str, Any]:
    """An ordinary node."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    capacity = {"cpu": "64", "memory": "512Gi", "pods": "110"}
    metadata = {"name": name, "labels": labels, "annotations": {FAKE: "fake"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}


A100_40 = node("a100-40", memory_mib=40_536, capability="8.0", count=8)
A100_80 = node("a100-80", memory_mib=81_251, capability="8.0", count=8)  # a system that goes holds its GPU for a minute more
A100_MIG = node("a100-mig", memory_mib=9_856, capability="8.0", resource="nvidia.com/mig-2g.10gb", count=3)
T4 = node("t4", memory_mib=15_360, capability="7.5", count=4)


@contextlib.contextmanager
def kwok(kubeconfig: Path, log: Path) -> Iterator[None]:
    """kwok, for nodes with its annotation and no other."""
    (port,) = free_ports(1)
    found = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], cwd=build.MODULES / "kwok", check=True, capture_output=True
    )
    stages = [each for pattern in STAGES for each in sorted((Path(found.stdout.decode().strip()) / "kustomize" / "stage").glob(pattern))]
    words = [str(build.path_of(build.KWOK)), "--kubeconfig", str(kubeconfig), "--manage-nodes-with-annotation-selector", f"{FAKE}=fake"]
    words += ["--manage-all-nodes=false", "--server-address", f"127.0.0.1:{port}"]
    words += ["--config", ",".join(map(str, stages))]
    with log.open("wb") as output:
        command = ["setpriv", "--pdeathsig", "KILL", *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
