"""What a spec names that others made in its namespace: the ConfigMap with the list of symbols, the volume claim with recorded days. Pure.

Its answer is the system to render: with the symbols of the ConfigMap in its boot configuration, so that another list is rolled out like every other
change. When something is missing or wrong, that is the last good spec with the newest live settings: what runs stays as it was, limits and wishes go on.
Secrets are not here: pods read them themselves and wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec import TradingSystem
from tradingsystem.spec.slices import LiveSettings
from tradingsystem.spec.symbols import read_symbols, with_symbols
from tradingsystem.spec.universe import Selection
from tradingsystem_operator.facts import Problem
from tradingsystem_operator.objects import CONFIG_MAP, VOLUME_CLAIM, Object, Reference

_KEYS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Resolved:
    """The system to render, None when there is nothing to fall back to, and what keeps it from being what the spec says."""

    system: TradingSystem | None
    problems: tuple[Problem, ...] = ()


def references(system: TradingSystem) -> frozenset[Reference]:
    """What it names."""
    found = set()
    if system.spec.universe.selection is Selection.CONFIG_MAP:
        found.add(Reference(CONFIG_MAP, system.spec.universe.config_map_ref.name))
    if claim := _claim_of(system):
        found.add(Reference(VOLUME_CLAIM, claim))
    return frozenset(found)


def resolve(
    system: TradingSystem, there: Mapping[Reference, Object], unseen: tuple[Problem, ...], last_good: TradingSystem | None
) -> Resolved:
    """The system with what it names. ``there`` is what of it exists; ``unseen``: why the operator could not look."""
    resolved, missing = _with_its_symbols(system, there)
    problems = unseen or (*missing, *_of_the_claim(system, there))
    if not problems:
        return Resolved(resolved)
    if last_good is None:
        return Resolved(None, problems)
    live = {name: getattr(system.spec, name) for name in LiveSettings.__struct_fields__}
    return Resolved(msgspec.structs.replace(last_good, spec=msgspec.structs.replace(last_good.spec, **live)), problems)


def _claim_of(system: TradingSystem) -> str:
    return system.spec.simulation.data_claim_name if system.spec.plays_recorded else ""


def _with_its_symbols(system: TradingSystem, there: Mapping[Reference, Object]) -> tuple[TradingSystem, list[Problem]]:
    universe = system.spec.universe
    if universe.selection is not Selection.CONFIG_MAP:
        return system, []
    name, key = universe.config_map_ref.name, universe.config_map_ref.key
    found = there.get(Reference(CONFIG_MAP, name))
    text = ((found or {}).get("data") or {}).get(key)
    if text is None:
        return system, [Problem("MissingSymbols", _missing(name, key, found, system.metadata.namespace))]
    try:
        return with_symbols(system, read_symbols(text, f"ConfigMap {name}, key {key}", universe.symbols_max)), []
    except InvalidInput as error:
        return system, [Problem("InvalidSymbols", str(error))]


def _missing(name: str, key: str, found: Object | None, namespace: str) -> str:
    if found is None:
        return f"ConfigMap {name} is not there: kubectl -n {namespace} create configmap {name} --from-file={key}=FILE, one symbol a line"
    if key in (found.get("binaryData") or {}):
        return f"ConfigMap {name}: key {key} is not text; one symbol a line"
    keys = sorted(found.get("data") or {})
    there = ", ".join(keys[:_KEYS_SHOWN]) + (f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else "")
    return f"ConfigMap {name} has no key {key} ({f'it has {there}' if keys else 'it has none'}); put the list there, or set universe.configMapRef.key"


def _of_the_claim(system: TradingSystem, there: Mapping[Reference, Object]) -> list[Problem]:
    name = _claim_of(system)
    if not name:
        return []
    found = there.get(Reference(VOLUME_CLAIM, name))
    if found is None:
        text = f"PersistentVolumeClaim {name} is not there: make it in namespace {system.metadata.namespace} and put the recorded days on its volume"
    elif "deletionTimestamp" in found["metadata"]:
        text = f"PersistentVolumeClaim {name} is being deleted: name another in simulation.dataClaimName"
    elif (found.get("status") or {}).get("phase") == "Lost":
        text = f"PersistentVolumeClaim {name} has lost its volume ({found['spec'].get('volumeName', 'unnamed')}): make it anew"
    else:
        return []
    return [Problem("MissingVolumeClaim", text)]
