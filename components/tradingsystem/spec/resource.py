"""The resource: one document describes a whole trading system. It holds data only; mistakes are found by ``load``, consequences by ``plan``."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from tradingsystem.spec.components import Components, LabelKey, Storage, Telemetry
from tradingsystem.spec.ensemble import Ensemble
from tradingsystem.spec.execution import Execution, Trading
from tradingsystem.spec.filtering import Filter
from tradingsystem.spec.inference import Inference, Models
from tradingsystem.spec.learning import Learning
from tradingsystem.spec.messaging import Messaging
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.section import Label, SecretRef, Section, about, keyed_by
from tradingsystem.spec.simulation import MarketSource, Simulation
from tradingsystem.spec.sizing import Sizing
from tradingsystem.spec.sources import Cache, Source, SourceType
from tradingsystem.spec.universe import Universe

API_VERSION = "tradingsystem.dev/v1alpha1"
KIND = "TradingSystem"


class ApiVersion(enum.StrEnum):
    """The versions of the resource that are understood."""

    V1ALPHA1 = API_VERSION


class Kind(enum.StrEnum):
    """The one kind of resource there is."""

    TRADING_SYSTEM = KIND


class Mode(enum.StrEnum):
    """Simulation: simulated venues, no secrets. Paper: the broker's paper account. Live: money."""

    SIMULATION = "Simulation"
    PAPER = "Paper"
    LIVE = "Live"


FOUNDING_SOURCES = (
    Source(name="polygon", type=SourceType.POLYGON, secret_ref=SecretRef(name="polygon")),
    Source(name="flow", type=SourceType.UNUSUAL_WHALES, secret_ref=SecretRef(name="unusual-whales")),
)


class Metadata(Section, frozen=True, kw_only=True):
    """Name and labels. What the API server adds (uid, resourceVersion, ...) is dropped on reading."""

    name: Annotated[Label, about("Name of the system; names of all its parts start with it, so it has at most 40 characters.")]
    namespace: Annotated[str, Meta(max_length=63, pattern="^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"), about("Namespace; empty locally.")] = ""
    labels: Annotated[
        dict[LabelKey, Annotated[str, Meta(max_length=63)]], Meta(max_length=64), about("Labels, not read by the system.")
    ] = msgspec.field(default_factory=dict)
    annotations: Annotated[
        dict[LabelKey, Annotated[str, Meta(max_length=262_144)]],
        Meta(max_length=64),
        about("Annotations, not read by the system."),
    ] = msgspec.field(default_factory=dict)


class TradingSystemSpec(Section, frozen=True, kw_only=True):
    """Everything a person decides about a trading system."""

    version: Annotated[
        str,
        Meta(max_length=63, pattern="^([0-9A-Za-z][-.+0-9A-Za-z]*)?$"),
        about("Release of the data plane. Empty: fixed at creation; upgrading the operator leaves it."),
    ] = ""
    mode: Annotated[Mode, about("Simulation, since a document without a decision must not reach a broker.")] = Mode.SIMULATION
    simulation: Annotated[Simulation, about("The simulated market; read only in mode Simulation.")] = Simulation()
    trading: Annotated[Trading, about("The wish of the person in charge; applied while running.")] = Trading()
    universe: Annotated[Universe, about("Which symbols may be traded.")] = Universe()
    sources: Annotated[
        tuple[Source, ...],
        Meta(min_length=1, max_length=16),
        keyed_by("name"),
        about("Where market data comes from, best first. Default: the founding two, Polygon and Unusual Whales."),
    ] = FOUNDING_SOURCES
    cache: Annotated[Cache, about("Where REST answers are kept.")] = Cache()
    filter: Annotated[Filter, about("What makes a symbol a candidate.")] = Filter()
    ensemble: Annotated[Ensemble, about("Which models vote and when that is a signal.")] = Ensemble()
    inference: Annotated[Inference, about("Where models run.")] = Inference()
    sizing: Annotated[Sizing, about("How much a signal may buy.")] = Sizing()
    risk: Annotated[Risk, about("Limits of the risk gate; applied while running. Live needs each one written.")] = Risk()
    execution: Annotated[Execution, about("Who executes, and the hours.")] = Execution()
    learning: Annotated[Learning, about("When models learn.")] = Learning()
    models: Annotated[Models, about("Which bundle serves; applied while running.")] = Models()
    messaging: Annotated[Messaging, about("Which message server keeps the journal.")] = Messaging()
    storage: Annotated[Storage, about("What is kept on disk.")] = Storage()
    components: Annotated[Components, about("What each service gets of the machine.")] = Components()
    telemetry: Annotated[Telemetry, about("Where numbers can be read.")] = Telemetry()

    @property
    def plays_recorded(self) -> bool:
        """Whether its market is recorded days."""
        return self.mode is Mode.SIMULATION and self.simulation.source is MarketSource.RECORDED


class TradingSystem(Section, frozen=True, kw_only=True):
    """The whole document."""

    api_version: Annotated[ApiVersion, about("Version of this resource's form.")]
    kind: Annotated[Kind, about("The kind of resource.")]
    metadata: Annotated[Metadata, about("Name and labels.")]
    spec: Annotated[TradingSystemSpec, about("What a person decides.")] = TradingSystemSpec()


def to_document(system: TradingSystem) -> dict[str, object]:
    """The resource as plain values, every field written out, ready for YAML or JSON."""
    document: dict[str, object] = msgspec.json.decode(msgspec.json.encode(system))
    return document
