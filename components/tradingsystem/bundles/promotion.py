"""A model version's way to serving and back: one pure state machine, run by the models service everywhere.

A candidate is judged (verified, and its evidence held against the gate), probed (loaded, golden vectors, latency), scored unheard beside the serving
version (shadow), heard on a part of the symbols (canary), and then serves. The one before it stays loaded: taking a version back moves a pointer. A pin
goes before all of this and is forgotten without a trace when it is taken off. What cannot serve gets a reason by name and changes nothing else.

``step`` takes a state and an event and gives the next state. An event that changes the state is journaled, so the state is the fold of the journal;
what is to be done is read off the state (``task``, ``assignment``, ``loaded``), so that a restart in between loses nothing. Nothing here waits, reads a
clock or touches a file; when an event says something about a version that is no longer on trial, nothing happens.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.control import ModelsAssigned

VERDICTS_KEPT = 100


class Phase(enum.Enum):
    """How far a candidate has come."""

    GATE = "Gate"  # its files and its evidence are judged
    PROBE = "Probe"  # it is loaded and answers its golden vectors
    SHADOW = "Shadow"  # it is scored unheard
    CANARY = "Canary"  # it decides for a part of the symbols


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """From the spec. A phase of 0 minutes, or a canary of 0 percent, is left out."""

    shadow_minutes: int
    canary_minutes: int
    canary_percent: int


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate under way; ``by`` is the person who asked for it past the gate, shadow and canary, empty for one that came by itself."""

    version: int
    phase: Phase
    since_ns: int  # market time at which the phase began
    by: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Why a version does not serve."""

    version: int
    refusal: Refusal
    detail: str
    at_ns: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that promotion knows. Versions are numbers above 0; 0 is none."""

    chosen: int = 0  # what promotion decided
    previous: int = 0  # what it had decided before: still loaded
    pinned: int = 0  # what the settings ask for
    pin_serves: int = 0  # the pinned version that was checked and serves; stays while a new pin is refused
    pin_checked: bool = True  # whether the newest pin was looked at
    seen: int = 0  # highest version that ever stood in the store: what is not above it is no new candidate
    trial: Trial | None = None
    waiting: int = 0  # the newest candidate that came while another was on trial
    verdicts: tuple[Verdict, ...] = ()  # newest last, one per version
    rolled_back: Verdict | None = None  # the last one that was taken back
    rolled_back_to: int = 0  # what took over then

    @property
    def serving(self) -> int:
        """The version that decides."""
        return self.pin_serves or self.chosen

    def verdict(self, version: int) -> Verdict | None:
        """Why that version does not serve, None when nothing is held against it."""
        return next((found for found in self.verdicts if found.version == version), None)


# --- events ----------------------------------------------------------------------------------------------------------------------------------


class Begun(msgspec.Struct, frozen=True, tag=True):
    """The first start: ``serving`` was chosen from what lay in the store, whose highest number was ``seen``."""

    at_ns: int
    serving: int
    seen: int


class Appeared(msgspec.Struct, frozen=True, tag=True):
    """A new number stands in the store."""

    at_ns: int
    version: int


class Judged(msgspec.Struct, frozen=True, tag=True):
    """Files and evidence were judged; None: it passed."""

    at_ns: int
    version: int
    refusal: Refusal | None
    detail: str


class Probed(msgspec.Struct, frozen=True, tag=True):
    """It was loaded and asked; None: it answered rightly and in time. ``pin``: as the pinned version, not on trial."""

    at_ns: int
    version: int
    refusal: Refusal | None
    detail: str
    pin: bool = False


class Watched(msgspec.Struct, frozen=True, tag=True):
    """Beside the serving version it has answered for that much open market since it was given that role, without an alarm."""

    at_ns: int
    version: int
    phase: Phase  # SHADOW or CANARY
    open_seconds: int


class Alarmed(msgspec.Struct, frozen=True, tag=True):
    """What was seen live speaks against a version. A candidate's trial ends; a serving one is taken back while the one before it is loaded."""

    at_ns: int
    version: int
    refusal: Refusal
    detail: str


class Pinned(msgspec.Struct, frozen=True, tag=True):
    """The settings ask for that version; 0: for none."""

    at_ns: int
    version: int


class Promoted(msgspec.Struct, frozen=True, tag=True):
    """A person asks for a version: it must verify and answer rightly, and serves without gate, shadow and canary."""

    at_ns: int
    version: int
    name: str
    reason: str


class TakenBack(msgspec.Struct, frozen=True, tag=True):
    """A person asks for the version before."""

    at_ns: int
    name: str
    reason: str


class Removed(msgspec.Struct, frozen=True, tag=True):
    """Versions left the store to make room."""

    at_ns: int
    versions: tuple[int, ...]


Event = Begun | Appeared | Judged | Probed | Watched | Alarmed | Pinned | Promoted | TakenBack | Removed


# --- the machine -----------------------------------------------------------------------------------------------------------------------------


