"""Holds a plain document against the types of the resource and tells every mistake, where msgspec stops at the first.

Only what a structural schema can say is checked here: known fields, types, bounds, patterns, lengths, uniqueness. What relates two fields
stands in ``rules.py``. Beside the problems it returns the document without its wrong values, so that the rules can still look at the rest.
"""

import difflib
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from tradingsystem.spec.problems import Problem, shown

DROP: Any = object()
"""Stands for a value that was wrong and is left out, so that its default takes over."""


class Walk:
    """One pass over one document. ``problems`` holds the mistakes in the order of the document's types."""

    def __init__(self, lines: dict[str, int]) -> None:
        self.problems: list[Problem] = []
        self._lines = lines

    def wrong(self, path: str, value: object, reason: str, remedy: str) -> Any:
        """Note one mistake and leave the value out."""
        text = "" if value is DROP else shown(value)
        self.problems.append(Problem(field=path, value=text, reason=reason, remedy=remedy, line=self._lines.get(path, 0)))
        return DROP

    def value(self, kind: inspect.Type, value: Any, path: str) -> Any:
        """The value without what is wrong in it, or DROP."""
        schema: dict[str, Any] = {}
        while isinstance(kind, inspect.Metadata):
            schema |= kind.extra_json_schema or {}
            kind = kind.type
        if value is None:
            return self.wrong(path, None, f"is empty where {expected(kind)} is needed", "give a value or leave the field out")
        return _CHECKS[type(kind)](self, kind, value, path, schema)

    def struct(self, kind: inspect.StructType, value: Any, path: str, _schema: dict[str, Any]) -> Any:
        """Known fields, each by its type; unknown and missing ones are mistakes."""
        if not isinstance(value, dict):
            return self.wrong(path, value, "is not a mapping", f"write the fields of {kind.cls.__name__} below it")
        fields = {field.encode_name: field for field in kind.fields}
        kept: dict[str, Any] = {}
        for key, item in value.items():
            child = f"{path}.{key}" if path else str(key)
            if key not in fields:
                self.wrong(child, DROP, "is unknown", did_you_mean(str(key), sorted(fields)))
                continue
            inner = self.value(fields[key].type, item, child)
            if inner is not DROP:
                kept[key] = inner
        complete = True
        for name, field in fields.items():
            if field.required and name not in kept:
                complete = False
                if name not in value:
                    child = f"{path}.{name}" if path else name
                    self.wrong(child, DROP, "is missing", f"add it: {description(field.type)}")
        return kept if complete else DROP

    def sequence(self, kind: inspect.VarTupleType, value: Any, path: str, schema: dict[str, Any]) -> Any:
        """Items by their type, the length, and uniqueness where the list is a set or keyed by a field."""
        if not isinstance(value, list):
            return self.wrong(path, value, "is not a list", "write one item a line, each after `- `")
        count = len(self.problems)
        low, high = kind.min_length or 0, kind.max_length
        if len(value) < low or (high is not None and len(value) > high):
            self.wrong(path, value, f"has {len(value)} items", f"give {low} to {high}")
        looked_at = value if high is None else value[:high]
        kept = [self.value(kind.item_type, item, f"{path}[{index}]") for index, item in enumerate(looked_at)]
        self._unique(looked_at, path, schema)
        return kept if len(self.problems) == count else DROP

    def _unique(self, items: list[Any], path: str, schema: dict[str, Any]) -> None:
        keys = schema.get("x-kubernetes-list-map-keys")
        if not keys and schema.get("x-kubernetes-list-type") != "set":
            return
        seen: dict[object, int] = {}
        for index, item in enumerate(items):
            key = item.get(keys[0]) if keys and isinstance(item, dict) else item
            if key is None or isinstance(key, dict | list):
                continue
            where = f"{path}[{index}].{keys[0]}" if keys else f"{path}[{index}]"
            if key in seen:
                self.wrong(where, key, f"stands twice, first in {path}[{seen[key]}]", "use each one once")
            seen.setdefault(key, index)

    def mapping(self, kind: inspect.DictType, value: Any, path: str, _schema: dict[str, Any]) -> Any:
        """Keys and values by their types, and how many."""
        if not isinstance(value, dict):
            return self.wrong(path, value, "is not a mapping", "write `key: value` lines below it")
        if kind.max_length is not None and len(value) > kind.max_length:
            return self.wrong(path, value, f"has {len(value)} entries", f"give at most {kind.max_length}")
        kept: dict[str, Any] = {}
        for key, item in value.items():
            name = self.value(kind.key_type, key, f"{path}.{key}")
            inner = self.value(kind.value_type, item, f"{path}.{key}")
            if name is not DROP and inner is not DROP:
                kept[name] = inner
        return kept

    def integer(self, kind: inspect.IntType, value: Any, path: str, _schema: dict[str, Any]) -> Any:
        """A whole number within its bounds. 1.0 is taken for 1, as the API server does."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return self.wrong(path, value, "is not a whole number", f"give {expected(kind)}")
        if kind.ge is not None and value < kind.ge:
            return self.wrong(path, value, f"is below {kind.ge:,}", f"give {expected(kind)}")
        if kind.le is not None and value > kind.le:
            return self.wrong(path, value, f"is above {kind.le:,}", f"give {expected(kind)}")
        return value

    def boolean(self, _kind: inspect.BoolType, value: Any, path: str, _schema: dict[str, Any]) -> Any:
        """true or false, and nothing that merely looks like it."""
        if not isinstance(value, bool):
            return self.wrong(path, value, "is not true or false", "write true or false without quotes")
        return value

    def text(self, kind: inspect.StrType, value: Any, path: str, _schema: dict[str, Any]) -> Any:
        """A text of the right length and form."""
        if not isinstance(value, str):
            return self.wrong(path, value, "is not a text", "put it in quotes")
        if kind.max_length is not None and len(value) > kind.max_length:
            return self.wrong(path, value, f"has {len(value)} characters", f"use at most {kind.max_length}")
        if kind.min_length and len(value) < kind.min_length:
            return self.wrong(path, value, "is too short", f"use at least {kind.min_length} characters")
        if kind.pattern and re.fullmatch(kind.pattern, value) is None:
            return self.wrong(path, value, "has the wrong form", f"it must match {kind.pattern}")
        return value

    def choice(self, kind: inspect.EnumType, value: Any, path: str, _schema: dict[str, Any]) -> Any:
        """One of the values of an enumeration."""
        allowed = [member.value for member in kind.cls]
        if value not in allowed:
            return self.wrong(path, value, "is unknown", did_you_mean(value if isinstance(value, str) else "", allowed))
        return value


_CHECKS: dict[type, Callable[..., Any]] = {
    inspect.StructType: Walk.struct,
    inspect.VarTupleType: Walk.sequence,
    inspect.DictType: Walk.mapping,
    inspect.IntType: Walk.integer,
    inspect.BoolType: Walk.boolean,
    inspect.StrType: Walk.text,
    inspect.EnumType: Walk.choice,
}


def expected(kind: inspect.Type) -> str:
    """What a type takes, in words."""
    if isinstance(kind, inspect.IntType):
        return f"a whole number from {kind.ge:,} to {kind.le:,}"
    words: dict[type, str] = {inspect.StructType: "a mapping", inspect.VarTupleType: "a list", inspect.DictType: "a mapping"}
    words |= {inspect.BoolType: "true or false", inspect.StrType: "a text", inspect.EnumType: "one of the known values"}
    return words[type(kind)]


def did_you_mean(word: str, known: list[str]) -> str:
    """A suggestion: the nearest known word when one is near, else all of them."""
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean {folded[near[0]]}?"
    return "known here: " + ", ".join(name or '""' for name in known)


def description(kind: inspect.Type) -> str:
    """The description of a field's type, the outermost one that is given."""
    while isinstance(kind, inspect.Metadata):
        text = (kind.extra_json_schema or {}).get("description")
        if text:
            return str(text)
        kind = kind.type
    return expected(kind)


def walk(kind: type[msgspec.Struct], values: dict[str, Any], lines: dict[str, int]) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """Every structural mistake in ``values``, and ``values`` without them (None when a required part is missing or wrong)."""
    pass_over = Walk(lines)
    kept = pass_over.value(inspect.type_info(kind), values, "")
    return (None if kept is DROP else kept), tuple(pass_over.problems)
