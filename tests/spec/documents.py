"""Documents for the tests: a base that loads, changes by dotted path, and hypothesis strategies made from the types themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from tradingsystem.spec import InvalidSpec, Problem, TradingSystem, from_document
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.section import wire_name

EVERY_LIMIT = {wire_name(field.name): field.default for field in msgspec.structs.fields(Risk)}
LIVE = {
    "spec.mode": "Live",
    "spec.execution.broker": {"secretRef": {"name": "alpaca-live"}, "accountNumber": "123456789"},
    "spec.risk": EVERY_LIMIT,
}


def document(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The smallest document, with values set at dotted paths."""
    made: dict[str, Any] = {
        "apiVersion": "tradingsystem.dev/v1alpha1",
        "kind": "TradingSystem",
        "metadata": {"name": "momentum"},
        "spec": {},
    }
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        here = made
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = copy.deepcopy(value)
    return made


def system(changes: dict[str, Any] | None = None) -> TradingSystem:
    return from_document(document(changes))


def problems(changes: dict[str, Any]) -> tuple[Problem, ...]:
    """Every problem of the changed document; none when it loads."""
    return problems_of(lambda: system(changes))


def problems_of(reading: Callable[[], TradingSystem]) -> tuple[Problem, ...]:
    """What a reading complains about; nothing when it succeeds. Any other exception than InvalidSpec is a failure of the test."""
    try:
        reading()
    except InvalidSpec as error:
        return error.problems
    return ()


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Plain values that fit a type of the resource, bounds included; fields with defaults may be left out."""
    return _values(inspect.type_info(kind), {})


def _values(kind: inspect.Type, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    while isinstance(kind, inspect.Metadata):
        schema = schema | (kind.extra_json_schema or {})
        kind = kind.type
    if isinstance(kind, inspect.StructType):
        required = {field.encode_name: _values(field.type, {}) for field in kind.fields if field.required}
        optional = {field.encode_name: _values(field.type, {}) for field in kind.fields if not field.required}
        return st.fixed_dictionaries(required, optional=optional)
    if isinstance(kind, inspect.VarTupleType):
        keys = schema.get("x-kubernetes-list-map-keys")
        unique = schema.get("x-kubernetes-list-type") is not None
        size = min(3, kind.max_length or 3)
        by = (lambda item: item[keys[0]]) if keys else (lambda item: item)
        items = _values(kind.item_type, {})
        return st.lists(items, min_size=kind.min_length or 0, max_size=size, unique_by=by if unique else None)
    if isinstance(kind, inspect.DictType):
        return st.dictionaries(_values(kind.key_type, {}), _values(kind.value_type, {}), max_size=2)
    if isinstance(kind, inspect.EnumType):
        return st.sampled_from([member.value for member in kind.cls])
    if isinstance(kind, inspect.BoolType):
        return st.booleans()
    if isinstance(kind, inspect.IntType):
        return st.integers(kind.ge, kind.le)
    assert isinstance(kind, inspect.StrType), kind
    return _texts(kind)


def _texts(kind: inspect.StrType) -> st.SearchStrategy[str]:
    low, high = kind.min_length or 0, min(kind.max_length or 40, 40)
    if kind.pattern is None:
        return st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=low, max_size=high)
    return st.from_regex(kind.pattern, fullmatch=True).filter(lambda text: low <= len(text) <= (kind.max_length or 40) and "\n" not in text)
