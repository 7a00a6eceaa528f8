"""Kubernetes objects as plain values: which kinds a trading system owns, where they live, and the names that mark one as ours.

Everything the operator writes passes through these names, so that watching, pruning and repairing speak of the same objects. It knows no cluster: an object
is a dictionary, a kind knows its path, and nothing here decides what an object says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tradingsystem.spec.resource import API_VERSION, KIND

Object = dict[str, Any]
"""An object as the API server speaks it: JSON, decoded."""

FIELD_MANAGER = "tradingsystem-operator"
PREFIX = "tradingsystem.dev/"

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
SYSTEM_LABEL = f"{PREFIX}system"
REVISION_LABEL = f"{PREFIX}revision"

CLEAR_LATCH_ANNOTATION = f"{PREFIX}clear-latch"
PAUSE_ANNOTATION = f"{PREFIX}pause"
REVISION_ANNOTATION = f"{PREFIX}revision"
RENDER_HASH_ANNOTATION = f"{PREFIX}render-hash"
BOOT_HASH_ANNOTATION = f"{PREFIX}boot-hash"
CONFIGURATION_HASH_ANNOTATION = f"{PREFIX}configuration-hash"
AFTER_ANNOTATION = f"{PREFIX}after"
"""On a workload: the workloads that must be ready before it starts, separated by commas; absent when there are none."""


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """One kind of object and where the API server keeps it."""

    kind: str
    api_version: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """The URL path of all objects of this kind in a namespace, or of one. An empty namespace: all namespaces."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        place = f"{root}/namespaces/{namespace}" if namespace else root
        return f"{place}/{self.plural}/{name}" if name else f"{place}/{self.plural}"


SERVICE_ACCOUNT = Kind("ServiceAccount", "v1", "serviceaccounts")
CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
SERVICE = Kind("Service", "v1", "services")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies")
DISRUPTION_BUDGET = Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets")
STATEFUL_SET = Kind("StatefulSet", "apps/v1", "statefulsets")
DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
CRON_JOB = Kind("CronJob", "batch/v1", "cronjobs")
JOB = Kind("Job", "batch/v1", "jobs")

OWNED: tuple[Kind, ...] = (
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SERVICE,
    NETWORK_POLICY,
    DISRUPTION_BUDGET,
    STATEFUL_SET,
    DEPLOYMENT,
    CRON_JOB,
    JOB,
)
"""Every kind that is watched, repaired and pruned, in the order in which objects are applied: what a pod refers to comes before the pod."""

SECRET = Kind("Secret", "v1", "secrets")
"""Got by name only, never watched or pruned: losing the passwords of a running system would stop it."""

POD = Kind("Pod", "v1", "pods")
VOLUME_CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")
"""Made by controllers of the cluster, or by a person; never by us."""

TRADING_SYSTEM = Kind(KIND, API_VERSION, "tradingsystems")
WORKLOAD_KINDS = (STATEFUL_SET, DEPLOYMENT, CRON_JOB)


ENGINE = "engine"
"""The workload of the Jobs that compile versions for a GPU; it is in no plan, since what it does is known when it is needed."""


class Key(NamedTuple):
    """What tells an object of one namespace from every other."""

    kind: str
    name: str


class Reference(NamedTuple):
    """An object that a person made and a spec names; it is in the system's namespace."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The TradingSystem that owns what is rendered for it."""

    name: str
    namespace: str
    uid: str

    def reference(self) -> Object:
        """The owner reference of its objects: deleted with it, and it with them when deletion waits for children."""
        return {
            "apiVersion": TRADING_SYSTEM.api_version,
            "kind": TRADING_SYSTEM.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def key_of(thing: Object) -> Key:
    """Kind and name of an object."""
    return Key(thing["kind"], thing["metadata"]["name"])


def kind_of(thing: Object) -> Kind:
    """The kind of an object, by its name. Raises KeyError for a kind that no system owns."""
    return {kind.kind: kind for kind in (*OWNED, SECRET, TRADING_SYSTEM)}[thing["kind"]]


def selector_of(system: str) -> dict[str, str]:
    """The labels by which every owned object of one system is found, and nothing else."""
    return {SYSTEM_LABEL: system, MANAGED_BY_LABEL: FIELD_MANAGER}


def labels_of(system: str, workload: str) -> dict[str, str]:
    """The labels of an owned object. ``workload`` may be empty: the object belongs to the system as a whole."""
    labels = {NAME_LABEL: "tradingsystem", INSTANCE_LABEL: system, MANAGED_BY_LABEL: FIELD_MANAGER, SYSTEM_LABEL: system}
    return labels | ({COMPONENT_LABEL: workload} if workload else {})


def name_of(system: str, workload: str) -> str:
    """The name of an object that belongs to one workload of a system."""
    return f"{system}-{workload}"


def workload_of(thing: Object) -> str:
    """The workload an owned object belongs to; empty when it belongs to the system as a whole."""
    label: str = thing["metadata"].get("labels", {}).get(COMPONENT_LABEL, "")
    return label


def is_controlled_by(thing: Object, uid: str) -> bool:
    """Whether the resource with this uid controls the object; only such an object may be forced or deleted."""
    references = thing["metadata"].get("ownerReferences") or []
    return any(reference.get("controller") and reference.get("uid") == uid for reference in references)


def make(kind: Kind, owner: Owner, name: str, workload: str, **content: Any) -> Object:
    """An owned object: type, name, labels and owner; ``content`` is everything else of it."""
    metadata: Object = {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels_of(owner.name, workload),
        "ownerReferences": [owner.reference()],
    }
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}
