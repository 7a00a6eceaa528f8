"""What was observed, reduced from raw objects to what decisions need: is a workload ready, which problem has it, is it the revision that is wanted. Pure.

Kubernetes says the same trouble in many places (a pod's conditions, its containers' states, a claim's phase); here each becomes one reason of ours with the
cluster's own words behind it. Nothing is guessed: what nobody said is not a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tradingsystem.domain.calendar import is_session, session
from tradingsystem.domain.control import Beat, ModelsState
from tradingsystem.domain.errors import Unplayable
from tradingsystem.domain.time import new_york_date
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.telemetry.logs import why_it_could_not_start
from tradingsystem_operator.objects import COMPONENT_LABEL, CRON_JOB, DEPLOYMENT, REVISION_ANNOTATION, STATEFUL_SET, Key, Object

HEARD_SECONDS = 10.0  # a service speaks at least once a second

_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_WORDS_MAX = 400


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One reason of the table in ``conditions.py``, and what exactly happened, where, and what to do."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFact:
    """One workload as the cluster shows it. ``stuck_pod``: a pod of an older revision that will never be ready and that its StatefulSet will not replace."""

    name: str
    exists: bool
    ready: bool
    revision: int = 0
    image: str = ""
    problems: tuple[Problem, ...] = ()
    stuck_pod: tuple[str, str] | None = None  # name and uid


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFact:
    """What the services said over the message server. Ages in seconds; a service that was never heard is not in ``beat_ages``."""

    connected: bool = False
    problem: str = ""
    unreachable_seconds: float = 0.0
    trading: TradingStatus | None = None
    trading_age: float = 0.0
    beats: Mapping[str, Beat] = field(default_factory=dict)
    beat_ages: Mapping[str, float] = field(default_factory=dict)
    models: ModelsState | None = None  # None: models was not heard
    sources: Mapping[str, str] | None = None  # source to why it is unhealthy; None: ingestion was not heard
    acknowledged: bool = False  # execution runs the live settings of the spec as it is now
    live_hash: str = ""  # of the live settings execution acknowledged

    @property
    def model_serving(self) -> int:
        """The version that serves, 0 while nobody has said it."""
        return self.models.serving if self.models is not None else 0

    @property
    def status(self) -> TradingStatus | None:
        """What execution says, unless it has fallen silent."""
        return self.trading if self.trading is not None and self.connected and self.trading_age <= HEARD_SECONDS else None

    def beat(self, service: str) -> Beat | None:
        """The service's heartbeat, unless it has fallen silent."""
        return self.beats.get(service) if self.connected and self.beat_ages.get(service, HEARD_SECONDS + 1) <= HEARD_SECONDS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFact:
    """Which engines are being built, and which will be later, in words; empty when none."""

    building: str = ""
    waiting: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything one round knows. ``problems`` keep the system from being what its spec asks; ``waiting`` is held back on purpose; ``warnings`` block
    nothing."""

    now: datetime
    generation: int
    paused: bool = False
    deleting: bool = False
    problems: tuple[Problem, ...] = ()
    waiting: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    workloads: tuple[WorkloadFact, ...] = ()
    control: ControlFact = ControlFact()
    engines: EngineFact = EngineFact()
    version: str = ""
    revision: int = 0


def in_session_with_positions(status: TradingStatus | None) -> bool:
    """Whether something is held while the market is open: then nothing may be interrupted that guards it. By the market's own clock, simulated or not."""
    return status is not None and bool(status.positions) and in_session(status)


def in_session(status: TradingStatus) -> bool:
    """Whether the regular session is running at the moment the status speaks of."""
    day = new_york_date(status.at_ns)
    return is_session(day) and session(day).contains(status.at_ns)


def workload_facts(names: Iterable[tuple[str, str]], children: Mapping[Key, Object], prefix: str) -> tuple[WorkloadFact, ...]:
    """One fact per workload, in the order of ``names`` (workload and kind of its object). ``prefix``: the system's name."""
    pods = [thing for key, thing in children.items() if key.kind == "Pod"]
    claims = [thing for key, thing in children.items() if key.kind == "PersistentVolumeClaim"]
    return tuple(_workload(name, children.get(Key(kind, f"{prefix}-{name}")), pods, claims) for name, kind in names)


def _workload(name: str, thing: Object | None, pods: list[Object], claims: list[Object]) -> WorkloadFact:
    own_pods = [pod for pod in pods if _label(pod) == name and "deletionTimestamp" not in pod["metadata"]]
    own_claims = [claim for claim in claims if _label(claim) == name]
    if thing is None:
        return WorkloadFact(name=name, exists=False, ready=False)
    annotations = thing["metadata"].get("annotations") or {}
    found = dict.fromkeys([*_claim_problems(own_claims), *(each for pod in own_pods for each in pod_problems(name, pod))])
    ready = _is_ready(thing)
    return WorkloadFact(
        name=name,
        exists=True,
        ready=ready,
        revision=int(annotations.get(REVISION_ANNOTATION, 0)),
        image=_image(thing, own_pods),
        problems=() if ready else tuple(found),
        stuck_pod=_stuck(thing, own_pods),
    )


def _label(thing: Object) -> str:
    labels = thing["metadata"].get("labels") or {}
    return str(labels.get(COMPONENT_LABEL, ""))


