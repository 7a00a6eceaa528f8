"""The base of every section of the resource, and the bounded field types they share.

Exists so that each field of the resource is bounded, described and spelled the same way. It refuses to hold logic: a section is data,
what relates two fields stands in ``rules.py``.

Every field is written ``name: Annotated[BoundedType, about("meaning, unit, why this default")] = default``; documentation, the JSON schema
and the CRD are generated from exactly that. Fields that may not be left out have no default.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

_SPELLED_OTHERWISE = {"mib": "MiB"}


def wire_name(name: str) -> str:
    """The camelCase spelling of a Python field name, as it stands in YAML: ``memory_mib_min`` is ``memoryMiBMin``."""
    first, *rest = name.split("_")
    return first + "".join(_SPELLED_OTHERWISE.get(word, word.capitalize()) for word in rest)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=wire_name):
    """A frozen group of settings; unknown keys are mistakes."""


def about(text: str) -> Meta:
    """The description of a field: what it means, its unit, and why the default is what it is."""
    return Meta(description=text)


def keyed_by(wire_field: str) -> Meta:
    """Marks a list whose items are told apart by one field, so that two owners can each keep their own item."""
    return Meta(extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [wire_field]})


A_SET = Meta(extra_json_schema={"x-kubernetes-list-type": "set"})
"""Marks a list of plain values in which no value stands twice."""

NO_SCHEMA_DEFAULT = Meta(extra={"schema_default": False})
"""Marks a field whose default the schema must not fill in, because a rule asks whether a person wrote it."""

# Whole units of account currency; the upper bound keeps products of two of them inside an int64 of cents.
Money = Annotated[int, Meta(ge=0, le=1_000_000_000)]
MoneyAboveZero = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Percent = Annotated[int, Meta(ge=0, le=100)]
PercentAboveZero = Annotated[int, Meta(ge=1, le=100)]
BasisPoints = Annotated[int, Meta(ge=0, le=10_000)]
BasisPointsAboveZero = Annotated[int, Meta(ge=1, le=10_000)]
Minutes = Annotated[int, Meta(ge=0, le=390)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
Port = Annotated[int, Meta(ge=1024, le=60_000)]

# A lower-case label as Kubernetes spells object names, short enough to take a suffix. ResourceName may be longer: it names what others made.
Label = Annotated[str, Meta(min_length=1, max_length=40, pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$")]
ResourceName = Annotated[str, Meta(max_length=253, pattern="^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
Symbol = Annotated[str, Meta(min_length=1, max_length=12, pattern="^[A-Z][A-Z0-9./]*[a-zA-Z0-9]*$")]
Identifier = Annotated[str, Meta(min_length=1, max_length=63, pattern="^[a-z][a-z0-9_]*$")]
Quantity = Annotated[str, Meta(max_length=20, pattern="^([0-9]+([.][0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?)?$")]


class SecretRef(Section, frozen=True, kw_only=True):
    """Names a secret; its values never stand in the resource. Locally the folder ``secrets/<name>/``, in the cluster a Secret."""

    name: Annotated[ResourceName, about("Name of the secret. Empty: none is needed.")] = ""
