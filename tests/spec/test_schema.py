"""The generated schema: committed, structural, bounded, and telling the same as the types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.spec.documents import document
from tradingsystem.spec import TradingSystem, from_document, to_document
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.schema import PATH, json_schema, main, structural_schema, text

ROOT = Path(__file__).parents[2]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name], f"{path}[]")


def test_committed_schema_is_what_is_generated(tmp_path: Path) -> None:
    """`make generate` would change nothing."""
    main([str(tmp_path / "schema.json")])
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == text()
    assert (ROOT / PATH).read_text(encoding="utf-8") == text(), "run `make generate`"


def test_everything_is_bounded() -> None:
    """Each number, text, list and map has a limit: the API server prices CEL by them, and nothing can grow without end."""
    bounds = {"integer": {"minimum", "maximum"}, "array": {"maxItems"}}
    for path, node in nodes(json_schema()):
        missing = bounds.get(node["type"], set()) - set(node)
        assert not missing, f"{path} lacks {missing}"
        if node["type"] == "string":
            assert "enum" in node or "maxLength" in node, path
        if isinstance(node.get("additionalProperties"), dict):
            assert "maxProperties" in node, path


def test_every_field_is_described_and_every_list_says_how_it_merges() -> None:
    """Meaning stands beside each field; a list of objects says what tells its items apart, or is plainly atomic."""
    for path, node in nodes(json_schema()):
        if path and not path.endswith("[]"):
            assert len(node.get("description", "")) > 10, path
        if node["type"] == "array" and not path.endswith("tolerations"):
            assert node.get("x-kubernetes-list-type") in {"map", "set"}, path


def test_schema_is_structural() -> None:
    """Nothing a Kubernetes structural schema refuses: no references, no unions, one type each; open objects when it is for the CRD."""
    plain = json.dumps(structural_schema(TradingSystem, closed=False))
    for word in ('"$ref"', '"anyOf"', '"oneOf"', '"allOf"', '"additionalProperties": false'):
        assert word not in plain
    assert all(isinstance(node["type"], str) for _, node in nodes(json_schema()))
    assert len(plain) < 200_000


def _filled(schema: dict[str, Any], value: Any) -> Any:
    """A value with the schema's defaults filled in, as the API server does it."""
    if schema["type"] == "object" and isinstance(value, dict):
        made = dict(value)
        for name, inner in schema.get("properties", {}).items():
            if name not in made and "default" in inner:
                made[name] = inner["default"]
            if name in made:
                made[name] = _filled(inner, made[name])
        return made
    if schema["type"] == "array":
        return [_filled(schema["items"], item) for item in value]
    return value


def test_defaults_of_the_schema_are_those_of_the_types() -> None:
    """What the API server fills in is what the program would assume: one document, two ways, the same system."""
    made = document({"spec.sources": [{"name": "a", "type": "Polygon"}], "spec.execution.broker": {"secretRef": {}}})
    filled = _filled(structural_schema(TradingSystem, closed=False), made)
    assert "dailyLossMax" not in filled["spec"]["risk"]
    assert from_document(filled) == from_document(made)
    rest = to_document(from_document(made))
    rest["spec"]["risk"] = {}  # type: ignore[index]
    assert filled == rest


def test_risk_has_no_schema_default() -> None:
    """Live asks which limits a person wrote; a default filled in by the API server would look written."""
    properties = structural_schema(Risk, closed=False)["properties"]
    assert properties
    assert all("default" not in node for node in properties.values())
