"""ConfigMaps: each service's slice as its process reads it, and the last good spec for whoever asks what runs.

A slice holds what its pod is started with; live settings in it are those of the day it was rendered, and count only until the journal has spoken.
"""

from __future__ import annotations

from tradingsystem.spec import Plan, TradingSystem, Workload, canonical_json, to_document
from tradingsystem_operator.objects import CONFIG_MAP, Object, Owner, make, name_of

SLICE_KEY = "slice.json"
SPEC_KEY = "spec.json"


def slice_config_maps(made: Plan, owner: Owner) -> tuple[Object, ...]:
    """One ConfigMap per workload that reads a slice."""
    return tuple(_slice(workload, owner) for workload in made.workloads if workload.service != "nats")


def _slice(workload: Workload, owner: Owner) -> Object:
    return make(CONFIG_MAP, owner, name_of(owner.name, workload.name), workload.name, data={SLICE_KEY: workload.slice_json().decode()})


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
