"""What a round says at its end: the facts, the status they make, the problems that are told as events, and when to look again. Pure."""

from __future__ import annotations

from datetime import datetime

from tradingsystem_operator.facts import Facts, Problem
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
    nats_ready = any(workload.name == "nats" and workload.ready for workload in workloads)
    if nats_ready and not control.connected and control.unreachable_seconds > UNREACHABLE_SECONDS:
        text = (
            f"its pod is ready, but the operator cannot speak with it: {control.problem}; trading goes on, live settings and deletion wait"
        )
        problems.append(Problem("NatsUnreachable", f"the message server: {text}; check NetworkPolicies and name resolution"))
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
        version=running,
        revision=seen.revision.number if seen.revision is not None else 0,
    )


def worth_telling(facts: Facts) -> frozenset[Problem]:
    """What is told as an event when it is new: problems, and what waits for the close. What merely starts in order is not."""
    waits = (problem for problem in facts.waiting if problem.reason == "PositionsOpen")
    warned = (problem for problem in facts.warnings if problem.reason != "Advice")
    of_pods = (problem for workload in facts.workloads for problem in workload.problems)
    return frozenset((*facts.problems, *of_pods, *warned, *waits))


def look_again_seconds(facts: Facts) -> float:
    """When to look without being woken; 0: only at the next resync. What no watch tells (secrets, time that passes) is looked at by this alone."""
    moments = []
    if facts.waiting:
        moments.append(WAITING_SECONDS)
    if facts.problems:
        moments.append(PROBLEM_SECONDS)
    if any(not workload.ready for workload in facts.workloads):
        moments.append(STARTING_SECONDS)
    readable = not any(problem.reason == "InvalidSpec" for problem in facts.problems)
    if facts.control.connected and not facts.control.acknowledged and readable and not facts.paused:
        moments.append(SOON_SECONDS)
    if facts.workloads and not facts.control.connected:
        moments.append(UNREACHABLE_SECONDS)
    return min(moments, default=0.0)
