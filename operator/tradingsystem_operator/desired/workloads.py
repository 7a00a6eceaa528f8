"""StatefulSets and Deployments: what runs all the time, one pod of each and never two at once.

Whoever keeps something, or is the only one who may write, is a StatefulSet of one: a second pod of it does not start before the first is known to be gone.
The others are Deployments that end the old pod before they start the new one.
"""

from __future__ import annotations

from tradingsystem.messages.permissions import permissions
from tradingsystem.messages.server import USERS_FILE
from tradingsystem.spec import Plan, Workload, content_hash
from tradingsystem.spec.components import OnDelete, Storage
from tradingsystem.spec.inference import Gpu
from tradingsystem.spec.quantities import bytes_of
from tradingsystem.spec.slices import NatsSlice, RecorderSlice
from tradingsystem_operator.credentials import credentials_name
from tradingsystem_operator.desired import places
from tradingsystem_operator.desired.arguments import LOADS_MODELS, command_line, has_own_keys, shows_key
from tradingsystem_operator.desired.configuration import CONFIGURATION_KEY, nats_configuration
from tradingsystem_operator.desired.pods import container, probes, service_volumes, template
from tradingsystem_operator.desired.scheduling import beside, placement, resources
from tradingsystem_operator.objects import (
    AFTER_ANNOTATION,
    BOOT_HASH_ANNOTATION,
    CONFIGURATION_HASH_ANNOTATION,
    DEPLOYMENT,
    STATEFUL_SET,
    Object,
    Owner,
    labels_of,
    make,
    name_of,
)
from tradingsystem_operator.release import Release

SINGLE_WRITERS = frozenset({"ingestion", "execution"})
JOURNAL_CLAIM, RECORDINGS_CLAIM = "journal", "run"
_MEMORY_SHARE_PERCENT = 85
"""Of nats-server's memory limit: its garbage collector works harder before the kernel kills it."""


def nats(made: Plan, release: Release, owner: Owner) -> Object:
    """The message server with its journal on a volume."""
    workload = made.workload("nats")
    assert isinstance(workload.slice, NatsSlice), "the message server's slice"
    storage = workload.slice.storage
    claim = _claim(JOURNAL_CLAIM, storage, storage.journal.size, owner, workload)
    volumes: list[Object] = [
        {"name": "configuration", "projected": {"defaultMode": places.SECRET_MODE, "sources": _nats_sources(owner)}},
        {"name": "temporary", "emptyDir": {}},
    ]
    mounts: list[Object] = [
        {"name": "configuration", "mountPath": str(places.NATS_FOLDER), "readOnly": True},
        {"name": JOURNAL_CLAIM, "mountPath": str(places.NATS_DATA_FOLDER)},
        {"name": "temporary", "mountPath": str(places.TEMPORARY_FOLDER)},
    ]
    # Streams are recovered before it counts as started; afterwards a slow disk is no reason to end it.
    asked = probes("monitoring", started="/healthz", alive="/healthz?js-server-only=true", ready="/healthz?js-enabled-only=true")
    command = ["nats-server", "-c", str(places.NATS_FOLDER / CONFIGURATION_KEY)]
    one = container(workload, release, command, mounts, resources(workload, None), asked)
    limit = bytes_of(workload.resources.limits.memory)
    one["env"].append({"name": "GOMEMLIMIT", "value": str(limit * _MEMORY_SHARE_PERCENT // 100)})
    annotations = {CONFIGURATION_HASH_ANNOTATION: content_hash(nats_configuration(made).decode(), permissions_of(made.system))}
    pod = template(owner, workload, one, volumes, annotations, **placement(workload, None))
    return _stateful_set(owner, workload, pod, [claim], storage)


def permissions_of(system: str) -> list[list[object]]:
    """Who may say what, as plain values: a release that changes it restarts the message server, which reads it once."""
    return [[row.user, list(row.publish), list(row.subscribe)] for row in permissions(system)]


def _nats_sources(owner: Owner) -> list[Object]:
    secret = {"name": credentials_name(owner.name), "items": [{"key": USERS_FILE, "path": USERS_FILE}]}
    return [{"configMap": {"name": name_of(owner.name, "nats")}}, {"secret": secret}]


def service(workload: Workload, made: Plan, release: Release, owner: Owner, gpu: Gpu | None = None) -> Object:
    """One of our services. ``gpu``: what a container that shares its pod holds."""
    storage = workload.slice.storage if isinstance(workload.slice, RecorderSlice) else None
    claims = [_claim(RECORDINGS_CLAIM, storage, storage.recordings.size, owner, workload)] if storage is not None else []
    volumes, mounts = service_volumes(
        owner,
        workload,
        made.messaging,
        claimed=[RECORDINGS_CLAIM] if claims else [],
        triton_key=shows_key(workload, made),
        own_model_keys=workload.service in LOADS_MODELS and has_own_keys(made),
    )
    asked = probes("metrics", started="/healthz", alive="/healthz", ready="/readyz")
    one = container(workload, release, command_line(workload, made), mounts, resources(workload, None), asked)
    annotations = {BOOT_HASH_ANNOTATION: made.boot_hash, CONFIGURATION_HASH_ANNOTATION: workload.boot_hash}
    scheduling = beside(owner, workload, made) if workload.pinned_to else placement(workload, gpu)
    pod = template(owner, workload, one, volumes, annotations, **scheduling)
    if claims or workload.name in SINGLE_WRITERS:
        return _stateful_set(owner, workload, pod, claims, storage)
    return deployment(owner, workload, pod)


def has_identity(workload: Workload) -> bool:
    """Whether it is a StatefulSet, which needs a Service of its name."""
    return workload.name in {*SINGLE_WRITERS, "nats"} or isinstance(workload.slice, RecorderSlice)


def _selector(owner: Owner, workload: Workload) -> Object:
    return {"matchLabels": labels_of(owner.name, workload.name)}


def _stateful_set(owner: Owner, workload: Workload, pod: Object, claims: list[Object], storage: Storage | None) -> Object:
    spec: Object = {
        "replicas": 1,
        "serviceName": name_of(owner.name, workload.name),
        # One pod has no order; and a pod that never became ready is replaced by a repaired one, which OrderedReady would wait for.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 2,
        "selector": _selector(owner, workload),
        "template": pod,
    }
    if storage is not None:
        kept = "Delete" if storage.on_delete is OnDelete.DELETE else "Retain"
        spec |= {"volumeClaimTemplates": claims, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": kept, "whenScaled": "Retain"}}
    return _after(make(STATEFUL_SET, owner, name_of(owner.name, workload.name), workload.name, spec=spec), workload)


def deployment(owner: Owner, workload: Workload, pod: Object) -> Object:
    """One pod of it, the old one gone before the new one starts."""
    spec: Object = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "revisionHistoryLimit": 2,
        "selector": _selector(owner, workload),
        "template": pod,
    }
    return _after(make(DEPLOYMENT, owner, name_of(owner.name, workload.name), workload.name, spec=spec), workload)


def _after(thing: Object, workload: Workload) -> Object:
    if workload.after:
        thing["metadata"]["annotations"] = {AFTER_ANNOTATION: ",".join(workload.after)}
    return thing


def _claim(name: str, storage: Storage, size: str, owner: Owner, workload: Workload) -> Object:
    """A volume claim. It carries the labels by which a person finds it after the system is gone, and no owner, so that it can outlive it."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage.storage_class_name:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": labels_of(owner.name, workload.name)},
        "spec": spec,
    }
