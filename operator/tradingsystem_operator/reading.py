"""From raw objects to what a round decides from: the spec or the last good one, the revisions that are kept, the one to get to. Adds to a round, asks nobody.

A spec that the API server let through and that is wrong all the same changes nothing: the last good one stays in charge until it is corrected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from tradingsystem.messages.live_settings import settings_of
from tradingsystem.messages.permissions import PERSON, SERVICES
from tradingsystem.spec import InvalidSpec, TradingSystem, from_document, warnings
from tradingsystem.spec.messaging import AUTHORITIES_KEY
from tradingsystem.spec.resource import API_VERSION, KIND
from tradingsystem.spec.status import TradingReport
from tradingsystem_operator import referring
from tradingsystem_operator.desired import build_all, disruption_budgets, left_out, plan_of, spec_config_map
from tradingsystem_operator.desired.configuration import SPEC_KEY, spec_config_map_name
from tradingsystem_operator.engines import engine_work
from tradingsystem_operator.facts import Problem, WorkloadFact, in_session_with_positions, workload_facts
from tradingsystem_operator.memory import Seen
from tradingsystem_operator.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENGINE,
    JOB,
    REVISION_LABEL,
    WORKLOAD_KINDS,
    Key,
    Object,
    Reference,
    is_controlled_by,
    workload_of,
)
from tradingsystem_operator.release import Release
from tradingsystem_operator.revisions import (
    Revision,
    UnknownVersion,
    UnreadableRevision,
    boot_spec_hash,
    choose_release,
    cut,
    from_config_map,
    to_config_map,
)
from tradingsystem_operator.rollout import Situation, plan_round
from tradingsystem_operator.status import read_status

_WORKLOAD_KINDS = frozenset(kind.kind for kind in WORKLOAD_KINDS)


def read_spec(seen: Seen) -> None:
    """The system of the resource; when that has mistakes, each becomes a problem and the last good spec is taken."""
    try:
        seen.system = from_document(seen.raw)
    except InvalidSpec as error:
        seen.valid = False
        text = "\n".join(str(problem) for problem in error.problems)
        seen.problems.append(Problem("InvalidSpec", f"what runs is left as it was:\n{text}"))
        seen.system = _last_good(seen)
        return
    seen.settings = settings_of(seen.system)


def readable(seen: Seen) -> TradingSystem | None:
    """The system as its spec or the last good one says; None where neither can be read. It tells no problem."""
    try:
        return from_document(seen.raw)
    except InvalidSpec:
        return _last_good(seen)


def references(seen: Seen) -> frozenset[Reference]:
    """What the spec names that others made; nothing while it is invalid, since the last good one holds what it named."""
    return referring.references(seen.system) if seen.system is not None and seen.valid else frozenset()


def take_references(seen: Seen, there: Mapping[Reference, Object], unseen: tuple[Problem, ...]) -> None:
    """What is rendered from now on: the spec with what it names. What is missing or wrong there becomes problems, and the last good spec is taken."""
    if seen.system is None or not seen.valid:
        return
    answer = referring.resolve(seen.system, there, unseen, _last_good(seen))
    seen.system, seen.complete = answer.system, not answer.problems
    seen.problems += answer.problems
    if seen.complete and seen.system is not None:
        seen.warnings += [Problem("Advice", str(advice)) for advice in warnings(seen.system)]


def _last_good(seen: Seen) -> TradingSystem | None:
    kept = seen.children.get(Key(CONFIG_MAP.kind, spec_config_map_name(seen.owner.name)))
    if kept is None or not is_controlled_by(kept, seen.owner.uid):
        return None
    try:
        spec = json.loads(kept["data"][SPEC_KEY])
        metadata = {"name": seen.owner.name, "namespace": seen.owner.namespace}
        return from_document({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec})
    except (KeyError, ValueError, InvalidSpec):
        return None


def read_revisions(seen: Seen) -> None:
    """Every stored revision of this resource into memory. What cannot be read is left out and told; one that was deleted by hand is still remembered."""
    for key, thing in seen.children.items():
        if key.kind != CONFIG_MAP.kind or REVISION_LABEL not in (thing["metadata"].get("labels") or {}):
            continue
        if not is_controlled_by(thing, seen.owner.uid) or str(thing["metadata"]["labels"][REVISION_LABEL]) in map(
            str, seen.memory.revisions
        ):
            continue
        try:
            revision = from_config_map(thing)
        except UnreadableRevision as error:
            seen.problems.append(Problem("Rejected", str(error)))
            continue
        seen.memory.revisions[revision.number] = revision


def choose_revision(seen: Seen, own: Release) -> bool:
    """Which revision to get to; whether it is a new one, which must be stored before anything of it is applied."""
    previous = tuple(seen.memory.revisions.values())
    newest = max(previous, key=lambda revision: revision.number, default=None)
    if seen.system is None:
        seen.revision = newest
        return False
    try:
        release = choose_release(seen.system.spec.version, own, previous)
        seen.plan = plan_of(seen.system, release)
        rendered = build_all(seen.system, release, seen.owner)
        seen.warnings += [Problem(reason, message) for reason, message in left_out(seen.system, release)]
    except UnknownVersion as error:
        seen.problems.append(Problem("UnknownVersion", str(error)))
        seen.revision = newest
        return False
    except InvalidSpec as error:
        seen.problems.append(Problem("InvalidSpec", str(error)))
        seen.revision = newest
        return False
    decision = cut(previous, rendered, boot_spec_hash(seen.system), release)
    seen.revision, seen.discard = decision.revision, decision.discard
    if release.version != own.version or decision.update_available:
        text = f"release {release.version} runs as revision {decision.revision.number}; this operator brings {own.version}"
        seen.warnings.append(Problem("UpdateAvailable", f"{text}: set spec.version to {own.version!r} when it suits"))
    return decision.is_new


def keep_revision(seen: Seen) -> None:
    """The chosen revision among those remembered; those that are no longer kept are forgotten."""
    assert seen.revision is not None
    seen.memory.revisions[seen.revision.number] = seen.revision
    for number in seen.discard:
        seen.memory.revisions.pop(number, None)
        seen.memory.revision_maps.pop(number, None)


def plan_work(seen: Seen, now: float) -> None:
    """The work of this round, if there is anything to get to."""
    if seen.revision is None:
        return
    kept = seen.memory.revisions | {seen.revision.number: seen.revision}
    for number, revision in kept.items():
        if number not in seen.memory.revision_maps:
            seen.memory.revision_maps[number] = to_config_map(revision, seen.owner)
    maps = [seen.memory.revision_maps[number] for number in sorted(kept) if number not in seen.discard]
    facts = {fact.name: fact for fact in workloads_of(seen)}
    guarded = is_guarded(seen, facts)
    jobs = _engine_jobs(seen)
    seen.warnings += seen.engines.failed
    seen.work = plan_round(
        Situation(
            wanted=without_triton(seen.revision) if seen.engines.gives_way else seen.revision,
            kept=kept,
            also=(*maps, *_following_the_day(seen, guarded=guarded), *jobs),
            children=seen.children,
            workloads=facts,
            owner_uid=seen.owner.uid,
            guarded=guarded,
            waited=seen.memory.waited(now),
        )
    )
    seen.memory.hold(seen.work.waiting, now)
    seen.warnings += seen.work.warnings


def _following_the_day(seen: Seen, *, guarded: bool) -> tuple[Object, ...]:
    """What belongs to no revision: budgets, and the last good spec. Without a spec that can be read they stay as they are."""
    if seen.system is None or seen.plan is None:
        kinds = {"PodDisruptionBudget"}
        spec = spec_config_map_name(seen.owner.name)
        return tuple(_bare(thing) for key, thing in seen.children.items() if key.kind in kinds or key == Key(CONFIG_MAP.kind, spec))
    budgets = disruption_budgets(seen.plan, seen.owner, in_session_with_positions=guarded)
    if not (seen.valid and seen.complete):
        kept = seen.children.get(Key(CONFIG_MAP.kind, spec_config_map_name(seen.owner.name)))
        return (*budgets, *((_bare(kept),) if kept is not None else ()))
    return (*budgets, spec_config_map(seen.system, seen.generation, seen.plan, seen.owner))


def _engine_jobs(seen: Seen) -> tuple[Object, ...]:
    """The Jobs that build engines; while the spec cannot be read they stay as they are."""
    if seen.system is None or seen.plan is None or seen.revision is None:
        return tuple(_bare(thing) for key, thing in seen.children.items() if key.kind == JOB.kind and workload_of(thing) == ENGINE)
    models = seen.control.models if seen.control.beat("models") is not None else None
    gpu, release = seen.system.spec.inference.gpu, seen.revision.release
    seen.engines = engine_work(seen.plan, gpu, release, seen.owner, models, seen.control.status, seen.children)
    return seen.engines.jobs


def without_triton(revision: Revision) -> Revision:
    """The revision with Triton's Deployment at no pod: its GPU is another's for a while."""
    triton = [thing for thing in revision.objects if thing["kind"] == DEPLOYMENT.kind and workload_of(thing) == "triton"]
    away = {id(thing): thing | {"spec": thing["spec"] | {"replicas": 0}} for thing in triton}
    return msgspec.structs.replace(revision, objects=tuple(away.get(id(thing), thing) for thing in revision.objects))


def _bare(thing: Object) -> Object:
    """An observed object as it would be applied again: what it is, and nothing of the server's."""
    metadata = {name: thing["metadata"][name] for name in ("name", "namespace", "labels", "ownerReferences") if name in thing["metadata"]}
    rest = {name: value for name, value in thing.items() if name not in {"metadata", "status"}}
    return rest | {"metadata": metadata}


