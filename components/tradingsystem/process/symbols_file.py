"""The list of symbols that ``selection: ConfigMap`` names, as a file: on this machine beside the manifest, in a pod where the ConfigMap is mounted.

It is read when ingestion starts; a changed list needs a restart, like everything else that decides what the universe is.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec.section import Symbol
from tradingsystem.spec.universe import Selection, Universe

PROBLEMS_SHOWN = 20


def symbols_file_of(universe: Universe, manifest: Path) -> Path | None:
    """Where the list lies for a manifest on this machine, None when the universe needs none. Raises ``InvalidInput`` when it cannot be used."""
    if universe.selection is not Selection.CONFIG_MAP:
        return None
    path = manifest.resolve().parent / universe.config_map_ref.name
    read_symbols(path, universe.symbols_max)
    return path


def chosen_symbols(universe: Universe, file: Path | None) -> frozenset[str] | None:
    """The symbols that the universe is restricted to, None for all that are listed. Raises ``InvalidInput``."""
    match universe.selection:
        case Selection.ALL:
            return None
        case Selection.LIST:
            return frozenset(universe.symbols)
        case Selection.CONFIG_MAP:
            if file is None:
                raise InvalidInput("spec.universe.selection is ConfigMap, and ingestion was not told where its list lies (--symbols-file)")
            return frozenset(read_symbols(file, universe.symbols_max))


def read_symbols(path: Path, most: int) -> tuple[str, ...]:
    """One symbol a line; blank lines and ``#`` comments are nothing. Raises ``InvalidInput`` naming file and line of every mistake."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(
            f"spec.universe.configMapRef: {path}: cannot read the list of symbols ({why}); put it there, one symbol a line"
        ) from error
    found: dict[str, None] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            found[msgspec.convert(text, Symbol)] = None
        except msgspec.ValidationError:
            problems.append(f"{path}, line {number}: {text[:40]!r} is not a symbol")
    if not found and not problems:
        problems.append(f"{path}: it names no symbol")
    if len(found) > most:
        problems.append(f"{path}: {len(found):,} symbols, and universe.symbolsMax allows {most:,}")
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        raise InvalidInput("\n".join([*problems[:PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]))
    return tuple(found)
