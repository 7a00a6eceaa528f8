"""Cross-field rules: each holds at its border, breaks beyond it, and says so in one problem."""

from __future__ import annotations

import re

import pytest

from tests.spec.cases import HELD_AND_BROKEN, LOCALLY_HELD_AND_BROKEN
from tests.spec.documents import EVERY_LIMIT, LIVE, document, problems, system
from tradingsystem.spec.resource import TradingSystem
from tradingsystem.spec.rule import RESOURCE, Document, Rule
from tradingsystem.spec.rules import LOCAL_RULES, RULES
from tradingsystem.spec.schedule import schedule_problem
from tradingsystem.spec.schema import structural_schema
from tradingsystem.spec.walk import walk

CASES = HELD_AND_BROKEN | LOCALLY_HELD_AND_BROKEN
BY_NAME = {rule.name: rule for rule in (*RULES, *LOCAL_RULES)}
COVERED_BY_THE_TYPE = {"name-fits"}


def test_every_rule_has_a_case() -> None:
    """A new rule comes with a document at its border and one beyond; only what the type already refuses has none."""
    assert set(CASES) == set(BY_NAME) - COVERED_BY_THE_TYPE
    assert len(BY_NAME) == len(RULES) + len(LOCAL_RULES) >= 25


@pytest.mark.parametrize("name", CASES)
def test_rule_holds_at_its_border(name: str) -> None:
    """The last document that is right loads."""
    assert problems(CASES[name][0]) == ()


@pytest.mark.parametrize("name", CASES)
def test_rule_breaks_beyond_its_border(name: str) -> None:
    """The first document that is wrong makes exactly this rule's problem, with reason and remedy."""
    rule = BY_NAME[name]
    found = problems(CASES[name][1])
    assert [(problem.field, problem.reason) for problem in found] == [(rule.fields[0], rule.reason)]
    assert found[0].remedy == rule.remedy


def test_name_is_limited_for_the_api_server_too() -> None:
    """The type refuses a long name here; the rule exists because a CRD cannot bound metadata."""
    assert BY_NAME["name-fits"].holds(Document(system=system(), values=document()))
    assert problems({"metadata.name": "a" * 40}) == ()
    assert problems({"metadata.name": "a" * 41})


@pytest.mark.parametrize("limit", EVERY_LIMIT)
def test_live_misses_each_limit(limit: str) -> None:
    """No single limit may be left to a default in Live, nor be left empty."""
    rest = {name: value for name, value in EVERY_LIMIT.items() if name != limit}
    assert [problem.field for problem in problems(LIVE | {"spec.risk": rest})] == ["spec.risk"]


def test_live_refuses_the_paper_secret() -> None:
    """The default secret is Paper's; leaving it in Live is a mistake even when no source uses it."""
    broken = LIVE | {"spec.execution.broker": {"accountNumber": "1"}}
    assert [problem.field for problem in problems(broken)] == ["spec.execution.broker.secretRef.name"]


def test_rules_stay_silent_about_fields_that_are_wrong_anyway() -> None:
    """A number out of bounds is told once, not again as a relation with its replacement."""
    assert [problem.field for problem in problems({"spec.sizing.positionNotionalMin": -5, "spec.sizing.positionNotionalMax": 1_000})] == [
        "spec.sizing.positionNotionalMin"
    ]


def _paths_in(cel: str) -> set[str]:
    return {match.rstrip(".") for match in re.findall(r"self((?:\.[a-zA-Z]+)+)", cel)}


METHODS = {"size", "exists", "all", "filter", "startsWith", "contains"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_cel_speaks_of_fields_that_exist(rule: Rule) -> None:
    """A misspelt field in CEL would be refused by the API server only when the CRD is installed; here it fails at once."""
    schema = structural_schema(TradingSystem, closed=False)
    for path in _paths_in(rule.cel):
        here = schema if rule.scope == RESOURCE else schema["properties"]["spec"]
        for part in path.strip(".").split("."):
            if part in METHODS:
                break
            assert part in here["properties"], f"{rule.name}: {path}"
            here = here["properties"][part]


@pytest.mark.parametrize("rule", [*RULES, *LOCAL_RULES], ids=lambda rule: rule.name)
def test_rules_name_fields_that_exist(rule: Rule) -> None:
    """The fields a rule speaks of are fields of the resource, so a problem can always show them."""
    schema = structural_schema(TradingSystem, closed=False)
    for field in rule.fields:
        here = schema
        for part in field.split("."):
            here = here["properties"][part]
    assert walk(TradingSystem, document(), {})[1] == ()


@pytest.mark.parametrize("text", ["", "0 0 * * *", "30 23 * * 1-5", "*/15 9-16 * * 1,3,5", "0 0 1-31/2 12 7"])
def test_cron_expressions(text: str) -> None:
    """What CronJob takes in five numeric fields is taken."""
    assert schedule_problem(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "1, * * * *",
    ],
)
def test_what_is_no_cron_expression(text: str) -> None:
    """What would never run, or at another time than meant, is refused."""
    assert schedule_problem(text)
