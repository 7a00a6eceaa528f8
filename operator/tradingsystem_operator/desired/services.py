"""Services: an address for whom others call, and a name without an address where a StatefulSet only needs an identity."""

from __future__ import annotations

from tradingsystem.spec import Plan, Workload
from tradingsystem_operator.desired.workloads import has_identity
from tradingsystem_operator.objects import SERVICE, Object, Owner, labels_of, make, name_of

CALLED = frozenset({"nats", "simulator", "triton"})


def services(made: Plan, owner: Owner) -> tuple[Object, ...]:
    """One per workload that is called or has an identity."""
    return tuple(_service(workload, owner) for workload in made.workloads if workload.name in CALLED or has_identity(workload))


def _service(workload: Workload, owner: Owner) -> Object:
    spec: Object = {
        "type": "ClusterIP",
        "selector": labels_of(owner.name, workload.name),
        "ports": [{"name": port.name, "port": port.number, "targetPort": port.name, "protocol": "TCP"} for port in workload.ports],
    }
    if workload.name not in CALLED:
        spec["clusterIP"] = "None"
    return make(SERVICE, owner, name_of(owner.name, workload.name), workload.name, spec=spec)
