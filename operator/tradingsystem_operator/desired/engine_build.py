"""The Job that compiles a version for the GPU: on a node of the kind that Triton asks for, from the object store of versions into that of engines.

It is no part of a revision: it is made when the models service says that a version has no engine, and ends. Its name is a hash of all that it does, so the same
work is the same Job, and one that has ended is not made again while it lies there. It mounts the key that signs, as learning jobs do, where there is one.
"""

from __future__ import annotations

import msgspec

from tradingsystem.spec import Plan, Workload, content_hash
from tradingsystem.spec.inference import Gpu, Precision
from tradingsystem.spec.messaging import Messaging
from tradingsystem.spec.secrets import signing_secret
from tradingsystem.spec.slices import TritonSlice
from tradingsystem_operator.desired import places
from tradingsystem_operator.desired.arguments import engine_command, has_own_keys, triton_of
from tradingsystem_operator.desired.pods import container, model_keys_volume, server_volumes, template
from tradingsystem_operator.desired.scheduling import placement, resources
from tradingsystem_operator.objects import CONFIGURATION_HASH_ANNOTATION, ENGINE, JOB, Object, Owner, make
from tradingsystem_operator.release import Release

NAME_LENGTH_MAX = 63
DIGEST_LENGTH = 8
BUILDS_SECONDS_MAX = 3_600
ATTEMPTS_MORE = 2
PRIVATE_KEY = "privateKey"


def builds_engines(made: Plan, release: Release) -> bool:
    """Whether TensorRT should run and there is an image that can build for it."""
    server = triton_of(made)
    return server is not None and server.gpus > 0 and bool(release.components_gpu_image)


def engine_job(version: int, made: Plan, release: Release, owner: Owner, gpu: Gpu, *, suspended: bool) -> Object:
    """The Job of one version."""
    workload, piece = engine_workload(made), made.workload("triton").slice
    assert isinstance(piece, TritonSlice), "the inference server's slice"
    volumes, mounts = _volumes(owner, made.messaging, own_keys=has_own_keys(made))
    command = engine_command(version, made, int8=piece.inference.precision is Precision.INT8)
    one = container(workload, release, command, mounts, resources(workload, gpu), {})
    one["image"] = release.components_gpu_image
    del one["ports"]
    annotations = {CONFIGURATION_HASH_ANNOTATION: workload.boot_hash}
    pod = template(owner, workload, one, volumes, annotations, restartPolicy="Never", **placement(workload, gpu))
    spec: Object = {"backoffLimit": ATTEMPTS_MORE, "activeDeadlineSeconds": BUILDS_SECONDS_MAX, "template": pod}
    digest = content_hash([owner.name, spec])[:DIGEST_LENGTH]
    end = f"-{ENGINE}-{version}-{digest}"
    return make(JOB, owner, owner.name[: NAME_LENGTH_MAX - len(end)].rstrip("-") + end, ENGINE, spec={"suspend": suspended, **spec})


def engine_workload(made: Plan) -> Workload:
    """What the Job is to pods and policies: Triton's nodes and resources, and nothing that listens."""
    return msgspec.structs.replace(made.workload("triton"), name=ENGINE, service=ENGINE, ports=(), secrets=(), pinned_to="", after=())


def _volumes(owner: Owner, messaging: Messaging, *, own_keys: bool) -> tuple[list[Object], list[Object]]:
    of_server = server_volumes(owner, ENGINE, messaging)
    volumes = [volume for volume, _ in of_server]
    mounts: list[Object] = [{"name": volume["name"], "mountPath": str(path), "readOnly": True} for volume, path in of_server]
    if own_keys:
        for name, key, folder in (
            ("signing-key", PRIVATE_KEY, places.SECRETS_FOLDER / signing_secret(owner.name)),
            ("model-keys", places.MODEL_KEYS_FILE.name, places.MODEL_KEYS_FOLDER),
        ):
            volumes.append(model_keys_volume(name, owner, key))
            mounts.append({"name": name, "mountPath": str(folder), "readOnly": True})
    volumes.append({"name": "temporary", "emptyDir": {}})
    mounts.append({"name": "temporary", "mountPath": str(places.TEMPORARY_FOLDER)})
    return volumes, mounts
