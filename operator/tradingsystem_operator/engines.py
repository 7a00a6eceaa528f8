"""When engines that are lacking are built, and what is said of it. Pure: what models says, the Jobs as observed and the market's hours in, Jobs out.

A Job is made at once and suspended while the market is open: who holds the GPU then serves. When it is closed, and stays so for half an hour, the Job may run.
If a GPU is free it takes that; if none is, Triton is scaled to nothing until the Job has ended, and models run in the filter's process meanwhile. What is not
built by half an hour before the open waits for the next close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from tradingsystem.domain.calendar import next_session
from tradingsystem.domain.control import ModelsState
from tradingsystem.domain.time import NS_PER_MINUTE, new_york_date
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.spec import Plan
from tradingsystem.spec.inference import Gpu
from tradingsystem_operator.desired.arguments import is_sidecar
from tradingsystem_operator.desired.engine_build import builds_engines, engine_job
from tradingsystem_operator.facts import Problem, in_session, pod_problems
from tradingsystem_operator.objects import DEPLOYMENT, ENGINE, JOB, Key, Object, Owner, is_controlled_by, key_of, name_of, workload_of
from tradingsystem_operator.release import Release

BEFORE_OPEN_MINUTES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineWork:
    """``jobs`` to have and no others; ``gives_way``: Triton leaves the GPU to one; ``building`` says which runs, ``waiting`` which does not yet, empty when
    none; ``failed`` what became of those that gave up."""

    jobs: tuple[Object, ...] = ()
    gives_way: bool = False
    building: str = ""
    waiting: str = ""
    failed: tuple[Problem, ...] = ()


NOTHING = EngineWork()


def engine_work(
    made: Plan,
    gpu: Gpu,
    release: Release,
    owner: Owner,
    models: ModelsState | None,
    status: TradingStatus | None,
    children: Mapping[Key, Object],
) -> EngineWork:
    """The work of this round. While models is silent what was begun goes on."""
    if not builds_engines(made, release):
        return NOTHING
    observed = {key: thing for key, thing in children.items() if key.kind == JOB.kind and _is_ours(thing, owner)}
    versions = models.engines_wanted if models is not None else tuple(map(version_of, observed.values()))
    quiet = may_build(status)
    wanted = [engine_job(version, made, release, owner, gpu, suspended=not quiet) for version in versions]
    running, waiting, failed = list[str](), list[str](), list[Problem]()
    for thing in wanted:
        there, name = observed.get(key_of(thing)), thing["metadata"]["name"]
        if there is not None and (end := _end(there)) is not None:
            thing["spec"]["suspend"] = there["spec"].get("suspend", False)  # what has ended is left as it is
            failed += [_failure(there, end, children)] if end["type"] == "Failed" else []
        elif quiet:
            running.append(name)
        else:
            waiting.append(name)
    sidecar = is_sidecar(made)
    gives_way = bool(running) and not sidecar and (_wants_a_gpu(running, children) or _has_given_way(owner, children))
    return EngineWork(
        jobs=tuple(wanted),
        gives_way=gives_way,
        building=_told(running, gives_way=gives_way),
        waiting=f"{', '.join(waiting)} waits until the market is closed" if waiting else "",
        failed=tuple(failed),
    )


def may_build(status: TradingStatus | None) -> bool:
    """Whether the market is closed for long enough, by its own clock; who does not know it builds nothing."""
    if status is None or in_session(status):
        return False
    day = new_york_date(status.at_ns)
    upcoming = next_session(day)
    if upcoming.close_ns <= status.at_ns:
        upcoming = next_session(day + timedelta(days=1))
    return upcoming.open_ns - status.at_ns >= BEFORE_OPEN_MINUTES * NS_PER_MINUTE


def version_of(job: Object) -> int:
    """The version that one of our Jobs builds."""
    version: str = job["metadata"]["name"].rsplit("-", 2)[1]
    return int(version)


def _is_ours(thing: Object, owner: Owner) -> bool:
    return workload_of(thing) == ENGINE and is_controlled_by(thing, owner.uid)


def _end(job: Object) -> Object | None:
    """The condition that says how it ended, None while it has not."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] in {"Complete", "Failed"} and each.get("status") == "True"), None)


def _pods(names: list[str], children: Mapping[Key, Object]) -> list[Object]:
    return [
        thing
        for key, thing in children.items()
        if key.kind == "Pod" and (thing["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name") in names
    ]


def _wants_a_gpu(running: list[str], children: Mapping[Key, Object]) -> bool:
    return any(problem.reason == "GpuNotFree" for pod in _pods(running, children) for problem in pod_problems(ENGINE, pod))


def _has_given_way(owner: Owner, children: Mapping[Key, Object]) -> bool:
    triton = children.get(Key(DEPLOYMENT.kind, name_of(owner.name, "triton")))
    return triton is not None and triton["spec"].get("replicas", 1) == 0


def _told(running: list[str], *, gives_way: bool) -> str:
    if not running:
        return ""
    return f"{', '.join(running)} builds" + (" on Triton's GPU, and models run in the filter's process meanwhile" if gives_way else "")


def _failure(there: Object, end: Object, children: Mapping[Key, Object]) -> Problem:
    """With the last line that the newest of its pods said, or what the cluster says of the Job."""
    name = there["metadata"]["name"]
    said = ""
    for pod in sorted(_pods([name], children), key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            lines = [line for line in ((status.get("state") or {}).get("terminated") or {}).get("message", "").splitlines() if line.strip()]
            said = lines[-1].strip() if lines else said
    words = said or end.get("message") or "its pods are gone and said nothing"
    text = f"job {name}, of version {version_of(there)}: {words}; kubectl delete job {name} has it tried again"
    return Problem("EngineBuildFailed", text)
