"""What a cross-field rule is, and how a broken one becomes a problem. The rules themselves stand in ``rules.py``.

Both sides answer the same question over the same document: ``self`` in CEL is the whole resource (``RESOURCE``) or its ``spec`` (``SPEC``), with
schema defaults filled in. Python sees the typed spec and, where presence matters, the values a person wrote. Nothing here looks at the outside world.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tradingsystem.spec.problems import Problem, shown
from tradingsystem.spec.resource import TradingSystem

RESOURCE = "resource"
SPEC = "spec"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A resource as a rule sees it: typed with every default, and ``values`` as they were written."""

    system: TradingSystem
    values: dict[str, Any]
    lines: dict[str, int] = {}

    def wrote(self, path: str) -> bool:
        """Whether a person wrote the field at this dotted path."""
        here: Any = self.values
        for part in path.split("."):
            if not isinstance(here, dict) or here.get(part) is None:
                return False
            here = here[part]
        return True


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One relation between fields. ``fields`` are the dotted paths it speaks of, the first is the one a problem is shown at."""

    name: str
    scope: str
    fields: tuple[str, ...]
    cel: str
    holds: Callable[[Document], bool]
    reason: str
    remedy: str


def problem_of(rule: Rule, document: Document) -> Problem:
    """The problem a broken rule makes: every field it speaks of with its value."""
    plain = msgspec.to_builtins(document.system)
    values = [(field, _at(plain, field)) for field in rule.fields]
    named = ", ".join(f"{field.rsplit('.', 1)[-1]} = {shown(value)}" for field, value in values)
    text = shown(values[0][1]) if len(values) == 1 else named
    line = next((document.lines[field] for field in rule.fields if field in document.lines), 0)
    return Problem(field=rule.fields[0], value=text, reason=rule.reason, remedy=rule.remedy, line=line)


def _at(plain: Any, path: str) -> Any:
    for part in path.split("."):
        plain = plain[part]
    return plain


def broken_rules(document: Document, rules: Iterable[Rule], wrong: set[str]) -> list[Problem]:
    """A problem for each rule that does not hold, leaving out rules about fields that are already known to be wrong."""
    problems = []
    for rule in rules:
        if any(_touches(field, path) for field in rule.fields for path in wrong):
            continue
        if not rule.holds(document):
            problems.append(problem_of(rule, document))
    return problems


def _touches(field: str, path: str) -> bool:
    def inside(inner: str, outer: str) -> bool:
        return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))

    return inside(field, path) or inside(path, field)
