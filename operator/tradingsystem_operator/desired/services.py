"""Services: an address for whom others call, and a name without an address where a StatefulSet only needs an identity."""

from __future__ import annotations

from tradingsystem.spec import Plan, Workload
from tradingsystem_operator.desired.arguments import is_sidecar
from tradingsystem_operator.desired.workloads import has_identity
from tradingsystem_operator.objects import SERVICE, Object, Owner, labels_of, make, name_of

CALLED = frozenset({"nats", "simulator", "triton"})


def services(made: Plan, owner: Owner) -> tuple[Object, ...]:
    """One per workload that is called or has an identity."""
    called = [workload for workload in made.workloads if workload.name in CALLED or has_identity(workload)]
    sidecar = is_sidecar(made)
    return tuple(_to_sidecar(each, owner) if sidecar and each.name == "triton" else _service(each, owner) for each in called)


def _service(workload: Workload, owner: Owner) -> Object:
    spec: Object = {
        "type": "ClusterIP",
        "selector": labels_of(owner.name, workload.name),
        "ports": [{"name": port.name, "port": port.number, "targetPort": port.name, "protocol": "TCP"} for port in workload.ports],
    }
    if workload.name not in CALLED:
        spec["clusterIP"] = "None"
    return make(SERVICE, owner, name_of(owner.name, workload.name), workload.name, spec=spec)


def _to_sidecar(workload: Workload, owner: Owner) -> Object:
    """By which models loads into a server in the filter's pod, ready or not: the filter is ready without it."""
    spec: Object = {
        "type": "ClusterIP",
        "selector": labels_of(owner.name, "filter"),
        "ports": [{"name": "grpc", "port": workload.port("grpc"), "targetPort": "grpc", "protocol": "TCP"}],
        "publishNotReadyAddresses": True,
    }
    return make(SERVICE, owner, name_of(owner.name, workload.name), "filter", spec=spec)
