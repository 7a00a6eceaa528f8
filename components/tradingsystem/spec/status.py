"""What the operator writes below ``status``: typed here once, so that the CRD, the operator and its readers spell it the same way.

Only the operator writes it, and only through the status subresource. It refuses to hold a wish: what a person decides stands in ``spec``. Two of its
fields decide whether a change of the spec is taken at all (``transitions.py``): ``trading.state`` and ``trading.positions``.
"""

import enum
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.spec.section import NO_SCHEMA_DEFAULT, Section, about, keyed_by

_Generation = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_Short = Annotated[str, Meta(max_length=253)]
_Sentence = Annotated[str, Meta(max_length=1_024)]
_Hash = Annotated[str, Meta(max_length=64, pattern="^[0-9a-f]*$")]
_Time = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]
_Reason = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$")]
_Amount = Annotated[str, Meta(max_length=24, pattern="^-?[0-9]{1,18}([.][0-9]{1,4})?$")]


class ConditionType(enum.StrEnum):
    """What is said of a system. Ready: it can do what its spec asks now; a closed market is still Ready."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    WARNING = "Warning"
    MODEL_SERVING = "ModelServing"
    DATA_FRESH = "DataFresh"
    TRADING_ENABLED = "TradingEnabled"


class ConditionStatus(enum.StrEnum):
    """Unknown is an answer of its own: nobody could be asked."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Section, frozen=True, kw_only=True):
    """One condition, as Kubernetes defines it."""

    type: Annotated[ConditionType, about("What is said.")]
    status: Annotated[ConditionStatus, about("Whether it is so.")]
    reason: Annotated[_Reason, about("One word a program can act on.")]
    message: Annotated[Annotated[str, Meta(max_length=4_096)], about("What happened, where, and what to do.")]
    last_transition_time: Annotated[_Time, about("When status last changed.")]
    observed_generation: Annotated[_Generation, about("Generation of the spec this was said of.")] = 0


class LatchSet(Section, frozen=True, kw_only=True):
    """One latch that is set. A person clears it by its id, with name and reason."""

    id: Annotated[Annotated[str, Meta(min_length=1, max_length=128)], about("The id that clears it.")]
    kind: Annotated[LatchKind, about("What latched.")]
    state: Annotated[TradingState, about("What it forces at least.")]
    reason: Annotated[_Sentence, about("Why it was set.")] = ""
    set_by: Annotated[_Short, about("Who or what set it.")] = ""
    set_at: Annotated[_Time, about("When it was set.")]


class TradingReport(Section, frozen=True, kw_only=True):
    """What execution last said of itself."""

    state: Annotated[TradingState, about("The state that holds, which a latch may force below the wish in spec.trading.")]
    since: Annotated[_Time, about("When that state began.")]
    why: Annotated[_Sentence, about("Why it holds.")] = ""
    positions: Annotated[_Count, about("Open positions.")]
    latches: Annotated[tuple[LatchSet, ...], Meta(max_length=64), keyed_by("id"), about("Latches that are set.")] = ()
    day_profit: Annotated[_Amount, about("Realised and marked profit of the day less fees, account currency; told at most every 30 s.")] = (
        "0"
    )
    day_profit_at: Annotated[_Time, about("When that profit was told.")]


class ComponentReport(Section, frozen=True, kw_only=True):
    """One service as it runs."""

    name: Annotated[Annotated[str, Meta(min_length=1, max_length=63)], about("Name of the service.")]
    ready: Annotated[bool, about("Whether it says that it can work.")]
    revision: Annotated[_Count, about("Revision of the rendered objects it runs.")] = 0
    image: Annotated[Annotated[str, Meta(max_length=512)], about("Image it runs, with digest where known.")] = ""
    boot_hash: Annotated[_Hash, about("Hash of the part of the spec it was started with.")] = ""
    live_hash: Annotated[_Hash, about("Hash of the live part of the spec it acknowledged.")] = ""
    model_version: Annotated[_Count, about("Bundle it computes with; 0: none.")] = 0


class RollbackReport(Section, frozen=True, kw_only=True):
    """The last time an older bundle took over again."""

    from_version: Annotated[_Count, about("Bundle that was left.")]
    to_version: Annotated[_Count, about("Bundle that took over.")]
    at: Annotated[_Time, about("When.")]
    why: Annotated[_Sentence, about("Why.")]


class RefusedBundle(Section, frozen=True, kw_only=True):
    """A bundle that does not serve, and why."""

    version: Annotated[_Count, about("The bundle.")]
    reason: Annotated[_Reason, about("One word a program can act on, such as NotBetter, LiveLoss or VersionNotFound.")]
    why: Annotated[_Sentence, about("The figures.")] = ""


class ModelsReport(Section, frozen=True, kw_only=True):
    """Which bundle serves, and which would."""

    serving: Annotated[_Count, about("Bundle that serves; 0: none.")] = 0
    previous: Annotated[_Count, about("Bundle a rollback would go to; 0: none.")] = 0
    candidate: Annotated[_Count, about("Bundle being tried; 0: none.")] = 0
    candidate_phase: Annotated[
        _Short, about("How far it is: Gate, Probe, Shadow (scored unheard) or Canary (decides for a part of the symbols).")
    ] = ""
    refused: Annotated[
        tuple[RefusedBundle, ...],
        Meta(max_length=16),
        keyed_by("version"),
        about("Bundles that were refused or taken back, the newest 16."),
    ] = ()
    last_rollback: Annotated[RollbackReport | UnsetType, NO_SCHEMA_DEFAULT, about("The last rollback, where there was one.")] = UNSET


class TradingSystemStatus(Section, frozen=True, kw_only=True):
    """What the operator observed."""

    observed_generation: Annotated[_Generation, about("Generation of the spec the operator last worked on.")] = 0
    acknowledged_generation: Annotated[
        _Generation,
        about("Generation whose live settings (risk, trading, pinned model) execution acknowledged; below observed: not yet in force."),
    ] = 0
    version: Annotated[_Short, about("Release of the data plane that runs.")] = ""
    revision: Annotated[_Count, about("Revision of the rendered objects that is applied.")] = 0
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16), keyed_by("type"), about("What is so, and why.")] = ()
    components: Annotated[tuple[ComponentReport, ...], Meta(max_length=16), keyed_by("name"), about("Each service as it runs.")] = ()
    trading: Annotated[TradingReport | UnsetType, NO_SCHEMA_DEFAULT, about("What execution last said; absent until it first spoke.")] = (
        UNSET
    )
    models: Annotated[
        ModelsReport | UnsetType, NO_SCHEMA_DEFAULT, about("Which bundle serves; absent until the models service first spoke.")
    ] = UNSET