def _is_ready(thing: Object) -> bool:
    """Whether the newest template runs and says that it is ready."""
    kind, status = thing["kind"], thing.get("status") or {}
    if kind == CRON_JOB.kind:
        return True
    if status.get("observedGeneration", 0) < thing["metadata"].get("generation", 0):
        return False
    wanted = thing["spec"].get("replicas", 1)
    if kind == DEPLOYMENT.kind:
        return bool(status.get("updatedReplicas", 0) >= wanted and status.get("availableReplicas", 0) >= wanted)
    rolled = status.get("updatedReplicas", 0) >= wanted or status.get("currentRevision") == status.get("updateRevision")
    return bool(rolled and status.get("readyReplicas", 0) >= wanted)


def _image(thing: Object, pods: list[Object]) -> str:
    """The image that runs, with its digest where the kubelet has told it; else the one that is asked for."""
    for pod in pods:
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            if status.get("imageID"):
                return f"{status.get('image', '')}@{status['imageID'].rpartition('@')[2]}"[:512]
    template = thing["spec"].get("template") or thing["spec"].get("jobTemplate", {}).get("spec", {}).get("template", {})
    containers = template.get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image", ""))[:512]


def _stuck(thing: Object, pods: list[Object]) -> tuple[str, str] | None:
    """A StatefulSet does not replace a pod of an older revision that never becomes ready; somebody has to take it away."""
    status = thing.get("status") or {}
    newest = status.get("updateRevision")
    if thing["kind"] != STATEFUL_SET.kind or not newest or status.get("observedGeneration", 0) < thing["metadata"].get("generation", 0):
        return None
    for pod in pods:
        revision = (pod["metadata"].get("labels") or {}).get("controller-revision-hash")
        never_ran = any(pod_problems("", pod))
        if revision and revision != newest and never_ran and _condition(pod, "Ready").get("status") != "True":
            return pod["metadata"]["name"], pod["metadata"]["uid"]
    return None


def _condition(thing: Object, kind: str) -> Mapping[str, Any]:
    conditions = (thing.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == kind), {})


def _claim_problems(claims: list[Object]) -> Iterator[Problem]:
    for claim in claims:
        name, size = claim["metadata"]["name"], claim["spec"].get("resources", {}).get("requests", {}).get("storage", "")
        if (claim.get("status") or {}).get("phase") != "Pending":
            continue
        if not claim["spec"].get("storageClassName"):
            yield Problem(
                "NoStorageClass",
                f"volume claim {name} ({size}) names no storage class and the cluster has no default one: mark a StorageClass as default, "
                "or make a PersistentVolume without a class that fits",
            )


def pod_problems(workload: str, pod: Object) -> Iterator[Problem]:
    """What a pod's conditions and its containers' states say is wrong with it."""
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        yield _unschedulable(workload, scheduled.get("message", ""))
    status = pod.get("status") or {}
    for each in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (each.get("state") or {}).get("waiting") or {}
        reason, words = waiting.get("reason", ""), _cut(waiting.get("message", ""))
        if (problem := _unplayable(workload, each)) is not None:
            yield problem
        elif reason in _IMAGE_REASONS:
            yield Problem("ImagePullFailed", f"{workload}: image {each.get('image', '')} cannot be had ({reason}): {words}")
        elif reason in _CONFIG_REASONS:
            yield Problem("PodCannotStart", f"{workload}: {reason}: {words}")
        elif reason == "CrashLoopBackOff":
            yield _crash(workload, pod, each)


def _unschedulable(workload: str, message: str) -> Problem:
    words = _cut(message)
    if "nvidia.com/" in message:
        return Problem("GpuNotFree", f"{workload}: no node has a free GPU of the kind that is asked for: {words}")
    if "PersistentVolumeClaim" in message or "volume" in message:
        return Problem("VolumeNotBound", f"{workload}: its volume is not bound yet: {words}")
    if "Insufficient" in message and "node(s) didn't match" not in message:
        return Problem("InsufficientResources", f"{workload}: no node has room for spec.components.{workload}.resources: {words}")
    return Problem(
        "NoMatchingNode", f"{workload}: no node fits; compare spec.components.{workload} and spec.inference.gpu with the nodes: {words}"
    )


def _ended(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a container ended last; empty when it never did."""
    found: Mapping[str, Any] = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return found


def _unplayable(workload: str, status: Mapping[str, Any]) -> Problem | None:
    """What the simulator said of recorded days that it cannot play. It holds while it tries again, too, so that it is told once and not at each try."""
    code, reason = why_it_could_not_start(_ended(status).get("message") or "")
    return Problem(code, f"{workload}: {_cut(reason)}") if code in set(Unplayable) and not status.get("ready") else None


def _crash(workload: str, pod: Object, status: Mapping[str, Any]) -> Problem:
    last = _ended(status)
    name, restarts = pod["metadata"]["name"], status.get("restartCount", 0)
    if last.get("reason") == "OOMKilled":
        return Problem("OutOfMemory", f"{workload}: killed at its memory limit; raise spec.components.{workload}.resources.limits.memory")
    ended = f"exit code {last['exitCode']}" if "exitCode" in last else "no exit code known"
    words = _cut(why_it_could_not_start(last.get("message") or "")[1])
    said = f": {words}" if words else f": kubectl logs {name} --previous"
    return Problem("CrashLoop", f"{workload}: ends again and again ({restarts} restarts, {ended}){said}")


def _cut(words: str) -> str:
    return " ".join(words.split())[:_WORDS_MAX]
