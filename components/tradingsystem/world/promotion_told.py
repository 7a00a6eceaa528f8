"""What a day's journal says of model versions, as rows a person reads: when, which version, what became of it, and why. Nothing is decided again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tradingsystem.bundles.promotion import (
    Alarmed,
    Appeared,
    Begun,
    Event,
    Judged,
    Phase,
    Pinned,
    Probed,
    Promoted,
    Removed,
    TakenBack,
    Watched,
)
from tradingsystem.domain.control import ModelsAssigned

Step = tuple[int, str, str]  # market time, version or versions, what happened
NEXT = {Phase.SHADOW: "scored unheard", Phase.CANARY: "heard on a part of the symbols"}


def rows(entries: Iterable[tuple[int, Event | ModelsAssigned]]) -> Iterator[Step]:
    """One row per entry of the journal, with the moment it was recorded at where it names none."""
    for at_ns, entry in entries:
        version, words = _told(entry)
        yield (at_ns if isinstance(entry, ModelsAssigned) else entry.at_ns), version, words


def _told(entry: Event | ModelsAssigned) -> tuple[str, str]:
    match entry:
        case ModelsAssigned():
            return str(entry.serving), f"serves{_beside(entry)}"
        case Begun():
            return str(entry.serving), "chosen at the first start: the highest that verifies"
        case Appeared():
            return str(entry.version), "published"
        case Judged():
            return str(entry.version), _outcome("its evidence passes the gate", "refused at the gate", entry)
        case Probed():
            whose = "the pinned version" if entry.pin else "it"
            return str(entry.version), _outcome(f"{whose} loads and answers rightly", "refused when it was loaded and asked", entry)
        case Watched():
            return str(entry.version), f"{NEXT[entry.phase]} for {entry.open_seconds // 60} minutes of open market, without an alarm"
        case Alarmed():
            return str(entry.version), f"alarm: {entry.refusal.value}: {entry.detail}"
        case Pinned():
            return (str(entry.version), "pinned by the settings") if entry.version else ("", "the pin was taken off")
        case Promoted():
            return str(entry.version), f"promoted by {entry.name}: {entry.reason}"
        case TakenBack():
            return "", f"the serving version was taken back by {entry.name}: {entry.reason}"
        case Removed():
            return ", ".join(map(str, entry.versions)), "removed to make room"


def _beside(roles: ModelsAssigned) -> str:
    words = f"; version {roles.canary} decides for {roles.canary_percent} % of the symbols" if roles.canary else ""
    return words + (f"; version {roles.shadow} is scored unheard" if roles.shadow else "")


def _outcome(passed: str, refused: str, entry: Judged | Probed) -> str:
    if entry.refusal is not None:
        return f"{refused}: {entry.refusal.value}: {entry.detail}"
    return f"{passed}: {entry.detail}" if entry.detail else passed
