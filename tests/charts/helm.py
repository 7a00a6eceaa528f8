"""helm and kubeconform as a person runs them, with nothing of this machine's own helm settings; and what a rendering is made of.

It only runs programs and reads what they print; what must hold stands in the tests.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import build

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "tradingsystem-operator"
RENDERED = Path(__file__).parent / "rendered"
RELEASE = "tradingsystem-operator"
NAMESPACE = "tradingsystem-system"
WITHIN_SECONDS = 100
KUBERNETES = build.KUBERNETES_VERSION

Object = dict[str, Any]

# What is rendered, kept and looked at: a name, and the values of that rendering.
RENDERINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "namespaced": {"watch": {"namespaces": ["trading-a", "trading-b"]}, "rbac": {"aggregate": False}},
    "everything": {
        "fullnameOverride": "operator",
        "image": {"repository": "registry.example:5000/trading/operator", "digest": f"sha256:{'0123456789abcdef' * 4}"},
        "imagePullSecrets": [{"name": "registry"}],
        "release": {
            "version": "1.2.3",
            "pullPolicy": "Always",
            "componentsImage": {"repository": "registry.example/components", "tag": "1.2.3"},
            "tritonImage": f"registry.example/triton@sha256:{'0123456789abcdef' * 4}",
            "componentsGpuImage": "registry.example/components-gpu:1.2.3",
            "tritonCpuImage": "registry.example/triton-cpu:1.2.3",
        },
        "serviceAccount": {"name": "operator-account", "annotations": {"example.com/role": "operator"}},
        "leaderElection": {"leaseName": "leader"},
        "resyncSeconds": 60,
        "workers": 8,
        "logLevel": "debug",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "control", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "priorityClassName": "system-cluster-critical",
        "podLabels": {"team": "trading"},
        "podAnnotations": {"example.com/note": "seen"},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "intervalSeconds": 15},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "networkPolicy": {
            "apiServerPorts": [8443],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        },
    },
    "least": {
        "replicas": 0,
        "crds": {"create": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "made-elsewhere"},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "resources": {"limits": None, "requests": None},
    },
}


def run(*words: str | Path, home: Path, kubeconfig: Path | None = None, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """helm with these words; ``given`` is its standard input."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    environment = kept | {
        "HOME": str(home),
        "HELM_CACHE_HOME": f"{home}/cache",
        "HELM_CONFIG_HOME": f"{home}/config",
        "HELM_DATA_HOME": f"{home}/data",
    }
    environment["KUBECONFIG"] = str(kubeconfig or home / "no-cluster")
    command = [str(build.path_of(build.HELM)), *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, input=given, capture_output=True, text=True, check=False, timeout=WITHIN_SECONDS
    )


def rendered(values: dict[str, Any], *more: str, home: Path) -> str:
    """What `helm template` prints for these values. Raises AssertionError with what helm said."""
    words = ("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--values", "-", *more)
    ran = run(*words, home=home, given=yaml.safe_dump(values))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def objects(text: str) -> list[Object]:
    """Every object of a rendering."""
    return [each for each in yaml.safe_load_all(text) if each]


def without_definition(text: str) -> str:
    """The rendering without the definition, which has a file and tests of its own and would hide everything else."""
    parts = text.split("\n---\n")
    return "\n---\n".join(part for part in parts if "kind: CustomResourceDefinition" not in part)


def pods(made: Iterable[Object]) -> Iterator[Object]:
    """The pods among these objects, those of a Deployment's template included."""
    for each in made:
        if each["kind"] == "Pod":
            yield each
        if each["kind"] == "Deployment":
            template: Object = each["spec"]["template"]
            yield {"apiVersion": "v1", "kind": "Pod", **template}
