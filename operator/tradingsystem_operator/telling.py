"""What a round says at its end: the facts, the status they make, the problems that are told as events, and when to look again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from tradingsystem.spec.status import Condition, ConditionType, ModelsReport, RollbackReport
from tradingsystem_operator.facts import EngineFact, Facts, Problem
from tradingsystem_operator.memory import Seen
from tradingsystem_operator.objects import PAUSE_ANNOTATION
from tradingsystem_operator.reading import workloads_of

UNREACHABLE_SECONDS = 20.0
SOON_SECONDS = 2.0
WAITING_SECONDS = 5.0
STARTING_SECONDS = 15.0
PROBLEM_SECONDS = 30.0


def facts_of(seen: Seen, now: datetime, *, deleting: bool = False) -> Facts:
    """Everything the round knows."""
    control = seen.control
    workloads = workloads_of(seen)
    problems = list(seen.problems)
    link = seen.memory.link
    reachable = (link is not None and link.external) or any(workload.name == "nats" and workload.ready for workload in workloads)
    if reachable and not control.connected and control.unreachable_seconds > UNREACHABLE_SECONDS:
        problems.append(_unreachable(control.problem, link.urls if link is not None and link.external else ()))
    running = seen.revision.release.version if seen.revision is not None else ""
    return Facts(
        now=now,
        generation=seen.generation,
        paused=seen.annotations.get(PAUSE_ANNOTATION, "").lower() == "true",
        deleting=deleting,
        problems=tuple(problems),
        waiting=tuple(seen.work.waiting.values()) if seen.work is not None else (),
        warnings=tuple(dict.fromkeys(seen.warnings)),
        workloads=workloads,
        control=control,
        engines=EngineFact(building=seen.engines.building, waiting=seen.engines.waiting),
        version=running,
        revision=seen.revision.number if seen.revision is not None else 0,
    )


def _unreachable(why: str, urls: tuple[str, ...]) -> Problem:
    """``urls``: of a server that a person runs."""
    where = f"the message server at {', '.join(urls)}:" if urls else "the message server: its pod is ready, but"
    text = f"{where} the operator cannot speak with it: {why}; trading goes on where services reach it, live settings and deletion wait"
    return Problem("NatsUnreachable", f"{text}; check NetworkPolicies and name resolution")


def worth_telling(facts: Facts) -> frozenset[Problem]:
    """What is told as an event when it is new: problems, and what waits for the close. What merely starts in order is not."""
    waits = (problem for problem in facts.waiting if problem.reason == "PositionsOpen")
    warned = (problem for problem in facts.warnings if problem.reason != "Advice")
    of_pods = (problem for workload in facts.workloads for problem in workload.problems)
    return frozenset((*facts.problems, *of_pods, *warned, *waits))


class Step(NamedTuple):
    """Something that models did: a reason of ``events.TOLD``, what exactly, and whether a person should look."""

    reason: str
    note: str
    warning: bool = False


def model_steps(before: ModelsReport | msgspec.UnsetType, after: ModelsReport | msgspec.UnsetType) -> tuple[Step, ...]:
    """What became of model versions between two statuses, in the order in which a person would tell it."""
    if not isinstance(after, ModelsReport):
        return ()
    known = before if isinstance(before, ModelsReport) else ModelsReport()
    found = []
    back = after.last_rollback
    if isinstance(back, RollbackReport) and back != known.last_rollback:
        note = f"version {back.from_version} was taken back, version {back.to_version} serves again: {back.why}"
        found.append(Step("ModelRolledBack", note, warning=True))
    found += [
        Step("ModelRefused", f"version {one.version} does not serve: {one.reason}: {one.why}", warning=True)
        for one in after.refused
        if one not in known.refused and not (isinstance(back, RollbackReport) and back.from_version == one.version)
    ]
    if after.candidate and (after.candidate, after.candidate_phase) != (known.candidate, known.candidate_phase):
        found.append(Step("ModelOnTrial", f"version {after.candidate}: {after.candidate_phase}"))
    if after.serving != known.serving:
        found.append(Step("ModelSwitched", f"version {after.serving} serves" + (f", before it {known.serving}" if known.serving else "")))
    return tuple(found)


def engine_steps(before: Iterable[Condition], after: Iterable[Condition]) -> tuple[Step, ...]:
    """That engines began to be built, or are no longer."""
    was, now = (next((each for each in all_of if each.type is ConditionType.MODEL_SERVING), None) for all_of in (before, after))
    if now is None or was is None or (was.reason == "BuildingEngine") == (now.reason == "BuildingEngine"):
        return ()
    return (Step("EngineBuildStarted" if now.reason == "BuildingEngine" else "EngineBuildEnded", now.message),)


def look_again_seconds(facts: Facts) -> float:
    """When to look without being woken; 0: only at the next resync. What no watch tells (secrets, time that passes) is looked at by this alone."""
    moments = []
    if facts.waiting:
        moments.append(WAITING_SECONDS)
    if facts.problems:
        moments.append(PROBLEM_SECONDS)
    if facts.engines.building or facts.engines.waiting:
        moments.append(STARTING_SECONDS)
    if any(not workload.ready for workload in facts.workloads):
        moments.append(STARTING_SECONDS)
    readable = not any(problem.reason == "InvalidSpec" for problem in facts.problems)
    if facts.control.connected and not facts.control.acknowledged and readable and not facts.paused:
        moments.append(SOON_SECONDS)
    if facts.workloads and not facts.control.connected:
        moments.append(UNREACHABLE_SECONDS)
    return min(moments, default=0.0)