def workloads_of(seen: Seen) -> tuple[WorkloadFact, ...]:
    """The workloads of the revision to get to, in start order, as the cluster shows them."""
    if seen.revision is None:
        return ()
    names = [(workload_of(thing), thing["kind"]) for thing in seen.revision.objects if thing["kind"] in _WORKLOAD_KINDS]
    return workload_facts(names, seen.children, seen.owner.name)


def is_guarded(seen: Seen, facts: Mapping[str, WorkloadFact]) -> bool:
    """Whether nothing may be interrupted now. Who cannot be heard but runs, and last reported positions, is taken to hold them still."""
    status = seen.control.status
    if status is not None:
        return in_session_with_positions(status)
    execution = facts.get("execution")
    reported = read_status(seen.raw.get("status")).trading
    held = isinstance(reported, TradingReport) and reported.positions > 0
    return execution is not None and execution.ready and held


def secret_needs(seen: Seen) -> dict[str, tuple[str, ...]]:
    """Each Secret that pods read and which of its keys, by name; those of jobs that do not run yet are left out."""
    needs: dict[str, tuple[str, ...]] = {}
    if seen.plan is None:
        return needs
    messaging = seen.plan.messaging
    if messaging.external:
        users = (workload.service for workload in seen.plan.workloads if workload.service in SERVICES and not workload.schedule)
        needs[messaging.secret_ref.name] = (*dict.fromkeys(users), PERSON)
    if messaging.ca_secret_ref.name:
        needs[messaging.ca_secret_ref.name] = (*needs.get(messaging.ca_secret_ref.name, ()), AUTHORITIES_KEY)
    for workload in seen.plan.workloads:
        if workload.schedule:
            continue
        for need in workload.secrets:
            needs[need.name] = tuple(dict.fromkeys((*needs.get(need.name, ()), *(key.name for key in need.keys))))
    return needs


def missing_from(name: str, keys: tuple[str, ...], found: Mapping[str, Any] | None, namespace: str) -> Problem | None:
    """What is missing of a Secret, by name and never by value."""
    absent = [key for key in keys if key not in ((found or {}).get("data") or {})]
    if not absent:
        return None
    literals = " ".join(f"--from-file={key}=FILE" for key in keys)
    what = f"Secret {name} is not there" if found is None else f"Secret {name} has no key {', '.join(absent)}"
    return Problem("MissingSecret", f"{what}: kubectl -n {namespace} create secret generic {name} {literals}")
