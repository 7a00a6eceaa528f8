"""Every object that the chart renders is one that Kubernetes knows, field by field: by kubeconform, and by the API server itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import helm, schemas
from tests.cluster import build
from tests.cluster.api import Api

pytestmark = [pytest.mark.charts, pytest.mark.cluster, pytest.mark.timeout(300)]

# The Prometheus operator's kinds: their definitions are not in this repository, and no schema of them can be had without the internet.
UNKNOWN_KINDS = ("PodMonitor", "ServiceMonitor")
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def schema_folder(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Schemas of the kinds that this API server serves."""
    folder = tmp_path_factory.mktemp("schemas")
    status, openapi = api.ask("GET", "/openapi/v2")
    assert status == 200
    assert schemas.write(openapi, folder) > 100
    return folder


@pytest.fixture(scope="module")
def resources(api: Api) -> dict[tuple[str, str], dict[str, Any]]:
    """Every kind this server serves, by version and kind: the name in paths, and whether it lies in a namespace."""
    groups = [f"/apis/{each['preferredVersion']['groupVersion']}" for each in api.ask("GET", "/apis")[1]["groups"]]
    found = {}
    for path in ("/api/v1", *groups):
        for each in api.ask("GET", path)[1]["resources"]:
            if "/" not in each["name"]:
                version = path.removeprefix("/apis/").removeprefix("/api/")
                found[version, each["kind"]] = each | {"path": path}
    return found


def kubeconform(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(build.path_of(build.KUBECONFORM)), "-strict", "-summary", "-output", "text", "-skip", ",".join(UNKNOWN_KINDS)]
    location = f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    return subprocess.run(
        [*command, "-schema-location", location, "-"], input=text, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", helm.RENDERINGS)
def test_kubeconform_finds_nothing(name: str, schema_folder: Path, tmp_path: Path) -> None:
    """Every kind and field exists, with the right type, in the release of Kubernetes that the tests run."""
    text = helm.rendered(helm.RENDERINGS[name], home=tmp_path)
    ran = kubeconform(text, schema_folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    known = [each for each in helm.objects(text) if each["kind"] not in UNKNOWN_KINDS]
    assert f"Valid: {len(known)}, Invalid: 0, Errors: 0" in ran.stdout


def test_the_single_file_conforms(schema_folder: Path) -> None:
    """manifests/install.yaml, for whoever has no helm."""
    ran = kubeconform((helm.ROOT / "manifests/install.yaml").read_text(encoding="utf-8"), schema_folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\n  replicas: 1", "\n  replicas: many", "/spec/replicas"),
        ("  revisionHistoryLimit", "  revisionsKept: 1\n  revisionHistoryLimit", "revisionsKept"),
        ("kind: Deployment", "kind: Deployments", "could not find schema"),
    ],
)
def test_kubeconform_would_find_a_mistake(old: str, new: str, said: str, schema_folder: Path, tmp_path: Path) -> None:
    """The same schemas refuse a wrong type, an unknown field and an unknown kind."""
    text = helm.rendered({}, home=tmp_path)
    assert old in text
    ran = kubeconform(text.replace(old, new, 1), schema_folder)
    assert ran.returncode == 1
    assert said in ran.stdout


@pytest.fixture(scope="module")
def restricted(api: Api) -> tuple[str, ...]:
    """The namespaces of all renderings, enforcing the restricted Pod Security Standard, with the accounts that controllers would make."""
    namespaces = (helm.NAMESPACE, "trading-a", "trading-b")
    for namespace in namespaces:
        made: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        made["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
        assert api.ask("PATCH", f"/api/v1/namespaces/{namespace}?fieldManager=test", made, APPLY)[0] in {200, 201}
    for name in ("default", helm.RELEASE, "operator-account", "made-elsewhere"):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{helm.NAMESPACE}/serviceaccounts/{name}?fieldManager=test"
        assert api.ask("PATCH", path, account, APPLY)[0] in {200, 201}
    return namespaces


@pytest.mark.parametrize("name", helm.RENDERINGS)
def test_the_api_server_takes_every_object(
    name: str, api: Api, resources: dict[tuple[str, str], dict[str, Any]], restricted: tuple[str, ...], tmp_path: Path
) -> None:
    """Server-side apply with strict validation, without keeping anything."""
    for each in helm.objects(helm.rendered(helm.RENDERINGS[name], home=tmp_path)):
        if each["kind"] not in UNKNOWN_KINDS:
            known = resources[each["apiVersion"], each["kind"]]
            inside = f"/namespaces/{each['metadata']['namespace']}" if known["namespaced"] else ""
            path = f"{known['path']}{inside}/{known['name']}/{each['metadata']['name']}"
            status, answer = api.ask("PATCH", f"{path}?dryRun=All&fieldManager=test&force=true&fieldValidation=Strict", each, APPLY)
            assert status in {200, 201}, answer


@pytest.mark.parametrize("name", helm.RENDERINGS)
def test_pods_pass_the_restricted_standard(name: str, api: Api, restricted: tuple[str, ...], tmp_path: Path) -> None:
    """The operator's pod and the one that tests it are admitted where the standard is enforced, and would not be with one line less."""
    for pod in helm.pods(helm.objects(helm.rendered(helm.RENDERINGS[name], home=tmp_path))):
        pod["metadata"]["name"] = "tried"
        pod["spec"].pop("priorityClassName", None)  # of the cluster's own classes, which its controllers make
        path = f"/api/v1/namespaces/{helm.NAMESPACE}/pods?dryRun=All&fieldValidation=Strict"
        status, answer = api.ask("POST", path, pod)
        assert status == 201, answer
        del pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
        status, answer = api.ask("POST", path, pod)
        assert (status, "restricted" in answer["message"]) == (403, True), answer


def test_the_samples_are_valid(api: Api, schema_folder: Path) -> None:
    """The samples a person starts from conform to the definition the chart installs."""
    definition = yaml.safe_load((helm.CHART / "files/definition.yaml").read_text(encoding="utf-8"))
    served = next(each for each in definition["spec"]["versions"] if each["served"])
    top = schemas.strict(served["schema"]["openAPIV3Schema"])
    top["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    (schema_folder / "tradingsystem-tradingsystem-v1alpha1.json").write_text(json.dumps(top))
    for path in sorted((helm.ROOT / "manifests/samples").glob("*.yaml")):
        ran = kubeconform(path.read_text(encoding="utf-8"), schema_folder)
        assert ran.returncode == 0, path.name + ran.stdout + ran.stderr
