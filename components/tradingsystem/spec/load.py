"""The one door into the system for a resource: text in, a TradingSystem without mistakes out, or every mistake at once.

It refuses to repair: what is wrong is told, never guessed around. What only the API server knows (status, uid, managedFields) is dropped, so that
the output of ``kubectl get -o yaml`` can be loaded as it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tradingsystem.spec.problems import InvalidSpec, Problem
from tradingsystem.spec.reading import read
from tradingsystem.spec.resource import API_VERSION, KIND, TradingSystem
from tradingsystem.spec.rule import Document, broken_rules
from tradingsystem.spec.rules import LOCAL_RULES, RULES
from tradingsystem.spec.walk import walk

_SERVER_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


def load(text: str | bytes) -> TradingSystem:
    """The resource in ``text`` (YAML or JSON). Raises InvalidSpec with every problem."""
    values, reading = read(text)
    return _checked(values, reading.lines, tuple(reading.problems))


def load_file(path: Path) -> TradingSystem:
    """The resource in a file. Raises InvalidSpec with every problem, also when the file cannot be read."""
    try:
        text = path.read_bytes()
    except OSError as error:
        problem = Problem(field="", value=str(path), reason=f"cannot be read ({error.strerror})", remedy="check the path")
        raise InvalidSpec((problem,)) from error
    return load(text)


def from_document(values: Mapping[str, Any]) -> TradingSystem:
    """The resource in plain values, as the operator gets them. Raises InvalidSpec with every problem."""
    return _checked(dict(values), {}, ())


def _checked(values: dict[str, Any], lines: dict[str, int], read_problems: tuple[Problem, ...]) -> TradingSystem:
    ours = _without_server_fields(values)
    already = {problem.field for problem in read_problems}
    kept, structural = walk(TradingSystem, ours, lines)
    problems = [*read_problems, *(problem for problem in structural if problem.field not in already)]
    system = _converted(kept if kept is not None else _skeleton(ours))
    if system is not None:
        wrong = {problem.field for problem in problems}
        problems += broken_rules(Document(system=system, values=ours, lines=lines), (*RULES, *LOCAL_RULES), wrong)
    if problems:
        raise InvalidSpec(tuple(sorted(problems, key=lambda problem: problem.line)))
    assert system is not None, "a document without problems has every required field"
    return system


def _converted(values: dict[str, Any] | None) -> TradingSystem | None:
    return None if values is None else msgspec.convert(values, TradingSystem)


def _skeleton(values: dict[str, Any]) -> dict[str, Any] | None:
    """The document with a correct head, so that the rules can look at a spec whose name or kind is wrong."""
    head = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "unnamed"}}
    kept, _ = walk(TradingSystem, head | {"spec": values.get("spec", {})}, {})
    return kept


def _without_server_fields(values: dict[str, Any]) -> dict[str, Any]:
    ours = {key: value for key, value in values.items() if key != "status"}
    metadata = ours.get("metadata")
    if isinstance(metadata, dict):
        ours["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_METADATA}
    return ours
