"""The list of symbols that ``selection: ConfigMap`` names: as text, and taken into the resource, so that whatever is planned from it holds the symbols.

Whoever starts a system reads the text (on one machine from a file, the operator from a ConfigMap) and says what it is called; nothing else reads it again. So
another list is another resource: with another boot hash, rolled out like every other change.
"""

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec.resource import TradingSystem
from tradingsystem.spec.section import Symbol
from tradingsystem.spec.universe import ConfigMapRef, Selection

PROBLEMS_SHOWN = 20


def read_symbols(text: str, called: str, most: int) -> tuple[str, ...]:
    """One symbol a line; blank lines and ``#`` comments are nothing. Raises ``InvalidInput`` naming the line of every mistake."""
    found: dict[str, None] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            found[msgspec.convert(word, Symbol)] = None
        except msgspec.ValidationError:
            problems.append(f"{called}, line {number}: {word[:40]!r} is not a symbol")
    if not found and not problems:
        problems.append(f"{called}: it names no symbol")
    if len(found) > most:
        problems.append(f"{called}: {len(found):,} symbols, and universe.symbolsMax allows {most:,}")
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        raise InvalidInput("\n".join([*problems[:PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]))
    return tuple(found)


def with_symbols(system: TradingSystem, symbols: tuple[str, ...]) -> TradingSystem:
    """The resource as if it had listed the symbols itself."""
    universe = msgspec.structs.replace(system.spec.universe, selection=Selection.LIST, symbols=symbols, config_map_ref=ConfigMapRef())
    return msgspec.structs.replace(system, spec=msgspec.structs.replace(system.spec, universe=universe))
