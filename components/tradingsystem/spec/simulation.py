"""The market that is simulated; read only in mode Simulation. Nothing here changes how decisions are made."""

import enum
from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import ResourceName, Section, about


class MarketSource(enum.StrEnum):
    """Generated: seeded market with a declared planted edge. Recorded: days from files, played back over the wire."""

    GENERATED = "Generated"
    RECORDED = "Recorded"


class Signals(enum.StrEnum):
    """Model: the real pipeline. Probe: a seeded schedule that exercises the order path on any data, marked PROBE everywhere."""

    MODEL = "Model"
    PROBE = "Probe"


class Simulation(Section, frozen=True, kw_only=True):
    """Seed, pace and content of the simulated market."""

    seed: Annotated[
        int, Meta(ge=0, le=2_147_483_647), about("Same seed, same market, same day. 7: any fixed number makes runs comparable.")
    ] = 7
    speed: Annotated[
        int,
        Meta(ge=1, le=1_000),
        about("Seconds of market time in one second. 60: a session of 6.5 hours in as many minutes, on two cores."),
    ] = 60
    start_date: Annotated[
        str,
        Meta(max_length=10, pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", extra_json_schema={"format": "date"}),
        about("Session that is generated, or the first that is played. 2026-03-02: a plain Monday with full hours."),
    ] = "2026-03-02"
    source: Annotated[MarketSource, about("Generated needs no files.")] = MarketSource.GENERATED
    data: Annotated[
        str,
        Meta(max_length=1_024),
        about(
            "Folder or recording that is played; read only when source is Recorded. With dataClaimName a place in that volume, empty: the whole of it; "
            "without, a path on this machine, which a pod does not have."
        ),
    ] = ""
    data_claim_name: Annotated[
        ResourceName,
        about(
            "PersistentVolumeClaim in the system's namespace that holds the recorded days, mounted read-only (locally a folder of that name beside the "
            "manifest). Empty: none; in a cluster source Recorded needs one."
        ),
    ] = ""
    symbols: Annotated[
        int,
        Meta(ge=10, le=12_000),
        about("Symbols generated. 2,000: enough for ranks and breadth to mean something, small enough for two cores at speed 60."),
    ] = 2_000
    edge_basis_points: Annotated[
        int,
        Meta(ge=0, le=500),
        about(
            "Drift of one planted episode over its life; 0 plants none, and then nothing may be earned. 60: reaches the first target, noise permitting."
        ),
    ] = 60
    signals: Annotated[Signals, about("Where signals come from. Probe is refused outside Simulation.")] = Signals.MODEL
