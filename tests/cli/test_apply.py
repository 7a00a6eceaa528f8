"""What may change while a system runs, and what a person is told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import SAMPLES, command
from tests.spec.documents import system
from tradingsystem.cli.apply import differences, restarting_changes
from tradingsystem.process.state import RunningSystem
from tradingsystem.spec import Placement, plan


@pytest.fixture
def running(tmp_path: Path) -> RunningSystem:
    """The note of a system that was started with the smallest document at another speed, and its slices."""
    (tmp_path / "slices").mkdir()
    for workload in plan(system({"spec.simulation.speed": 150}), Placement.PROCESSES).workloads:
        (tmp_path / "slices" / f"{workload.name}.json").write_bytes(workload.slice_json())
    return RunningSystem(
        system="momentum",
        mode="Simulation",
        placement="Processes",
        supervisor=1,
        nats_url="",
        person_password_file="",
        run_folder=str(tmp_path),
        venues="",
        ports={},
    )


LIVE: list[dict[str, Any]] = [
    {},
    {"spec.risk.dailyLossMax": 300},
    {"spec.trading.state": "Halted"},
    {"spec.simulation.speed": 60},
    {"spec.models.pinnedVersion": 3},
    {"spec.components.filter.resources.requests.cpu": "2"},
]


@pytest.mark.parametrize("changes", LIVE, ids=str)
def test_limits_and_wish_need_no_restart(running: RunningSystem, changes: dict[str, Any]) -> None:
    """Nor does what only a cluster reads, or the speed that `up` was told."""
    assert restarting_changes(running, system(changes)) == []


FIXED: list[dict[str, Any]] = [
    {"spec.sizing.kellyFractionPercent": 20},
    {"spec.execution.stopLossBasisPoints": 40},
    {"spec.execution.initialCapital": 60_000},
    {"spec.execution.watcherSilenceSeconds": 7},
    {"spec.simulation.seed": 8},
    {"spec.storage.journal.size": "20Gi"},
]


@pytest.mark.parametrize("changes", FIXED, ids=str)
def test_everything_else_is_refused_by_its_name(running: RunningSystem, changes: dict[str, Any]) -> None:
    """As the person wrote it, once, and together with a change that would have been allowed."""
    allowed = {"spec.risk.dailyLossMax": 300}
    assert restarting_changes(running, system(changes | allowed)) == list(changes)


def test_lists_are_compared_item_by_item() -> None:
    """The item that changed is named; of lists that differ in length, the list."""
    assert list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})) == ["a[1].b"]
    assert list(differences({"a": [1]}, {"a": [1, 2], "c": None})) == ["a"]


def test_a_bad_document_is_told_whole_also_when_nothing_runs(tmp_path: Path) -> None:
    """Every mistake, status 2, and no word about a generation that nobody knows."""
    file = tmp_path / "bad.yaml"
    file.write_text(
        "apiVersion: tradingsystem.dev/v1alpha1\nkind: TradingSystem\nmetadata: {name: x}\nspec: {risk: {dailyLossMax: .nan, orderNotionalMax: -1}}\n"
    )
    answer = command("apply", str(file), state=tmp_path)
    assert answer.returncode == 2
    assert "dailyLossMax" in answer.stderr
    assert "orderNotionalMax" in answer.stderr
    assert "generation" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_ways_to_halt_say_what_they_need(tmp_path: Path) -> None:
    """With nothing running: apply names what runs, the broker's switch asks whose account it is, selling everything wants to be meant."""
    told = {
        ("apply", str(SAMPLES / "simulation.yaml")): "running: none",
        ("halt", "--at-broker"): "--file FILE",
        ("halt", "--at-broker", "--file", str(SAMPLES / "simulation.yaml")): "cannot be reached",
        ("resume", "--at-broker"): "--file FILE",
        ("flatten", "--reason", "test"): "running: none",
    }
    for arguments, words in told.items():
        answer = command(*arguments, state=tmp_path)
        assert answer.returncode == 2, answer.stdout
        assert words in answer.stderr
        assert "Traceback" not in answer.stderr
