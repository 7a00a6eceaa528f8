"""The resource as a structural JSON schema, generated from the types so that editors, the CRD and the program cannot disagree.

Everything is written in place (no ``$ref``), with the default of each field, since a structural schema of Kubernetes has to be so. Cross-field rules
are not in it: they are CEL, beside it in the CRD. ``python -m tradingsystem.spec.schema`` writes ``manifests/tradingsystem.schema.json``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from tradingsystem.spec.resource import TradingSystem

PATH = Path("manifests/tradingsystem.schema.json")


def structural_schema(kind: Any, *, closed: bool) -> dict[str, Any]:
    """The schema of a section or of any field type.

    ``closed`` adds ``additionalProperties: false``, which editors want and the API server's structural schemas do not allow beside properties.
    """
    return _schema(inspect.type_info(kind), closed)


def json_schema() -> dict[str, Any]:
    """The schema of a whole document, for editors and validators."""
    schema = structural_schema(TradingSystem, closed=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TradingSystem",
        "description": (TradingSystem.__doc__ or "").strip(),
    } | schema


def _schema(kind: inspect.Type, closed: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata):
        extra = (kind.extra_json_schema or {}) | extra
        kind = kind.type
    return extra | _plain(kind, closed)


def _plain(kind: inspect.Type, closed: bool) -> dict[str, Any]:
    if isinstance(kind, inspect.StructType):
        return _object(kind, closed)
    if isinstance(kind, inspect.VarTupleType):
        return {"type": "array", "items": _schema(kind.item_type, closed)} | _given(minItems=kind.min_length, maxItems=kind.max_length)
    if isinstance(kind, inspect.DictType):
        return {"type": "object", "additionalProperties": _schema(kind.value_type, closed)} | _given(maxProperties=kind.max_length)
    if isinstance(kind, inspect.IntType):
        return {"type": "integer", "format": "int64"} | _given(minimum=kind.ge, maximum=kind.le)
    if isinstance(kind, inspect.StrType):
        return {"type": "string"} | _given(minLength=kind.min_length, maxLength=kind.max_length, pattern=kind.pattern)
    if isinstance(kind, inspect.EnumType):
        return {"type": "string", "enum": [member.value for member in kind.cls]}
    if isinstance(kind, inspect.BoolType):
        return {"type": "boolean"}
    raise TypeError(f"{kind} has no place in a structural schema; use a bounded integer, text, list, mapping, enumeration or section")


def _given(**bounds: object) -> dict[str, Any]:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _object(kind: inspect.StructType, closed: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for field in kind.fields:
        schema = _schema(field.type, closed)
        if not field.required and _has_schema_default(field.type):
            schema["default"] = _default(field)
        properties[field.encode_name] = schema
    found: dict[str, Any] = {"type": "object", "properties": properties}
    required = [field.encode_name for field in kind.fields if field.required]
    if required:
        found["required"] = required
    if closed:
        found["additionalProperties"] = False
    return found


def _has_schema_default(kind: inspect.Type) -> bool:
    while isinstance(kind, inspect.Metadata):
        if kind.extra is not None and kind.extra.get("schema_default") is False:
            return False
        kind = kind.type
    return True


def _default(field: inspect.Field) -> Any:
    return _lean(_own_default(field))


def _lean(value: Any) -> Any:
    """A default as plain values, leaving out what the sections' own defaults say anyway."""
    if isinstance(value, msgspec.Struct):
        own = msgspec.structs.fields(type(value))
        pairs = ((field, getattr(value, field.name)) for field in own)
        return {field.encode_name: _lean(item) for field, item in pairs if field.required or item != _own_default(field)}
    if isinstance(value, tuple):
        return [_lean(item) for item in value]
    return msgspec.to_builtins(value)


def _own_default(field: inspect.Field | msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def text() -> str:
    """The committed file's content."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    """Write the schema to the given path, or to its place in the repository when run from its root."""
    path = Path(arguments[0]) if arguments else PATH
    path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
