"""The page about reliability promises tests by name; here is that they exist, and that what is measured is of the catalogue."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.faults.generate_reliability import CATALOGUE, PAGE, ROOT, measured, page

NAMED = {test for row in CATALOGUE for test in row.tests}


def functions(path: Path) -> set[str]:
    """The tests of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_named_test_exists() -> None:
    """A row whose test was renamed or deleted is a promise without proof."""
    lost = [test for test in sorted(NAMED) if not (ROOT / test.partition("::")[0]).exists()]
    lost += [test for test in sorted(NAMED - set(lost)) if test.partition("::")[2] not in functions(Path(test.partition("::")[0]))]
    assert lost == []


def test_every_test_of_a_real_fault_is_in_the_catalogue() -> None:
    """Who adds a fault test adds its row."""
    files = [path for path in (ROOT / "tests" / "faults").glob("test_*.py") if path.name != "test_catalogue.py"]
    tests = {f"{path.relative_to(ROOT)}::{name}" for path in files for name in functions(path) if name.startswith("test_")}
    assert {test for test in tests if "after_all" not in test} <= NAMED


def test_every_measured_time_belongs_to_a_row() -> None:
    """A time of a test that is no longer there would be nobody's."""
    assert set(measured()) <= NAMED


def test_the_page_is_what_the_catalogue_says() -> None:
    """Otherwise: make generate."""
    assert PAGE.read_text(encoding="utf-8") == page()
