"""What the chart renders, and what it refuses to render; no cluster needed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.generate_chart import VALUES
from tests.charts import helm
from tests.charts.generate_rendered import files
from tradingsystem_operator import settings

pytestmark = [pytest.mark.charts]

CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace"}

# Values nobody should be able to give, and how helm must name the field.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a value that does not exist": ({"replicaCount": 1}, "at '': additional properties 'replicaCount'"),
    "a misspelt group": ({"watchs": {"namespaces": []}}, "at '': additional properties 'watchs'"),
    "a misspelt value in a group": ({"watch": {"namespace": ["a"]}}, "at '/watch': additional properties 'namespace'"),
    "two operators": ({"replicas": 2}, "at '/replicas'"),
    "less than none": ({"replicas": -1}, "at '/replicas'"),
    "a number as words": ({"replicas": "one"}, "at '/replicas'"),
    "a tag in the repository": ({"image": {"repository": "registry.example/operator:1.0"}}, "at '/image/repository'"),
    "a repository in capitals": ({"image": {"repository": "Registry/Operator"}}, "at '/image/repository'"),
    "no repository": ({"image": {"repository": ""}}, "at '/image/repository'"),
    "a repository with a protocol": ({"image": {"repository": "https://registry.example/operator"}}, "at '/image/repository'"),
    "a tag with a space": ({"image": {"tag": "1.0 beta"}}, "at '/image/tag'"),
    "half a digest": ({"image": {"digest": "sha256:abc"}}, "at '/image/digest'"),
    "a digest without its kind": ({"release": {"componentsImage": {"digest": "0" * 64}}}, "at '/release/componentsImage/digest'"),
    "an unknown pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
    "a pull policy in small letters": ({"release": {"pullPolicy": "always"}}, "at '/release/pullPolicy'"),
    "a version that is none": ({"release": {"version": "latest"}}, "at '/release/version'"),
    "a namespace in capitals": ({"watch": {"namespaces": ["Trading"]}}, "at '/watch/namespaces/0'"),
    "a namespace twice": ({"watch": {"namespaces": ["a", "a"]}}, "at '/watch/namespaces'"),
    "a pattern of namespaces": ({"watch": {"namespaces": ["trading-*"]}}, "at '/watch/namespaces/0'"),
    "one namespace, not a list": ({"watch": {"namespaces": "trading"}}, "at '/watch/namespaces'"),
    "more namespaces than it is made for": ({"watch": {"namespaces": [f"n{number}" for number in range(101)]}}, "at '/watch/namespaces'"),
    "a switch as words": ({"crds": {"create": "yes"}}, "at '/crds/create'"),
    "no account at all": ({"serviceAccount": {"create": False}}, "at '/serviceAccount/name'"),
    "no worker": ({"workers": 0}, "at '/workers'"),
    "an unknown level": ({"logLevel": "loud"}, "at '/logLevel'"),
    "a resync each second": ({"resyncSeconds": 1}, "at '/resyncSeconds'"),
    "a resync each month": ({"resyncSeconds": 2_592_000}, "at '/resyncSeconds'"),
    "memory in unknown units": ({"resources": {"limits": {"memory": "1 gigabyte"}}}, "at '/resources/limits/memory'"),
    "an unknown kind of resources": ({"resources": {"wishes": {}}}, "at '/resources': additional properties 'wishes'"),
    "a toleration with an unknown effect": ({"tolerations": [{"key": "a", "effect": "Never"}]}, "at '/tolerations/0/effect'"),
    "a pull secret that is a word": ({"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0'"),
    "a port that is none": ({"networkPolicy": {"apiServerPorts": [70_000]}}, "at '/networkPolicy/apiServerPorts/0'"),
    "no way to the API server": ({"networkPolicy": {"apiServerPorts": []}}, "at '/networkPolicy/apiServerPorts'"),
    "a label that is a number": ({"podLabels": {"team": 7}}, "at '/podLabels/team'"),
    "a name too long for its objects": ({"fullnameOverride": "x" * 41}, "at '/fullnameOverride'"),
    "a name with a point": ({"leaderElection": {"leaseName": "leader.one"}}, "at '/leaderElection/leaseName'"),
    "a monitor read without pause": ({"podMonitor": {"intervalSeconds": 0}}, "at '/podMonitor/intervalSeconds'"),
}


@pytest.fixture(scope="module")
def renderings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[helm.Object]]:
    """Every rendering, as objects."""
    home = tmp_path_factory.mktemp("helm")
    return {name: helm.objects(helm.rendered(values, home=home)) for name, values in helm.RENDERINGS.items()}


def test_lint_finds_nothing(tmp_path: Path) -> None:
    """`helm lint --strict`, with every set of values."""
    for values in helm.RENDERINGS.values():
        ran = helm.run("lint", "--strict", "--quiet", helm.CHART, "--values", "-", home=tmp_path, given=yaml.safe_dump(values))
        assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_values_are_refused_by_field(name: str, tmp_path: Path) -> None:
    """A mistake in values is told before anything is sent, with the field that is wrong."""
    values, said = REFUSED[name]
    ran = helm.run("template", helm.RELEASE, helm.CHART, "--values", "-", home=tmp_path, given=yaml.safe_dump(values))
    assert ran.returncode != 0
    assert "don't meet the specifications of the schema" in ran.stderr
    assert f"- {said}" in ran.stderr


def test_renderings_are_the_committed_ones(tmp_path: Path) -> None:
    """A change of the chart is seen in review, as the objects it makes; so is what `kubectl apply -f manifests/install.yaml` installs."""
    for path, text in files(tmp_path).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make generate` and look at the difference"


def test_every_value_is_read_by_a_template() -> None:
    """A documented value that nothing reads is a promise nobody keeps."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (helm.CHART / "templates").rglob("*") if path.is_file())
    through = {"image.repository", "image.tag", "image.digest"}  # read from the image as a whole, by operator.image
    through |= {f"release.componentsImage.{name}" for name in ("repository", "tag", "digest")}
    assert [value.path for value in VALUES if value.path not in through and not re.search(rf"\.Values\.{value.path}\b", text)] == []
    assert "list .Values.image .Chart" in text
    assert "list .Values.release.componentsImage .Chart" in text


