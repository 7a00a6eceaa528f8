"""Loading: every mistake at once, each with field, value and what would be right."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.spec.documents import document, problems, problems_of, system, values_of
from tradingsystem.spec import InvalidSpec, TradingSystem, canonical_json, from_document, load, to_document
from tradingsystem.spec.reading import read
from tradingsystem.spec.rules import LOCAL_RULES, RULES
from tradingsystem.spec.walk import walk

TEN_MISTAKES = """\
apiVersion: tradingsystem.dev/v1
kind: TradingSystem
metadata: {name: momentum}
spec:
  mode: Papr
  universe: {symbolMax: 100, priceMin: -1}
  sizing: {kellyFractionPercent: 140, positionNotionalMin: 4500}
  risk: {dailyLossMax: "500"}
  execution:
    broker: {type: Alpacca}
    takeProfits: [{atBasisPoints: 100, sharePercent: 50}, {atBasisPoints: 50, sharePercent: 40}]
"""


def test_ten_mistakes_are_told_at_once() -> None:
    """A person repairs a document once, not once per mistake: unknown fields, types, bounds, choices and relations come together."""
    with pytest.raises(InvalidSpec) as caught:
        load(TEN_MISTAKES)
    found = [(problem.line, problem.field) for problem in caught.value.problems]
    assert sorted(found) == [
        (1, "apiVersion"),
        (5, "spec.mode"),
        (6, "spec.universe.priceMin"),
        (6, "spec.universe.symbolMax"),
        (7, "spec.sizing.kellyFractionPercent"),
        (7, "spec.sizing.positionNotionalMin"),
        (8, "spec.risk.dailyLossMax"),
        (10, "spec.execution.broker.type"),
        (11, "spec.execution.takeProfits"),
        (11, "spec.execution.takeProfits"),
    ]
    text = str(caught.value)
    assert "10 problems" in text
    assert "did you mean symbolsMax?" in text
    assert "did you mean Paper?" in text
    assert "did you mean Alpaca?" in text
    assert "140 is above 100; give a whole number from 1 to 100" in text
    assert "positionNotionalMin = 4500, positionNotionalMax = 4000" in text


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("spec.universe.symbolsMax", 12_001, "is above 12,000"),
        ("spec.universe.symbolsMax", 0, "is below 1"),
        ("spec.universe.symbolsMax", True, "is not a whole number"),
        ("spec.universe.symbolsMax", 1.5, "is not a whole number"),
        ("spec.universe.symbolsMax", "12", "is not a whole number"),
        ("spec.universe.symbolsMax", 10**60, "is above 12,000"),
        ("spec.universe.symbolsMax", None, "is empty where a whole number"),
        ("spec.universe.symbolsMax", [1], "is not a whole number"),
        ("spec.universe.symbolsMax", float("nan"), "is not a whole number"),
        ("spec.sizing.vixScaling", "yes", "is not true or false"),
        ("spec.sizing.vixScaling", 1, "is not true or false"),
        ("spec.sizing", [], "is not a mapping"),
        ("spec.sizing.method", ["Kelly"], "is unknown"),
        ("spec.filter.rules", {}, "is not a list"),
        ("spec.filter.rules", [], "has 0 items"),
        ("spec.ensemble.members", ["a", "a"], "stands twice"),
        ("spec.ensemble.members", [["a"], "b"], "is not a text"),
        ("spec.universe.symbols", ["aapl"], "has the wrong form"),
        ("spec.universe.symbols", ["AAPL\n"], "has the wrong form"),
        ("spec.universe.symbols", ["A" * 13], "has 13 characters"),
        ("spec.components.filter.nodeSelector", {"a b": "c"}, "has the wrong form"),
        ("spec.components.filter.nodeSelector", {"a": 3}, "is not a text"),
        ("spec.components.filter.nodeSelector", [], "is not a mapping"),
        ("spec.components.filter.nodeSelector", {f"k{n}": "" for n in range(21)}, "has 21 entries"),
        ("spec.components.filter.tolerations", [{"key": "a b", "operator": "Exists"}], "has the wrong form"),
        ("spec.telemetry.otlpEndpoint", "http://\x7f", "has the wrong form"),
        ("spec.execution.broker.accountNumber", 12345, "is not a text"),
        ("metadata.name", "a" * 41, "has 41 characters"),
        ("metadata.name", "", "too short"),
        ("metadata.uid2", "x", "is unknown"),
        ("spec.risk.dailyLoss", 5, "is unknown"),
        ("hello", 5, "is unknown"),
    ],
)
def test_each_kind_of_mistake_is_told_at_its_field(path: str, value: object, reason: str) -> None:
    """The problem stands at the field that is wrong, says why, and what would be right."""
    found = problems({path: value})
    assert found
    assert all(problem.field.startswith(path) and problem.remedy for problem in found), found
    assert reason in found[0].reason


def test_missing_fields_are_told_with_their_meaning() -> None:
    """A source without name or type is two problems, and each says what the field is for."""
    found = problems({"spec.sources": [{"pollSeconds": 5}]})
    assert [(problem.field, problem.reason) for problem in found] == [
        ("spec.sources[0].name", "is missing"),
        ("spec.sources[0].type", "is missing"),
    ]
    assert "unique" in found[0].remedy


def test_empty_mapping_misses_its_head() -> None:
    """A document without kind, version and name is told all three."""
    with pytest.raises(InvalidSpec) as caught:
        from_document({})
    assert [problem.field for problem in caught.value.problems] == ["apiVersion", "kind", "metadata"]


def test_same_name_twice_is_told_even_when_another_field_is_wrong() -> None:
    """Names are compared in what was written, so one mistake does not hide the other."""
    found = {problem.field for problem in problems({"spec.sources": [{"name": "a", "type": "polygon"}, {"name": "a", "type": "Polygon"}]})}
    assert found == {"spec.sources[0].type", "spec.sources[1].name"}


def test_wrong_head_does_not_hide_the_rules() -> None:
    """Rules are applied to the spec also when name or kind are wrong."""
    found = {problem.field for problem in problems({"kind": "Pod", "spec.sizing.positionNotionalMin": 4_500})}
    assert found == {"kind", "spec.sizing.positionNotionalMin"}


def test_what_the_server_adds_is_dropped() -> None:
    """The output of `kubectl get -o yaml` loads as it is."""
    made = document({"metadata.uid": "x", "metadata.resourceVersion": "7", "metadata.managedFields": [{}], "status": {"a": 1}})
    assert from_document(made) == system()


def test_whole_floats_are_taken_as_the_api_server_takes_them() -> None:
    """100.0 is the integer 100 in JSON; the API server says so too."""
    assert system({"spec.universe.symbolsMax": 100.0}).spec.universe.symbols_max == 100


def test_long_values_are_cut_in_messages() -> None:
    """A megabyte of text in a field does not become a megabyte of error."""
    assert all(len(str(problem)) < 500 for problem in problems({"spec.mode": "x" * 1_000_000, "spec.version": "\x1b[31m" + "y" * 99}))
    assert all("\x1b" not in str(problem) for problem in problems({"spec.mode": "\x1b[31m"}))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None, max_examples=60)
@given(values_of(TradingSystem))
def test_any_structurally_valid_document_round_trips(values: dict[str, object]) -> None:
    """YAML to resource to YAML changes nothing, and what is refused is refused by a named rule alone."""
    text = yaml.safe_dump(values, allow_unicode=True)
    plain, reading = read(text)
    assert (plain, reading.problems) == (values, [])
    kept, structural = walk(TradingSystem, plain, {})
    assert structural == ()
    assert kept == values
    by_rule = {rule.fields[0] for rule in (*RULES, *LOCAL_RULES)}
    refused = problems_of(lambda: load(text))
    assert {problem.field for problem in refused} <= by_rule
    if refused:
        return
    loaded = load(text)
    assert load(yaml.safe_dump(to_document(loaded), allow_unicode=True)) == loaded
    assert load(canonical_json(loaded)) == loaded


FREE = st.fixed_dictionaries(
    {},
    optional={
        "spec.simulation.seed": st.integers(0, 2**31 - 1),
        "spec.universe.priceMin": st.integers(0, 1_000),
        "spec.ensemble.signalThresholdPercent": st.integers(1, 100),
        "spec.risk.dailyTarget": st.integers(0, 10_000),
        "spec.models.pinnedVersion": st.integers(0, 99),
        "spec.storage.onDelete": st.sampled_from(["Retain", "Delete"]),
        "spec.execution.account": st.sampled_from(["Dedicated", "Shared"]),
        "spec.mode": st.sampled_from(["Simulation", "Paper"]),
        "spec.components.filter.nodeSelector": st.dictionaries(st.sampled_from(["a", "b.c/d"]), st.sampled_from(["", "x"])),
    },
)


@given(FREE)
def test_any_valid_resource_round_trips(changes: dict[str, object]) -> None:
    """A resource that loads is the same after being written out whole and loaded again."""
    loaded = system(changes)
    assert load(yaml.safe_dump(to_document(loaded))) == loaded
    assert from_document(to_document(loaded)) == loaded


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.data())
def test_any_value_in_any_place_is_told_not_raised(data: st.DataObject) -> None:
    """One field replaced by anything at all: the document loads or InvalidSpec is raised."""
    whole = to_document(system())
    here: object = whole
    while True:
        assert isinstance(here, dict)
        key = data.draw(st.sampled_from(sorted(here)))
        inner = here[key]
        if not isinstance(inner, dict) or not inner or data.draw(st.integers(0, 3)) == 0:
            here[key] = data.draw(ANY_VALUE)
            break
        here = inner
    assert all(problem.reason and problem.remedy for problem in problems_of(lambda: from_document(whole)))
