"""Reading text: what is not one plain document is told with its line, and nothing else ever escapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.spec.documents import document, problems_of
from tradingsystem.spec import InvalidSpec, Problem, load, load_file

HEAD = "apiVersion: tradingsystem.dev/v1alpha1\nkind: TradingSystem\nmetadata: {name: a}\n"


def refusals(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(InvalidSpec) as caught:
        load(text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("---\n...\n", "is empty"),
        ("just words", "is not a mapping"),
        ("- a\n- b\n", "is not a mapping"),
        ("a: [1, 2", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\tkind: x", "not YAML"),
        ("*nobody", "alias"),
        ("a: \x00", "not YAML"),
        (HEAD + "---\n" + HEAD, "2 documents"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("[" * 5_000, "not YAML|nested"),
        ("a: " * 400, "not YAML"),
        ("x" * 2_000_001, "larger than"),
    ],
)
def test_what_is_not_one_document_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    """A file that holds no single mapping is one problem that says so, whatever it holds instead."""
    found = refusals(text)
    assert len(found) == 1
    assert any(word in found[0].reason for word in reason.split("|")), found[0]
    assert found[0].remedy


def test_deep_nesting_is_a_problem_not_a_crash() -> None:
    """A document nested far beyond the resource is refused."""
    assert refusals(HEAD + "spec: " + "{a: " * 900 + "1" + "}" * 900)


def test_many_anchored_copies_cost_nothing() -> None:
    """A few lines that expand to millions of values (a YAML bomb) are refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    assert refusals(HEAD + "\n".join(lines))


def test_second_document_is_told_with_its_line() -> None:
    """The line of the second document is shown, since a forgotten `---` is hard to see."""
    assert refusals(HEAD + "---\n" + HEAD)[0].line == 5


def test_repeated_key_is_told_with_both_lines() -> None:
    """YAML would silently keep the last of two values; we keep none of that habit."""
    (problem,) = refusals(HEAD + "spec:\n  mode: Paper\n  mode: Simulation\n")
    assert (problem.field, problem.line) == ("spec.mode", 6)
    assert "line 5" in problem.reason


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1" * 4_000, "0x" + "f" * 400, "1e400", "1_0", "0o777777777777", "1:30"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    """A price of NaN, infinity or four thousand digits never becomes a setting."""
    assert [problem.field for problem in refusals(HEAD + f"spec: {{universe: {{symbolsMax: {number}}}}}")] == ["spec.universe.symbolsMax"]


@pytest.mark.parametrize("value", ["!!python/object/apply:os.system ['true']", "!!binary aGk=", "!own 3", "!!set {a}"])
def test_tags_construct_nothing(value: str) -> None:
    """A tag is a mistake; nothing in a document is ever constructed."""
    assert refusals(HEAD + f"spec: {{universe: {{priceMin: {value}}}}}")


def test_yes_and_dates_are_not_what_yaml_makes_of_them() -> None:
    """A date without quotes stays the text that was written, since that is what the field takes."""
    assert load(HEAD + "spec: {simulation: {startDate: 2026-03-03}}").spec.simulation.start_date == "2026-03-03"


def test_json_and_a_byte_order_mark_are_read() -> None:
    """JSON is read like YAML, also as some editors save it."""
    assert load(b"\xef\xbb\xbf" + json.dumps(document()).encode()).metadata.name == "momentum"


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """A wrong path is told like any other mistake, so that the command line needs one way to print them."""
    with pytest.raises(InvalidSpec, match="cannot be read"):
        load_file(tmp_path / "absent.yaml")


@given(st.one_of(st.text(), st.binary(), st.text("{}[]:-,&*!|>'\"% \n\tab01#?")))
def test_any_bytes_make_problems_at_most(text: str | bytes) -> None:
    """Whatever is fed in, the answer is a list of problems."""
    assert refusals(text)


@given(st.integers(0, 2**31), st.binary(min_size=1, max_size=3), st.booleans())
def test_damaged_sample_never_crashes(place: int, noise: bytes, replace: bool) -> None:
    """A valid document with a few bytes changed loads or is refused, and nothing else."""
    text = yaml.safe_dump(
        document({"spec.risk.dailyLossMax": 500, "spec.universe.symbols": [], "spec.components.filter.nodeSelector": {"a": "b"}})
    )
    cut = place % len(text)
    damaged = text.encode()[:cut] + noise + text.encode()[cut + (len(noise) if replace else 0) :]
    assert all(problem.reason and problem.remedy for problem in problems_of(lambda: load(damaged)))
