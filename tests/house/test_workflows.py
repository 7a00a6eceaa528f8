"""Workflows run what a person runs, on pinned actions, with as few rights as they need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster import build
from tests.house.tree import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit(path: Path) -> None:
    """A tag can be moved to other code; a commit cannot."""
    used = re.findall(r"uses:\s*(\S+)", path.read_text())
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_default_rights_are_read_only(path: Path) -> None:
    """A step that is taken over can write nothing."""
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


def test_the_checks_are_the_targets_of_the_makefile() -> None:
    """What is red there is red here, with the same command."""
    steps = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())["jobs"]["check"]["steps"]
    assert {"make check", "make test"} <= {step.get("run") for step in steps}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_make_target_exists(path: Path) -> None:
    """A renamed target would be found by the next push only."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", path.read_text())) - targets == set()


@pytest.mark.workflows
@pytest.mark.thorough
def test_actionlint_finds_nothing() -> None:
    """Expressions, keys, events and shell of every workflow are what the runner will understand."""
    command = [build.path_of(build.ACTIONLINT), "-no-color", *map(str, WORKFLOWS)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.workflows
@pytest.mark.thorough
def test_actionlint_would_find_a_mistake(tmp_path: Path) -> None:
    """The same program refuses a workflow with an unknown key and a wrong expression."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        "on: push\njobs:\n  check:\n    runs-on: ubuntu-24.04\n    stepps: []\n    steps: [{run: 'echo ${{ github.nothing }}'}]\n"
    )
    ran = subprocess.run(
        [build.path_of(build.ACTIONLINT), "-no-color", str(wrong)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "stepps" in ran.stdout
    assert "nothing" in ran.stdout
