"""NetworkPolicies: nobody speaks to anybody, then exact pairs. Each policy belongs to one workload, so that a workload that is gone leaves no hole.

Kubelets reach the probes of their own pods whatever stands here. Venues are reached over HTTPS by whoever trades or watches, never in Simulation, and never
at a private address: what is meant for the internet cannot be used to look around the cluster.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from tradingsystem.messages.permissions import SERVICES
from tradingsystem.spec import Mode, Plan, Workload
from tradingsystem.spec.sources import CacheType
from tradingsystem_operator.desired.arguments import ASKS_TRITON, LOADS_TRITON, is_sidecar, triton_of
from tradingsystem_operator.desired.engine_build import builds_engines, engine_workload
from tradingsystem_operator.objects import COMPONENT_LABEL, ENGINE, NETWORK_POLICY, Object, Owner, labels_of, make, name_of, selector_of
from tradingsystem_operator.release import Release

AT_VENUES = frozenset({"ingestion", "execution", "watcher"})
HTTPS = 443
PRIVATE_4 = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
PRIVATE_6 = ["::1/128", "fc00::/7", "fe80::/10"]
NODE_LOCAL_DNS = "169.254.20.10/32"


def network_policies(made: Plan, release: Release, owner: Owner) -> tuple[Object, ...]:
    """The one that closes everything, and one per workload that opens what it needs."""
    everything = make(
        NETWORK_POLICY,
        owner,
        name_of(owner.name, "default-deny"),
        "",
        spec={"podSelector": {"matchLabels": selector_of(owner.name)}, "policyTypes": ["Ingress", "Egress"]},
    )
    with_pod = [workload for workload in made.workloads if not (workload.name == "triton" and is_sidecar(made))]
    if builds_engines(made, release):
        with_pod.append(engine_workload(made))
    return (everything, *(_policy(workload, made, release, owner) for workload in with_pod))


def _policy(workload: Workload, made: Plan, release: Release, owner: Owner) -> Object:
    ingress, egress = _ingress(workload, made, release, owner), _egress(workload, made, owner)
    spec: Object = {"podSelector": {"matchLabels": labels_of(owner.name, workload.name)}, "policyTypes": ["Ingress", "Egress"]}
    spec |= {"ingress": ingress} if ingress else {}
    spec |= {"egress": egress} if egress else {}
    return make(NETWORK_POLICY, owner, name_of(owner.name, workload.name), workload.name, spec=spec)


def _ingress(workload: Workload, made: Plan, release: Release, owner: Owner) -> list[Object]:
    found: list[Object] = []
    if workload.name == ENGINE:
        return []
    if workload.name == "nats":
        callers = sorted(
            [*(each.name for each in made.workloads if each.service in SERVICES), *([ENGINE] if builds_engines(made, release) else [])]
        )
        operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": release.operator_namespace}}}
        return [{"from": [_pods(owner, callers), operator], "ports": [_tcp(workload.port("client"))]}]
    if workload.name == "simulator":
        found.append({"from": [_pods(owner, sorted(AT_VENUES))], "ports": [_tcp(workload.port("venues"))]})
    if workload.name == "triton":
        found.append({"from": [_pods(owner, sorted(ASKS_TRITON))], "ports": [_tcp(workload.port("grpc"))]})
    metrics = [_tcp(workload.port("metrics"))]
    if workload.name == "filter" and (server := triton_of(made)) is not None and is_sidecar(made):
        found.append({"from": [_pods(owner, [LOADS_TRITON])], "ports": [_tcp(server.port("grpc"))]})
        metrics.append(_tcp(server.port("metrics")))
    return [*found, {"ports": metrics}]


def _egress(workload: Workload, made: Plan, owner: Owner) -> list[Object]:
    if workload.name in {"nats", "triton"}:
        return []
    found: list[Object] = [
        {"to": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": NODE_LOCAL_DNS}}], "ports": [_tcp(53), {"port": 53, "protocol": "UDP"}]},
        _message_server(made, owner),
    ]
    if workload.service in AT_VENUES:
        found.append(_venues(made, owner))
    if workload.service in ASKS_TRITON and (server := triton_of(made)) is not None and not (workload.name == "filter" and is_sidecar(made)):
        where = "filter" if is_sidecar(made) else "triton"
        found.append({"to": [_pods(owner, [where])], "ports": [_tcp(server.port("grpc"))]})
    for port in _endpoints(workload):
        found.append({"ports": [_tcp(port)]})  # wherever a person runs it: inside the cluster or not
    return found


def _message_server(made: Plan, owner: Owner) -> Object:
    if made.messaging.external:
        return {"ports": [_tcp(port) for port in made.messaging.ports]}  # wherever a person runs it, as below
    return {"to": [_pods(owner, ["nats"])], "ports": [_tcp(made.workload("nats").port("client"))]}


def _venues(made: Plan, owner: Owner) -> Object:
    if made.mode is Mode.SIMULATION:
        return {"to": [_pods(owner, ["simulator"])], "ports": [_tcp(made.workload("simulator").port("venues"))]}
    internet = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE_4}}, {"ipBlock": {"cidr": "::/0", "except": PRIVATE_6}}]
    return {"to": internet, "ports": [_tcp(HTTPS)]}


def _endpoints(workload: Workload) -> list[int]:
    """Ports of what a person runs beside the system: where traces go, and Redis for the service that caches."""
    found = []
    if address := workload.slice.telemetry.otlp_endpoint:
        parts = urlsplit(address)
        found.append(parts.port or (HTTPS if parts.scheme == "https" else 80))
    cache = getattr(workload.slice, "cache", None)
    if cache is not None and cache.type is CacheType.REDIS:
        found.append(int(cache.address.rpartition(":")[2]))
    return sorted(set(found))


def _pods(owner: Owner, workloads: list[str]) -> Object:
    expression = {"key": COMPONENT_LABEL, "operator": "In", "values": workloads}
    return {"podSelector": {"matchLabels": selector_of(owner.name), "matchExpressions": [expression]}}


def _tcp(port: int) -> Object:
    return {"port": port, "protocol": "TCP"}
