"""Triton's Deployment: NVIDIA's server on the GPU's node, or one for a CPU, empty until the models service loads a version into it.

Nothing waits for it: while it is away, or has no node, models run in the filter's process. The key of what changes it is a file that a shell puts on the
command line, since tritonserver reads it from nowhere else; so it stands in no object and no environment, and whoever may look at the pod's processes sees it.
"""

from __future__ import annotations

from tradingsystem.messages.inference_server import flags, restricted
from tradingsystem.spec import Plan, Workload
from tradingsystem.spec.inference import Gpu
from tradingsystem_operator.credentials import TRITON_KEY, credentials_name
from tradingsystem_operator.desired import places
from tradingsystem_operator.desired.arguments import EVERYWHERE, backend_of
from tradingsystem_operator.desired.pods import container, probes, secret_volume, template
from tradingsystem_operator.desired.scheduling import placement, resources
from tradingsystem_operator.desired.workloads import deployment
from tradingsystem_operator.objects import CONFIGURATION_HASH_ANNOTATION, Object, Owner
from tradingsystem_operator.release import Release

SHARED_MEMORY_BYTES_MAX = "256Mi"
"""Of the python backend's and of clients' regions; counts as the pod's memory."""


def image_of(workload: Workload, release: Release) -> str:
    """The image that fits what it runs on; empty when the operator was told of none."""
    return release.triton_image if workload.gpus else release.triton_cpu_image


def inference_server(made: Plan, release: Release, owner: Owner, gpu: Gpu | None) -> Object:
    """The Deployment."""
    workload = made.workload("triton")
    volumes: list[Object] = [
        {"name": "repository", "emptyDir": {}},
        secret_volume("key", credentials_name(owner.name), [(TRITON_KEY, places.TRITON_KEY_FILE.name)]),
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY_BYTES_MAX}},
        {"name": "temporary", "emptyDir": {}},
    ]
    mounts: list[Object] = [
        {"name": "repository", "mountPath": str(places.TRITON_REPOSITORY), "readOnly": True},
        {"name": "key", "mountPath": str(places.TRITON_KEY_FILE.parent), "readOnly": True},
        {"name": "shared-memory", "mountPath": str(places.SHARED_MEMORY_FOLDER)},
        {"name": "temporary", "mountPath": str(places.TEMPORARY_FOLDER)},
    ]
    asked = probes("http", started="/v2/health/live", alive="/v2/health/live", ready="/v2/health/ready")
    one = container(workload, release, command(workload), mounts, resources(workload, gpu), asked)
    one["image"] = image_of(workload, release)
    annotations = {CONFIGURATION_HASH_ANNOTATION: workload.boot_hash}
    return deployment(owner, workload, template(owner, workload, one, volumes, annotations, **placement(workload, gpu)))


def command(workload: Workload) -> list[str]:
    """A shell that reads the key and becomes tritonserver."""
    with_key = " ".join(restricted(f'"$(cat {places.TRITON_KEY_FILE})"'))
    told = flags(
        repository=str(places.TRITON_REPOSITORY),
        backends=str(places.TRITON_BACKENDS),
        address=EVERYWHERE,
        ports={port.name: port.number for port in workload.ports},
        configuration=backend_of(workload),
        regions="triton_",
    )
    return ["/bin/sh", "-c", f'exec tritonserver "$@" {with_key}', "tritonserver", *told]
