"""Pod templates: what is mounted where, who the process is, how its health is asked, how long it may take to end.

Every pod fits the restricted Pod Security level and has a root it cannot write to. A pod mounts its own slice, its own password and the keys it needs, and
nothing of another's; none mounts a token of the API server.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from tradingsystem.spec import Workload
from tradingsystem.spec.messaging import AUTHORITIES_KEY, Messaging
from tradingsystem.spec.ports import Port
from tradingsystem.spec.secrets import signing_secret
from tradingsystem_operator.credentials import TRITON_KEY, credentials_name
from tradingsystem_operator.desired import places
from tradingsystem_operator.desired.accounts import account_name
from tradingsystem_operator.desired.arguments import LOADS_MODELS, recorded_claim
from tradingsystem_operator.objects import Object, Owner, labels_of, name_of
from tradingsystem_operator.release import Release

GRACE_SECONDS = {"nats": 60, "execution": 60, "recorder": 60}
GRACE_SECONDS_OTHERS = 40
"""A service drains within 20 seconds or is ended by its own process; what is above that is the cluster's slowness."""

_STARTS_WITHIN_SECONDS = 300


def template(
    owner: Owner, workload: Workload, container: Object, volumes: list[Object], annotations: dict[str, str], **extra: object
) -> Object:
    """The pod template of a workload around its one container."""
    spec: Object = {
        "serviceAccountName": account_name(owner.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS.get(workload.service, GRACE_SECONDS_OTHERS),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": places.USER_ID,
            "runAsGroup": places.USER_ID,
            "fsGroup": places.USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
        **extra,
    }
    return {"metadata": {"labels": labels_of(owner.name, workload.name), "annotations": annotations}, "spec": spec}


def container(workload: Workload, release: Release, command: list[str], mounts: list[Object], resources: Object, probes: Object) -> Object:
    """One container of the components image."""
    return {
        "name": workload.name,
        "image": release.components_image,
        "imagePullPolicy": release.pull_policy,
        "command": command[:1],
        "args": command[1:],
        "env": [{"name": "HOME", "value": str(places.TEMPORARY_FOLDER)}],
        "ports": [_port(port) for port in workload.ports],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        **probes,
    }


def _port(port: Port) -> Object:
    return {"name": port.name, "containerPort": port.number, "protocol": "TCP"}


def probes(port: str, *, started: str, alive: str, ready: str) -> Object:
    """How a kubelet asks. Slow to kill: a loop that is busy for seconds works, and a restart of execution in the session costs more than it mends."""
    return {
        "startupProbe": _probe(port, started, period=1, failures=_STARTS_WITHIN_SECONDS),
        "livenessProbe": _probe(port, alive, period=5, failures=12),
        "readinessProbe": _probe(port, ready, period=2, failures=3),
    }


def _probe(port: str, path: str, *, period: int, failures: int) -> Object:
    request = {"path": path, "port": port, "scheme": "HTTP"}
    return {"httpGet": request, "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures, "successThreshold": 1}


def service_volumes(
    owner: Owner,
    workload: Workload,
    messaging: Messaging,
    *,
    claimed: Iterable[str] = (),
    triton_key: bool = False,
    own_model_keys: bool = False,
) -> tuple[list[Object], list[Object]]:
    """Volumes and mounts of one of our services; those ``claimed`` are mounted here and come from a volume claim template. ``own_model_keys``: with the
    public keys of the system's own models."""
    read_only: list[tuple[Object, PurePosixPath]] = [
        (_config_map("slice", name_of(owner.name, workload.name)), places.SLICE_FOLDER),
        *server_volumes(owner, workload.service, messaging),
    ]
    if triton_key:
        key = [(TRITON_KEY, places.TRITON_KEY_FILE.name)]
        read_only.append((secret_volume("triton-key", credentials_name(owner.name), key), places.TRITON_KEY_FILE.parent))
    for number, (name, keys) in enumerate(_keys_by_secret(workload).items()):
        read_only.append((secret_volume(f"secret-{number}", name, [(key, key) for key in keys]), places.SECRETS_FOLDER / name))
    if claim := recorded_claim(workload):
        # Read-only for the kubelet, too: it then leaves owner and mode of a person's files as they are.
        read_only.append(({"name": "recorded", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}, places.RECORDED_FOLDER))
    if own_model_keys:
        read_only.append((model_keys_volume("model-keys", owner, places.MODEL_KEYS_FILE.name), places.MODEL_KEYS_FOLDER))
    own: list[tuple[Object, PurePosixPath]] = [
        ({"name": "state", "emptyDir": {}}, places.STATE_FOLDER),
        ({"name": "run", "emptyDir": {}}, places.RUN_FOLDER),
        ({"name": "temporary", "emptyDir": {}}, places.TEMPORARY_FOLDER),
    ]
    if workload.service in LOADS_MODELS:
        own.append(({"name": "models", "emptyDir": {}}, places.MODELS_FOLDER))
    mounts: list[Object] = [{"name": volume["name"], "mountPath": str(path), "readOnly": True} for volume, path in read_only]
    mounts += [{"name": volume["name"], "mountPath": str(path)} for volume, path in own]
    return [volume for volume, _ in (*read_only, *own) if volume["name"] not in set(claimed)], mounts


def server_volumes(owner: Owner, user: str, messaging: Messaging) -> list[tuple[Object, PurePosixPath]]:
    """What speaking to the message server takes, each with its place: the user's password, and who signs the certificate of one that a person runs."""
    secret = messaging.secret_ref.name if messaging.external else credentials_name(owner.name)
    found = [(secret_volume("password", secret, [(user, places.PASSWORD_FILE.name)]), places.PASSWORD_FOLDER)]
    if authorities := messaging.ca_secret_ref.name:
        item = [(AUTHORITIES_KEY, places.AUTHORITIES_FILE.name)]
        found.append((secret_volume("nats-authorities", authorities, item), places.AUTHORITIES_FILE.parent))
    return found


def model_keys_volume(name: str, owner: Owner, key: str) -> Object:
    """One key of the pair that signs the system's own models; without it only what the release signed serves, and it is seen when it comes."""
    volume = secret_volume(name, signing_secret(owner.name), [(key, key)])
    volume["secret"]["optional"] = True
    return volume


def _keys_by_secret(workload: Workload) -> dict[str, list[str]]:
    """Each secret once, with every key that anything in the service reads; keys nobody asked for never reach a pod."""
    found: dict[str, list[str]] = {}
    for need in workload.secrets:
        keys = found.setdefault(need.name, [])
        keys += [key.name for key in need.keys if key.name not in keys]
    return found


def _config_map(volume: str, name: str) -> Object:
    return {"name": volume, "configMap": {"name": name, "defaultMode": places.CONFIGURATION_MODE}}


def secret_volume(volume: str, name: str, items: list[tuple[str, str]]) -> Object:
    """A volume of some keys of a Secret, by key and file, for the pod's group alone."""
    return {"name": volume, "secret": {"secretName": name, "items": _items(items), "defaultMode": places.SECRET_MODE}}


def _items(pairs: list[tuple[str, str]]) -> list[Object]:
    return [{"key": key, "path": path} for key, path in pairs]
