"""The models service's shell: verifies the store, says which version serves, and journals each change. Promotion is not built yet: the pinned version
serves, else the highest that verifies.

The pin is a live setting: a new one takes over while everything runs, as an entry in the journal that becomes a note on the tape. A version that cannot
serve changes nothing but what is said: what serves goes on serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from tradingsystem.domain.control import ModelsAssigned, ModelsState, SpecApplied, WeightsUpdated
from tradingsystem.domain.outcomes import Outcome
from tradingsystem.interfaces import Bus, Clock, Delivery, Entry, Journal
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.models.online import OnlineWeights
from tradingsystem.models.store import Choice, NoBundle
from tradingsystem.spec.slices import LiveSettings
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

SAY_SECONDS = 1.0


class ModelsService:
    """Publishes ``state.<system>.models`` and journals which version serves. ``choose`` takes the pinned version, 0 for none."""

    name = "models"

    def __init__(
        self, *, system: str, pinned: int, choose: Callable[[int], Choice], online: OnlineWeights, clock: Clock, bus: Bus, journal: Journal
    ) -> None:
        self._subjects = Subjects(system)
        self._choose = choose
        self._online = online
        self._clock = clock
        self._bus = bus
        self._journal = journal
        self._state = ModelsState(serving=0, pinned=pinned, generation=0, refused={})
        self._applied: LiveSettings | None = None
        self._generation = 0
        self._changed = asyncio.Event()
        self.progress_ns = 0

    @property
    def live_generation(self) -> int:
        """The generation of live settings whose pin was taken over or refused."""
        return self._state.generation

    def detail(self) -> dict[str, float]:
        """The serving version for the beat."""
        return {"serving": self._state.serving}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Verify, journal, say so each second, and take over every pin that is applied. Raises ``NoBundle`` when nothing may serve at the start."""
        await self._catch_up()
        pinned = self._applied.models.pinned_version if self._applied is not None else self._state.pinned
        await self._serve(pinned, self._generation, self._choose(pinned))
        followed = await self._journal.follow(self._subjects.journal_spec, 1, self._on_spec)
        heard = await self._bus.subscribe(self._subjects.outcomes, self._on_outcomes)
        waiting = asyncio.create_task(self._until(stop))
        ready()
        try:
            while not stop.is_set():
                self._bus.publish(self._subjects.state("models"), encode(self._state))
                await self._weigh(self._online.due())
                try:
                    await asyncio.wait_for(self._changed.wait(), SAY_SECONDS)
                except TimeoutError:
                    continue
                self._changed.clear()
                await self._take_over()
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])
            await followed.close()
            await heard.close()

    async def _until(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._changed.set()

    async def _catch_up(self) -> None:
        """The newest settings and weights there are before anything is chosen: a restart must not go back to the pin it was once started with."""
        async for entry in self._journal.read(self._subjects.journal_spec):
            self._on_spec(entry)
        async for entry in self._journal.read(self._subjects.journal_weights):
            try:
                self._online.recall(decode(entry.payload, WeightsUpdated))
            except Malformed as error:
                log.error("weights_unreadable", seq=entry.seq, reason=str(error))
        self._changed.clear()

    def _on_spec(self, entry: Entry) -> None:
        try:
            applied: SpecApplied = decode(entry.payload, SpecApplied)
            live = msgspec.json.decode(applied.spec, type=LiveSettings)
        except (Malformed, msgspec.DecodeError) as error:
            log.error("spec_refused", seq=entry.seq, in_force=self._generation, reason=str(error))
            return
        if applied.generation > self._generation:
            self._generation, self._applied = applied.generation, live
            self._changed.set()

    def _on_outcomes(self, delivery: Delivery) -> None:
        try:
            outcomes: list[Outcome] = decode(delivery.payload, list[Outcome])
        except Malformed as error:
            metrics.bus_malformed.labels(kind="outcome").inc()
            log.warning("outcomes_malformed", reason=str(error))
            return
        self._online.hear(outcomes)

    async def _weigh(self, note: WeightsUpdated | None) -> None:
        """Journal learned weights, or that they are taken back; ingestion puts the entry on the tape."""
        if note is None:
            return
        await self._journal.append(self._subjects.journal_weights, encode(note))
        metrics.weights_update.set(note.update)
        log.info("weights_updated", version=note.model, update=note.update, weights=note.weights, rows=note.rows, reason=note.reason)

    async def _take_over(self) -> None:
        """Serve what the newest settings pin. A pinned version that cannot serve is refused, and what serves stays."""
        if self._applied is None or self._generation == self._state.generation:
            return
        generation, pinned = self._generation, self._applied.models.pinned_version
        if pinned == self._state.pinned:
            self._state = msgspec.structs.replace(self._state, generation=generation)
            return
        try:
            choice = self._choose(pinned)
        except NoBundle as error:
            self._refuse(pinned, generation, {pinned: str(error)})
            return
        if pinned and choice.bundle.manifest.version != pinned:
            self._refuse(pinned, generation, choice.refused)
            return
        await self._serve(pinned, generation, choice)

    def _refuse(self, pinned: int, generation: int, refused: dict[int, str]) -> None:
        log.error("pin_refused", version=pinned, serving=self._state.serving, reason=refused.get(pinned, ""))
        metrics.alarms.labels(alarm="pin_refused").inc()
        told = {str(version): reason for version, reason in refused.items()}
        self._state = msgspec.structs.replace(self._state, pinned=pinned, generation=generation, refused=told)

    async def _serve(self, pinned: int, generation: int, choice: Choice) -> None:
        serving = choice.bundle.manifest.version
        for version, reason in choice.refused.items():
            log.error("bundle_refused", version=version, reason=reason)
        if serving != self._state.serving:
            await self._journal.append(self._subjects.journal_model, encode(ModelsAssigned(serving=serving)))
            metrics.model_version.labels(role="serving").set(serving)
            log.info("model_serves", version=serving, pinned=pinned)
        await self._weigh(self._online.serve(choice.bundle.manifest))
        told = {str(version): reason for version, reason in choice.refused.items()}
        self._state = ModelsState(serving=serving, pinned=pinned, generation=generation, refused=told)
