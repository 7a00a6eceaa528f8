"""Our own watches of what systems own: one per kind and namespace, by label, kept in memory so that a round reads without asking. Secrets are not among them.

Beside them one for each object that a spec names and a person made, by its name and only as long as it is named. Of such an object nothing is kept: a
change wakes whoever names it, and the round reads it.

A watch that is silent past its bookmarks is closed and opened anew; one that cannot go on lists again, and what vanished meanwhile is told as well. Nothing
here decides: a change only wakes the system whose label it carries.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import structlog

from tradingsystem.domain.errors import TradingSystemError
from tradingsystem.telemetry import operator_metrics as metrics
from tradingsystem_operator.cluster import Change, Cluster, Expired
from tradingsystem_operator.objects import (
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    OWNED,
    POD,
    SYSTEM_LABEL,
    VOLUME_CLAIM,
    Key,
    Kind,
    Object,
    Reference,
)
from tradingsystem_operator.queue import SystemKey

log = structlog.get_logger()

WATCHED: tuple[Kind, ...] = (*OWNED, POD, VOLUME_CLAIM)

PAUSE_SECONDS = (0.2, 15.0)
GONE_REMEMBERED = 2_000
STALE_SECONDS = 180.0  # twice what a silent watch is given, with a list in between

# Pods and claims are made by controllers of the cluster, so only the system's own label is asked of everything.
_SELECTOR = SYSTEM_LABEL


class Place(NamedTuple):
    """What one watch looks at: a kind in a namespace (empty: in all), or one object of it by name."""

    kind: Kind
    namespace: str
    name: str = ""


class Store:
    """The newest known state of every watched object, found by system."""

    def __init__(self) -> None:
        self._of: dict[SystemKey, dict[Key, Object]] = {}
        self._gone: dict[str, None] = {}  # uids of what was deleted, oldest first

    def of(self, system: SystemKey) -> dict[Key, Object]:
        """Everything that carries the system's label, by kind and name."""
        return dict(self._of.get(system, {}))

    def put(self, thing: Object) -> SystemKey | None:
        """Keep it if it is newer than what is known; the system it belongs to."""
        system = system_of(thing)
        if system is None or thing["metadata"].get("uid") in self._gone:  # the answer to a write may arrive after the word of the deletion
            return system
        thing["metadata"].pop("managedFields", None)  # half of an object, and nobody here reads it
        kept = self._of.setdefault(system, {})
        key = Key(thing["kind"], thing["metadata"]["name"])
        before = kept.get(key)
        if before is None or not _is_older(thing, before):
            kept[key] = thing
        return system

    def drop(self, thing: Object) -> SystemKey | None:
        """It is gone, for good; the system it belonged to."""
        system = system_of(thing)
        self._gone[thing["metadata"].get("uid", "")] = None
        while len(self._gone) > GONE_REMEMBERED:
            del self._gone[next(iter(self._gone))]
        if system is not None and (kept := self._of.get(system)) is not None:
            kept.pop(Key(thing["kind"], thing["metadata"]["name"]), None)
            if not kept:
                del self._of[system]
        return system

    def everything(self, kind: Kind, namespace: str) -> Iterator[Object]:
        """All objects of a kind, in one namespace or, when that is empty, in all."""
        for system, kept in self._of.items():
            if namespace in {"", system.namespace}:
                yield from (thing for key, thing in kept.items() if key.kind == kind.kind)


def system_of(thing: Object) -> SystemKey | None:
    """The system an object says it belongs to."""
    metadata = thing["metadata"]
    name = (metadata.get("labels") or {}).get(SYSTEM_LABEL)
    return SystemKey(metadata.get("namespace", ""), name) if name else None


