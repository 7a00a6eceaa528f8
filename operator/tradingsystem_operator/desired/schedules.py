"""CronJobs: when models learn. A job may start twice or not at all, so what it does is named by the hour it was meant for, not by when it ran.

A job reads the recorder's volume and writes its candidates on it, so it runs on the recorder's node, which alone may mount it; from there they go into the
object store, and by it to the pods that serve. Beside the job that builds engines it is the only pod that mounts the key that signs. In Simulation, whose days
do not end at half past eleven, schedules are suspended and a person starts a job: ``kubectl create job --from=cronjob/...``.
"""

from __future__ import annotations

import hashlib

from tradingsystem.spec import Mode, Plan, Workload
from tradingsystem_operator.desired import places
from tradingsystem_operator.desired.arguments import learning_command
from tradingsystem_operator.desired.pods import container, service_volumes, template
from tradingsystem_operator.desired.scheduling import placement, resources
from tradingsystem_operator.desired.workloads import RECORDINGS_CLAIM
from tradingsystem_operator.objects import BOOT_HASH_ANNOTATION, CRON_JOB, Object, Owner, labels_of, make, name_of
from tradingsystem_operator.release import Release

NAME_LENGTH_MAX = 52
"""The controller appends eleven characters to make a job's name, which is a label."""

LATE_SECONDS_MAX = 3_600
RUNS_SECONDS_MAX = 6 * 3_600
JOB_KEY = "metadata.labels['batch.kubernetes.io/job-name']"
"""The controller names a job by schedule and minute: the same for a run that starts twice, another for every next one."""


def schedule_name(system: str, workload: str) -> str:
    """``<system>-<workload>``, or where that is too long, a shorter one that stays unique."""
    whole = name_of(system, workload)
    if len(whole) <= NAME_LENGTH_MAX:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
    kept = NAME_LENGTH_MAX - len(workload) - len(digest) - 2
    return f"{system[:kept].rstrip('-')}-{digest}-{workload}"


def schedule(workload: Workload, made: Plan, release: Release, owner: Owner) -> Object:
    """One learning schedule."""
    volumes, mounts = service_volumes(owner, workload, made.messaging)
    more, places_of_them = _recordings(owner)
    volumes, mounts = [*volumes, *more], [*mounts, *places_of_them]
    one = container(workload, release, learning_command(workload, made), mounts, resources(workload, None), {})
    one["env"].append({"name": "TRADINGSYSTEM_JOB_KEY", "valueFrom": {"fieldRef": {"fieldPath": JOB_KEY}}})
    pod = template(
        owner, workload, one, volumes, {BOOT_HASH_ANNOTATION: made.boot_hash}, restartPolicy="Never", **_beside_recorder(owner, workload)
    )
    spec: Object = {
        "schedule": workload.schedule,
        "timeZone": workload.time_zone,
        "suspend": made.mode is Mode.SIMULATION,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": LATE_SECONDS_MAX,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "metadata": {"labels": labels_of(owner.name, workload.name)},
            "spec": {"backoffLimit": 2, "activeDeadlineSeconds": RUNS_SECONDS_MAX, "template": pod},
        },
    }
    return make(CRON_JOB, owner, schedule_name(owner.name, workload.name), workload.name, spec=spec)


def _recordings(owner: Owner) -> tuple[list[Object], list[Object]]:
    """The recorder's volume: its recordings to read, beside them a folder for model versions to write; and what the filter runs with."""
    recorder = name_of(owner.name, "recorder")
    volumes: list[Object] = [
        {"name": "recordings", "persistentVolumeClaim": {"claimName": f"{RECORDINGS_CLAIM}-{recorder}-0"}},
        {"name": "filter-slice", "configMap": {"name": name_of(owner.name, "filter"), "defaultMode": places.CONFIGURATION_MODE}},
    ]
    mounts: list[Object] = [
        {"name": "recordings", "mountPath": str(places.RECORDINGS_FOLDER / "recording"), "subPath": "recording", "readOnly": True},
        {"name": "recordings", "mountPath": str(places.MODELS_FOLDER), "subPath": "models"},
        {"name": "filter-slice", "mountPath": str(places.FILTER_SLICE_FOLDER), "readOnly": True},
    ]
    return volumes, mounts


def _beside_recorder(owner: Owner, workload: Workload) -> Object:
    """Where a learning pod may run: as its component asks, and on the recorder's node, since its volume is mounted on one node at a time."""
    found = placement(workload, None)
    recorder = {"labelSelector": {"matchLabels": labels_of(owner.name, "recorder")}, "topologyKey": "kubernetes.io/hostname"}
    found["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [recorder]}}
    return found
