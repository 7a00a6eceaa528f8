"""From text to plain values, with the line of each. Refuses what YAML allows but a resource must not hold: repeated keys, several documents,
anchors and tags, numbers that are not numbers. Nothing in a document is ever executed or constructed.
"""

import math
import re
from typing import Any, NoReturn

import yaml

from tradingsystem.spec.problems import InvalidSpec, Problem, shown

TEXT_MAX_BYTES = 2_000_000
DEPTH_MAX = 32
_DIGITS_MAX = 30
_WHOLE = re.compile("[-+]?(0|[1-9][0-9]*)")
_BROKEN = re.compile("[-+]?[0-9]+[.]?[0-9]*([eE][-+]?[0-9]+)?")

Lines = dict[str, int]
Values = dict[str, Any]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Reading:
    """What was read: the values, the line of each path, and the mistakes that reading alone could see."""

    def __init__(self) -> None:
        self.lines: Lines = {}
        self.problems: list[Problem] = []

    def report(self, path: str, value: str, reason: str, remedy: str, line: int) -> None:
        """Note one mistake."""
        self.problems.append(Problem(field=path, value=value, reason=reason, remedy=remedy, line=line))


def read(text: str | bytes) -> tuple[Values, Reading]:
    """Plain values of the one document in ``text`` (YAML or JSON).

    Raises InvalidSpec when there is no document to look at; what is wrong inside one is collected in the Reading.
    """
    source = _decoded(text)
    reading = Reading()
    node = _only_document(source)
    if not isinstance(node, yaml.MappingNode):
        _refuse("the document is not a mapping", "start with `apiVersion: tradingsystem.dev/v1alpha1`", node.start_mark.line + 1)
    values = _value(node, "", reading)
    assert isinstance(values, dict)
    return values, reading


def _refuse(reason: str, remedy: str, line: int = 0) -> NoReturn:
    raise InvalidSpec((Problem(field="", value="", reason=reason, remedy=remedy, line=line),))


def _decoded(text: str | bytes) -> str:
    if len(text) > TEXT_MAX_BYTES:
        _refuse(f"the document is larger than {TEXT_MAX_BYTES:,} bytes", "move long symbol lists to a ConfigMap")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(f"byte {error.start} is not UTF-8", "save the file as UTF-8")


def _only_document(source: str) -> yaml.Node:
    try:
        documents, line = _counted(source)
        if documents == 1:
            return _composed(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "it holds a character that YAML forbids"
        _refuse(f"this is not YAML: {what}", "check indentation, quotes and colons at that line", mark.line + 1 if mark else 0)
    if documents == 0:
        _refuse("the document is empty", "start from manifests/samples/minimal.yaml")
    _refuse(f"there are {documents} documents", "keep one TradingSystem per file", line)


def _counted(source: str) -> tuple[int, int]:
    """How many documents with content there are, and the line of the last. Refuses what would make composing them costly: depth and aliases."""
    depth = documents = line = 0
    for event in yaml.parse(source, Loader=_Loader):
        at = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            _refuse(f"the alias *{event.anchor} repeats another part", "write the part out; aliases are not read", at)
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            continue
        starts = isinstance(event, yaml.CollectionStartEvent)
        if depth == 0 and (starts or (isinstance(event, yaml.ScalarEvent) and event.value != "")):
            documents, line = documents + 1, at
        depth += starts
        if depth > DEPTH_MAX:
            _refuse("the document is nested too deeply", f"nest at most {DEPTH_MAX} levels", at)
    return documents, line


def _composed(source: str) -> yaml.Node:
    nodes = (node for node in yaml.compose_all(source, Loader=_Loader) if node is not None)
    return next(node for node in nodes if not isinstance(node, yaml.ScalarNode) or node.value != "")


def _value(node: yaml.Node, path: str, reading: Reading) -> Any:
    reading.lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, reading)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{index}]", reading) for index, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode), node
    return _scalar(node, path, reading)


def _mapping(node: yaml.MappingNode, path: str, reading: Reading) -> Values:
    values: Values = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            reading.report(path, "", "has a key that is not a word", "write keys as plain words", line)
            continue
        key = str(key_node.value)
        child = f"{path}.{key}" if path else key
        if key in values:
            reading.report(child, "", f"stands twice, first at line {reading.lines[child]}", "keep one of them", line)
            continue
        values[key] = _value(value_node, child, reading)
        reading.lines[child] = line
    return values


def _scalar(node: yaml.ScalarNode, path: str, reading: Reading) -> Any:
    line = node.start_mark.line + 1
    kind = node.tag.rsplit(":", 1)[-1]
    text = str(node.value)
    if kind in {"str", "timestamp"}:
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"true", "yes", "on"}
    if kind in {"int", "float"}:
        return _number(text, path, reading, line)
    reading.report(path, shown(text), f"has the tag {shown(node.tag)}", "write a plain value", line)
    return None


def _number(text: str, path: str, reading: Reading, line: int) -> Any:
    """A decimal number. YAML's other spellings (1:30 is 90, 010 is 8, 1_0 is 10) are refused: whoever reads them differently trades differently."""
    if len(text) <= _DIGITS_MAX:
        if _WHOLE.fullmatch(text):
            return int(text)
        if _BROKEN.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
    reading.report(path, shown(text), "is not a plain decimal number", "write digits only, such as 1500", line)
    return None
