"""The life of a release on a real API server: installed, upgraded, rolled back, uninstalled, installed again. It has no node, so no pod runs here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import helm
from tests.cluster.api import Api
from tests.cluster.waiting import until

pytestmark = [pytest.mark.charts, pytest.mark.cluster, pytest.mark.timeout(300)]

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tradingsystems.tradingsystem.dev"
SYSTEM = "/apis/tradingsystem.dev/v1alpha1/namespaces/default/tradingsystems"
APPLY = "application/apply-patch+yaml"
GONE_WITHIN_SECONDS = 30.0
DEPLOYMENT = f"/apis/apps/v1/namespaces/first/deployments/{helm.RELEASE}"
LISTS = (
    *("/apis/apps/v1/deployments", "/api/v1/serviceaccounts", "/api/v1/services", "/apis/policy/v1/poddisruptionbudgets"),
    "/apis/networking.k8s.io/v1/networkpolicies",
    *(f"/apis/rbac.authorization.k8s.io/v1/{kind}" for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")),
)

Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(kubeconfig: Path, tmp_path: Path) -> Helm:
    """helm against the server, in a namespace."""

    def runs(verb: str, namespace: str, *words: str | Path, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        from_values = ("--values", "-") if values is not None else ()
        return helm.run(
            *(verb, helm.RELEASE, *words, "--namespace", namespace, *from_values),
            home=tmp_path,
            kubeconfig=kubeconfig,
            given=yaml.safe_dump(values or {}),
        )

    return runs


def left(api: Api, namespace: str) -> list[str]:
    """What still stands of the release of this namespace, by its own annotation."""
    found = []
    for path in LISTS:
        for each in api.ask("GET", path)[1]["items"]:
            if each["metadata"].get("annotations", {}).get("meta.helm.sh/release-namespace") == namespace:
                found.append(f"{path.rpartition('/')[2]}/{each['metadata']['name']}")
    return found


def done(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_release_from_first_to_last(api: Api, run: Helm) -> None:
    """Each step does what it says, and a stored system is touched by none of them."""
    said = done(run("install", "first", helm.CHART, "--create-namespace", "--take-ownership"))
    assert "helm test tradingsystem-operator --namespace first" in said
    assert len(left(api, "first")) >= 9
    sample = yaml.safe_load((helm.ROOT / "manifests/samples/simulation.yaml").read_text(encoding="utf-8"))
    status, system = api.ask("POST", f"{SYSTEM}?fieldValidation=Strict", sample)
    assert status == 201, system
    try:
        changed_and_back(api, run)
        gone_and_back(api, run, system)
    finally:
        assert api.ask("DELETE", f"{SYSTEM}/{system['metadata']['name']}")[0] == 200
        assert api.ask("DELETE", DEFINITION)[0] == 200
        until_gone(api)


def changed_and_back(api: Api, run: Helm) -> None:
    """An upgrade changes the deployment, a wrong one nothing; a rollback restores the first."""
    first = api.ask("GET", DEPLOYMENT)[1]["spec"]["template"]
    refused = run("upgrade", "first", helm.CHART, values={"replicas": 2})
    assert refused.returncode != 0
    assert "replicas" in refused.stderr
    assert api.ask("GET", DEPLOYMENT)[1]["spec"]["template"] == first
    done(run("upgrade", "first", helm.CHART, values={"image": {"tag": "next"}, "watch": {"namespaces": ["default"]}}))
    second = api.ask("GET", DEPLOYMENT)[1]["spec"]["template"]
    assert second["spec"]["containers"][0]["image"] == "localhost/tradingsystem/operator:next"
    assert "--namespace=default" in second["spec"]["containers"][0]["args"]
    cluster_roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    assert api.ask("GET", f"{cluster_roles}/{helm.RELEASE}")[0] == 404  # named namespaces: the cluster's role is taken away
    done(run("rollback", "first", "1"))
    assert api.ask("GET", DEPLOYMENT)[1]["spec"]["template"] == first
    assert api.ask("GET", f"{cluster_roles}/{helm.RELEASE}")[0] == 200


def gone_and_back(api: Api, run: Helm, system: dict[str, Any]) -> None:
    """Uninstalling leaves the definition and the system; another release takes the definition over only when it is told to."""
    definition = api.ask("GET", DEFINITION)[1]["metadata"]["uid"]
    done(run("uninstall", "first"))
    assert left(api, "first") == []
    assert api.ask("GET", DEFINITION)[1]["metadata"]["uid"] == definition
    refused = run("install", "second", helm.CHART, "--create-namespace")
    assert refused.returncode != 0
    assert "release-namespace" in refused.stderr
    assert left(api, "second") == []
    done(run("install", "second", helm.CHART, "--create-namespace", "--take-ownership"))
    kept = api.ask("GET", f"{SYSTEM}/{system['metadata']['name']}")[1]
    assert kept["metadata"]["uid"] == system["metadata"]["uid"]
    assert kept["metadata"]["generation"] == system["metadata"]["generation"]
    done(run("uninstall", "second"))
    assert left(api, "second") == []
    assert api.ask("GET", DEFINITION)[1]["metadata"]["uid"] == definition


def test_the_single_file_installs_the_same(api: Api) -> None:
    """manifests/install.yaml, object by object in its own order, and it can be applied again."""
    made = helm.objects((helm.ROOT / "manifests/install.yaml").read_text(encoding="utf-8"))
    assert made[0]["kind"] == "Namespace"
    assert {each["kind"] for each in made} >= {
        "CustomResourceDefinition",
        "Deployment",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
    }
    for _time in ("first", "again"):
        for each in made:
            status, answer = api.ask("PATCH", f"{path_of(each)}?fieldManager=kubectl&fieldValidation=Strict", each, APPLY)
            assert status in {200, 201}, answer
    for each in reversed(made[1:]):  # a namespace goes only where controllers run
        assert api.ask("DELETE", path_of(each))[0] == 200
    until_gone(api)


def path_of(thing: helm.Object) -> str:
    """Where the API server keeps an object of the chart."""
    kind, version, metadata = thing["kind"].lower(), thing["apiVersion"], thing["metadata"]
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    inside = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"/api{'s' if '/' in version else ''}/{version}{inside}/{plural}/{metadata['name']}"


def until_gone(api: Api) -> None:
    """Wait for the end of the definition: the server first ends what is stored under it."""
    until("the definition is gone", lambda: api.ask("GET", DEFINITION)[0] == 404, GONE_WITHIN_SECONDS)
