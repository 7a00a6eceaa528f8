"""The CustomResourceDefinition as plain values: the schema of the types, the rules in CEL, the columns ``kubectl get`` shows.

Pure: the same types give the same document. It adds no rule and no bound of its own; what an API server cannot say (``LOCAL_RULES``, unknown keys of
clients that do not ask for strictness, the form of label keys) stays the business of ``tradingsystem validate``.
"""

from typing import Any

import msgspec

from tradingsystem.spec.resource import API_VERSION, KIND, TradingSystem, TradingSystemSpec
from tradingsystem.spec.rule import SPEC, Rule
from tradingsystem.spec.rules import RULES
from tradingsystem.spec.schema import structural_schema
from tradingsystem.spec.status import TradingSystemStatus
from tradingsystem.spec.transitions import TRANSITIONS

GROUP, VERSION = API_VERSION.split("/")
PLURAL = "tradingsystems"
NAME = f"{PLURAL}.{GROUP}"

_COLUMNS = (
    ("Mode", "string", ".spec.mode", "Simulation, Paper or Live."),
    ("Trading", "string", ".status.trading.state", "What holds, not what is wished."),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether it can do what its spec asks now."),
    ("Model", "integer", ".status.models.serving", "Bundle that serves."),
    ("Day P&L", "string", ".status.trading.dayProfit", "Profit of the day, account currency."),
    ("Age", "date", ".metadata.creationTimestamp", "Since the resource was made."),
)


def definition() -> dict[str, Any]:
    """The whole CustomResourceDefinition, apiextensions.k8s.io/v1."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["tsys"],
                "categories": ["trading"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    columns = [{"name": name, "type": kind, "jsonPath": path, "description": text} for name, kind, path, text in _COLUMNS]
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": _root()},
    }


def _root() -> dict[str, Any]:
    """The schema of the resource. Of metadata an API server lets only the name be bounded; its length is a rule, so that the refusal says why."""
    schema = structural_schema(TradingSystem, closed=False)
    name = {key: value for key, value in schema["properties"]["metadata"]["properties"]["name"].items() if key in {"type", "pattern"}}
    status = without_defaults(structural_schema(TradingSystemStatus, closed=False))
    spec = schema["properties"]["spec"] | {
        "default": _default_spec(),
        "x-kubernetes-validations": [_validation(rule, "spec.") for rule in RULES if rule.scope == SPEC],
    }
    return {
        "type": "object",
        "description": schema.get("description", "One automated trading system."),
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": spec,
            "status": status | {"description": "What the operator observed."},
        },
        "x-kubernetes-validations": [
            *(_validation(rule, "") for rule in RULES if rule.scope != SPEC),
            *(_entry(transition.cel, transition.field, transition.reason, transition.remedy, forbidden=True) for transition in TRANSITIONS),
        ],
    }


def _default_spec() -> dict[str, Any]:
    """Every default written out: an API server asks the rules of a default as it stands, before filling it in. No limit, since nobody wrote one."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(TradingSystemSpec()))
    return made | {"risk": {}}


def _validation(rule: Rule, scope: str) -> dict[str, Any]:
    return _entry(rule.cel, rule.fields[0].removeprefix(scope), rule.reason, rule.remedy, forbidden=False)


def _entry(cel: str, field: str, reason: str, remedy: str, *, forbidden: bool) -> dict[str, Any]:
    return {
        "rule": cel,
        "message": f"{reason}; {remedy}",
        "reason": "FieldValueForbidden" if forbidden else "FieldValueInvalid",
        "fieldPath": f".{field}",
    }


def without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with no default anywhere: what nobody observed must not look observed."""
    made = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in made:
        made["properties"] = {name: without_defaults(inner) for name, inner in made["properties"].items()}
    if "items" in made:
        made["items"] = without_defaults(made["items"])
    return msgspec.to_builtins(made)  # type: ignore[no-any-return]