def is_managed(thing: Object) -> bool:
    """Whether the object says that this operator wrote it."""
    return (thing["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL) == FIELD_MANAGER


def _is_older(one: Object, other: Object) -> bool:
    """By the server's versions, which are numbers on every server there is; the answer to a write must not be undone by a watch that lags behind it."""
    mine, theirs = one["metadata"], other["metadata"]
    first, second = mine.get("resourceVersion", ""), theirs.get("resourceVersion", "")
    return first.isdigit() and second.isdigit() and int(first) < int(second)


class Watches:
    """All watches. ``wake`` is called with each system whose objects changed."""

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...], wake: Callable[[SystemKey], None]) -> None:
        self.store = Store()
        self._cluster, self._wake = cluster, wake
        self._places = [Place(kind, namespace) for kind in WATCHED for namespace in namespaces or ("",)]
        self._named: dict[SystemKey, frozenset[Place]] = {}
        self._following: dict[Place, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._heard: dict[Place, float] = {}
        self._moved: dict[Place, float] = {}
        self._listed = asyncio.Event()

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for place in self._places:
                group.create_task(self._keep(place), name=f"watch {place.kind.plural} {place.namespace}")

    async def ready(self) -> None:
        """Return once every kind was listed: before that, what is missing from the store says nothing."""
        await self._listed.wait()

    def follow(self, system: SystemKey, named: frozenset[Reference]) -> None:
        """Wake the system when one of these objects of its namespace changes, and by no others than these. Only while ``run`` runs."""
        places = frozenset(Place(kind, system.namespace, name) for kind, name in named)
        if self._named.get(system, frozenset()) == places:
            return
        if places:
            self._named[system] = places
        else:
            del self._named[system]
        wanted = frozenset[Place]().union(*self._named.values())
        for place in self._following.keys() - wanted:
            self._following.pop(place).cancel()
            self._heard.pop(place, None)
            self._moved.pop(place, None)
        for place in wanted - self._following.keys():
            assert self._group is not None, "it runs"
            self._following[place] = self._group.create_task(
                self._keep(place), name=f"watch {place.kind.kind} {place.namespace}/{place.name}"
            )

    def measure(self) -> None:
        """Put into metrics how long each has said nothing."""
        now = time.monotonic()
        for age, kind in sorted((now - heard, place.kind.kind) for place, heard in self._heard.items()):
            metrics.watch_staleness.labels(kind=kind).set(age)

    def stuck(self) -> str:
        """A watch that neither hears nor fails nor tries anew, in words; empty when there is none. A server that is down makes nobody stuck."""
        now = time.monotonic()
        found = [place.kind.kind for place, moved in self._moved.items() if now - moved > STALE_SECONDS]
        return f"watches that do not move: {', '.join(sorted(set(found)))}" if found else ""

    def _hear(self, place: Place) -> None:
        self._heard[place] = self._moved[place] = time.monotonic()
        if all(each in self._heard for each in self._places):
            self._listed.set()

    async def _keep(self, place: Place) -> None:
        shortest, longest = PAUSE_SECONDS
        pause = shortest
        since = ""
        selector = "" if place.name else _SELECTOR
        while True:
            try:
                since = since or await self._list(place, selector)
                async for change in self._cluster.watch(place.kind, place.namespace, since, selector=selector, name=place.name):
                    since = change.thing["metadata"]["resourceVersion"]
                    self._take(place, change)
                    pause = shortest
                reason = "ended"
            except Expired:
                since, reason = "", "expired"
            except TradingSystemError as error:
                reason = type(error).__name__
                log.warning("watch_broke", kind=place.kind.kind, namespace=place.namespace, reason=str(error))
            self._moved[place] = time.monotonic()
            metrics.watch_restarts.labels(kind=place.kind.kind, reason=reason).inc()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(longest, pause * 2)

    async def _list(self, place: Place, selector: str) -> str:
        listing = await self._cluster.list(place.kind, place.namespace, selector, place.name)
        if place.name:  # whoever names it may have read it before this
            self._tell(self._naming(place))
        else:
            present = {thing["metadata"]["uid"] for thing in listing.items}
            end = {"metadata": {"resourceVersion": listing.resource_version}}
            known = self.store.everything(
                place.kind, place.namespace
            )  # what is newer than the list was made after it, and the watch will tell of it
            gone = [thing for thing in known if thing["metadata"]["uid"] not in present and _is_older(thing, end)]
            self._tell(self.store.drop(thing) for thing in gone)
            self._tell(self.store.put(thing) for thing in listing.items)
        self._hear(place)
        return listing.resource_version

    def _take(self, place: Place, change: Change) -> None:
        self._hear(place)
        if change.what == "BOOKMARK":
            return
        metrics.watch_events.labels(kind=place.kind.kind).inc()
        if place.name:
            self._tell(self._naming(place))
            return
        thing = {"apiVersion": place.kind.api_version, "kind": place.kind.kind} | change.thing
        self._tell([self.store.drop(thing) if change.what == "DELETED" else self.store.put(thing)])

    def _naming(self, place: Place) -> list[SystemKey]:
        return [system for system, places in self._named.items() if place in places]

    def _tell(self, systems: Iterable[SystemKey | None]) -> None:
        for system in {system for system in systems if system is not None}:
            self._wake(system)
