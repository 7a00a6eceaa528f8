"""Puts objects where they belong: created the first time, so that a foreign object of that name is never taken over; applied when ours, and only when needed.

Server-side apply is the diff; it is asked for when the rendering differs from what was last applied, or the object differs from what came back then. So a
system that runs costs no writes, and whatever others change in our fields is put right when the watch tells of it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from tradingsystem.domain.errors import NotAuthorized, RequestRefused, TryAgain
from tradingsystem.spec import content_hash
from tradingsystem.telemetry import operator_metrics as metrics
from tradingsystem_operator.cluster import Cluster
from tradingsystem_operator.facts import Problem
from tradingsystem_operator.objects import FIELD_MANAGER, Key, Object, is_controlled_by, key_of, kind_of

_GIVE_UP_ATTEMPTS = 5
_VOLATILE = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp"})


class Outcome(enum.Enum):
    """What became of one object."""

    AS_IT_WAS = "AsItWas"
    CREATED = "Created"
    CHANGED = "Changed"
    REPAIRED = "Repaired"


class Applied:
    """What was last applied for one system: the rendering of each object and what the server made of it."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[str, str]] = {}

    def is_settled(self, thing: Object, observed: Object) -> bool:
        """Whether this rendering was applied and nobody has touched the object since."""
        return self._known.get(key_of(thing)) == (content_hash(thing), fingerprint(observed))

    def rendered_so(self, thing: Object) -> bool:
        """Whether this very rendering was applied before."""
        return self._known.get(key_of(thing), ("", ""))[0] == content_hash(thing)

    def note(self, thing: Object, result: Object) -> None:
        """Remember what the server made of it."""
        self._known[key_of(thing)] = (content_hash(thing), fingerprint(result))

    def forget(self, key: Key) -> None:
        """The object was deleted on purpose."""
        self._known.pop(key, None)


def fingerprint(thing: Object) -> str:
    """The hash of everything but status and the server's own bookkeeping."""
    metadata = {name: value for name, value in thing["metadata"].items() if name not in _VOLATILE}
    return content_hash({name: value for name, value in thing.items() if name not in {"status", "metadata"}} | {"metadata": metadata})


class Foreign(Exception):
    """An object of that name is controlled by somebody else, or by nobody."""


async def make(cluster: Cluster, thing: Object) -> Object:
    """Create it: refused when the name is taken. Then apply it, so that from the first moment on we hold its fields as one who applies."""
    await cluster.create(kind_of(thing), thing)
    return await put(cluster, thing)


async def put(cluster: Cluster, thing: Object) -> Object:
    """Apply it, and give up what we hold as its creator: a field held twice would stay when a later revision leaves it out."""
    for _ in range(_GIVE_UP_ATTEMPTS):
        result = await cluster.apply(kind_of(thing), thing, force=True)
        given_up = _giving_up(result)
        if not given_up:
            return result
        try:
            patched = await cluster.patch(kind_of(thing), thing["metadata"]["namespace"], thing["metadata"]["name"], given_up)
        except RequestRefused as refused:
            if refused.code != "Invalid":
                raise
            continue  # a controller wrote its status meanwhile, and our entry stands elsewhere in the list
        return result if patched is None else patched
    raise TryAgain(f"{thing['kind']} {thing['metadata']['name']} is being written by others all the time")


def _giving_up(result: Object) -> list[Object]:
    """The patch that removes our entry as its creator, if it is still the one that was read; empty when there is none."""
    for number, entry in enumerate(result["metadata"].get("managedFields") or []):
        if entry.get("manager") != FIELD_MANAGER or entry.get("operation") != "Update" or entry.get("subresource"):
            continue
        place = f"/metadata/managedFields/{number}"
        tests: list[Object] = [{"op": "test", "path": f"{place}/{name}", "value": entry[name]} for name in ("manager", "operation", "time")]
        return [*tests, {"op": "remove", "path": place}]
    return []


async def ensure(
    cluster: Cluster, thing: Object, children: Mapping[Key, Object], applied: Applied, uid: str
) -> tuple[Outcome, Object | None]:
    """Make the object be as rendered; what became of it, and the object if it was written. Raises ``Foreign`` or the cluster's errors."""
    kind, key = kind_of(thing), key_of(thing)
    observed = children.get(key)
    if observed is None:
        try:
            result = await make(cluster, thing)
        except RequestRefused as refused:
            if refused.code != "AlreadyExists":
                raise
            observed = await cluster.get(kind, thing["metadata"]["namespace"], thing["metadata"]["name"])
            if observed is None:
                raise TryAgain(f"{key.kind} {key.name} came and went") from refused
        else:
            repaired = applied.rendered_so(thing)
            applied.note(thing, result)
            if repaired:
                metrics.drift.labels(kind=key.kind).inc()
            return (Outcome.REPAIRED if repaired else Outcome.CREATED), result
    if not is_controlled_by(observed, uid):
        raise Foreign(f"{key.kind} {key.name} exists and is not this system's")
    if "deletionTimestamp" in observed["metadata"] or applied.is_settled(thing, observed):
        return Outcome.AS_IT_WAS, None
    repaired = applied.rendered_so(thing)
    result = await put(cluster, thing)
    applied.note(thing, result)
    if fingerprint(result) == fingerprint(observed):
        return Outcome.AS_IT_WAS, result
    if repaired:
        metrics.drift.labels(kind=key.kind).inc()
    return (Outcome.REPAIRED if repaired else Outcome.CHANGED), result


def problem_of(thing: Object, error: Exception) -> Problem | None:
    """The error as a reason a person can act on; None when it will pass by itself."""
    what = f"{thing['kind']} {thing['metadata']['name']}"
    if isinstance(error, Foreign):
        return Problem(
            "NameConflict", f"{what} exists and belongs to somebody else; it is left alone: delete or rename it, or rename the system"
        )
    if isinstance(error, NotAuthorized):
        return Problem("Forbidden", f"{what}: {error}")
    if isinstance(error, RequestRefused) and error.code not in {"Conflict", "NotFound"}:
        return Problem("Rejected", f"{what}: {error.reason}")
    return None
