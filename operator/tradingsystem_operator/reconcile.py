"""One round for one system: observe, decide with pure functions, apply, say what is so. Level-triggered: a round needs nothing of the one before.

It never fails for what a person did: a mistake in the spec, a missing secret, a name that is taken become reasons in status, and everything else goes on. It
fails only when the API server does not answer, and is tried again then.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog

from tradingsystem.domain.errors import NotAuthorized, RequestRefused, TryAgain
from tradingsystem.messages.live_settings import settings_of
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.server import login_prefix
from tradingsystem.spec import InvalidSpec, from_document
from tradingsystem.spec.inference import Runtime
from tradingsystem.spec.messaging import AUTHORITIES_KEY, Messaging
from tradingsystem.spec.status import TradingSystemStatus
from tradingsystem_operator import latches, reading, telling
from tradingsystem_operator.applying import Foreign, Outcome, ensure, make, problem_of, put
from tradingsystem_operator.cluster import Cluster
from tradingsystem_operator.control import ControlChannel, Link
from tradingsystem_operator.credentials import credentials, credentials_name, secret, triton_credentials
from tradingsystem_operator.deletion import FINALIZER, LOOK_AGAIN_SECONDS, Act
from tradingsystem_operator.ending import end
from tradingsystem_operator.events import Events
from tradingsystem_operator.facts import Facts, Problem
from tradingsystem_operator.memory import Memory, Seen
from tradingsystem_operator.objects import (
    CLEAR_LATCH_ANNOTATION,
    POD,
    SECRET,
    TRADING_SYSTEM,
    Object,
    Owner,
    Reference,
    is_controlled_by,
    key_of,
    kind_of,
)
from tradingsystem_operator.queue import SystemKey
from tradingsystem_operator.release import Release
from tradingsystem_operator.status import as_document, next_status, read_status
from tradingsystem_operator.watching import Store

log = structlog.get_logger()

PASSWORD_BYTES = 24


class Reconciler:
    """Rounds over all systems. ``url_of`` says where a system's message server is; ``wake`` asks for another round, now or later; ``follow`` has a system
    woken when one of the objects changes that its spec names; ``newest`` is the generation of a system, by its uid, that the watch told last."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        release: Release,
        events: Events,
        url_of: Callable[[SystemKey], str],
        wake: Callable[[SystemKey, float], None],
        follow: Callable[[SystemKey, frozenset[Reference]], None],
        newest: Callable[[SystemKey, str], int],
    ) -> None:
        self._cluster, self._store, self._release, self._events = cluster, store, release, events
        self._url_of, self._wake, self._follow, self._newest = url_of, wake, follow, newest
        self._memories: dict[SystemKey, Memory] = {}
        self.said: dict[SystemKey, TradingSystemStatus] = {}

    async def reconcile(self, key: SystemKey) -> None:
        """One round. Raises ``TradingSystemError`` when it has to be tried again."""
        raw = await self._cluster.get(TRADING_SYSTEM, key.namespace, key.name)
        if raw is None:
            await self._forget(key)
            return
        seen = await self._begin(key, raw)
        if "deletionTimestamp" in raw["metadata"]:
            await self._end(seen)
            return
        if not seen.paused:
            await self._hold(seen)
        reading.read_spec(seen)
        await self._look_up(seen)
        await self._know_secrets(seen)
        reading.read_revisions(seen)
        is_new = reading.choose_revision(seen, self._release)
        await self._look_for_secrets(seen)
        reading.plan_work(seen, time.monotonic())
        if not seen.paused:
            if not await self._apply(seen, is_new=is_new):
                return
            await self._put_settings_in_force(seen)
            await self._clear_latch(seen)
        if seen.memory.channel is not None:
            await seen.memory.channel.say_it_stands()
        await self._tell(seen, telling.facts_of(seen, datetime.now(UTC)))

    async def close(self) -> None:
        """Leave every message server."""
        await asyncio.gather(*(self._forget(key) for key in list(self._memories)))

    # --- beginning and end -------------------------------------------------------------------------------------------

    async def _begin(self, key: SystemKey, raw: Object) -> Seen:
        uid = raw["metadata"]["uid"]
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            await self._forget(key)
            memory = self._memories[key] = Memory(uid)
        return Seen(key, raw, Owner(name=key.name, namespace=key.namespace, uid=uid), memory, self._store.of(key))

    async def _forget(self, key: SystemKey) -> None:
        self.said.pop(key, None)
        self._follow(key, frozenset())
        memory = self._memories.pop(key, None)
        if memory is not None:
            await memory.close()

    async def _hold(self, seen: Seen) -> None:
        """Put our finalizer, so that a deletion waits for us. The uid makes sure that it is not made anew by this."""
        metadata = seen.raw["metadata"]
        if FINALIZER in (metadata.get("finalizers") or []):
            return
        own = {"name": seen.key.name, "namespace": seen.key.namespace, "uid": seen.owner.uid, "finalizers": [FINALIZER]}
        thing = {"apiVersion": TRADING_SYSTEM.api_version, "kind": TRADING_SYSTEM.kind, "metadata": own}
        try:
            await self._cluster.apply(TRADING_SYSTEM, thing, force=True)
        except RequestRefused as refused:
            raise TryAgain(f"{seen.key}: it changed meanwhile ({refused.reason})") from refused

    async def _end(self, seen: Seen) -> None:
        await self._know_secrets(seen, make=False)
        reading.read_revisions(seen)
        seen.revision = max(seen.memory.revisions.values(), key=lambda revision: revision.number, default=None)
        step = await end(seen, self._cluster, self._events, datetime.now(UTC))
        if step is None or step.act is Act.LET_GO:
            return
        await self._tell(seen, telling.facts_of(seen, datetime.now(UTC), deleting=True))
        self._wake(seen.key, LOOK_AGAIN_SECONDS)

    # --- what others made --------------------------------------------------------------------------------------------

    async def _look_up(self, seen: Seen) -> None:
        """What the spec names, read after it is watched: what changes from here on makes another round."""
        named, there, unseen = reading.references(seen), dict[Reference, Object](), list[Problem]()
        self._follow(seen.key, named)
        for reference in sorted(named):
            try:
                found = await self._cluster.get(reference.kind, seen.key.namespace, reference.name)
            except NotAuthorized as error:
                unseen.append(Problem("Forbidden", f"{reference.kind.kind} {reference.name}: {error}"))
                continue
            there |= {reference: found} if found is not None else {}
        reading.take_references(seen, there, tuple(unseen))

    # --- secrets -----------------------------------------------------------------------------------------------------

    async def _know_secrets(self, seen: Seen, *, make: bool = True) -> None:
        """The passwords of the message server, ours or a person's; then the channel that uses one."""
        memory, system = seen.memory, reading.readable(seen)
        messaging = system.spec.messaging if system is not None else Messaging()
        if not messaging.external or (system is not None and system.spec.inference.runtime is Runtime.TRITON):
            await self._know_own_secret(seen, messaging, make=make)
        link = await self._link(seen, messaging)
        if link is not None and link != memory.link:
            await memory.close()
            memory.link = link
            memory.channel = ControlChannel(seen.key.name, link, lambda: self._wake(seen.key, 0.0))
            memory.channel.start()

    async def _know_own_secret(self, seen: Seen, messaging: Messaging, *, make: bool) -> None:
        """Made once, put back when somebody deletes it, never replaced."""
        memory = seen.memory
        try:
            found = await self._cluster.get(SECRET, seen.key.namespace, credentials_name(seen.key.name))
        except NotAuthorized as error:
            seen.problems.append(Problem("Forbidden", f"Secret {credentials_name(seen.key.name)}: {error}"))
            return
        if found is not None and not is_controlled_by(found, seen.owner.uid):
            foreign = problem_of(found | {"kind": SECRET.kind}, Foreign())
            seen.problems += [foreign] if foreign is not None else []
            return
        data = {name: base64.b64decode(value) for name, value in ((found or {}).get("data") or {}).items()}
        if make and not seen.paused:
            data = await self._complete_secret(seen, data, messaging, exists=found is not None)
        memory.secret_data = data

    async def _link(self, seen: Seen, messaging: Messaging) -> Link | None:
        """How the message server is reached, None while a password is lacking: that is told where every secret of the spec is looked for."""
        if not messaging.external:
            password = _text(seen.memory.secret_data, PERSON)
            return Link((self._url_of(seen.key),), PERSON, password) if password else None
        users = await self._content(seen, messaging.secret_ref.name)
        authorities = await self._content(seen, messaging.ca_secret_ref.name) if messaging.ca_secret_ref.name else {}
        password, signed_by = _text(users, PERSON), _text(authorities, AUTHORITIES_KEY)
        if not password or bool(messaging.ca_secret_ref.name) != bool(signed_by):
            return None
        return Link(messaging.urls, login_prefix(seen.key.name) + PERSON, password, signed_by, external=True)

    async def _content(self, seen: Seen, name: str) -> dict[str, bytes]:
        """Of a person's Secret, nothing when it is not there."""
        try:
            found = await self._cluster.get(SECRET, seen.key.namespace, name)
        except NotAuthorized as error:
            seen.problems.append(Problem("Forbidden", f"Secret {name}: {error}"))
            return {}
        return {key: base64.b64decode(value) for key, value in ((found or {}).get("data") or {}).items()}

    async def _complete_secret(self, seen: Seen, data: dict[str, bytes], messaging: Messaging, *, exists: bool) -> dict[str, bytes]:
        before = data if exists else dict(seen.memory.secret_data)
        wanted = triton_credentials(before, _token) if messaging.external else credentials(seen.key.name, before, _token)
        if exists and wanted == data:
            return data
        thing = secret(seen.owner, wanted)
        try:
            if exists:
                await put(self._cluster, thing)
            else:
                await make(self._cluster, thing)
                await self._events.say(seen.raw, "CredentialsMade", f"Secret {thing['metadata']['name']} was made", action="Create")
        except (RequestRefused, NotAuthorized) as error:
            seen.problems += [problem for problem in [problem_of(thing, error)] if problem is not None]
            return data
        return wanted

    async def _look_for_secrets(self, seen: Seen) -> None:
        """Whether what the spec refers to is there; by name, and only the names of its keys."""
        for name, keys in reading.secret_needs(seen).items():
            try:
                found = await self._cluster.get(SECRET, seen.key.namespace, name)
            except NotAuthorized as error:
                seen.problems.append(Problem("Forbidden", f"Secret {name}: {error}"))
                continue
            problem = reading.missing_from(name, keys, found, seen.key.namespace)
            seen.problems += [problem] if problem is not None else []

    # --- applying ----------------------------------------------------------------------------------------------------

    async def _apply(self, seen: Seen, *, is_new: bool) -> bool:
        """All of it, or False once the spec is another: what is left is the next round's, which the same word has asked for.

        Many objects on a slow API server are half a minute, and a halt must not wait for them: live settings go first, as soon as the channel is up.
        """
        work, revision = seen.work, seen.revision
        if work is None or revision is None:
            return True
        if is_new and not await self._store_revision(seen):
            return True
        reading.keep_revision(seen)
        for thing in work.apply:
            if self._newest(seen.key, seen.owner.uid) > seen.generation:
                return False
            await self._put_settings_in_force(seen)
            await self._ensure(seen, thing)
        for thing in work.prune:
            await self._prune(seen, thing)
        for name, uid in work.replace_pods:
            await self._cluster.delete(POD, seen.key.namespace, name, uid)
            await self._events.say(
                seen.raw, "StuckPodReplaced", f"pod {name} ran an older revision and could not become ready", action="Delete"
            )
        return True

    async def _store_revision(self, seen: Seen) -> bool:
        """Keep a new revision before anything of it is applied: a process that dies in between goes on from there."""
        assert seen.revision is not None
        number = seen.revision.number
        stored = await self._ensure(seen, seen.memory.revision_maps[number])
        if stored:
            text = f"revision {number} of release {seen.revision.version}: {len(seen.revision.objects)} objects"
            await self._events.say(seen.raw, "RevisionApplied", text, action="Apply")
        else:
            seen.memory.revision_maps.pop(number, None)
        return stored

    async def _ensure(self, seen: Seen, thing: Object) -> bool:
        """One object; what a person can act on becomes a problem, and the others go on. Raises ``TryAgain``."""
        key = key_of(thing)
        try:
            outcome, result = await ensure(self._cluster, thing, seen.children, seen.memory.applied, seen.owner.uid)
        except (Foreign, RequestRefused, NotAuthorized) as error:
            problem = problem_of(thing, error)
            if problem is None:
                raise TryAgain(f"{key.kind} {key.name}: {error}") from error
            seen.problems.append(problem)
            return False
        if result is not None:
            self._store.put(result)
            seen.children[key] = result
        if outcome is Outcome.REPAIRED:
            await self._events.say(seen.raw, "DriftRepaired", f"{key.kind} {key.name} is again as rendered", action="Apply")
        return True

    async def _prune(self, seen: Seen, thing: Object) -> None:
        key = key_of(thing)
        try:
            await self._cluster.delete(kind_of(thing), seen.key.namespace, key.name, thing["metadata"]["uid"])
        except (RequestRefused, NotAuthorized) as error:
            problem = problem_of(thing, error)
            seen.problems += [problem] if problem is not None else []
            return
        seen.memory.applied.forget(key)
        seen.children.pop(key, None)
        self._store.drop(thing)
        await self._events.say(seen.raw, "Pruned", f"{key.kind} {key.name} is no longer wanted", action="Delete")

    # --- the control channel -----------------------------------------------------------------------------------------

    async def _put_settings_in_force(self, seen: Seen) -> None:
        """Journal the live settings of a valid spec, unless they are the newest entry: once in a round. What cannot be done now is tried again soon."""
        channel = seen.memory.channel
        if seen.settings_tried or channel is None or not seen.valid or not channel.connected or channel.is_in_force(seen.settings):
            return
        seen.settings_tried = True

        async def newest() -> bytes | None:
            raw = await self._cluster.get(TRADING_SYSTEM, seen.key.namespace, seen.key.name)
            if (
                raw is None
                or raw["metadata"]["uid"] != seen.owner.uid
                or raw["metadata"].get("generation") != seen.raw["metadata"].get("generation")
            ):
                return None  # it has changed since this round began: the next one, which is on its way, sees to it
            try:
                return settings_of(from_document(raw))
            except InvalidSpec:
                return None

        try:
            wrote = await channel.put_in_force(newest)
        except (TryAgain, RequestRefused) as error:
            log.info("settings_wait", of=str(seen.key), reason=str(error))
            return
        if wrote:
            await self._events.say(
                seen.raw, "SettingsJournaled", f"live settings of generation {seen.generation} are entry {wrote} of the journal"
            )

    async def _clear_latch(self, seen: Seen) -> None:
        """Carry out the annotation, once: whatever becomes of it is told, and then it goes. Without an answer it stays and is tried again."""
        value = seen.annotations.get(CLEAR_LATCH_ANNOTATION)
        if value is None:
            return
        asked = latches.asked_for(value, seen.owner.uid)
        if isinstance(asked, latches.Refused):
            await self._events.say(seen.raw, "LatchNotCleared", f"{CLEAR_LATCH_ANNOTATION}: {asked.why}", warning=True, action="ClearLatch")
        elif seen.memory.channel is None:
            self._wake(seen.key, telling.WAITING_SECONDS)
            return
        else:
            try:
                answer = await seen.memory.channel.command(asked)
            except TryAgain as error:
                log.warning("latch_waits", of=str(seen.key), reason=str(error))
                self._wake(seen.key, telling.WAITING_SECONDS)
                return
            what = f"latch {asked.latch_id}, asked for by {asked.name}: {answer.reason or 'cleared'}"
            await self._events.say(
                seen.raw, "LatchCleared" if answer.accepted else "LatchNotCleared", what, warning=not answer.accepted, action="ClearLatch"
            )
        place = "/metadata/annotations/" + CLEAR_LATCH_ANNOTATION.replace("~", "~0").replace("/", "~1")
        operations = [{"op": "test", "path": place, "value": value}, {"op": "remove", "path": place}]
        try:
            await self._cluster.patch(TRADING_SYSTEM, seen.key.namespace, seen.key.name, operations)
        except RequestRefused as refused:  # somebody wrote another one meanwhile: the next round reads that
            log.info("annotation_changed", of=str(seen.key), reason=refused.reason)

    # --- telling -----------------------------------------------------------------------------------------------------

    async def _tell(self, seen: Seen, facts: Facts) -> None:
        """Status if it differs, events for what is new, and the next look."""
        before = read_status(seen.raw.get("status"))
        status = next_status(facts, before)
        document = as_document(status)
        if document != (seen.raw.get("status") or {}):
            own = {"name": seen.key.name, "namespace": seen.key.namespace, "uid": seen.owner.uid}
            thing = {"apiVersion": TRADING_SYSTEM.api_version, "kind": TRADING_SYSTEM.kind, "metadata": own, "status": document}
            try:
                await self._cluster.apply(TRADING_SYSTEM, thing, force=True, part="status")
            except RequestRefused as refused:
                raise TryAgain(f"{seen.key}: status was not taken ({refused.reason})") from refused
        self.said[seen.key] = status
        for step in telling.model_steps(before.models, status.models):
            await self._events.say(seen.raw, step.reason, step.note, warning=step.warning, action="Promote")
        for step in telling.engine_steps(before.conditions, status.conditions):
            await self._events.say(seen.raw, step.reason, step.note, action="Build")
        told = telling.worth_telling(facts)
        for problem in sorted(told - seen.memory.told):
            await self._events.say(seen.raw, problem.reason, problem.message, warning=True)
        seen.memory.told = told
        if seconds := telling.look_again_seconds(facts):
            self._wake(seen.key, seconds)


def _token() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


def _text(data: Mapping[str, bytes], key: str) -> str:
    return data.get(key, b"").decode(errors="replace").strip()
