"""Live settings as journal entries: how they are written, numbered and told apart, the same for everybody who applies a spec.

The journal owns the one counter of generations: whoever applies settings takes the number after every one that it and execution know. Which settings a pod
was started with plays no part in it, so an old copy of them can never go before a newer entry.
"""

from __future__ import annotations

from collections.abc import Iterable

from tradingsystem.domain.control import SpecApplied
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.spec import TradingSystem, canonical_json
from tradingsystem.spec.slices import live_settings


def settings_of(system: TradingSystem) -> bytes:
    """The settings of a resource that are applied while running, in their one spelling: equal settings are equal bytes."""
    return canonical_json(live_settings(system))


def settings_entry(generation: int, settings: bytes) -> bytes:
    """The journal entry that puts ``settings`` into force."""
    return encode(SpecApplied(generation=generation, spec=settings))


def read_entry(payload: bytes) -> SpecApplied:
    """An entry; one that cannot be read, which execution has refused as well, counts as generation 0 of nothing."""
    try:
        applied: SpecApplied = decode(payload, SpecApplied)
    except Malformed:
        return SpecApplied(generation=0, spec=b"")
    return applied


def generation_of(payload: bytes) -> int:
    """An entry's generation."""
    return read_entry(payload).generation


def next_generation(in_force: int, journaled: Iterable[int]) -> int:
    """The number after the one that is in force and every one that the journal holds."""
    return 1 + max([in_force, *journaled])
