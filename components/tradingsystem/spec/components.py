"""What each service gets of the machine, what is stored, and where numbers can be read. Nothing here changes a decision."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from tradingsystem.spec.section import Port, Quantity, ResourceName, Section, about

_LABEL_KEY = "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
LabelKey = Annotated[str, Meta(min_length=1, max_length=317, pattern=f"^{_LABEL_KEY}$")]
LabelValue = Annotated[str, Meta(max_length=63, pattern="^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]


class Amounts(Section, frozen=True, kw_only=True):
    """Amounts of machine, as Kubernetes writes them."""

    cpu: Annotated[Quantity, about("Cores, such as `500m` or `2`. Empty: the release's own value for the service.")] = ""
    memory: Annotated[Quantity, about("Memory, such as `400Mi`. Empty: the release's own value for the service.")] = ""


class Resources(Section, frozen=True, kw_only=True):
    """Requests and limits of one pod."""

    requests: Annotated[Amounts, about("What is reserved.")] = Amounts()
    limits: Annotated[Amounts, about("What is not exceeded.")] = Amounts()


class TolerationOperator(enum.StrEnum):
    """How a toleration compares."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(enum.StrEnum):
    """Which effect of a taint is tolerated."""

    ANY = ""
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Section, frozen=True, kw_only=True):
    """A taint the pod may be scheduled in spite of, as Kubernetes defines it."""

    key: Annotated[str, Meta(max_length=317, pattern=f"^({_LABEL_KEY})?$"), about("Key of the taint. Empty with Exists: every taint.")] = ""
    operator: Annotated[TolerationOperator, about("Equal compares the value; Exists only the key.")] = TolerationOperator.EQUAL
    value: Annotated[LabelValue, about("Value of the taint.")] = ""
    effect: Annotated[TaintEffect, about("Effect of the taint. Empty: each.")] = TaintEffect.ANY


class Component(Section, frozen=True, kw_only=True):
    """Where one service runs and what it gets. Read on Kubernetes only."""

    resources: Annotated[Resources, about("Requests and limits.")] = Resources()
    node_selector: Annotated[
        dict[LabelKey, LabelValue],
        Meta(max_length=20),
        about("Labels a node must carry. Empty: any node."),
    ] = msgspec.field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=20), about("Taints that are tolerated.")] = ()


class Components(Section, frozen=True, kw_only=True):
    """The same settings for each service, named as its pod."""

    nats: Annotated[Component, about("The message server and journal.")] = Component()
    simulator: Annotated[Component, about("The venues, in mode Simulation.")] = Component()
    ingestion: Annotated[Component, about("Market data to tape.")] = Component()
    filter: Annotated[Component, about("Tape to signals.")] = Component()
    execution: Annotated[Component, about("Signals to orders.")] = Component()
    recorder: Annotated[Component, about("Everything to disk.")] = Component()
    monitor: Annotated[Component, about("Health and alarms.")] = Component()
    watcher: Annotated[Component, about("Cancels entries when execution is silent.")] = Component()
    models: Annotated[Component, about("Promotion and Triton's index.")] = Component()
    learning: Annotated[Component, about("Training jobs.")] = Component()
    triton: Annotated[Component, about("Triton, when runtime is Triton.")] = Component()


class OnDelete(enum.StrEnum):
    """What becomes of stored data when the resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


RequiredQuantity = Annotated[str, Meta(min_length=1, max_length=20, pattern="^[1-9][0-9]*(Mi|Gi|Ti)$")]


class JournalVolume(Section, frozen=True, kw_only=True):
    """The volume of the journal."""

    size: Annotated[
        RequiredQuantity, about("Size; of an External message server what this system takes. 10Gi: years of intents and months of cuts.")
    ] = "10Gi"


class RecordingsVolume(Section, frozen=True, kw_only=True):
    """The volume of recordings."""

    size: Annotated[RequiredQuantity, about("Size. 100Gi: some weeks of the whole market's frames.")] = "100Gi"


class Storage(Section, frozen=True, kw_only=True):
    """What is kept on disk."""

    on_delete: Annotated[OnDelete, about("Retain: a journal is evidence, deleting a resource must not delete it.")] = OnDelete.RETAIN
    storage_class_name: Annotated[ResourceName, about("Storage class of the volumes. Empty: the cluster's default.")] = ""
    journal: Annotated[JournalVolume, about("Intents, cuts, latches.")] = JournalVolume()
    recordings: Annotated[RecordingsVolume, about("Frames, tape, inbox.")] = RecordingsVolume()


class Telemetry(Section, frozen=True, kw_only=True):
    """Where numbers and traces can be read."""

    metrics_port: Annotated[
        Port,
        about("Port of /metrics and /healthz. In pods each has it; locally it is the first of a block of 40. 8000: the founding port."),
    ] = 8_000
    otlp_endpoint: Annotated[
        str,
        Meta(max_length=512, pattern="^(https?://[!-~]+)?$"),
        about("Where traces are sent (OTLP). Empty: nowhere."),
    ] = ""
