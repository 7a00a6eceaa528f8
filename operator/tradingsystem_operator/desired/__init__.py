"""What a TradingSystem is as Kubernetes objects: a pure function of the resource, the release and the owner, one module per kind of object.

``build_all`` is what a revision keeps: it does not change while pods run, except by a spec or a version. ``disruption_budgets``, ``spec_config_map`` and the
Jobs of ``engine_build`` follow the day, the live settings and what models lacks, so they are rendered anew each time and are part of no revision. Nothing here
looks at a cluster, a clock or a secret.
"""

from __future__ import annotations

import msgspec

from tradingsystem.spec import Placement, Plan, TradingSystem, Workload, WorkloadKind, plan
from tradingsystem.spec.inference import Gpu, Runtime
from tradingsystem_operator.desired import workloads
from tradingsystem_operator.desired.accounts import service_account
from tradingsystem_operator.desired.arguments import is_sidecar, triton_of
from tradingsystem_operator.desired.budgets import disruption_budgets
from tradingsystem_operator.desired.configuration import nats_config_maps, slice_config_maps, spec_config_map
from tradingsystem_operator.desired.engine_build import builds_engines
from tradingsystem_operator.desired.inference_server import image_of, inference_server, with_sidecar
from tradingsystem_operator.desired.network import network_policies
from tradingsystem_operator.desired.schedules import schedule
from tradingsystem_operator.desired.services import services
from tradingsystem_operator.objects import Object, Owner
from tradingsystem_operator.release import Release

NO_TRITON_IMAGE = "NoTritonImage"
NO_ENGINE_IMAGE = "NoEngineImage"

__all__ = [
    "NO_ENGINE_IMAGE",
    "NO_TRITON_IMAGE",
    "build_all",
    "disruption_budgets",
    "left_out",
    "plan_of",
    "spec_config_map",
]


def plan_of(system: TradingSystem, release: Release) -> Plan:
    """What runs in pods: the plan, with models in process where the operator was told of no image for Triton. Raises InvalidSpec."""
    made = plan(system, Placement.KUBERNETES, build=release.build)
    server = triton_of(made)
    if server is None or image_of(server, release):
        return made
    return plan(_in_process(system), Placement.KUBERNETES, build=release.build)


def left_out(system: TradingSystem, release: Release) -> tuple[tuple[str, str], ...]:
    """Reason and message for each part of the spec that is not as it asks; empty when everything is. Raises InvalidSpec."""
    found = []
    made = plan_of(system, release)
    if system.spec.inference.runtime is Runtime.TRITON and triton_of(made) is None:
        flag, which = ("--triton-image", "on a GPU") if system.spec.inference.gpu.count else ("--triton-cpu-image", "on a CPU")
        message = (
            f"spec.inference.runtime is Triton, {which}, and the operator was told of no image for that ({flag}): models run in the filter's"
            " process, as with InProcess"
        )
        found.append((NO_TRITON_IMAGE, message))
    server = triton_of(made)
    if server is not None and server.gpus and not builds_engines(made, release):
        message = "the operator was told of no image that builds TensorRT engines (--components-gpu-image): Triton runs onnxruntime"
        found.append((NO_ENGINE_IMAGE, message))
    return tuple(found)


def build_all(system: TradingSystem, release: Release, owner: Owner) -> tuple[Object, ...]:
    """Everything a revision keeps, in the order in which it is applied. Raises InvalidSpec."""
    made = plan_of(system, release)
    return (
        service_account(owner),
        *nats_config_maps(made, owner),
        *slice_config_maps(made, owner),
        *services(made, owner),
        *network_policies(made, release, owner),
        *(_workload(workload, system, made, release, owner) for workload in made.workloads if not _shares_a_pod(workload, made)),
    )


def _workload(workload: Workload, system: TradingSystem, made: Plan, release: Release, owner: Owner) -> Object:
    match workload.kind:
        case WorkloadKind.SERVER if workload.service == "triton":
            return inference_server(made, release, owner, _gpu(system))
        case WorkloadKind.SERVER:
            return workloads.nats(made, release, owner)
        case WorkloadKind.JOB:
            return schedule(workload, made, release, owner)
        case WorkloadKind.SERVICE if workload.service == "filter" and is_sidecar(made):
            return with_sidecar(workloads.service(workload, made, release, owner, _gpu(system)), made, release, _gpu(system))
        case WorkloadKind.SERVICE:
            return workloads.service(workload, made, release, owner)


def _gpu(system: TradingSystem) -> Gpu | None:
    """The GPU that Triton holds; None where it runs on a CPU."""
    return system.spec.inference.gpu if system.spec.inference.gpu.count else None


def _shares_a_pod(workload: Workload, made: Plan) -> bool:
    return workload.service == "triton" and is_sidecar(made)


def _in_process(system: TradingSystem) -> TradingSystem:
    """The resource with inference in process whatever the runtime asks."""
    inference = msgspec.structs.replace(system.spec.inference, runtime=Runtime.IN_PROCESS)
    return msgspec.structs.replace(system, spec=msgspec.structs.replace(system.spec, inference=inference))
