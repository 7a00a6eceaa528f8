"""What would run: workloads, the slice of the resource each gets, ports, secrets, order. A pure function of resource, placement and build.

The local supervisor starts processes from a Plan, the operator renders objects from it; neither adds a decision. Planning starts nothing, reads no
secret and looks at no machine. What cannot run (Live in one process, files of a machine in pods) is refused here, with the reason.
"""

import enum

import msgspec

from tradingsystem.spec.components import Amounts, Component, Resources
from tradingsystem.spec.hashing import canonical_json, content_hash
from tradingsystem.spec.inference import Runtime, TritonPlacement
from tradingsystem.spec.messaging import Messaging
from tradingsystem.spec.ports import Port, ports_of
from tradingsystem.spec.problems import InvalidSpec, Problem
from tradingsystem.spec.quantities import bytes_of
from tradingsystem.spec.resource import Mode, TradingSystem
from tradingsystem.spec.secrets import SecretNeed, secrets_of
from tradingsystem.spec.slices import LiveSettings, Slice, live_settings, slice_of


class Placement(enum.StrEnum):
    """Where it runs: every service in one process, one process each, or one pod each."""

    ONE_PROCESS = "OneProcess"
    PROCESSES = "Processes"
    KUBERNETES = "Kubernetes"


class WorkloadKind(enum.StrEnum):
    """Server: a program of others that we configure. Service: ours, runs until told to stop. Job: ours, runs on a schedule and ends."""

    SERVER = "Server"
    SERVICE = "Service"
    JOB = "Job"


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that runs. ``process`` names the process it shares; ``after`` names what must be ready before it starts."""

    name: str
    service: str
    kind: WorkloadKind
    process: str
    slice: Slice
    ports: tuple[Port, ...]
    resources: Resources
    component: Component
    secrets: tuple[SecretNeed, ...]
    singleton: bool
    after: tuple[str, ...]
    schedule: str
    time_zone: str
    pinned_to: str
    gpus: int
    boot_hash: str

    def port(self, name: str) -> int:
        """The number of one of its ports. Raises KeyError when it has no port of that name."""
        return {port.name: port.number for port in self.ports}[name]

    def slice_json(self) -> bytes:
        """The slice as its process gets it: canonical JSON, decoded there with ``SLICE_OF[service]``."""
        return canonical_json(self.slice)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that runs for one resource, in start order.

    ``boot_hash`` covers the slices of every workload on the way from tick to order and the build: services that report another one must not trade
    together. ``live_hash`` covers what is applied while running.
    ``journal_volume_bytes``: what the message server's volume holds, or this system's share of it.
    """

    system: str
    namespace: str
    mode: Mode
    placement: Placement
    build: str
    messaging: Messaging
    journal_volume_bytes: int
    workloads: tuple[Workload, ...]
    live: LiveSettings
    boot_hash: str
    live_hash: str

    def workload(self, name: str) -> Workload:
        """The workload of that name. Raises KeyError when the plan has none."""
        return {workload.name: workload for workload in self.workloads}[name]

    def processes(self) -> dict[str, tuple[Workload, ...]]:
        """The workloads of each process, in start order; jobs are not processes until their time comes."""
        found: dict[str, tuple[Workload, ...]] = {}
        for workload in self.workloads:
            if workload.kind is not WorkloadKind.JOB:
                found[workload.process] = (*found.get(workload.process, ()), workload)
        return found

    def secrets(self) -> tuple[SecretNeed, ...]:
        """Each secret once, in the order in which it is first needed."""
        return tuple(dict.fromkeys(need for workload in self.workloads for need in workload.secrets))


_TRADING_PATH = frozenset({"simulator", "ingestion", "filter", "execution", "recorder", "models"})

_AFTER: dict[str, tuple[str, ...]] = {
    "nats": (),
    "triton": (),
    "simulator": ("nats",),
    "recorder": ("nats",),
    "monitor": ("nats",),
    "watcher": ("nats",),
    "models": ("nats", "triton"),
    "execution": ("nats", "simulator", "recorder", "watcher"),
    "filter": ("nats", "models", "execution", "triton"),
    "ingestion": ("nats", "simulator", "recorder", "filter", "execution"),
    "learning-incremental": ("nats", "models"),
    "learning-retrain": ("nats", "models"),
}
"""Start order: who listens starts before who speaks, so that no first message is lost. Names a plan does not have are left out."""

_OWN_RESOURCES: dict[str, tuple[str, str]] = {
    "nats": ("500m", "512Mi"),
    "simulator": ("1", "1Gi"),
    "ingestion": ("1", "256Mi"),
    "filter": ("1", "640Mi"),
    "execution": ("500m", "256Mi"),
    "recorder": ("500m", "256Mi"),
    "monitor": ("100m", "192Mi"),
    "watcher": ("100m", "192Mi"),
    "models": ("250m", "512Mi"),
    "learning": ("2", "4Gi"),
    "triton": ("2", "8Gi"),
}
"""Requests of cpu and memory where ``components`` names none; memory is the design's ceiling per service with half again as headroom."""


def plan(system: TradingSystem, placement: Placement, *, build: str = "") -> Plan:
    """What would run for ``system`` at ``placement``.

    ``build`` names the release that runs; ``spec.version`` goes before it. Raises InvalidSpec when the placement cannot run this resource.
    """
    _refuse_impossible(system, placement)
    build = system.spec.version or build
    workloads = tuple(_workload(name, service, system, placement, build) for name, service in _names(system, placement))
    present = {workload.name for workload in workloads}
    if placement is Placement.KUBERNETES:
        present -= {"triton"}  # its image takes minutes to arrive and its node may be missing; models run in the filter's process meanwhile
    workloads = tuple(
        msgspec.structs.replace(workload, after=tuple(name for name in workload.after if name in present)) for workload in workloads
    )
    live = live_settings(system)
    path = {workload.name: workload.boot_hash for workload in workloads if workload.service in _TRADING_PATH}
    return Plan(
        system=system.metadata.name,
        namespace=system.metadata.namespace,
        mode=system.spec.mode,
        placement=placement,
        build=build,
        messaging=system.spec.messaging,
        journal_volume_bytes=bytes_of(system.spec.storage.journal.size),
        workloads=workloads,
        live=live,
        boot_hash=content_hash(path, build),
        live_hash=content_hash(live),
    )


