"""What each service gets of the resource: a slice, not a copy of the settings in another form. There are no settings classes beside these.

``boot`` slices change only by restarting the service; ``LiveSettings`` travel through the journal and are applied while running.
"""

from typing import Any, TypeVar

import msgspec

from tradingsystem.domain.trading import TradingState
from tradingsystem.spec.components import Storage, Telemetry
from tradingsystem.spec.ensemble import Ensemble
from tradingsystem.spec.execution import Broker, Execution, Trading
from tradingsystem.spec.filtering import Filter
from tradingsystem.spec.inference import Inference, Models
from tradingsystem.spec.learning import Learning
from tradingsystem.spec.resource import Mode, TradingSystem
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.simulation import Simulation
from tradingsystem.spec.sizing import Sizing
from tradingsystem.spec.sources import Cache, Source
from tradingsystem.spec.universe import Universe


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change while running: limits, the wish, the pin. Its hash is the live hash."""

    risk: Risk
    trading: Trading
    models: Models


class Slice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every service needs to know: whose it is, in which mode, and where it may be watched."""

    system: str
    namespace: str
    mode: Mode
    telemetry: Telemetry


class NatsSlice(Slice, frozen=True, kw_only=True):
    """The message server: how much journal it may keep."""

    storage: Storage


class SimulatorSlice(Slice, frozen=True, kw_only=True):
    """The venues: the market, the account's opening balance, and what is subscribed of whom."""

    simulation: Simulation
    sources: tuple[Source, ...]
    initial_capital: int


class IngestionSlice(Slice, frozen=True, kw_only=True):
    """Market data. ``simulation`` says how far scaled time widens age limits."""

    universe: Universe
    sources: tuple[Source, ...]
    cache: Cache
    simulation: Simulation


class FilterSlice(Slice, frozen=True, kw_only=True):
    """Everything a signal depends on."""

    universe: Universe
    filter: Filter
    ensemble: Ensemble
    inference: Inference
    sources: tuple[Source, ...]
    simulation: Simulation
    live: LiveSettings


class ExecutionSlice(Slice, frozen=True, kw_only=True):
    """Everything an order depends on. ``universe`` and ``ensemble`` hold bounds that are checked again before an order leaves.

    ``live_from_journal``: what ``live`` says holds only until the journal has spoken, and never goes before what it said.
    """

    sizing: Sizing
    execution: Execution
    universe: Universe
    ensemble: Ensemble
    simulation: Simulation
    live: LiveSettings
    live_from_journal: bool = False


class RecorderSlice(Slice, frozen=True, kw_only=True):
    """What is kept."""

    storage: Storage
    simulation: Simulation


class MonitorSlice(Slice, frozen=True, kw_only=True):
    """What is watched."""

    sources: tuple[Source, ...]
    simulation: Simulation


class WatcherSlice(Slice, frozen=True, kw_only=True):
    """Whose orders to cancel, with which key, and after how long a silence of execution."""

    broker: Broker
    watcher_silence_seconds: int


class ModelsSlice(Slice, frozen=True, kw_only=True):
    """Promotion and what serves."""

    ensemble: Ensemble
    inference: Inference
    learning: Learning
    simulation: Simulation
    live: LiveSettings


class LearningSlice(Slice, frozen=True, kw_only=True):
    """What a training job learns from and for."""

    ensemble: Ensemble
    learning: Learning
    storage: Storage
    universe: Universe


class TritonSlice(Slice, frozen=True, kw_only=True):
    """How Triton serves."""

    inference: Inference


SLICE_OF: dict[str, type[Slice]] = {
    "nats": NatsSlice,
    "simulator": SimulatorSlice,
    "ingestion": IngestionSlice,
    "filter": FilterSlice,
    "execution": ExecutionSlice,
    "recorder": RecorderSlice,
    "monitor": MonitorSlice,
    "watcher": WatcherSlice,
    "models": ModelsSlice,
    "learning": LearningSlice,
    "triton": TritonSlice,
}
"""Which slice each service gets, by the service's name."""


def live_settings(system: TradingSystem) -> LiveSettings:
    """The settings that are applied while running."""
    spec = system.spec
    return LiveSettings(risk=spec.risk, trading=spec.trading, models=spec.models)


def slice_of(service: str, system: TradingSystem) -> Slice:
    """The slice of ``system`` that ``service`` gets: every field of its slice type, taken from the spec under the same name."""
    spec = system.spec
    given: dict[str, Any] = {name: getattr(spec, name) for name in spec.__struct_fields__}
    given |= {
        "system": system.metadata.name,
        "namespace": system.metadata.namespace,
        "live": live_settings(system),
        "initial_capital": spec.execution.initial_capital,
        "broker": spec.execution.broker,
        "watcher_silence_seconds": spec.execution.watcher_silence_seconds,
    }
    kind = SLICE_OF[service]
    return kind(**{name: given[name] for name in kind.__struct_fields__ if name in given})


NOT_TOLD_YET = LiveSettings(risk=Risk(), trading=Trading(state=TradingState.HALTED), models=Models())
"""What holds in a pod until the journal has spoken: nothing opens."""


S = TypeVar("S", bound=Slice)


def told_by_the_journal(piece: S) -> S:
    """The slice for a place where live settings come through the journal alone: the same bytes whatever they are."""
    if "live" not in piece.__struct_fields__:
        return piece
    flag = {"live_from_journal": True} if "live_from_journal" in piece.__struct_fields__ else {}
    return msgspec.structs.replace(piece, live=NOT_TOLD_YET, **flag)
