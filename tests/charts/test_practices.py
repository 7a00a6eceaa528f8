"""What the chart and the operator put into a cluster follows the practices that kube-score knows, but for those named here with their reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.charts import helm
from tests.cluster import build

pytestmark = [pytest.mark.charts, pytest.mark.timeout(300)]

GOLDEN = helm.ROOT / "tests" / "operator" / "golden"
SYSTEMS = ("paper", "simulation")  # those of which every kind is kept
LEFT_OUT = {
    "container-image-pull-policy": "images are named by digest or by release: pulling them again brings nothing and needs the registry at a restart",
    "container-ephemeral-storage-request-and-limit": "root file systems are read-only; what is written lies on volumes with limits of their own",
    "statefulset-has-servicename": "one replica each, reached by a Service: nobody asks for a pod by its own name",
}
NO_CPU_LIMIT = "--ignore-container-cpu-limit"  # a throttled trading process is late; requests keep its share


def score(text: str) -> subprocess.CompletedProcess[str]:
    """kube-score's word on these objects, taken together."""
    release = ".".join(build.KUBERNETES_VERSION.split(".")[:2])
    command = [str(build.path_of(build.KUBE_SCORE)), "score", "-", "--kubernetes-version", release, "-o", "ci", NO_CPU_LIMIT]
    return subprocess.run(
        [*command, "--ignore-test", ",".join(LEFT_OUT)], input=text, capture_output=True, text=True, check=False, timeout=100
    )


def criticals(text: str) -> list[str]:
    """What it calls critical. Raises ``AssertionError`` when it said nothing about anything."""
    said = score(text).stdout.splitlines()
    assert any(line.startswith("[OK]") for line in said), "it looked at something"
    return [line for line in said if line.startswith("[CRITICAL]")]


def objects_of(system: str) -> str:
    """Everything that the operator renders for a system."""
    return "\n---\n".join(path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob(f"{system}-*.yaml")))


@pytest.mark.parametrize("name", sorted(helm.RENDERINGS.keys() - {"least"}))
def test_the_chart_follows_them(name: str, tmp_path: Path) -> None:
    """Every rendering but the one that leaves out all that can be left out. The pod of `helm test` lives for seconds and has no policy of its own."""
    objects = helm.objects(helm.rendered(helm.RENDERINGS[name], home=tmp_path))
    lasting = [each for each in objects if "helm.sh/hook" not in each["metadata"].get("annotations", {})]
    assert len(lasting) < len(objects)
    assert criticals(yaml.safe_dump_all(lasting)) == []


def test_the_single_file_follows_them() -> None:
    """manifests/install.yaml."""
    assert criticals((helm.ROOT / "manifests/install.yaml").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_follows_them(system: str) -> None:
    """Pods, Services, NetworkPolicies and PodDisruptionBudgets, each fitting to the other."""
    assert criticals(objects_of(system)) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "writable root filesystem"),
        ("            memory: ", "            hugepages-2Mi: ", "Memory limit is not set"),
        ("kind: NetworkPolicy", "kind: NetworkPolicyList", "does not have a matching NetworkPolicy"),
    ],
)
def test_a_practice_that_is_broken_is_found(old: str, new: str, said: str) -> None:
    """It would not call everything good."""
    text = objects_of("paper")
    assert old in text
    assert any(said in line for line in criticals(text.replace(old, new)))