def _refuse_impossible(system: TradingSystem, placement: Placement) -> None:
    if placement is Placement.ONE_PROCESS and system.spec.mode is Mode.LIVE:
        problem = Problem(
            field="spec.mode",
            value='"Live"',
            reason="is refused in one process, where one crash takes execution and its watchers together",
            remedy="run without --one-process",
        )
        raise InvalidSpec((problem,))
    if placement is Placement.KUBERNETES and system.spec.plays_recorded and not system.spec.simulation.data_claim_name:
        problem = Problem(
            field="spec.simulation.dataClaimName",
            value='""',
            reason="is empty, and recorded days come to a pod on a volume alone",
            remedy="name a PersistentVolumeClaim that holds them; data is then the folder in it",
        )
        raise InvalidSpec((problem,))


def _names(system: TradingSystem, placement: Placement) -> list[tuple[str, str]]:
    """Name and service of each workload, in start order. In Simulation a schedule only says that a person may start the job where there is a cluster."""
    spec = system.spec
    wanted = {"recorder", "monitor", "watcher", "models", "execution", "filter", "ingestion"}
    if not spec.messaging.external:
        wanted.add("nats")
    if spec.mode is Mode.SIMULATION:
        wanted.add("simulator")
    if spec.inference.runtime is Runtime.TRITON:
        wanted.add("triton")
    if spec.mode is not Mode.SIMULATION or placement is Placement.KUBERNETES:
        wanted |= {name for name, schedule in _schedules(system).items() if schedule}
    return [(name, name.partition("-")[0]) for name in _AFTER if name in wanted]


def _schedules(system: TradingSystem) -> dict[str, str]:
    learning = system.spec.learning
    return {"learning-incremental": learning.incremental.schedule, "learning-retrain": learning.retrain.schedule}


def _kind(service: str) -> WorkloadKind:
    if service in {"nats", "triton"}:
        return WorkloadKind.SERVER
    return WorkloadKind.JOB if service == "learning" else WorkloadKind.SERVICE


def _process(name: str, kind: WorkloadKind, placement: Placement) -> str:
    return "system" if placement is Placement.ONE_PROCESS and kind is WorkloadKind.SERVICE else name


def _workload(name: str, service: str, system: TradingSystem, placement: Placement, build: str) -> Workload:
    spec = system.spec
    component: Component = getattr(spec.components, service)
    kind = _kind(service)
    piece = slice_of(service, system)
    same_node = service == "filter" and spec.inference.runtime is Runtime.TRITON and spec.inference.placement is TritonPlacement.SAME_NODE
    in_filter_s_pod = service == "triton" and spec.inference.placement is TritonPlacement.SIDECAR
    return Workload(
        name=name,
        service=service,
        kind=kind,
        process=_process(name, kind, placement),
        slice=piece,
        ports=ports_of(name, spec.telemetry.metrics_port, in_pods=placement is Placement.KUBERNETES, shared=in_filter_s_pod),
        resources=_resources(service, component),
        component=component,
        secrets=secrets_of(service, system),
        singleton=kind is not WorkloadKind.JOB,
        after=_AFTER[name],
        schedule=_schedules(system).get(name, ""),
        time_zone=spec.learning.time_zone if kind is WorkloadKind.JOB else "",
        pinned_to="triton" if same_node else "",
        gpus=spec.inference.gpu.count if service == "triton" else 0,
        boot_hash=content_hash(_boot_part(piece), build),
    )


def _boot_part(piece: Slice) -> dict[str, object]:
    """The slice without what is applied while running."""
    return {name: value for name, value in msgspec.structs.asdict(piece).items() if name != "live"}


def _resources(service: str, component: Component) -> Resources:
    cpu, memory = _OWN_RESOURCES[service]
    asked, limits = component.resources.requests, component.resources.limits
    requests = Amounts(cpu=asked.cpu or cpu, memory=asked.memory or memory)
    return Resources(requests=requests, limits=Amounts(cpu=limits.cpu, memory=limits.memory or requests.memory))


class PlanRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what ``tradingsystem plan`` prints."""

    workload: str
    kind: str
    process: str
    after: str
    ports: str
    reads: str
    secrets: str
    requests: str
    boot_hash: str


_EVERYBODY_READS = frozenset(Slice.__struct_fields__)


def explain(plan: Plan) -> tuple[PlanRow, ...]:
    """The plan as text, one row per workload in start order. Secrets by name only."""
    return tuple(
        PlanRow(
            workload=workload.name,
            kind=f"{workload.kind} at {workload.schedule} {workload.time_zone}" if workload.schedule else str(workload.kind),
            process=workload.process,
            after=", ".join(workload.after),
            ports=", ".join(f"{port.name} {port.number}" for port in workload.ports),
            reads=", ".join(name for name in workload.slice.__struct_fields__ if name not in _EVERYBODY_READS),
            secrets=", ".join(need.name for need in workload.secrets),
            requests=f"{workload.resources.requests.cpu} cpu, {workload.resources.requests.memory}",
            boot_hash=workload.boot_hash[:12],
        )
        for workload in plan.workloads
    )
