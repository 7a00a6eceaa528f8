"""CronJobs: when models learn. A job may start twice or not at all, so what it does is named by the hour it was meant for, not by when it ran.

The schedule is there; as long as the release has no learning service, every one of them is suspended, and the status says so.
"""

from __future__ import annotations

import hashlib

from tradingsystem.spec import Plan, Workload
from tradingsystem_operator.desired.arguments import command_line
from tradingsystem_operator.desired.pods import container, service_volumes, template
from tradingsystem_operator.desired.scheduling import placement, resources
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
    volumes, mounts = service_volumes(owner, workload)
    one = container(workload, release, command_line(workload, made), mounts, resources(workload, None), {})
    one["env"].append({"name": "TRADINGSYSTEM_JOB_KEY", "valueFrom": {"fieldRef": {"fieldPath": JOB_KEY}}})
    pod = template(
        owner, workload, one, volumes, {BOOT_HASH_ANNOTATION: made.boot_hash}, restartPolicy="Never", **placement(workload, None)
    )
    spec: Object = {
        "schedule": workload.schedule,
        "timeZone": workload.time_zone,
        "suspend": True,
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
