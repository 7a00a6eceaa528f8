"""What of a revision may be applied now, what has to wait and why, and what has to go. Pure: observed objects in, a round's work out.

A change that restarts a pod of the trading path waits while positions are open in session; pods start and change in the plan's order. What waits is held back
as a whole (its slice with its pod), and is kept as the revision it runs, so that drift is repaired meanwhile. Repairing drift never waits.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tradingsystem.spec import content_hash
from tradingsystem_operator.facts import Problem, WorkloadFact
from tradingsystem_operator.objects import (
    AFTER_ANNOTATION,
    CONFIG_MAP,
    OWNED,
    RENDER_HASH_ANNOTATION,
    REVISION_ANNOTATION,
    STATEFUL_SET,
    WORKLOAD_KINDS,
    Key,
    Object,
    is_controlled_by,
    key_of,
    workload_of,
)
from tradingsystem_operator.revisions import Revision

HARMLESS = frozenset({"monitor", "learning-incremental", "learning-retrain"})
"""Workloads that may be restarted at any time: nothing that is held depends on them."""

PATIENCE_SECONDS = 120.0
"""How long a workload waits for those before it; then it goes on: services bear any order, and what never gets ready must not hold up its own repair."""

_WORKLOAD_KINDS = frozenset(kind.kind for kind in WORKLOAD_KINDS)
_HELD_KINDS = _WORKLOAD_KINDS | {CONFIG_MAP.kind}
_OWNED_KINDS = frozenset(kind.kind for kind in OWNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round's work: objects to apply in order, what waits (workload to problem), what to warn of, objects to delete, and pods to take away."""

    apply: tuple[Object, ...]
    waiting: Mapping[str, Problem]
    warnings: tuple[Problem, ...]
    prune: tuple[Object, ...]
    replace_pods: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a round is decided from. ``wanted`` is the revision to get to; ``kept`` all that are stored; ``also`` what belongs to no revision; ``waited``:
    seconds for which a workload has been held back for the order's sake."""

    wanted: Revision
    kept: Mapping[int, Revision]
    also: tuple[Object, ...]
    children: Mapping[Key, Object]
    workloads: Mapping[str, WorkloadFact]
    owner_uid: str
    guarded: bool  # positions are open in session
    waited: Mapping[str, float]


def stamp(thing: Object, revision: int) -> Object:
    """The object with the number of its revision and the hash of its rendering, on itself and never on its pods."""
    made = copy.deepcopy(thing)
    annotations = made["metadata"].setdefault("annotations", {})
    annotations |= {REVISION_ANNOTATION: str(revision), RENDER_HASH_ANNOTATION: content_hash(thing)}
    return made


def plan_round(situation: Situation) -> Round:
    """The work of this round."""
    waiting = _held_back(situation)
    running = {workload_of(thing) for key, thing in situation.children.items() if key.kind in _WORKLOAD_KINDS}
    warnings: list[Problem] = []
    apply: list[Object] = []
    for thing in situation.wanted.objects:
        if workload_of(thing) in waiting and thing["kind"] in (_HELD_KINDS if workload_of(thing) in running else _WORKLOAD_KINDS):
            continue
        apply.append(_fitting(stamp(thing, situation.wanted.number), situation.children, warnings))
    apply += [_fitting(thing, situation.children, warnings) for thing in _as_it_runs(situation, waiting)]
    apply += situation.also
    prune, kept_back = _superfluous(situation)
    replace = [fact.stuck_pod for fact in situation.workloads.values() if fact.stuck_pod is not None and fact.name not in waiting]
    return Round(
        apply=tuple(sorted(apply, key=_place)),
        waiting=waiting | kept_back,
        warnings=tuple(warnings),
        prune=prune,
        replace_pods=tuple(replace),
    )


_PLACES = {kind.kind: number for number, kind in enumerate(OWNED)}


def _place(thing: Object) -> int:
    """What a pod refers to comes before the pod; within a kind the revision's own order, which is the start order, stays."""
    return _PLACES.get(thing["kind"], len(_PLACES))


def _held_back(situation: Situation) -> dict[str, Problem]:
    found: dict[str, Problem] = {}
    for thing in situation.wanted.objects:
        if thing["kind"] not in _WORKLOAD_KINDS:
            continue
        name = workload_of(thing)
        observed = situation.children.get(key_of(thing))
        if observed is not None and not _restarts(thing, observed, situation):
            continue
        if problem := _reason_to_wait(name, thing, observed, situation):
            found[name] = problem
    return found


