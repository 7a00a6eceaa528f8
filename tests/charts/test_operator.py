"""The operator itself, with the flags the chart writes and the rights the chart grants, and not one request of it refused.

It runs as a process of this machine with a token of the installed account, as a pod would; the API server is real and has no node, so that systems are
rendered and never get ready. What refused requests there were, the API server's own counters say.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import helm
from tests.cluster.api import Api
from tests.cluster.waiting import until

pytestmark = [pytest.mark.charts, pytest.mark.cluster, pytest.mark.timeout(300)]

GROUP = "/apis/tradingsystem.dev/v1alpha1"
WITHIN_SECONDS = 60.0
REFUSED = re.compile(r'^authorization_attempts_total\{result="(?!allowed).*"\} (\S+)$', re.MULTILINE)


def refused(api: Api) -> float:
    """How many requests this server's authorizer has not allowed since it started, by its own count; reviews of access are not among them."""
    status, text = api.ask("GET", "/metrics")
    assert status == 200
    return sum(float(found) for found in REFUSED.findall(text))


@contextlib.contextmanager
def operator(api: Api, kubeconfig: Path, folder: Path, name: str, values: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """The chart installed, and the operator that its Deployment would start, as its account; all of it gone afterwards but the definition."""
    words = ("install", name, helm.CHART, "--namespace", name, "--create-namespace", "--take-ownership", "--values", "-")
    ran = helm.run(*words, home=folder, kubeconfig=kubeconfig, given=yaml.safe_dump(values))
    assert ran.returncode == 0, ran.stderr
    made = helm.objects(helm.run("get", "manifest", name, "--namespace", name, home=folder, kubeconfig=kubeconfig).stdout)
    container = next(helm.pods(made))["spec"]["containers"][0]
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    account = f"/api/v1/namespaces/{name}/serviceaccounts/{name}-tradingsystem-operator/token"
    status, answer = api.ask("POST", account, token)
    assert status == 201, answer
    config = json.loads(kubeconfig.read_text()) | {"users": [{"name": "admin", "user": {"token": answer["status"]["token"]}}]}
    (folder / "operator.conf").write_text(json.dumps(config))
    here = ["--metrics-host=127.0.0.1", "--metrics-port=0", f"--kubeconfig={folder / 'operator.conf'}"]
    with (folder / "operator.log").open("wb") as log:
        command = [sys.executable, *container["command"][1:], *container["args"], *here]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=helm.ROOT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
    assert helm.run("uninstall", name, "--namespace", name, home=folder, kubeconfig=kubeconfig).returncode == 0


def system(api: Api, namespace: str) -> str:
    """A simulated system, made in a namespace; its path."""
    api.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    sample = yaml.safe_load((helm.ROOT / "manifests/samples/simulation.yaml").read_text(encoding="utf-8"))
    path = f"{GROUP}/namespaces/{namespace}/tradingsystems"
    until("the definition is served", lambda: api.ask("GET", path)[0] == 200)
    status, answer = api.ask("POST", path, sample)
    assert status == 201, answer
    return f"{path}/{sample['metadata']['name']}"


@pytest.mark.parametrize("name", ["cluster-wide", "one-namespace"])
def test_no_request_of_the_operator_is_refused(name: str, api: Api, kubeconfig: Path, tmp_path: Path) -> None:
    """Led, rendered, reported, deleted, the Lease given up: with the rights of the chart alone, cluster-wide and in one namespace."""
    watched = f"watched-{name}"
    before = refused(api)
    values = {"watch": {"namespaces": [watched]}} if name == "one-namespace" else {}
    api.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": watched}})
    with operator(api, kubeconfig, tmp_path, name, values) as process:
        path = system(api, watched)
        conditions = until("its status is told", lambda: api.ask("GET", path)[1].get("status", {}).get("conditions"))
        assert {each["type"] for each in conditions} >= {"Ready", "Progressing", "Degraded"}
        labels = "labelSelector=app.kubernetes.io/managed-by%3Dtradingsystem-operator"
        for kinds in ("/api/v1", "configmaps"), ("/apis/networking.k8s.io/v1", "networkpolicies"), ("/apis/apps/v1", "statefulsets"):
            place = f"{kinds[0]}/namespaces/{watched}/{kinds[1]}?{labels}"
            until(f"{kinds[1]} are made", lambda at=place: api.ask("GET", at)[1]["items"])
        assert until("an event is told", lambda: api.ask("GET", f"/apis/events.k8s.io/v1/namespaces/{watched}/events")[1]["items"])
        assert api.ask("DELETE", path)[0] == 200
        until("it is let go", lambda: api.ask("GET", path)[0] == 404)
        process.terminate()
        assert process.wait(WITHIN_SECONDS) == 0, (tmp_path / "operator.log").read_text()
        lease = api.ask("GET", f"/apis/coordination.k8s.io/v1/namespaces/{name}/leases/{name}-tradingsystem-operator")[1]
        assert lease["spec"].get("holderIdentity", "") == ""
    assert refused(api) == before, (tmp_path / "operator.log").read_text()


def test_a_namespace_that_is_not_named_is_left_alone(api: Api, kubeconfig: Path, tmp_path: Path) -> None:
    """A system beside the watched one gets no finalizer, no status and no object; and a request that is refused would have been counted."""
    api.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "inside"}})
    with operator(api, kubeconfig, tmp_path, "narrow-one", {"watch": {"namespaces": ["inside"]}}):
        outside, inside = system(api, "outside"), system(api, "inside")
        until("the watched one is told of", lambda: api.ask("GET", inside)[1].get("status"))
        left = api.ask("GET", outside)[1]
        assert "status" not in left
        assert "finalizers" not in left["metadata"]
        assert api.ask("DELETE", inside)[0] == 200
        until("it is let go", lambda: api.ask("GET", inside)[0] == 404)
        assert api.ask("DELETE", outside)[0] == 200
        before = refused(api)
        mine = Api(tmp_path / "operator.conf")
        with contextlib.closing(mine):
            assert mine.ask("GET", "/api/v1/namespaces/outside/secrets/any")[0] == 403
        assert refused(api) == before + 1