def step(state: State, event: Event, rules: Rules) -> State:
    """The state after the event; the same object when it changes nothing."""
    after = _reacted(state, event, rules)
    if after.trial is None and after.waiting and not after.pinned:
        trial = Trial(version=after.waiting, phase=Phase.GATE, since_ns=event.at_ns)
        after = msgspec.structs.replace(after, trial=trial, waiting=0)
    return state if after == state else after


def fold(events: Iterable[Event], rules: Rules) -> State:
    """The state that the journal tells of."""
    state = State()
    for event in events:
        state = step(state, event, rules)
    return state


def _reacted(state: State, event: Event, rules: Rules) -> State:
    match event:
        case Begun():
            return msgspec.structs.replace(state, chosen=event.serving, seen=event.seen) if not state.chosen else state
        case Appeared():
            return _appeared(state, event)
        case Judged():
            return _judged(state, event)
        case Probed():
            return _probed_pin(state, event) if event.pin else _probed(state, event, rules)
        case Watched():
            return _watched(state, event, rules)
        case Alarmed():
            return _alarmed(state, event)
        case Pinned():
            return _pinned(state, event)
        case Promoted():
            return _promoted(state, event)
        case TakenBack():
            return _taken_back(state, event)
        case Removed():
            verdicts = [_verdict(version, Refusal.COLLECTED, "removed to make room", event.at_ns) for version in event.versions]
            return _held(state, *(found for found in verdicts if found.version not in loaded(state)))


def _appeared(state: State, event: Appeared) -> State:
    if event.version <= state.seen:
        return state
    after = msgspec.structs.replace(state, seen=event.version, waiting=event.version)
    if not state.waiting:
        return after
    return _held(after, _verdict(state.waiting, Refusal.SUPERSEDED, f"version {event.version} came before it was tried", event.at_ns))


def _judged(state: State, event: Judged) -> State:
    trial = state.trial
    if trial is None or (trial.version, trial.phase) != (event.version, Phase.GATE):
        return state
    if event.refusal is not None:
        return _refused(state, event.refusal, event.detail, event.at_ns)
    return _moved(state, trial, Phase.PROBE, event.at_ns)


def _probed(state: State, event: Probed, rules: Rules) -> State:
    trial = state.trial
    if trial is None or (trial.version, trial.phase) != (event.version, Phase.PROBE):
        return state
    if event.refusal is not None:
        return _refused(state, event.refusal, event.detail, event.at_ns)
    if trial.by:
        return _serves(state, trial.version)
    return _next(state, trial, (Phase.SHADOW, Phase.CANARY), rules, event.at_ns)


def _watched(state: State, event: Watched, rules: Rules) -> State:
    trial = state.trial
    if trial is None or (trial.version, trial.phase) != (event.version, event.phase):
        return state
    if event.open_seconds < needed_seconds(event.phase, rules):
        return state
    return _next(state, trial, (Phase.CANARY,) if event.phase is Phase.SHADOW else (), rules, event.at_ns)


def _next(state: State, trial: Trial, phases: tuple[Phase, ...], rules: Rules, at_ns: int) -> State:
    """Into the first of the phases that takes any time, or to serving."""
    for phase in phases:
        if needed_seconds(phase, rules):
            return _moved(state, trial, phase, at_ns)
    return _serves(state, trial.version)


def _serves(state: State, version: int) -> State:
    kept = tuple(found for found in state.verdicts if found.version != version)
    previous = state.chosen if state.chosen != version else state.previous
    return msgspec.structs.replace(state, chosen=version, previous=previous, trial=None, verdicts=kept)


def _moved(state: State, trial: Trial, phase: Phase, at_ns: int) -> State:
    return msgspec.structs.replace(state, trial=msgspec.structs.replace(trial, phase=phase, since_ns=at_ns))


def _refused(state: State, refusal: Refusal, detail: str, at_ns: int) -> State:
    """The trial ends; nothing else changes."""
    assert state.trial is not None
    return _held(msgspec.structs.replace(state, trial=None), _verdict(state.trial.version, refusal, detail, at_ns))


def _alarmed(state: State, event: Alarmed) -> State:
    if state.trial is not None and state.trial.version == event.version:
        return _refused(state, event.refusal, event.detail, event.at_ns)
    if state.chosen != event.version or not state.previous or state.pinned:
        return state
    return _back(state, _verdict(event.version, event.refusal, event.detail, event.at_ns))


def _taken_back(state: State, event: TakenBack) -> State:
    if rollback_refused(state):
        return state
    return _back(state, _verdict(state.chosen, Refusal.ROLLED_BACK, f"by {event.name}: {event.reason}", event.at_ns))


def _back(state: State, verdict: Verdict) -> State:
    """The pointer moves to the version that is loaded still. There is none before that one any more; a trial against what no longer serves ends."""
    after = msgspec.structs.replace(state, chosen=state.previous, previous=0, rolled_back=verdict, rolled_back_to=state.previous)
    if after.trial is not None:
        superseded = f"version {state.chosen}, which it was compared with, was taken back"
        after = _refused(after, Refusal.SUPERSEDED, superseded, verdict.at_ns)
    return _held(after, verdict)


