"""The resource at a real API server: installed, every case taken or refused with field and message, and the program of one mind with it.

An API server prunes what it does not know unless the client asks for strictness, asks no rule of a document with a wrong type, fills in defaults for
null, and cannot look into a calendar. `DIFFERENCES` holds those cases, with both answers; everywhere else the two must agree.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Api
from tests.operator.conftest import DEFINITIONS, established
from tests.spec.cases import HELD_AND_BROKEN, LOCALLY_HELD_AND_BROKEN
from tests.spec.documents import LIVE, document, problems_of
from tests.spec.transition_cases import FLAT_ACTIVE, FLAT_HALTED, TRANSITION_CASES, Case, status_of
from tradingsystem.spec import from_document
from tradingsystem.spec.crd import NAME
from tradingsystem.spec.rules import LOCAL_RULES, RULES
from tradingsystem.spec.transitions import TRANSITIONS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SYSTEMS = "/apis/tradingsystem.dev/v1alpha1/namespaces/default/tradingsystems"
ONE = f"{SYSTEMS}/momentum"
MERGE = "application/merge-patch+json"
RULE = {rule.name: rule for rule in RULES}
LOCAL = {rule.name: rule for rule in LOCAL_RULES}
TRANSITION = {transition.name: transition for transition in TRANSITIONS}


def refusals(answer: dict[str, Any]) -> dict[str, str]:
    """Field and message of everything the API server complained about."""
    return {cause["field"]: cause["message"] for cause in answer.get("details", {}).get("causes", [])}


def offered(api: Api, made: dict[str, Any], validation: str = "Strict") -> tuple[int, dict[str, Any]]:
    """What the API server says of a document, without keeping it."""
    status, answer = api.ask("POST", f"{SYSTEMS}?dryRun=All&fieldValidation={validation}", made)
    return status, answer


@contextlib.contextmanager
def kept(api: Api, made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A document that the API server holds, gone afterwards."""
    status, answer = api.ask("POST", SYSTEMS, made)
    assert status == 201, answer
    try:
        yield answer
    finally:
        assert api.ask("DELETE", ONE)[0] == 200


def test_definition_is_established_and_complete(api: Api) -> None:
    """The API server takes it as structural, prices every rule within its budget, and serves the short name and the columns."""
    conditions = established(api)
    assert conditions.get("NamesAccepted") == "True"
    assert "NonStructuralSchema" not in conditions
    listed = api.ask("GET", "/apis/tradingsystem.dev/v1alpha1")[1]["resources"]
    assert [each["shortNames"] for each in listed if each["name"] == "tradingsystems"] == [["tsys"]]
    assert {each["name"] for each in listed} == {"tradingsystems", "tradingsystems/status"}


def test_definition_can_be_applied_again(api: Api) -> None:
    """Server-side apply of the committed file over itself changes nothing: nothing in it is normalised away."""
    committed = yaml.safe_load((ROOT / f"manifests/crd/{NAME}.yaml").read_text(encoding="utf-8"))
    before = api.ask("GET", f"{DEFINITIONS}/{NAME}")[1]
    path = f"{DEFINITIONS}/{NAME}?fieldManager=test&force=true&fieldValidation=Strict"
    status, after = api.ask("PATCH", path, committed, "application/apply-patch+yaml")
    assert status == 200, after
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.parametrize("name", HELD_AND_BROKEN)
def test_case_at_the_border_is_taken(api: Api, name: str) -> None:
    """The last document that is right, here and there."""
    made = document(HELD_AND_BROKEN[name][0])
    status, answer = offered(api, made)
    assert status == 201, answer
    assert problems_of(lambda: from_document(made)) == ()


@pytest.mark.parametrize("name", HELD_AND_BROKEN)
def test_case_beyond_the_border_is_refused_with_field_and_remedy(api: Api, name: str) -> None:
    """The first document that is wrong makes exactly one refusal: this rule's, at the field the program names, with the same words."""
    made = document(HELD_AND_BROKEN[name][1])
    status, answer = offered(api, made)
    found = refusals(answer)
    assert (status, list(found)) == (422, [RULE[name].fields[0]]), answer
    assert f"{RULE[name].reason}; {RULE[name].remedy}" in found[RULE[name].fields[0]]
    assert [problem.field for problem in problems_of(lambda: from_document(made))] == list(found)


@pytest.mark.parametrize(("length", "taken"), [(40, True), (41, False)])
def test_name_is_limited(api: Api, length: int, taken: bool) -> None:
    """Of metadata only a rule can say how long a name may be."""
    made = document({"metadata.name": "a" * length})
    status, answer = offered(api, made)
    assert status == (201 if taken else 422), answer
    assert (problems_of(lambda: from_document(made)) == ()) is taken
    if not taken:
        assert RULE["name-fits"].remedy in refusals(answer)["metadata.name"]


