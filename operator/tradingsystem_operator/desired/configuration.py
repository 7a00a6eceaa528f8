"""ConfigMaps: each service's slice as its process reads it, the message server's configuration, and the last good spec for whoever asks what runs.

A slice holds what its pod is started with and no live setting: those travel through the journal alone, which counts their generations. Until it has spoken,
a pod is Halted. So a ConfigMap that is older than an edit can never bring an earlier limit back, and an edit of a limit changes no object.
"""

from __future__ import annotations

from tradingsystem.messages.server import StoreSizes, configuration
from tradingsystem.spec import Plan, TradingSystem, Workload, WorkloadKind, canonical_json, to_document
from tradingsystem.spec.slices import told_by_the_journal
from tradingsystem_operator.desired import places
from tradingsystem_operator.objects import CONFIG_MAP, Object, Owner, make, name_of

CONFIGURATION_KEY = "nats.conf"
SLICE_KEY = "slice.json"
SPEC_KEY = "spec.json"


def slice_config_maps(made: Plan, owner: Owner) -> tuple[Object, ...]:
    """One ConfigMap per workload that reads a slice."""
    return tuple(_slice(workload, owner) for workload in made.workloads if workload.kind is not WorkloadKind.SERVER)


def _slice(workload: Workload, owner: Owner) -> Object:
    piece = canonical_json(told_by_the_journal(workload.slice))
    return make(CONFIG_MAP, owner, name_of(owner.name, workload.name), workload.name, data={SLICE_KEY: piece.decode()})


def nats_config_maps(made: Plan, owner: Owner) -> tuple[Object, ...]:
    """The message server's configuration; the users it includes are in the Secret. None where a person runs the server."""
    return () if made.messaging.external else (_nats(made, owner),)


def _nats(made: Plan, owner: Owner) -> Object:
    return make(CONFIG_MAP, owner, name_of(owner.name, "nats"), "nats", data={CONFIGURATION_KEY: nats_configuration(made).decode()})


def nats_configuration(made: Plan) -> bytes:
    """``nats.conf``, sized by the journal's volume."""
    server = made.workload("nats")
    return configuration(
        made.system,
        listen=f"0.0.0.0:{server.port('client')}",
        monitoring=f"0.0.0.0:{server.port('monitoring')}",
        store_folder=str(places.NATS_DATA_FOLDER),
        sizes=StoreSizes.on_volume(made.journal_volume_bytes),
    )


def spec_config_map_name(system: str) -> str:
    """The name of the ConfigMap that keeps the last good spec."""
    return name_of(system, "spec")


def spec_config_map(system: TradingSystem, generation: int, made: Plan, owner: Owner) -> Object:
    """The last spec that was accepted, its generation and its two hashes; what runs when a later one turns out to be invalid."""
    data = {
        SPEC_KEY: canonical_json(to_document(system)["spec"]).decode(),
        "generation": str(generation),
        "bootHash": made.boot_hash,
        "liveHash": made.live_hash,
    }
    return make(CONFIG_MAP, owner, spec_config_map_name(owner.name), "", data=data)