def _pinned(state: State, event: Pinned) -> State:
    if event.version == state.pinned:
        return state
    if not event.version:
        return msgspec.structs.replace(state, pinned=0, pin_serves=0, pin_checked=True)
    after = msgspec.structs.replace(state, pinned=event.version, pin_checked=False)
    if after.trial is not None:
        after = _refused(after, Refusal.SUPERSEDED, f"version {event.version} was pinned", event.at_ns)
    return after


def _probed_pin(state: State, event: Probed) -> State:
    if event.version != state.pinned or state.pin_checked:
        return state
    after = msgspec.structs.replace(state, pin_checked=True)
    if event.refusal is not None:
        return _held(after, _verdict(event.version, event.refusal, event.detail, event.at_ns))
    return msgspec.structs.replace(after, pin_serves=event.version)


def _promoted(state: State, event: Promoted) -> State:
    if promotion_refused(state, event.version):
        return state
    after = state
    if state.trial is not None and state.trial.version != event.version:
        after = _refused(state, Refusal.SUPERSEDED, f"{event.name} promoted version {event.version}: {event.reason}", event.at_ns)
    trial = Trial(version=event.version, phase=Phase.PROBE, since_ns=event.at_ns, by=f"{event.name}: {event.reason}")
    waiting = 0 if after.waiting == event.version else after.waiting
    return msgspec.structs.replace(after, trial=trial, waiting=waiting, seen=max(after.seen, event.version))


def _verdict(version: int, refusal: Refusal, detail: str, at_ns: int) -> Verdict:
    return Verdict(version=version, refusal=refusal, detail=detail, at_ns=at_ns)


def _held(state: State, *verdicts: Verdict) -> State:
    """The newest verdict on a version is the one that is kept."""
    spoken = {verdict.version for verdict in verdicts}
    kept = (*(found for found in state.verdicts if found.version not in spoken), *verdicts)
    return msgspec.structs.replace(state, verdicts=kept[-VERDICTS_KEPT:])


# --- what is to be done ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judge:
    """Verify that version and hold its evidence against the gate; answer with ``Judged``."""

    version: int


@dataclass(frozen=True, slots=True)
class ProbeVersion:
    """Verify, load and ask that version; answer with ``Probed``."""

    version: int
    pin: bool


def task(state: State) -> Judge | ProbeVersion | None:
    """What the machine waits for. A pin goes first."""
    if state.pinned and not state.pin_checked:
        return ProbeVersion(state.pinned, pin=True)
    if state.trial is not None and state.trial.phase is Phase.GATE:
        return Judge(state.trial.version)
    if state.trial is not None and state.trial.phase is Phase.PROBE:
        return ProbeVersion(state.trial.version, pin=False)
    return None


def assignment(state: State, rules: Rules) -> ModelsAssigned:
    """The roles on the tape. While nobody is on trial the previous version is scored unheard: what the serving one is held against."""
    phase = state.trial.phase if state.trial is not None else None
    if state.trial is not None and phase is Phase.CANARY:
        return ModelsAssigned(serving=state.serving, canary=state.trial.version, canary_percent=rules.canary_percent)
    if state.trial is not None and phase is Phase.SHADOW:
        return ModelsAssigned(serving=state.serving, shadow=state.trial.version)
    beside = state.previous if state.previous != state.serving and not state.pin_serves else 0
    return ModelsAssigned(serving=state.serving, shadow=beside)


def needed_seconds(phase: Phase, rules: Rules) -> int:
    """Seconds of open market that a phase takes; 0: it is left out, or takes none."""
    if phase is Phase.SHADOW:
        return 60 * rules.shadow_minutes
    return 60 * rules.canary_minutes if phase is Phase.CANARY and rules.canary_percent else 0


def loaded(state: State) -> tuple[int, ...]:
    """The versions that must be loaded, lowest first: what serves, what could serve in the next moment, and who is on trial."""
    wanted = {state.chosen, state.previous, state.pin_serves}
    if state.trial is not None and state.trial.phase is not Phase.GATE:
        wanted.add(state.trial.version)
    return tuple(sorted(wanted - {0}))


def kept(state: State) -> frozenset[int]:
    """The versions that no collection may take."""
    candidates = {state.trial.version if state.trial is not None else 0, state.waiting, state.pinned}
    return frozenset({*loaded(state), *candidates} - {0})


def rollback_refused(state: State) -> str:
    """Why a person cannot take the serving version back; empty when it can be done."""
    if state.pinned:
        return f"version {state.pinned} is pinned by the settings: take the pin off, or pin another version"
    if not state.previous:
        return f"version {state.chosen} serves and no version before it is loaded: promote the one you want"
    return ""


def promotion_refused(state: State, version: int) -> str:
    """Why a person cannot promote that version now; empty when it can be tried."""
    if state.pinned:
        return f"version {state.pinned} is pinned by the settings: take the pin off, or pin version {version}"
    if version == state.chosen:
        return f"version {version} serves already"
    return ""
