"""The models service's shell: runs promotion over the journal, does what it waits for, and says which version serves and why.

What a version has gone through is in the journal, step by step; the state is the fold of it, so a restart loses nothing. What the tape assigns is an entry
of its own, at changes only. A version that cannot serve changes nothing but what is said: what serves goes on serving.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog

from tradingsystem.bundles import promotion
from tradingsystem.bundles.bundle import Bundle, InvalidBundle
from tradingsystem.bundles.promotion import Alarmed, Appeared, Begun, Event, Pinned, Promoted, Removed, State, TakenBack
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.control import CommandAnswer, ModelAct, ModelCommand, ModelsAssigned, ModelsState, SpecApplied, WeightsUpdated
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.domain.outcomes import FeatureSample, FilterModels, Outcome
from tradingsystem.interfaces import Bus, Clock, Delivery, Entry, Journal
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.models.drifting import DriftWatch
from tradingsystem.models.online import OnlineWeights
from tradingsystem.models.promoting import Promoting
from tradingsystem.models.store import Choice
from tradingsystem.models.watching import LiveLoss, said, watched_seconds
from tradingsystem.spec.slices import LiveSettings
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping

log = structlog.get_logger()

SAY_SECONDS = 1.0


class ModelsService:
    """Publishes ``state.<system>.models``, journals promotion and what it assigns. ``choose`` names what serves at the very first start."""

    name = "models"

    def __init__(
        self,
        *,
        system: str,
        pinned: int,
        choose: Callable[[int], Choice],
        promoting: Promoting,
        online: OnlineWeights,
        clock: Clock,
        bus: Bus,
        journal: Journal,
    ) -> None:
        self._subjects = Subjects(system)
        self._choose = choose
        self._promoting = promoting
        self._online = online
        self._clock = clock
        self._bus = bus
        self._journal = journal
        self._pin = pinned  # what the settings ask for
        self._generation = 0  # of the newest settings
        self._done_generation = 0  # of those whose pin was looked at
        self._state = State()
        self._assigned: ModelsAssigned | None = None
        self._settled: tuple[int, ...] = ()  # loaded where models are served
        self._unreadable: dict[int, str] = {}  # refused when the first one was chosen
        self._filter: FilterModels | None = None
        self._loss = LiveLoss()
        self._drift = DriftWatch()
        self._drift_told: dict[int, str] = {}
        self._stood: frozenset[int] = frozenset()  # in the store, when it was looked into last
        self._made_room_for: tuple[frozenset[int], frozenset[int]] | None = (
            None  # what stood there and what was needed, when room was made last
        )
        self._obeyed = ""  # id of the newest command that was answered
        self._commands: list[tuple[ModelCommand, Callable[[bytes], None] | None]] = []
        self._changed = asyncio.Event()
        self.progress_ns = 0

    @property
    def live_generation(self) -> int:
        """The generation of live settings whose pin was taken over or refused."""
        return self._done_generation

    def detail(self) -> dict[str, float]:
        """The serving version for the beat."""
        return {"serving": self._state.serving}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Verify, journal, say so each second, and do what promotion waits for. Raises ``NoBundle`` when nothing may serve at the start."""
        await self._catch_up()
        if not self._state.chosen:
            choice = self._choose(0)
            self._unreadable = choice.refused
            numbers = self._promoting.present()
            await self._tell(
                Begun(
                    at_ns=self._clock.now(),
                    serving=choice.bundle.manifest.version,
                    seen=max(numbers, default=choice.bundle.manifest.version),
                )
            )
        followed = await self._journal.follow(self._subjects.journal_spec, 1, self._on_spec)
        heard = [
            await self._bus.subscribe(self._subjects.outcomes, self._on_outcomes),
            await self._bus.subscribe(self._subjects.features, self._on_features, pending_max=8),
            await self._bus.subscribe(self._subjects.state("filter"), self._on_filter, pending_max=8),
            await self._bus.subscribe(self._subjects.command_models, self._on_command),
        ]
        waiting = asyncio.create_task(self._until(stop))
        try:
            await self._advance()
            ready()
            while not stop.is_set():
                self._bus.publish(self._subjects.state("models"), encode(self._said()))
                await self._weigh(self._online.due())
                with contextlib.suppress(TimeoutError):  # a round without a word from outside
                    await asyncio.wait_for(self._changed.wait(), SAY_SECONDS)
                self._changed.clear()
                await self._advance()
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])
            await followed.close()
            for subscription in heard:
                await subscription.close()

    async def _until(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._changed.set()

    async def _catch_up(self) -> None:
        """What the journal knows: settings, promotion and weights. A restart must not go back to the pin it was once started with."""
        async for entry in self._journal.read(self._subjects.journal_spec):
            self._on_spec(entry)
        async for entry in self._journal.read(self._subjects.journal_promotion):
            try:
                self._state = promotion.step(self._state, decode(entry.payload, Event), self._promoting.rules)
            except Malformed as error:
                log.error("promotion_unreadable", seq=entry.seq, reason=str(error))
        async for entry in self._journal.read(self._subjects.journal_weights):
            try:
                self._online.recall(decode(entry.payload, WeightsUpdated))
            except Malformed as error:
                log.error("weights_unreadable", seq=entry.seq, reason=str(error))
        self._changed.clear()

    # --- what is heard -----------------------------------------------------------------------------------------------

    def _on_spec(self, entry: Entry) -> None:
        try:
            applied: SpecApplied = decode(entry.payload, SpecApplied)
            live = msgspec.json.decode(applied.spec, type=LiveSettings)
        except (Malformed, msgspec.DecodeError) as error:
            log.error("spec_refused", seq=entry.seq, in_force=self._generation, reason=str(error))
            return
        if applied.generation > self._generation:
            self._generation, self._pin = applied.generation, live.models.pinned_version
            self._changed.set()

    def _on_outcomes(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "outcome"):
            outcomes: list[Outcome] = decode(delivery.payload, list[Outcome])
            self._online.hear(outcomes)
            self._loss.hear(outcomes)

    def _on_features(self, delivery: Delivery) -> None:
        with Dropping(ValueError, "feature"):  # also one of another length than the features have
            self._drift.hear(decode(delivery.payload, FeatureSample))

    def _on_filter(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "filter-models"):
            self._filter = decode(delivery.payload, FilterModels)
            self._changed.set()

    def _on_command(self, delivery: Delivery) -> None:
        try:
            self._commands.append((decode(delivery.payload, ModelCommand), delivery.answer))
        except Malformed as error:
            metrics.bus_malformed.labels(kind="command").inc()
            if delivery.answer is not None:
                delivery.answer(encode(CommandAnswer(id="", accepted=False, reason=str(error))))
            return
        self._changed.set()

    # --- promotion ---------------------------------------------------------------------------------------------------

    async def _advance(self) -> None:
        """One round: what is new, what a person or the settings ask for, what was seen live; then everything that can be answered at once."""
        now_ns, generation = self._clock.now(), self._generation
        await self._tell(Pinned(at_ns=now_ns, version=self._pin))
        await self._look_into_the_store(now_ns)
        while self._commands:
            await self._obey(*self._commands.pop(0))
        if self._filter is not None:
            for event in said(self._state, self._filter, now_ns):
                await self._tell(event)
        for event in (*self._loss.worse(now_ns), *self._drifting(now_ns)):
            await self._tell(event)
        try:
            while (answered := await self._promoting.answer(self._state, now_ns)) is not None:
                await self._tell(answered)
            self._done_generation = generation
        except TryAgain as error:  # what waits for the server goes on waiting
            log.warning("model_server_unreachable", reason=str(error))
        await self._assign()
        await self._make_room()

    async def _make_room(self) -> None:
        """Versions beyond those that the settings keep leave the store, when it or what is needed has changed. The next look into it tells that they went."""
        now = self._stood, promotion.kept(self._state)
        if now == self._made_room_for:
            return
        try:
            gone = await self._promoting.make_room(self._state)
        except (TryAgain, RequestRefused, OSError) as error:
            log.warning("models_not_collected", reason=str(error))
            return
        self._made_room_for = now
        if gone:
            log.info("models_collected", versions=gone)
            self._changed.set()

    async def _look_into_the_store(self, now_ns: int) -> None:
        """What is new, and what somebody has removed. A store that shows nothing at all is away, not empty."""
        present = frozenset(self._promoting.present())
        for version in sorted(number for number in present if number > self._state.seen):
            await self._tell(Appeared(at_ns=now_ns, version=version))
        if not present:
            return
        if gone := tuple(sorted(self._stood - present)):
            await self._tell(Removed(at_ns=now_ns, versions=gone))
        self._stood = present

    def _drifting(self, now_ns: int) -> list[Event]:
        """Drift ends a trial: what the candidate reads is not what its evidence was made on. Of the serving version it is an alarm and no more: the one
        before it reads the same features, and is not better for being older."""
        told = self._drift.told()
        for version, words in told.items():
            if version not in self._drift_told:
                metrics.alarms.labels(alarm="drift").inc()
                log.error("drift", version=version, serving=self._state.serving, what=words)
        self._drift_told = told
        metrics.features_drifted.set(self._drift.drifted(self._state.serving))
        trial = self._state.trial
        if trial is None or trial.version not in told:
            return []
        return [Alarmed(at_ns=now_ns, version=trial.version, refusal=Refusal.DRIFT, detail=told[trial.version])]

    async def _tell(self, event: Event) -> None:
        """Journal what changes the state, then change it."""
        after = promotion.step(self._state, event, self._promoting.rules)
        if after is self._state:
            return
        await self._journal.append(self._subjects.journal_promotion, encode(event))
        before, self._state = self._state, after
        log.info(
            "promotion",
            step=type(event).__name__,
            **{key: value for key, value in msgspec.to_builtins(event).items() if key not in {"at_ns", "type"}},
        )
        new = after.verdicts[-1] if after.verdicts and after.verdicts[-1:] != before.verdicts[-1:] else None
        if new is not None:
            log.error("model_refused", version=new.version, refusal=new.refusal.value, reason=new.detail, serving=after.serving)
            metrics.alarms.labels(alarm="model_refused").inc()
            metrics.models_refused.labels(refusal=new.refusal.value).inc()

    async def _obey(self, command: ModelCommand, answer: Callable[[bytes], None] | None) -> None:
        """A person's act, answered before it has had its whole effect: a promoted version is probed first."""
        now_ns = self._clock.now()
        event: Event
        if command.act is ModelAct.ROLL_BACK:
            problem = promotion.rollback_refused(self._state)
            event = TakenBack(at_ns=now_ns, name=command.name, reason=command.reason)
        else:
            problem = promotion.promotion_refused(self._state, command.version)
            event = Promoted(at_ns=now_ns, version=command.version, name=command.name, reason=command.reason)
        if not command.name or not command.reason:
            problem = "a name and a reason are needed"
        if not problem:
            await self._tell(event)
        self._obeyed = command.id
        if answer is not None:
            answer(encode(CommandAnswer(id=command.id, accepted=not problem, reason=problem)))

    async def _assign(self) -> None:
        """Say by an entry what the tape should assign, when it is something else than before, and have it loaded where models are served."""
        await self._settle(promotion.loaded(self._state))
        wanted, trial = promotion.assignment(self._state, self._promoting.rules), self._state.trial
        roles = {"serving": wanted.serving, "canary": wanted.canary, "shadow": wanted.shadow, "pinned": self._state.pinned}
        roles |= {"previous": self._state.previous, "trial": trial.version if trial is not None else 0}
        for role, version in roles.items():
            metrics.model_version.labels(role=role).set(version)
        if wanted == self._assigned:
            return
        await self._journal.append(self._subjects.journal_model, encode(wanted))
        self._assigned = wanted
        log.info("models_assigned", serving=wanted.serving, canary=wanted.canary, shadow=wanted.shadow)
        try:
            serving = self._promoting.read(wanted.serving)
        except InvalidBundle as error:  # it was verified when it was chosen: somebody has touched the store since
            log.error("serving_bundle_damaged", version=wanted.serving, reason=str(error))
            return
        manifest = serving.manifest
        self._loss.between(wanted.serving, wanted.canary or wanted.shadow, manifest.horizon_seconds)
        self._watch_drift(serving, wanted.canary or wanted.shadow)
        await self._weigh(self._online.serve(manifest))

    def _watch_drift(self, serving: Bundle, beside: int) -> None:
        """Whose golden rows live ones are held against: who serves and who is on trial."""
        golden = {serving.manifest.version: serving.golden.features}
        if self._state.trial is not None and self._state.trial.version == beside:
            with contextlib.suppress(InvalidBundle):  # it was verified when it was probed; who asks it next says what has become of it
                golden[beside] = self._promoting.read(beside).golden.features
        self._drift.over(golden)

    async def _settle(self, versions: tuple[int, ...]) -> None:
        """Have exactly these loaded where models are served. A server that cannot be reached holds up no pointer: the filter has what serves itself."""
        if versions == self._settled:
            return
        try:
            await self._promoting.settle(versions)
        except TryAgain as error:
            log.warning("model_server_unreachable", reason=str(error))
        except ModelRefused as error:
            metrics.alarms.labels(alarm="model_not_loaded").inc()
            log.error("model_not_loaded", version=error.version, refusal=error.refusal.value, reason=error.detail)
        else:
            self._settled = versions

    def _said(self) -> ModelsState:
        state, back, trial = self._state, self._state.rolled_back, self._state.trial
        refused = {str(version): reason for version, reason in self._unreadable.items()}
        running = self._promoting.running()
        refused |= {str(verdict.version): f"{verdict.refusal.value}: {verdict.detail}" for verdict in state.verdicts}
        return ModelsState(
            serving=state.serving,
            pinned=self._pin,
            generation=self._done_generation,
            refused=refused,
            previous=state.previous,
            trial=trial.version if trial is not None else 0,
            phase=trial.phase.value if trial is not None else "",
            phase_since_ns=trial.since_ns if trial is not None else 0,
            phase_open_seconds=watched_seconds(trial, self._filter),
            phase_open_seconds_needed=promotion.needed_seconds(trial.phase, self._promoting.rules) if trial is not None else 0,
            trial_by=trial.by if trial is not None else "",
            rolled_back=back.version if back is not None else 0,
            rolled_back_because=f"{back.refusal.value}: {back.detail}" if back is not None else "",
            rolled_back_to=state.rolled_back_to,
            rolled_back_at_ns=back.at_ns if back is not None else 0,
            drifted={str(version): words for version, words in self._drift_told.items()},
            command=self._obeyed,
            kept=tuple(sorted(promotion.kept(state))),
            backend=running.backend,
            engines_lacking={str(version): why for version, why in running.lacking.items()},
            engines_wanted=running.wanted,
        )

    async def _weigh(self, note: WeightsUpdated | None) -> None:
        """Journal learned weights, or that they are taken back; ingestion puts the entry on the tape."""
        if note is None:
            return
        await self._journal.append(self._subjects.journal_weights, encode(note))
        metrics.weights_update.set(note.update)
        log.info("weights_updated", version=note.model, update=note.update, weights=note.weights, rows=note.rows, reason=note.reason)