@pytest.mark.parametrize("sample", sorted((ROOT / "manifests/samples").iterdir()), ids=lambda path: path.stem)
def test_sample_is_taken(api: Api, sample: Path) -> None:
    """What a newcomer applies first, with the strictness kubectl asks for."""
    status, answer = offered(api, yaml.safe_load(sample.read_text(encoding="utf-8")))
    assert status == 201, answer


@pytest.mark.parametrize("changes", [{}, LIVE, {"spec.sources": [{"name": "a", "type": "Polygon"}]}], ids=["smallest", "live", "sources"])
def test_defaults_filled_in_by_the_api_server_are_the_programs(api: Api, changes: dict[str, Any]) -> None:
    """The program reads from the cluster what it would read from the file: the same system, default by default."""
    made = document(changes)
    status, answer = offered(api, made)
    assert status == 201, answer
    stored = {name: answer[name] for name in ("apiVersion", "kind", "spec")} | {"metadata": {"name": answer["metadata"]["name"]}}
    assert from_document(stored) == from_document(made)
    assert set(answer["spec"].get("risk", {})) == set(made["spec"].get("risk", {})), "a limit nobody wrote looks written"


def test_document_without_a_spec_is_the_smallest_one(api: Api) -> None:
    """Leaving the spec out is leaving everything to its default, on both sides."""
    made = document()
    del made["spec"]
    status, answer = offered(api, made)
    assert status == 201, answer
    assert answer["spec"] == offered(api, document())[1]["spec"]
    assert from_document(made) == from_document(document())


@dataclasses.dataclass(frozen=True)
class Difference:
    """A document on which API server and program differ: who takes it, and the fields the API server names when it refuses."""

    why: str
    changes: dict[str, Any]
    validation: str
    status: int
    server_fields: tuple[str, ...]
    program_fields: tuple[str, ...]


