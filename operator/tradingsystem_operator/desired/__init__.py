"""What a TradingSystem is as Kubernetes objects: a pure function of the resource, the release and the owner, one module per kind of object.

``build_all`` is what a revision keeps: it does not change while pods run, except by a spec or a version. ``disruption_budgets`` and ``spec_config_map``
follow the day and the live settings, so they are rendered anew each time and are part of no revision. Nothing here looks at a cluster, a clock or a secret.
"""

from __future__ import annotations

import msgspec

from tradingsystem.spec import Placement, Plan, TradingSystem, Workload, WorkloadKind, plan
from tradingsystem.spec.inference import Gpu, Runtime, TritonPlacement
from tradingsystem_operator.desired import workloads
from tradingsystem_operator.desired.accounts import service_account
from tradingsystem_operator.desired.budgets import disruption_budgets
from tradingsystem_operator.desired.configuration import nats_config_map, slice_config_maps, spec_config_map
from tradingsystem_operator.desired.network import network_policies
from tradingsystem_operator.desired.schedules import schedule
from tradingsystem_operator.desired.services import services
from tradingsystem_operator.objects import Object, Owner
from tradingsystem_operator.release import Release

TRITON_NOT_IN_THIS_RELEASE = "TritonNotInThisRelease"
CANDIDATES_STAY_ON_THEIR_VOLUME = "CandidatesStayOnTheirVolume"

__all__ = [
    "CANDIDATES_STAY_ON_THEIR_VOLUME",
    "TRITON_NOT_IN_THIS_RELEASE",
    "build_all",
    "disruption_budgets",
    "left_out",
    "plan_of",
    "spec_config_map",
]


def plan_of(system: TradingSystem, release: Release) -> Plan:
    """What runs in pods: the plan without what this release cannot render yet. Raises InvalidSpec."""
    return plan(_without_triton(system), Placement.KUBERNETES, build=release.build)


def left_out(system: TradingSystem) -> tuple[tuple[str, str], ...]:
    """Reason and message for each part of the spec that is not as it asks; empty when everything is."""
    found = []
    if system.spec.inference.runtime is Runtime.TRITON:
        message = (
            "spec.inference.runtime is Triton, which this release does not render: models run in the filter's process, as with InProcess;"
            " where Triton's node is the filter's (placement SameNode), the filter asks for the GPU and is placed on such a node"
        )
        found.append((TRITON_NOT_IN_THIS_RELEASE, message))
    jobs = [
        workload.name for workload in plan(_without_triton(system), Placement.KUBERNETES).workloads if workload.kind is WorkloadKind.JOB
    ]
    if jobs:
        message = (
            f"{', '.join(jobs)} run and keep their candidates on the recorder's volume, under models; this release does not bring them to the pods"
            " that serve, so the pinned or newest bundle of the image serves on"
        )
        found.append((CANDIDATES_STAY_ON_THEIR_VOLUME, message))
    return tuple(found)


def build_all(system: TradingSystem, release: Release, owner: Owner) -> tuple[Object, ...]:
    """Everything a revision keeps, in the order in which it is applied. Raises InvalidSpec."""
    made = plan_of(system, release)
    return (
        service_account(owner),
        nats_config_map(made, owner),
        *slice_config_maps(made, owner),
        *services(made, owner),
        *network_policies(made, release, owner),
        *(_workload(workload, system, made, release, owner) for workload in made.workloads),
    )


def _workload(workload: Workload, system: TradingSystem, made: Plan, release: Release, owner: Owner) -> Object:
    match workload.kind:
        case WorkloadKind.SERVER:
            return workloads.nats(made, release, owner)
        case WorkloadKind.JOB:
            return schedule(workload, made, release, owner)
        case WorkloadKind.SERVICE:
            return workloads.service(workload, made, release, owner, _gpu(workload, system))


def _gpu(workload: Workload, system: TradingSystem) -> Gpu | None:
    """The GPU a workload holds. In a release without Triton that is the filter, so that what is asked of the cluster stays the same when it comes."""
    inference = system.spec.inference
    same_node = inference.runtime is Runtime.TRITON and inference.placement is TritonPlacement.SAME_NODE
    return inference.gpu if same_node and workload.service == "filter" else None


def _without_triton(system: TradingSystem) -> TradingSystem:
    """The resource as this release runs it: inference in process whatever the runtime asks."""
    inference = msgspec.structs.replace(system.spec.inference, runtime=Runtime.IN_PROCESS)
    return msgspec.structs.replace(system, spec=msgspec.structs.replace(system.spec, inference=inference))