def _reason_to_wait(name: str, thing: Object, observed: Object | None, situation: Situation) -> Problem | None:
    if observed is not None and situation.guarded and name not in HARMLESS:
        text = (
            f"{name}: its pod is changed when nothing is held or the session is over; until then revision {_revision_of(observed)} runs on"
        )
        return Problem("PositionsOpen", text)
    if situation.waited.get(name, 0.0) >= PATIENCE_SECONDS:
        return None
    listed = (thing["metadata"].get("annotations") or {}).get(AFTER_ANNOTATION, "")
    missing = [other for other in listed.split(",") if other and not _settled(other, situation, fresh=observed is None)]
    if missing:
        return Problem(
            "WaitsForOthers", f"{name} starts after {', '.join(missing)}, at the latest {PATIENCE_SECONDS:.0f} s from when it first waited"
        )
    return None


def _settled(name: str, situation: Situation, *, fresh: bool) -> bool:
    """Whether a workload is ready; and for a change of what runs, whether it has made the change before."""
    fact = situation.workloads.get(name)
    if fact is None:
        return True
    return fact.ready and (fresh or fact.revision == situation.wanted.number)


def _restarts(thing: Object, observed: Object, situation: Situation) -> bool:
    """Whether applying the object would replace a pod that runs as an older revision says. What others changed by hand is not that: it is put right at once."""
    number = _revision_of(observed)
    if number == situation.wanted.number:
        return False
    before = _object_of(situation.kept.get(number), key_of(thing))
    return before is None or content_hash(_template(before)) != content_hash(_template(thing))


def _template(thing: Object) -> object:
    return thing["spec"].get("template")


def _revision_of(thing: Object) -> int:
    text = (thing["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION, "")
    return int(text) if text.isdigit() else 0


def _object_of(revision: Revision | None, key: Key) -> Object | None:
    return None if revision is None else next((thing for thing in revision.objects if key_of(thing) == key), None)


def _as_it_runs(situation: Situation, waiting: Mapping[str, Problem]) -> Iterable[Object]:
    """The objects of workloads that wait, as the revision has them that they run."""
    for name in waiting:
        running = [
            _revision_of(thing) for key, thing in situation.children.items() if key.kind in _WORKLOAD_KINDS and workload_of(thing) == name
        ]
        revision = situation.kept.get(running[0]) if running else None
        if revision is None:
            continue
        for thing in revision.objects:
            if workload_of(thing) == name and thing["kind"] in _HELD_KINDS:
                yield stamp(thing, revision.number)


def _fitting(thing: Object, children: Mapping[Key, Object], warnings: list[Problem]) -> Object:
    """The object as the API server will take it: the size of a StatefulSet's volumes cannot change, so all else of it still does."""
    observed = children.get(key_of(thing))
    if thing["kind"] != STATEFUL_SET.kind or observed is None:
        return thing
    there = {claim["metadata"]["name"]: claim for claim in observed["spec"].get("volumeClaimTemplates") or []}
    for claim in thing["spec"].get("volumeClaimTemplates") or []:
        name, wanted = claim["metadata"]["name"], claim["spec"]["resources"]["requests"]
        before = there.get(name, claim)["spec"]["resources"]["requests"]["storage"]
        if before != wanted["storage"]:
            who = f"{thing['metadata']['name']}: volume {name} has {before}, spec.storage asks for {wanted['storage']}"
            remedy = "resize its volume claim by hand if the storage class allows it, then: kubectl delete statefulset --cascade=orphan"
            warnings.append(Problem("StorageSizeChanged", f"{who}; Kubernetes does not change the volumes of a StatefulSet: {remedy}"))
            wanted["storage"] = before
    return thing


def _superfluous(situation: Situation) -> tuple[tuple[Object, ...], dict[str, Problem]]:
    """What we control and no longer want; workloads that guard positions go only when nothing is held."""
    wanted = {key_of(thing) for thing in (*situation.wanted.objects, *situation.also)}
    found: list[Object] = []
    waiting: dict[str, Problem] = {}
    for key, thing in situation.children.items():
        if key in wanted or key.kind not in _OWNED_KINDS or not is_controlled_by(thing, situation.owner_uid):
            continue
        name = workload_of(thing)
        if situation.guarded and name and name not in HARMLESS and key.kind in _HELD_KINDS:
            waiting[name] = Problem("PositionsOpen", f"{name} is no longer wanted; it goes when nothing is held or the session is over")
            continue
        found.append(thing)
    return tuple(found), waiting