DIFFERENCES = {
    "unknown-field-pruned": Difference(
        "a client that does not ask for strictness has unknown fields dropped",
        {"spec.risk.dailyLosMax": 100},
        "Ignore",
        201,
        (),
        ("spec.risk.dailyLosMax",),
    ),
    "unknown-field-refused-when-strict": Difference(
        "kubectl asks for strictness; the refusal is one text without a list of fields",
        {"spec.risk.dailyLosMax": 100},
        "Strict",
        400,
        (),
        ("spec.risk.dailyLosMax",),
    ),
    "rules-skipped-when-the-schema-fails": Difference(
        "no rule is asked of a document with a wrong type, which a cause without a field says; the program tells both mistakes at once",
        {"spec.risk.positionsPerDayMax": 4, "spec.telemetry.metricsPort": "8000"},
        "Strict",
        422,
        ("<nil>", "spec.telemetry.metricsPort"),
        ("spec.telemetry.metricsPort", "spec.risk.positionsOpenMax"),
    ),
    "empty-value-takes-the-default": Difference(
        "null where there is a default becomes the default",
        {"spec.mode": None},
        "Strict",
        201,
        (),
        ("spec.mode",),
    ),
    "whole-number-written-as-a-fraction": Difference(
        "the schema takes 500.0 for 500, the rules do not; kubectl sends 500 whatever the file says, so only other clients meet it",
        {"spec.risk.dailyLossMax": 500.0},
        "Strict",
        422,
        ("spec",),
        (),
    ),
    "label-keys-are-not-looked-at": Difference(
        "a structural schema cannot bound keys",
        {"spec.components.filter.nodeSelector": {"-bad-": "x"}},
        "Strict",
        201,
        (),
        ("spec.components.filter.nodeSelector.-bad-",),
    ),
} | {
    name: Difference("needs a calendar, a time zone database or a cron reader", broken, "Strict", 201, (), LOCAL[name].fields)
    for name, (_held, broken) in LOCALLY_HELD_AND_BROKEN.items()
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_the_two_differ_it_is_known(api: Api, name: str) -> None:
    """Each difference is exactly as the table says; one that vanished, or a new one, shows here."""
    case = DIFFERENCES[name]
    made = document(case.changes)
    status, answer = offered(api, made, case.validation)
    assert status == case.status, answer
    named = set(refusals(answer)) if status == 422 else set()
    assert named == set(case.server_fields), answer
    found = {problem.field for problem in problems_of(lambda: from_document(made))}
    assert found == set(case.program_fields)
    assert found != named, "they agree, so it is no difference"


def test_a_number_out_of_bounds_hides_no_broken_rule(api: Api) -> None:
    """A bound is told beside the rules, by both: only a wrong type, a length, or an unknown or missing value stops an API server from asking them."""
    made = document({"spec.risk.positionsPerDayMax": 4, "spec.telemetry.metricsPort": 1})
    status, answer = offered(api, made)
    assert (status, set(refusals(answer))) == (422, {"spec.telemetry.metricsPort", "spec.risk.positionsOpenMax"}), answer
    assert {problem.field for problem in problems_of(lambda: from_document(made))} == set(refusals(answer))


SHAPES: dict[str, dict[str, Any]] = {
    "below-a-bound": {"spec.risk.dailyLossMax": 0},
    "above-a-bound": {"spec.risk.positionsOpenMax": 101},
    "a-text-for-a-number": {"spec.risk.dailyLossMax": "500"},
    "a-fraction": {"spec.risk.dailyLossMax": 1.5},
    "not-in-the-enumeration": {"spec.mode": "Demo"},
    "wrong-pattern": {"spec.universe": {"selection": "List", "symbols": ["spy"]}},
    "a-set-with-a-value-twice": {"spec.universe": {"selection": "List", "symbols": ["SPY", "SPY"]}},
    "a-key-twice": {"spec.sources": [{"name": "a", "type": "Polygon"}, {"name": "a", "type": "Alpaca"}]},
    "too-many-items": {"spec.execution.takeProfits": [{"atBasisPoints": n, "sharePercent": 25} for n in (1, 2, 3)]},
    "no-items": {"spec.execution.takeProfits": []},
    "a-required-field-missing": {"spec.sources": [{"name": "a"}]},
    "a-list-for-a-mapping": {"spec.risk": []},
    "name-starts-with-a-digit": {"metadata.name": "1st"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_wrong_shape_is_refused_by_both(api: Api, name: str) -> None:
    """Bounds, types, patterns and keys are the same in the schema and in the program."""
    made = document(SHAPES[name])
    status, answer = offered(api, made)
    assert status == 422, answer
    assert problems_of(lambda: from_document(made))


def _case_name(case: Case) -> str:
    changed = ",".join(str(case.after.get(path, "unset")) for path in sorted({*case.before, *case.after}))
    return f"{case.transition.partition('-')[0]}-to-{changed}-{case.trading[0] if case.trading else 'silent'}-{'taken' if case.accepted else 'refused'}"


@pytest.mark.parametrize("case", TRANSITION_CASES, ids=_case_name)
def test_change_of_a_running_system(api: Api, case: Case) -> None:
    """Taken or refused by what status says, and a refusal names the field and the way."""
    with kept(api, document(case.before)) as stored:
        if case.trading is not None:
            status, answer = api.ask("PATCH", f"{ONE}/status?fieldValidation=Strict", {"status": status_of(case.trading)}, MERGE)
            assert status == 200, answer
            stored = answer
        wanted = document(case.after)
        wanted["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        status, answer = api.ask("PUT", f"{ONE}?fieldValidation=Strict", wanted)
        assert status == (200 if case.accepted else 422), answer
        if not case.accepted:
            transition = TRANSITION[case.transition]
            found = refusals(answer)
            assert list(found) == [transition.field]
            assert f"{transition.reason}; {transition.remedy}" in found[transition.field]


def test_nobody_says_halted_to_raise_a_limit(api: Api) -> None:
    """Status travels through its own door only: a spec edit that claims to be halted is judged by what the operator wrote."""
    with kept(api, document()):
        assert api.ask("PATCH", f"{ONE}/status", {"status": status_of(FLAT_ACTIVE)}, MERGE)[0] == 200
        claimed = {"spec": {"risk": {"dailyLossMax": 501}}, "status": status_of(FLAT_HALTED)}
        status, answer = api.ask("PATCH", ONE, claimed, MERGE)
        assert (status, list(refusals(answer))) == (422, ["spec.risk.dailyLossMax"]), answer


def test_status_writes_leave_the_spec_and_its_generation(api: Api) -> None:
    """The status subresource is one: it changes no spec and counts no generation."""
    with kept(api, document()) as stored:
        both = {"spec": {"mode": "Paper"}, "status": status_of(FLAT_ACTIVE)}
        status, answer = api.ask("PATCH", f"{ONE}/status", both, MERGE)
        assert status == 200, answer
        assert answer["spec"] == stored["spec"]
        assert answer["metadata"]["generation"] == stored["metadata"]["generation"] == 1


def test_columns_are_shown(api: Api) -> None:
    """The table kubectl prints, from a status as the operator writes it."""
    ready = {"type": "Ready", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": "2026-03-02T15:00:00Z"}
    said = status_of(FLAT_ACTIVE) | {"conditions": [ready], "models": {"serving": 12}}
    said["trading"]["dayProfit"] = "-12.50"
    with kept(api, document()):
        status, answer = api.ask("PATCH", f"{ONE}/status?fieldValidation=Strict", {"status": said}, MERGE)
        assert status == 200, answer
        table = api.table(SYSTEMS)
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Mode", "Trading", "Ready", "Model", "Day P&L", "Age"]
        assert table["rows"][0]["cells"][:-1] == ["momentum", "Simulation", "Active", "True", 12, "-12.50"]
