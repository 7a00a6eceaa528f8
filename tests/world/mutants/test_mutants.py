"""Wrong executions are found by invariants: each mutant by the one that it was made for, not by a crash, within two hundred days."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.mutants.table import MUTANTS
from tradingsystem.world.trial import invariants

ROOT = Path(__file__).parents[3]
SEEDS = 200


def test_every_invariant_has_a_mutant() -> None:
    """No invariant is there that nothing tries, but the one that is a crash."""
    assert {invariant for invariant, _ in MUTANTS.values()} == set(invariants.NAMES) - {invariants.RUNS}


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name: str) -> None:
    """The invariant that the mutant breaks says so."""
    command = [sys.executable, "-m", "tests.world.mutants.hunt", name, str(SEEDS)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert found["seed"] is not None, found
    assert found["invariant"] == MUTANTS[name][0]
