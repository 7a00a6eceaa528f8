"""The committed definition, as far as it can be judged without an API server: generated, structural, small, and every rule in it with its cases."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.spec.cases import HELD_AND_BROKEN
from tests.spec.transition_cases import TRANSITION_CASES
from tradingsystem.spec.crd import definition
from tradingsystem.spec.generate_crd import PATH, SIZE_MAX_BYTES, main, text
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.rule import SPEC
from tradingsystem.spec.rules import RULES
from tradingsystem.spec.section import wire_name
from tradingsystem.spec.transitions import TRANSITIONS

ROOT = Path(__file__).parents[2]
FORBIDDEN = {"$ref", "anyOf", "oneOf", "allOf", "not", "definitions", "uniqueItems", "patternProperties", "deprecated", "id"}
KEYWORDS = {
    *("type", "format", "description", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"),
    *("items", "minItems", "maxItems", "properties", "required", "additionalProperties", "maxProperties"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations"),
}
TYPES = {"object", "array", "string", "integer", "boolean"}
COVERED_AT_THE_API_SERVER = {"name-fits"}


def root() -> dict[str, Any]:
    schema: dict[str, Any] = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name], f"{path}[]")


def not_structural(schema: dict[str, Any]) -> list[str]:
    """What an API server would not take as a structural schema, by the rules Kubernetes documents."""
    found = []
    for path, node in nodes(schema):
        found += [f"{path}: {word}" for word in sorted(set(node) & FORBIDDEN)]
        found += [f"{path}: unknown keyword {word}" for word in sorted(set(node) - KEYWORDS - FORBIDDEN)]
        if node.get("type") not in TYPES:
            found.append(f"{path}: type {node.get('type')}")
        if "properties" in node and "additionalProperties" in node:
            found.append(f"{path}: properties beside additionalProperties")
        if node.get("type") == "array" and "items" not in node:
            found.append(f"{path}: a list without items")
        found += [f"{path}: required {name} has no schema" for name in node.get("required", []) if name not in node["properties"]]
        keys = node.get("x-kubernetes-list-map-keys", [])
        items = node.get("items", {})
        found += [f"{path}: key {key} may be missing" for key in keys if key not in items.get("required", [])]
    return found


def test_committed_definition_is_what_is_generated(tmp_path: Path) -> None:
    """`make generate` would change nothing, and the file is the definition and nothing else."""
    main([str(tmp_path / "crd" / "made.yaml")])
    assert (tmp_path / "crd" / "made.yaml").read_text(encoding="utf-8") == text()
    assert (ROOT / PATH).read_text(encoding="utf-8") == text(), "run `make generate`"
    assert yaml.safe_load(text()) == definition()


def test_definition_is_structural() -> None:
    """Nothing in it that an API server refuses in a structural schema."""
    assert not_structural(root()) == []


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        ("spec.risk", {"oneOf": []}),
        ("spec.risk.dailyLossMax", {"type": None}),
        ("spec.sources", {"uniqueItems": True}),
        ("spec.risk", {"additionalProperties": False}),
        ("status.conditions", {"x-kubernetes-list-map-keys": ["message", "other"]}),
        ("spec.risk", {"required": ["absent"]}),
    ],
)
def test_the_check_for_structure_bites(path: str, damage: dict[str, Any]) -> None:
    """Each kind of damage is found, so an empty answer means something."""
    schema = copy.deepcopy(root())
    node = schema
    for part in path.split("."):
        node = node["properties"][part]
    node.update(damage)
    assert not_structural(schema)


def test_everything_in_status_is_bounded_and_nothing_is_assumed() -> None:
    """Status cannot outgrow its object, and a field nobody observed is absent: a default would look observed."""
    status = root()["properties"]["status"]
    for path, node in nodes(status):
        assert "default" not in node, path
        if node["type"] == "integer":
            assert {"minimum", "maximum"} <= set(node), path
        if node["type"] == "array":
            assert {"maxItems", "x-kubernetes-list-type"} <= set(node), path
        if node["type"] == "string":
            assert "enum" in node or "maxLength" in node, path


def test_it_stays_small_enough_for_a_plain_apply() -> None:
    """kubectl keeps what was applied in an annotation of at most 256 KiB."""
    assert len(text().encode()) < SIZE_MAX_BYTES


def test_columns_and_names() -> None:
    """What `kubectl get tsys` shows, in this order, each from a field that exists."""
    names = definition()["spec"]["names"]
    version = definition()["spec"]["versions"][0]
    assert (names["shortNames"], names["categories"], version["subresources"]) == (["tsys"], ["trading"], {"status": {}})
    assert [column["name"] for column in version["additionalPrinterColumns"]] == ["Mode", "Trading", "Ready", "Model", "Day P&L", "Age"]
    for column in version["additionalPrinterColumns"]:
        here = root()
        plain = column["jsonPath"].partition("[")[0]
        for part in plain.strip(".").split("."):
            if part == "creationTimestamp":
                break
            here = here["properties"][part]


def validations() -> list[tuple[str, dict[str, Any]]]:
    """Every CEL rule of the definition with the path of the node it stands at."""
    return [(path, entry) for path, node in nodes(root()) for entry in node.get("x-kubernetes-validations", [])]


def test_every_rule_is_in_the_definition_with_a_case_each_way() -> None:
    """Rules on one document and rules on a change: none is left out, none has no accept and no reject case."""
    assert [entry["rule"] for path, entry in validations() if path == ".spec"] == [rule.cel for rule in RULES if rule.scope == SPEC]
    at_root = [entry["rule"] for path, entry in validations() if path == ""]
    assert at_root == [rule.cel for rule in RULES if rule.scope != SPEC] + [transition.cel for transition in TRANSITIONS]
    assert len(validations()) == len(RULES) + len(TRANSITIONS) >= 25
    assert {rule.name for rule in RULES} == set(HELD_AND_BROKEN) | COVERED_AT_THE_API_SERVER
    assert {case.transition for case in TRANSITION_CASES if case.accepted} == {transition.name for transition in TRANSITIONS}
    assert {case.transition for case in TRANSITION_CASES if not case.accepted} == {transition.name for transition in TRANSITIONS}


def test_every_rule_says_what_is_wrong_and_where() -> None:
    """A message of one line with reason and remedy, and the path of a field that exists below the node."""
    at = dict(nodes(root()))
    for path, entry in validations():
        assert set(entry) == {"rule", "message", "reason", "fieldPath"}
        assert re.fullmatch(r"[^\n]{20,2048}", entry["message"]), entry["message"]
        assert f"{path}{entry['fieldPath']}" in at, entry["fieldPath"]
        assert entry["reason"] in {"FieldValueInvalid", "FieldValueForbidden"}


def test_every_limit_has_its_transition() -> None:
    """A limit added to the gate cannot be raised behind its back."""
    limits = {f"spec.risk.{wire_name(field.name)}" for field in msgspec.structs.fields(Risk)}
    assert limits == {transition.field for transition in TRANSITIONS} - {"spec.mode", "spec.messaging.type"}
