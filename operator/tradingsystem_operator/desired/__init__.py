"""What a TradingSystem is as Kubernetes objects: a pure function of the resource, the release and the owner, one module per kind of object.

``build_all`` is what a revision keeps: it does not change while pods run, except by a spec or a version. ``disruption_budgets`` and ``spec_config_map`` follow
the day and the live settings, so they are rendered anew each time and are part of no revision. Nothing here looks at a cluster, a clock or a secret.
"""

from __future__ import annotations

import msgspec

from tradingsystem.spec import Placement, Plan, TradingSystem, plan
from tradingsystem.spec.inference import Runtime
from tradingsystem_operator.desired.accounts import service_account
from tradingsystem_operator.desired.budgets import disruption_budgets
from tradingsystem_operator.desired.configuration import slice_config_maps, spec_config_map
from tradingsystem_operator.objects import Object, Owner
from tradingsystem_operator.release import Release

TRITON_NOT_IN_THIS_RELEASE = "TritonNotInThisRelease"

__all__ = ["TRITON_NOT_IN_THIS_RELEASE", "build_all", "disruption_budgets", "left_out", "plan_of", "spec_config_map"]


def plan_of(system: TradingSystem, release: Release) -> Plan:
    """What runs in pods: the plan without what this release cannot render yet. Raises InvalidSpec."""
    return plan(_without_triton(system), Placement.KUBERNETES, build=release.build)


def left_out(system: TradingSystem) -> tuple[tuple[str, str], ...]:
    """Reason and message for each part of the spec that is not rendered; empty when everything is."""
    if system.spec.inference.runtime is not Runtime.TRITON:
        return ()
    message = "spec.inference.runtime is Triton, which this release does not render; models run in the filter's process, as with InProcess"
    return ((TRITON_NOT_IN_THIS_RELEASE, message),)


def build_all(system: TradingSystem, release: Release, owner: Owner) -> tuple[Object, ...]:
    """Everything a revision keeps, in the order in which it is applied."""
    made = plan_of(system, release)
    return (service_account(owner), *slice_config_maps(made, owner))


def _without_triton(system: TradingSystem) -> TradingSystem:
    """The resource as this release runs it: inference in process whatever the runtime asks."""
    inference = msgspec.structs.replace(system.spec.inference, runtime=Runtime.IN_PROCESS)
    return msgspec.structs.replace(system, spec=msgspec.structs.replace(system.spec, inference=inference))
