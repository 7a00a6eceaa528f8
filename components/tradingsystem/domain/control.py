"""What steers the running system besides the market: notes on the tape, commands, clock ticks, heartbeats."""

from __future__ import annotations

import enum

import msgspec

from tradingsystem.domain.calendar import Session


class SymbolFact(msgspec.Struct, frozen=True):
    """What is known of a symbol before the open. Volumes in shares, averages over the history that was loaded."""

    symbol: str
    type: str  # the vendor's word: CS, ETF, ADRC, ...
    exchange: str  # MIC
    previous_close: float
    average_volume: float
    average_range: float  # mean of (high - low) / close over the days loaded


class SymbolTable(msgspec.Struct, frozen=True, tag=True):
    """The epoch's symbols; a row's ``symbol`` is a position in ``facts``."""

    facts: tuple[SymbolFact, ...]


class SessionOpened(msgspec.Struct, frozen=True, tag=True):
    """The session this epoch belongs to.

    ``volume_profile`` is the cumulative share of an ordinary day's volume at the end of each minute; on a half-day it ends below one.
    """

    session: Session
    volume_profile: tuple[float, ...]


class ModelsAssigned(msgspec.Struct, frozen=True, tag=True):
    """From this batch on these versions have these roles: ``serving`` decides, but for ``canary_percent`` of the symbols ``canary`` does, and ``shadow``
    is scored unheard. 0: nobody has the role."""

    serving: int
    canary: int = 0
    canary_percent: int = 0
    shadow: int = 0


class WeightsUpdated(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """From this batch on that version's members are blended with these weights and this calibration, learned from closed predictions; no weights: with the
    bundle's own again. It concerns that version only, in whatever role."""

    model: int
    update: int  # counts all updates of the system
    weights: tuple[
        float, ...
    ]  # in the order of the manifest's members, summing to one; empty: the bundle's own, and what follows means nothing
    slope: float
    intercept: float
    variance_slope: float
    variance_intercept: float
    covariance: float
    rows: int  # closed predictions it was learned from
    reason: str


class ModelsState(msgspec.Struct, frozen=True, kw_only=True):
    """What the models service says of itself: which version serves, which one is pinned (0: none) by the settings of which generation, and why
    others may not serve, by version and oldest first: the name of the refusal, a colon, the figures. ``phase`` of the candidate on trial: Gate, Probe,
    Shadow, Canary."""

    serving: int
    pinned: int
    generation: int
    refused: dict[str, str]
    previous: int = 0  # still loaded: a rollback goes there
    trial: int = 0  # the candidate on trial, 0: none
    phase: str = ""
    phase_since_ns: int = 0  # market time
    phase_open_seconds: int = 0  # of open market in which it has answered in this phase
    phase_open_seconds_needed: int = 0  # 0: the phase takes no market time
    trial_by: str = ""  # the person who asked for it, empty when it came by itself
    rolled_back: int = 0  # the version that was last taken back, 0: none
    rolled_back_because: str = ""
    rolled_back_to: int = 0  # the version that took over then
    rolled_back_at_ns: int = 0  # market time
    drifted: dict[str, str] = {}  # version -> what it reads live is not what it was judged on: which features, how far
    command: str = ""  # id of the newest act of a person that it has answered
    kept: tuple[int, ...] = ()  # what no collection may take: in use, about to be, pinned, or in the queue for a trial
    backend: str = ""  # who runs the graphs in Triton: tensorrt, onnxruntime, python; empty in process
    engines_lacking: dict[
        str, str
    ] = {}  # version -> why TensorRT does not run it although it should: the name of the reason, a colon, the details
    engines_wanted: tuple[int, ...] = ()  # those of them for which building an engine would help


class ModelAct(enum.Enum):
    """What a person may ask of promotion."""

    PROMOTE = "Promote"
    ROLL_BACK = "RollBack"


class ModelCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A person's act on versions, by name and with a reason; ``version`` when one is promoted. Answered by ``CommandAnswer``."""

    id: str
    act: ModelAct
    name: str
    reason: str
    version: int = 0


class SpecSwitched(msgspec.Struct, frozen=True, tag=True):
    """From this batch on the live settings of that generation apply to the filter; ``spec`` is the slice as JSON."""

    generation: int
    spec: bytes


class SourceState(msgspec.Struct, frozen=True, tag=True):
    """A feed's health changed: decisions depend on it, so it is on the tape."""

    source: str
    healthy: bool
    reason: str


TapeNote = SymbolTable | SessionOpened | ModelsAssigned | WeightsUpdated | SpecSwitched | SourceState


class ClockTick(msgspec.Struct, frozen=True):
    """The player's word on market time: at the moment this was sent it was ``market_ns`` and ran ``speed`` times as fast as the machine's."""

    market_ns: int
    speed: float
    running: bool
    finished: bool = False


class Beat(msgspec.Struct, frozen=True):
    """One service's heartbeat. ``applied_ns`` is the market time up to which it has applied its input: the player waits for it."""

    service: str
    instance: str
    build: str
    schema: int
    boot_hash: str
    live_generation: int
    phase: str  # starting, ready, draining, stopped, failed
    applied_ns: int
    detail: dict[str, float]


class CommandKind(enum.Enum):
    """What a person may ask of execution."""

    HALT = "Halt"
    REDUCE = "Reduce"
    RESUME = "Resume"
    CLEAR_LATCH = "ClearLatch"
    FLATTEN = "Flatten"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A person's act, by name and with a reason; ``latch_id`` when one is cleared."""

    id: str
    kind: CommandKind
    name: str
    reason: str
    latch_id: str | None = None


class CommandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command."""

    id: str
    accepted: bool
    reason: str


class SpecApplied(msgspec.Struct, frozen=True, kw_only=True):
    """Live settings of one generation, journaled; the services answer with the generation in their beat."""

    generation: int
    spec: bytes
