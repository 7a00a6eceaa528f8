"""What is said of a system, from facts: eight conditions, each with a reason out of one table. Pure.

Ready means that it can do what its spec asks now; a closed market is still Ready. A problem is told with its remedy; the first of the table's order gives the
reason and all of them stand in the message."""

from __future__ import annotations

from collections.abc import Iterable

from tradingsystem.domain.trading import TradingState
from tradingsystem.spec.status import Condition, ConditionStatus, ConditionType
from tradingsystem_operator.facts import Facts, Problem
from tradingsystem_operator.reasons import ORDER

MESSAGE_MAX = 4_096


def conditions(facts: Facts, before: Iterable[Condition]) -> tuple[Condition, ...]:
    """What is said now. The moment of a condition is kept while its status stays."""
    known = {condition.type: condition for condition in before}
    stamp = facts.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    found = []
    for kind, (status, reason, message) in _said(facts).items():
        assert reason in ORDER, f"{reason} is not in the table"
        previous = known.get(kind)
        since = previous.last_transition_time if previous is not None and previous.status is status else stamp
        text = message if len(message) <= MESSAGE_MAX else message[: MESSAGE_MAX - 1] + "…"
        found.append(
            Condition(
                type=kind, status=status, reason=reason, message=text, last_transition_time=since, observed_generation=facts.generation
            )
        )
    return tuple(found)


_Said = tuple[ConditionStatus, str, str]
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def _said(facts: Facts) -> dict[ConditionType, _Said]:
    problems = sorted({*facts.problems, *(each for workload in facts.workloads for each in workload.problems)}, key=_rank)
    return {
        ConditionType.READY: _ready(facts, problems),
        ConditionType.PROGRESSING: _progressing(facts),
        ConditionType.DEGRADED: _list_of(problems) or (_FALSE, "AsExpected", "nothing is known to be wrong"),
        ConditionType.PAUSED: _paused(facts),
        ConditionType.WARNING: _list_of(sorted(facts.warnings, key=_rank)) or (_FALSE, "NoWarnings", "nothing to warn of"),
        ConditionType.MODEL_SERVING: _model(facts),
        ConditionType.DATA_FRESH: _data(facts),
        ConditionType.TRADING_ENABLED: _trading(facts),
    }


def _rank(problem: Problem) -> tuple[int, str]:
    return ORDER[problem.reason], problem.message


def _list_of(problems: list[Problem]) -> _Said | None:
    return (_TRUE, problems[0].reason, "\n".join(problem.message for problem in problems)) if problems else None


def _ready(facts: Facts, problems: list[Problem]) -> _Said:
    missing = [workload.name for workload in facts.workloads if not workload.ready]
    if problems:
        return _FALSE, problems[0].reason, problems[0].message
    if facts.deleting:
        return _FALSE, "Deleting", "the resource is being deleted"
    if missing or not facts.workloads:
        said = (
            "Starting" if facts.waiting or any(not workload.exists for workload in facts.workloads) or not facts.workloads else "NotReady"
        )
        return _FALSE, said, f"not ready: {', '.join(missing) or 'nothing is rendered yet'}"
    return _TRUE, "Running", f"{len(facts.workloads)} workloads are ready"


def _progressing(facts: Facts) -> _Said:
    if facts.deleting:
        return _TRUE, "Deleting", "the resource is being deleted"
    if facts.waiting:
        first = sorted(facts.waiting, key=_rank)
        return _TRUE, first[0].reason, "\n".join(problem.message for problem in first)
    moving = [workload.name for workload in facts.workloads if not workload.ready]
    if moving:
        return _TRUE, "RollingOut", f"starting or changing: {', '.join(moving)}"
    if facts.control.status is not None and not facts.control.acknowledged:
        return _TRUE, "LiveSettingsPending", "execution has not acknowledged the newest live settings yet"
    return _FALSE, "Settled", f"revision {facts.revision} is applied"


def _paused(facts: Facts) -> _Said:
    if facts.paused:
        return _TRUE, "PausedByAnnotation", "nothing is written but status, until the annotation tradingsystem.dev/pause goes"
    return _FALSE, "NotPaused", "the operator looks after the system"


def _model(facts: Facts) -> _Said:
    if facts.control.beat("models") is None:
        return _UNKNOWN, "NotHeard", "the models service says nothing"
    if facts.control.model_serving:
        if facts.engines.building:
            return _TRUE, "BuildingEngine", f"bundle {facts.control.model_serving} serves; {facts.engines.building}"
        triton = next((workload for workload in facts.workloads if workload.name == "triton"), None)
        if triton is not None and not triton.ready:
            return (
                _TRUE,
                "ServingInProcess",
                f"bundle {facts.control.model_serving} serves in the filter's process while Triton is not ready",
            )
        return _TRUE, "Serving", f"bundle {facts.control.model_serving} serves{_by(facts)}"
    return _FALSE, "NoModel", "no bundle that verifies is there"


def _by(facts: Facts) -> str:
    """Who runs it, and why not TensorRT."""
    models = facts.control.models
    if models is None or not models.backend:
        return ""
    lacking = [f"version {version} has no engine that fits ({why})" for version, why in models.engines_lacking.items()]
    return "; ".join([f" by {models.backend}", *lacking, *([facts.engines.waiting] if facts.engines.waiting else [])])


def _data(facts: Facts) -> _Said:
    sources = facts.control.sources
    if sources is None or facts.control.beat("ingestion") is None:
        return _UNKNOWN, "NotHeard", "ingestion says nothing"
    sick = [f"{name}: {why}" for name, why in sorted(sources.items()) if why]
    if sick:
        return _FALSE, "Stale", "; ".join(sick)
    return _TRUE, "Fresh", f"{len(sources)} sources deliver"


def _trading(facts: Facts) -> _Said:
    status = facts.control.status
    if status is None:
        return _UNKNOWN, "NotHeard", "execution says nothing"
    if status.state is TradingState.ACTIVE:
        return _TRUE, "Active", status.why or "it opens and closes"
    latches = "; ".join(f"latch {latch.id} ({latch.kind.value}): {latch.reason}" for latch in status.latches)
    return _FALSE, status.state.value, latches or status.why or "as spec.trading.state asks"
