"""The shape of the repository: where packages, tests and layers stand, and that the three drawings of it agree."""

from __future__ import annotations

import configparser
import re

import pytest

from tests.conftest import THOROUGH
from tests.house.tree import COMPONENTS, ROOT, files, packages, require_none

# Folders of tests that belong to no one package, and what they hold.
SUITES = {
    "promises": "one suite per Protocol, run on the fake and on the real thing",
    "integration": "several services together",
    "e2e": "what a person types, from the outside",
    "charts": "the operator's chart: rendered, refused, and installed on a real API server",
    "cluster": "a real Kubernetes cluster, and its own tests",
    "kubernetes": "the operator on that cluster, with real pods: make e2e",
    "audit": "the wire auditor",
    "chaos": "kill -9 at random, in whole days: make chaos",
    "faults": "real faults on real processes, and the page about them",
    "house": "these rules",
    "fixtures": "payloads of the venues",
    "operator": "the operator",
}

# The layers contract keeps the simulator from these already: they are its siblings or stand above it.
ABOVE_THE_SIMULATOR = {
    "cli",
    "world",
    "process",
    "ingestion",
    "filter",
    "execution",
    "recorder",
    "monitor",
    "watcher",
    "models",
    "learning",
    "adapters",
}


def contract(name: str, field: str) -> list[str]:
    """One field of one contract of .importlinter, line by line; empty when the contract is absent."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter", encoding="utf-8")
    text = config.get(f"importlinter:contract:{name}", field, fallback="")
    return [line.strip() for line in text.split("\n") if line.strip()]


def layers() -> list[list[str]]:
    """The layers of .importlinter, top first, siblings together, brackets kept."""
    return [[name.strip() for name in line.split("|")] for line in contract("layers", "layers")]


def test_every_folder_of_tests_belongs_to_a_package() -> None:
    """Who looks for the tests of a package finds them under its name."""
    folders = {path.parts[1] for path in files() if path.parts[0] == "tests" and len(path.parts) > 2}
    strangers = sorted(folders - packages() - set(SUITES) - {"__pycache__"})
    require_none((f"tests/{name}/" for name in strangers), "Name the folder after its package under components/tradingsystem.")


def test_every_test_file_is_collected() -> None:
    """A test in a file pytest does not collect is green for ever."""
    misnamed = [
        path
        for path in files()
        if path.parts[0] == "tests"
        and path.suffix == ".py"
        and not path.name.startswith("test_")
        and "\ndef test_" in (ROOT / path).read_text()
    ]
    require_none(map(str, misnamed), "Call the file test_*.py.")


def test_thorough_tests_are_where_the_list_says() -> None:
    """A file that is moved would come back into `make check` unnoticed."""
    require_none((name for name in THOROUGH if not (ROOT / name).exists()), "Mend THOROUGH in tests/conftest.py.")


def test_fixtures_stand_under_the_name_of_who_speaks() -> None:
    """A payload is found under the venue that sends it, as the adapter's folder is."""
    known = {path.parts[3] for path in files() if path.is_relative_to(COMPONENTS / "adapters") and len(path.parts) > 4} | packages()
    folders = {path.parts[2] for path in files() if path.parts[:2] == ("tests", "fixtures") and len(path.parts) > 3}
    require_none(sorted(folders - known), "Name the folder after the adapter or the package.")


def test_the_operators_root_is_not_a_package() -> None:
    """operator/__init__.py would shadow the standard library's operator module."""
    assert not (ROOT / "operator/__init__.py").exists()


def test_brackets_stand_around_what_is_absent_only() -> None:
    """A package that is there loses its brackets in .importlinter, so that its removal is noticed."""
    present = packages()
    wrong = [
        f".importlinter: {name}" for siblings in layers() for name in siblings if (name.strip("()") in present) == name.startswith("(")
    ]
    require_none(wrong, "(absent) has brackets, present has none.")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("operator", {"spec", "messages", "telemetry", "domain"}),
        ("simulator", {"spec", "messages", "telemetry", "domain", "simulator", *ABOVE_THE_SIMULATOR}),
    ],
)
def test_a_wall_names_every_package_behind_it(name: str, allowed: set[str]) -> None:
    """A package that is added is on the far side of the operator's and the simulator's walls until someone decides otherwise."""
    forbidden = {module.removeprefix("tradingsystem.") for module in contract(name, "forbidden_modules")}
    require_none(sorted(packages() - allowed - forbidden), f"Add it to forbidden_modules of the contract '{name}' in .importlinter.")


def test_only_wiring_knows_adapters_and_the_simulator() -> None:
    """The contract covers whatever of cli, world and process is there."""
    assert {"cli", "world", "process"} & packages() <= {
        name.removeprefix("tradingsystem.") for name in contract("wiring", "source_modules")
    }


def test_the_drawing_in_the_documentation_is_the_list_that_is_checked() -> None:
    """docs/architecture.md and .importlinter name the same layers in the same order."""
    listed = [[name.strip("()") for name in siblings] for siblings in layers()]
    text = (ROOT / "docs/architecture.md").read_text()
    drawing = next(block for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if "cli >" in block)
    drawn = [[name.strip() for name in part.split("|")] for part in drawing.strip().replace("\n", " ").split(" > ")]
    assert drawn == listed
