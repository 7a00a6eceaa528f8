"""JSON schemas for kubeconform, made from what an API server says of its own kinds: no copy from elsewhere, no internet, never of another release.

It is strict: a field that the server does not know is refused. Where the server publishes less than it checks, so does this.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

PREFIX = "#/definitions/"
INT_OR_STRING: Schema = {"oneOf": [{"type": "integer"}, {"type": "string"}]}
QUANTITY: Schema = {"oneOf": [{"type": "number"}, {"type": "string"}]}
QUANTITY_NAME = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def write(openapi: Schema, folder: Path) -> int:
    """One file for each kind, named as kubeconform asks: kind-group-version.json. Returns how many."""
    definitions: dict[str, Schema] = {name: strict(each) for name, each in openapi["definitions"].items()}
    definitions[QUANTITY_NAME] = QUANTITY
    written = 0
    for name, each in openapi["definitions"].items():
        for kind in each.get("x-kubernetes-group-version-kind", []):
            version = "-".join(part for part in (kind["group"].partition(".")[0], kind["version"]) if part)
            path = folder / f"{kind['kind'].lower()}-{version}.json"
            path.write_text(json.dumps({"$ref": PREFIX + name, "definitions": reached(name, definitions)}))
            written += 1
    return written


def strict(schema: Schema) -> Schema:
    """The same schema where an unknown field is a mistake and OpenAPI's own words are JSON Schema's."""
    if schema.get("format") == "int-or-string":
        return INT_OR_STRING
    made: Schema = {name: value for name, value in schema.items() if not name.startswith("x-") and name not in {"description", "default"}}
    if "properties" in made:
        made["properties"] = {name: strict(each) for name, each in made["properties"].items()}
        made.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = strict(made[name])
    return made


def reached(name: str, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """The definitions one needs, itself included."""
    found: dict[str, Schema] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = definitions[each]
            waiting += [other.removeprefix(PREFIX) for other in references(definitions[each])]
    return found


def references(schema: Any) -> list[str]:
    """Every reference inside."""
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [found for value in schema.values() for found in references(value)]
    return [found for value in schema for found in references(value)] if isinstance(schema, list) else []
