"""Does what promotion waits for: verifies, holds evidence against the gate, loads and asks. What comes of it is an event; nothing is decided here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from tradingsystem.bundles import gate, promotion
from tradingsystem.bundles.bundle import Bundle, InvalidBundle
from tradingsystem.bundles.engine_plan import version_in
from tradingsystem.bundles.promotion import Event, Judge, Judged, Probed, ProbeVersion, Rules, State
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.store import collectable
from tradingsystem.interfaces import EngineStore, ModelServer, ModelStore, Running
from tradingsystem.spec.learning import Promotion

WORST_DIFFERENCE_MAX = 1e-3  # golden vectors on another runtime than they were signed on; tests/promises has the proven ones


@dataclass(frozen=True, slots=True)
class Promoting:
    """What promotion needs of the world. ``present`` are the numbers in the store; ``read`` gives a verified bundle or raises ``InvalidBundle``;
    ``server`` is made when it is first needed, because a runtime costs memory that a service without candidates has no use for."""

    rules: Rules
    better_probability_min_percent: int
    latency_us_max: float
    present: Callable[[], Sequence[int]]
    read: Callable[[int], Bundle]
    server: Callable[[], ModelServer]
    elsewhere: bool = False  # whether what serves is asked of ``server``; in process the filter loads for itself
    store: ModelStore | None = None  # where versions come from and are removed; None: nothing is ever removed
    versions_kept: int = 2
    engines: EngineStore | None = None  # of versions; one goes with its version
    running: Callable[[], Running] = Running
    shipped: frozenset[int] = frozenset()  # what came with the release: a pin to it is the way back that is always there

    async def settle(self, versions: tuple[int, ...]) -> None:
        """Have exactly these loaded where models are served. What cannot be loaded was loaded before, so that is left to who asks. Raises ``TryAgain``."""
        if self.elsewhere:
            await self.server().load(versions)

    async def make_room(self, state: State) -> tuple[int, ...]:
        """Remove what is older than the newest ``versions_kept`` and needed by nobody, and engines of what is gone; returns the versions that went. One that
        promotion has not seen yet stays.

        Raises ``TryAgain`` or ``OSError``: what has gone by then is gone, and who asks again goes on."""
        if self.store is None:
            return ()
        there = await self.store.versions()
        unseen = {version for version in there if version > state.seen}
        gone = collectable(there, self.versions_kept, promotion.kept(state) | self.shipped | unseen)
        for version in gone:
            await self.store.remove(version)
        if self.engines is not None:
            stay = promotion.kept(state) | self.shipped | (set(there) - set(gone))
            for name in await self.engines.names():
                if version_in(name) not in stay:
                    await self.engines.remove(name)
        return gone

    async def answer(self, state: State, now_ns: int) -> Event | None:
        """The answer to what the machine waits for, None when it waits for nothing. Raises ``TryAgain`` while the model server cannot be reached."""
        match promotion.task(state):
            case Judge(version):
                return self._judge(version, state.serving, now_ns)
            case ProbeVersion(version, pin):
                refusal, detail = await self._probe(version, promotion.loaded(state))
                return Probed(at_ns=now_ns, version=version, refusal=refusal, detail=detail, pin=pin)
            case None:
                return None

    def _judge(self, version: int, champion: int, now_ns: int) -> Event:
        try:
            bundle = self.read(version)
        except InvalidBundle as error:
            return Judged(at_ns=now_ns, version=version, refusal=error.refusal, detail=str(error))
        digest = hashlib.sha256(msgspec.json.encode(bundle.manifest)).digest()
        minimum = self.better_probability_min_percent
        answer = gate.judge(bundle.evidence, champion=champion, better_probability_min_percent=minimum, digest=digest)
        return Judged(at_ns=now_ns, version=version, refusal=answer.refusal, detail=answer.detail)

    async def _probe(self, version: int, loaded: tuple[int, ...]) -> tuple[Refusal | None, str]:
        """Why a version may not be asked by anybody, None when it answers rightly and in time."""
        server = self.server()
        try:
            await server.load(tuple(sorted({*loaded, version})))
            probe = await server.probe(version)
        except ModelRefused as error:
            if error.version != version:
                return Refusal.NOT_LOADED, f"it could not be loaded beside what serves: {error}"
            return error.refusal, error.detail
        if probe.worst_difference > WORST_DIFFERENCE_MAX:
            return (
                Refusal.WRONG_ANSWERS,
                f"golden vectors differ by {probe.worst_difference:.2e}, at most {WORST_DIFFERENCE_MAX:.0e} is allowed",
            )
        if probe.latency_us > self.latency_us_max:
            return Refusal.TOO_SLOW, f"the golden vectors take {probe.latency_us:.0f} us, at most {self.latency_us_max:.0f} is allowed"
        return None, f"golden vectors differ by {probe.worst_difference:.1e}, {probe.latency_us:.0f} us"


def rules_of(spec: Promotion) -> Rules:
    """Shadow and canary take the same time of open market: the spec has one field for it."""
    minutes = spec.shadow_session_minutes
    return Rules(shadow_minutes=minutes, canary_minutes=minutes, canary_percent=int(spec.canary_percent))
