"""Writes what the operator's chart says in three places from one table: values.yaml, values.schema.json and README.md; and copies the definition into it.

A value that is documented but not checked, or checked but not documented, is how charts rot. Templates are written by hand; this program knows nothing of
them, and `tests/charts` holds them against the table. Run by `make generate`.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "tradingsystem-operator"
DEFINITION = ROOT / "manifests" / "crd" / "tradingsystems.tradingsystem.dev.yaml"
PULL_POLICIES = ["Always", "IfNotPresent", "Never"]
WIDTH = 110

Schema = dict[str, Any]

NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
OPTIONAL_NAME = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"
REPOSITORY = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
TAG = r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$"
DIGEST = r"^(sha256:[0-9a-f]{64})?$"
REFERENCE = r"^([a-z0-9][a-z0-9._:/-]*[a-z0-9](:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?)?$"
VERSION = r"^([0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?)?$"


def words(pattern: str, length_max: int) -> Schema:
    return {"type": "string", "pattern": pattern, "maxLength": length_max}


def choice(*names: str) -> Schema:
    return {"type": "string", "enum": list(names)}


def count(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def listed(items: Schema, items_max: int) -> Schema:
    return {"type": "array", "items": items, "maxItems": items_max}


def fields(properties: dict[str, Schema], *required: str) -> Schema:
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | ({"required": list(required)} if required else {})


SWITCH: Schema = {"type": "boolean"}
STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
FREE: Schema = {"type": "object"}
QUANTITIES: Schema = {
    "type": "object",
    "additionalProperties": {
        "oneOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}, {"type": "number", "minimum": 0}]
    },
}
TOLERATION = fields(
    {
        "key": {"type": "string"},
        "operator": choice("Exists", "Equal"),
        "value": {"type": "string"},
        "effect": choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
        "tolerationSeconds": {"type": "integer"},
    }
)
ANY_PORTS = listed(count(1, 65_535), 8) | {"uniqueItems": True}
PORTS = ANY_PORTS | {"minItems": 1}
PULL_SECRET = fields({"name": words(NAME, 253)}, "name")


@dataclass(frozen=True)
class Value:
    """One value: where it stands, what it is when nobody says otherwise, what it may be, and what it means."""

    path: str
    default: Any
    schema: Schema
    says: str


def switch(path: str, *, on: bool, says: str) -> Value:
    return Value(path, on, SWITCH, says)


@dataclass(frozen=True)
class Group:
    """What a group of values is about, and what must hold between them."""

    path: str
    says: str
    holds: Schema | None = None


GROUPS = (
    Group("image", "The operator's own image."),
    Group("release", "The release of the data plane that a TradingSystem without `spec.version` gets at its creation."),
    Group("release.componentsImage", "The image of every service of a trading system."),
    Group("watch", "Where TradingSystems are looked for."),
    Group("crds", "The definition of the resource."),
    Group("rbac", "Rights."),
    Group(
        "serviceAccount",
        "Who the operator is.",
        {"if": {"properties": {"create": {"const": False}}}, "then": {"properties": {"name": {"minLength": 1}}}},
    ),
    Group("leaderElection", "The Lease that lets one operator act, and a second wait."),
    Group("podMonitor", "A PodMonitor of the Prometheus operator; its definition must be installed."),
    Group("serviceMonitor", "A ServiceMonitor of the Prometheus operator; its definition must be installed."),
    Group("networkPolicy", "Who may reach the operator, and what it may reach."),
    Group("podDisruptionBudget", "What a drain may take away."),
)

VALUES = (
    Value("nameOverride", "", words(OPTIONAL_NAME, 40), "Replaces the chart's name in labels."),
    Value("fullnameOverride", "", words(OPTIONAL_NAME, 40), "Replaces the name of every object."),
    Value("replicas", 1, count(0, 1), "0 stops the operator: systems trade on, nothing is repaired. More than one comes with high availability."),
    Value("image.repository", "localhost/tradingsystem/operator", words(REPOSITORY, 255), "Name without tag. None is published."),
    Value("image.tag", "", words(TAG, 128), "Empty: the chart's appVersion."),
    Value("image.digest", "", words(DIGEST, 71), "Wins over the tag."),
    Value("image.pullPolicy", "IfNotPresent", choice(*PULL_POLICIES), "When a node fetches the image."),
    Value("imagePullSecrets", [], listed(PULL_SECRET, 8), "Secrets of the operator's namespace with which its image is fetched."),
    Value("release.version", "", words(VERSION, 64), "Empty: the chart's appVersion."),
    Value("release.componentsImage.repository", "localhost/tradingsystem/components", words(REPOSITORY, 255), "Name without tag."),
    Value("release.componentsImage.tag", "", words(TAG, 128), "Empty: the chart's appVersion."),
    Value("release.componentsImage.digest", "", words(DIGEST, 71), "Wins over the tag."),
    Value(
        "release.tritonImage",
        "",
        words(REFERENCE, 512),
        "Triton on a GPU, whole name with tag or digest. Empty: systems that ask for it run their models in process and say so.",
    ),
    Value(
        "release.componentsGpuImage",
        "",
        words(REFERENCE, 512),
        "What builds TensorRT engines for that GPU, whole name with tag or digest. Empty: Triton runs onnxruntime, and systems with a GPU say so.",
    ),
    Value("release.tritonCpuImage", "", words(REFERENCE, 512), "Triton on a CPU, for `inference.gpu.count: 0`. Empty: as above."),
    Value("release.pullPolicy", "IfNotPresent", choice(*PULL_POLICIES), "When a node fetches the services' image."),
    Value(
        "watch.namespaces",
        [],
        listed(words(NAME, 63), 100) | {"uniqueItems": True},
        "Empty: every namespace, with a ClusterRole. Named: these alone, with a Role in each and no right in the cluster as a whole. They must exist.",
    ),
    switch("crds.create", on=True, says="Install and upgrade the definition with the chart. It stays when the chart goes, and every TradingSystem with it."),
    switch("rbac.create", on=True, says="Roles and bindings. Without them somebody else must grant what templates/_rights.tpl lists."),
    switch("rbac.aggregate", on=True, says="Let `view`, `edit` and `admin` of the cluster cover TradingSystems."),
    switch("serviceAccount.create", on=True, says="Make one; without, name one."),
    Value("serviceAccount.name", "", words(OPTIONAL_NAME, 63), "Empty: the name of the other objects."),
    Value("serviceAccount.annotations", {}, STRINGS, "Annotations of the account."),
    Value("leaderElection.leaseName", "", words(OPTIONAL_NAME, 63), "Empty: the name of the other objects. It lies in the operator's namespace."),
    Value("workers", 4, count(1, 64), "Trading systems that are worked on at once."),
    Value("logLevel", "info", choice("debug", "info", "warning", "error"), "JSON lines from this level on."),
    Value("resyncSeconds", 120, count(10, 86_400), "How often everything is looked at again although nothing was heard."),
    Value(
        "resources",
        {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
        fields({"requests": QUANTITIES, "limits": QUANTITIES}),
        "What the operator asks of a node. No processor limit: throttled repairs are late repairs.",
    ),
    Value("nodeSelector", {}, STRINGS, "Labels of nodes that may run it."),
    Value("tolerations", [], listed(TOLERATION, 32), "Taints it bears."),
    Value("affinity", {}, FREE, "Affinity, as in a pod."),
    Value("priorityClassName", "", words(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", 253), "Empty: the cluster's default."),
    Value("podLabels", {}, STRINGS, "More labels of the pod."),
    Value("podAnnotations", {}, STRINGS, "Annotations of the pod."),
    switch("podMonitor.enabled", on=False, says="Make it."),
    Value("podMonitor.labels", {}, STRINGS, "Labels by which a Prometheus selects it."),
    Value("podMonitor.intervalSeconds", 30, count(5, 3_600), "How often it is read."),
    switch("serviceMonitor.enabled", on=False, says="Make it."),
    Value("serviceMonitor.labels", {}, STRINGS, "Labels by which a Prometheus selects it."),
    Value("serviceMonitor.intervalSeconds", 30, count(5, 3_600), "How often it is read."),
    switch("networkPolicy.enabled", on=True, says="Make it. In: metrics and health alone. Out: names, the API server, the message servers of trading systems."),
    Value("networkPolicy.apiServerPorts", [443, 6443], PORTS, "Ports of the API server, before and behind its Service."),
    Value("networkPolicy.messageServerPorts", [], ANY_PORTS, "Ports of External message servers (spec.messaging.urls), wherever they are."),
    Value("networkPolicy.metricsFrom", [], listed(FREE, 16), "Peers that may read metrics, as in a NetworkPolicy. Empty: everyone."),
    switch("podDisruptionBudget.enabled", on=True, says="Make it: one pod at a time may be taken."),
)  # fmt: skip


def tree() -> dict[str, Any]:
    """Values and groups as they nest; a group is a dictionary, a value a `Value`."""
    made: dict[str, Any] = {}
    for value in VALUES:
        *groups, name = value.path.split(".")
        place = made
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return made


def group_of(path: str) -> Group:
    """The group at a path. Raises KeyError when the table does not say what it is about."""
    return {group.path: group for group in GROUPS}[path]


def schema(node: dict[str, Any], path: str = "") -> Schema:
    """The schema of one group; nothing that is not in the table may be given."""
    properties: dict[str, Schema] = {}
    for name, below in node.items():
        inner = f"{path}.{name}".lstrip(".")
        properties[name] = below.schema | {"description": below.says} if isinstance(below, Value) else schema(below, inner)
    made = fields(properties)
    if not path:
        properties["global"] = {"type": "object", "description": "What a parent chart shares; not read here."}
        return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of tradingsystem-operator"} | made
    group = group_of(path)
    return made | {"description": group.says} | (group.holds or {})


def values(node: dict[str, Any], path: str = "") -> Iterator[str]:
    """values.yaml, line by line."""
    depth = "  " * path.count(".") + ("  " if path else "")
    for name, below in node.items():
        inner = f"{path}.{name}".lstrip(".")
        if isinstance(below, Value):
            yield f"{depth}# {below.says}"
            body = yaml.safe_dump({name: below.default}, sort_keys=False, width=WIDTH, default_flow_style=below.default in ({}, []))
            body = body.strip().removeprefix("{").removesuffix("}") if below.default in ({}, []) else body.rstrip("\n")
            yield from (depth + line for line in body.splitlines())
        else:
            yield f"{depth}# {group_of(inner).says}"
            yield f"{depth}{name}:"
            yield from values(below, inner)


def readme(template: str, name: str, version: str) -> str:
    """README.md: the page by hand, and the table of values."""
    rows = [f"| `{value.path}` | `{json.dumps(value.default)}` | {value.says} |" for value in VALUES]
    table = "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])
    return template.replace("@VALUES@", table).replace("@NAME@", name).replace("@VERSION@", version)


def chart(version: str) -> str:
    """Chart.yaml, in the version of the project."""
    made = {
        "apiVersion": "v2",
        "name": "tradingsystem-operator",
        "description": "The operator of TradingSystem: one resource, reconciled into a whole automated trading system.",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": ">=1.31.0-0",
        "keywords": ["trading", "operator"],
    }
    return yaml.safe_dump(made, sort_keys=False, width=WIDTH)


def main() -> None:
    """Write every file of the chart that is generated."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    note = "# Generated by charts/generate_chart.py: edit that."
    written = {
        "Chart.yaml": f"{note}\n{chart(version)}",
        "values.yaml": "\n".join([note, *values(tree())]) + "\n",
        "values.schema.json": json.dumps(schema(tree()), indent=1) + "\n",
        "README.md": readme((ROOT / "charts" / "README.template.md").read_text(encoding="utf-8"), CHART.name, version),
    }
    for name, text in written.items():
        (CHART / name).write_text(text, encoding="utf-8")
    shutil.copyfile(DEFINITION, CHART / "files" / "definition.yaml")


if __name__ == "__main__":
    main()