def test_every_template_reads_values_that_exist() -> None:
    """A misspelt value is nothing, and helm does not say so."""
    known = {value.path for value in VALUES} | {"image", "release.componentsImage"}
    read = {
        found
        for path in (helm.CHART / "templates").rglob("*")
        if path.is_file()
        for found in re.findall(r"\.Values\.([\w.]*\w)", path.read_text(encoding="utf-8"))
    }
    assert read - known == set()


def test_pods_are_restricted(renderings: dict[str, list[helm.Object]]) -> None:
    """No root, no capability, no writable root, limits of memory, and a token only where the API is asked."""
    for made in renderings.values():
        found = list(helm.pods(made))
        assert len(found) == 2
        for pod in found:
            assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
            assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
            for container in pod["spec"]["containers"]:
                context = container["securityContext"]
                assert context["readOnlyRootFilesystem"] is True
                assert context["allowPrivilegeEscalation"] is False
                assert context["capabilities"] == {"drop": ["ALL"]}
        assert [pod["spec"]["automountServiceAccountToken"] for pod in found] == [True, False]


def test_named_namespaces_need_no_right_in_the_cluster(renderings: dict[str, list[helm.Object]]) -> None:
    """Roles in exactly the namespaces that are watched, told to the operator by flag; nothing of the cluster but the definition."""
    made = renderings["namespaced"]
    assert {each["kind"] for each in made} & CLUSTER_SCOPED == {"CustomResourceDefinition"}
    roles = {each["metadata"]["namespace"] for each in made if each["kind"] == "Role"}
    assert roles == {"trading-a", "trading-b", helm.NAMESPACE}
    arguments = next(each for each in made if each["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [word for word in arguments if word.startswith("--namespace=")] == ["--namespace=trading-a", "--namespace=trading-b"]


def test_the_operator_takes_every_flag(renderings: dict[str, list[helm.Object]]) -> None:
    """What the chart writes is what the operator reads: every flag is known and every value arrives."""
    for name, made in renderings.items():
        pod = next(pod for pod in helm.pods(made) if "args" in pod["spec"]["containers"][0])
        container = pod["spec"]["containers"][0]
        read = settings.parse(container["args"], {"POD_NAME": "operator-0"})
        given = helm.RENDERINGS[name]
        assert read.namespaces == tuple(given.get("watch", {}).get("namespaces", ()))
        assert read.lease_namespace == helm.NAMESPACE
        assert read.lease_name == given.get("leaderElection", {}).get("leaseName", helm.RELEASE)
        assert read.identity == "operator-0"
        assert read.metrics_port == container["ports"][0]["containerPort"]
        assert (read.resync_seconds, read.workers) == (given.get("resyncSeconds", 120), given.get("workers", 4))
    assert (read.pull_policy, read.log_level) == ("IfNotPresent", "info")


def test_definition_is_the_generated_one_and_kept(renderings: dict[str, list[helm.Object]]) -> None:
    """What installs is what the types say; uninstalling leaves it, and every system with it."""
    definition = next(each for each in renderings["default"] if each["kind"] == "CustomResourceDefinition")
    generated = yaml.safe_load((helm.ROOT / "manifests/crd/tradingsystems.tradingsystem.dev.yaml").read_text(encoding="utf-8"))
    assert definition["spec"] == generated["spec"]
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not any(each["kind"] == "CustomResourceDefinition" for each in renderings["least"])


def test_selectors_find_the_operator_alone(renderings: dict[str, list[helm.Object]]) -> None:
    """Service, budget and policy select the operator's pod, and not the pod that tests it."""
    for made in renderings.values():
        operator, asking = (pod["metadata"]["labels"] for pod in helm.pods(made))
        kinds = {"Service": lambda spec: spec["selector"], "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"]}
        kinds["NetworkPolicy"] = lambda spec: spec["podSelector"]["matchLabels"]
        for each in made:
            if each["kind"] in kinds:
                selector = kinds[each["kind"]](each["spec"])
                assert selector.items() <= operator.items()
                assert not selector.items() <= asking.items()


def test_every_name_is_the_releases_own(tmp_path: Path) -> None:
    """Two releases with different names share no object but the definition and could live side by side in two namespaces."""

    def names(release: str) -> set[tuple[str, str]]:
        text = helm.run("template", release, helm.CHART, home=tmp_path).stdout
        return {(each["kind"], each["metadata"]["name"]) for each in helm.objects(text)}

    assert {kind for kind, _name in names("one") & names("two")} == {"CustomResourceDefinition"}
    assert len(names("one")) > 8


def test_schema_has_a_word_on_everything() -> None:
    """Editors show the description of a value while it is typed."""
    schema = json.loads((helm.CHART / "values.schema.json").read_text(encoding="utf-8"))

    def silent(node: dict[str, Any], path: str) -> list[str]:
        below = [found for name, inner in node.get("properties", {}).items() for found in silent(inner, f"{path}.{name}")]
        return below + ([path] if path and "description" not in node and path.count(".") < 3 and "properties" in node else [])

    assert silent(schema, "") == []
