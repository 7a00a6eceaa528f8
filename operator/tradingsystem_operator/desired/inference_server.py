"""Triton's Deployment or container: NVIDIA's server on the GPU's node, or one for a CPU, empty until the models service loads a version into it.

Nothing waits for it: while it is away, or has no node, models run in the filter's process. The key of what changes it is a file that a shell puts on the
command line, since tritonserver reads it from nowhere else; so it stands in no object and no environment, and whoever may look at the pod's processes sees it.
"""

from __future__ import annotations

from tradingsystem.messages.inference_server import flags, restricted
from tradingsystem.spec import Plan, Workload
from tradingsystem.spec.inference import Gpu
from tradingsystem_operator.credentials import TRITON_KEY, credentials_name
from tradingsystem_operator.desired import places
from tradingsystem_operator.desired.arguments import EVERYWHERE, backend_of, is_sidecar
from tradingsystem_operator.desired.pods import container, probes, secret_volume, template
from tradingsystem_operator.desired.scheduling import placement, resources
from tradingsystem_operator.desired.workloads import deployment
from tradingsystem_operator.objects import CONFIGURATION_HASH_ANNOTATION, Object, Owner
from tradingsystem_operator.release import Release

SHARED_MEMORY_BYTES_MAX = "256Mi"
"""Of the python backend's and of clients' regions; counts as the pod's memory."""

ALLOW_SHARED_MEMORY = "--allow-client-shm=true"
"""Needed since 2.68, which NVIDIA's image is; the server for a CPU is older, does not know it and needs no leave."""


def image_of(workload: Workload, release: Release) -> str:
    """The image that fits what it runs on; empty when the operator was told of none."""
    return release.triton_image if workload.gpus else release.triton_cpu_image


def inference_server(made: Plan, release: Release, owner: Owner, gpu: Gpu | None) -> Object:
    """The Deployment."""
    workload = made.workload("triton")
    annotations = {CONFIGURATION_HASH_ANNOTATION: workload.boot_hash}
    volumes = [*_volumes(), _key(owner)]
    pod = template(owner, workload, _container(made, release, gpu), volumes, annotations, **placement(workload, gpu))
    return deployment(owner, workload, pod)


def with_sidecar(filter_s: Object, made: Plan, release: Release, gpu: Gpu | None) -> Object:
    """The filter's Deployment with the server as a container of its pod: one shared memory, and the key, which the filter has mounted already."""
    spec = filter_s["spec"]["template"]["spec"]
    spec["containers"][0]["volumeMounts"].append(_shared_memory())
    spec["containers"].append(_container(made, release, gpu))
    spec["volumes"] += _volumes()
    return filter_s


def _volumes() -> list[Object]:
    return [
        {"name": "triton-repository", "emptyDir": {}},
        {"name": "triton-temporary", "emptyDir": {}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY_BYTES_MAX}},
    ]


def _key(owner: Owner) -> Object:
    return secret_volume("triton-key", credentials_name(owner.name), [(TRITON_KEY, places.TRITON_KEY_FILE.name)])


def _shared_memory() -> Object:
    return {"name": "shared-memory", "mountPath": str(places.SHARED_MEMORY_FOLDER)}


def _container(made: Plan, release: Release, gpu: Gpu | None) -> Object:
    workload = made.workload("triton")
    mounts: list[Object] = [
        {"name": "triton-repository", "mountPath": str(places.TRITON_REPOSITORY), "readOnly": True},
        {"name": "triton-key", "mountPath": str(places.TRITON_KEY_FILE.parent), "readOnly": True},
        {"name": "triton-temporary", "mountPath": str(places.TEMPORARY_FOLDER)},
        _shared_memory(),
    ]
    asked = probes("http", started="/v2/health/live", alive="/v2/health/live", ready="/v2/health/ready")
    one = container(workload, release, command(made), mounts, resources(workload, gpu), asked)
    one["image"] = image_of(workload, release)
    return one


def command(made: Plan) -> list[str]:
    """A shell that removes what a killed server left of its loads, which outlives the container, reads the key and becomes tritonserver."""
    workload = made.workload("triton")
    with_key = " ".join(restricted(f'"$(cat {places.TRITON_KEY_FILE})"'))
    told = flags(
        repository=str(places.TRITON_REPOSITORY),
        backends=str(places.TRITON_BACKENDS),
        address=EVERYWHERE,
        ports={port.name: port.number for port in workload.ports},
        configuration=backend_of(workload),
        regions="triton_",
    )
    if workload.gpus and is_sidecar(made):
        told.append(ALLOW_SHARED_MEMORY)
    return ["/bin/sh", "-c", f'rm -rf {places.TEMPORARY_FOLDER}/folder??????; exec tritonserver "$@" {with_key}', "tritonserver", *told]
