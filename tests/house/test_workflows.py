"""Workflows run what a person runs, on pinned actions, with as few rights as they need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

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
