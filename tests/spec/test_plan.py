"""The Plan: what runs where, what each service gets, and which change restarts whom."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from tests.spec.documents import LIVE, system
from tradingsystem.spec import (
    SLICE_OF,
    InvalidSpec,
    LiveSettings,
    Placement,
    Plan,
    WorkloadKind,
    canonical_json,
    content_hash,
    explain,
    plan,
)
from tradingsystem.spec.components import Components
from tradingsystem.spec.plan import _OWN_RESOURCES
from tradingsystem.spec.ports import BLOCK
from tradingsystem.spec.reading import read
from tradingsystem.spec.slices import ExecutionSlice, FilterSlice

SIMULATED = ["nats", "simulator", "recorder", "monitor", "watcher", "models", "execution", "filter", "ingestion"]
PAPER = {"spec.mode": "Paper"}
TRITON = PAPER | {"spec.inference.runtime": "Triton"}
EVERYWHERE = [Placement.ONE_PROCESS, Placement.PROCESSES, Placement.KUBERNETES]


def names(made: Plan) -> list[str]:
    return [workload.name for workload in made.workloads]


@pytest.mark.parametrize("placement", EVERYWHERE)
def test_simulation_runs_the_simulator_and_needs_no_secret(placement: Placement) -> None:
    """Simulation adds the venues and reads no secret, wherever it runs; only a cluster keeps jobs ready that a person may start."""
    made = plan(system(), placement)
    jobs = ["learning-incremental", "learning-retrain"] if placement is Placement.KUBERNETES else []
    assert names(made) == SIMULATED + jobs
    assert made.secrets() == ()


def test_paper_runs_learning_jobs_and_names_its_secrets() -> None:
    """Outside Simulation there is no simulator, models learn, and each service is given only its own secrets."""
    made = plan(system(PAPER), Placement.KUBERNETES)
    assert names(made) == [name for name in SIMULATED if name != "simulator"] + ["learning-incremental", "learning-retrain"]
    secrets = {workload.name: [need.name for need in workload.secrets] for workload in made.workloads if workload.secrets}
    assert secrets == {
        "execution": ["alpaca"],
        "ingestion": ["polygon", "unusual-whales"],
        "learning-incremental": ["momentum-bundle-signing"],
        "learning-retrain": ["momentum-bundle-signing"],
        "watcher": ["alpaca"],
    }
    assert made.workload("learning-retrain").schedule == "30 0 * * 6"
    assert made.workload("learning-retrain").kind is WorkloadKind.JOB


def test_environment_stands_in_for_secrets_under_the_founding_names() -> None:
    """Who has the founding documents' variables set needs no files."""
    made = plan(system(PAPER), Placement.PROCESSES)
    variables = {key.environment for workload in made.workloads for need in workload.secrets for key in need.keys}
    assert sorted(filter(None, variables)) == ["ALPACA_API_KEY", "ALPACA_API_SECRET", "POLYGON_API_KEY", "UNUSUAL_WHALES_API_KEY"]


def test_the_watcher_may_have_a_key_of_its_own() -> None:
    """A second pair, where the broker gives one out, is read by the watcher and nobody else; who trades keeps his."""
    changes = PAPER | {"spec.execution.broker": {"secretRef": {"name": "alpaca"}, "watcherSecretRef": {"name": "alpaca-cancels"}}}
    made = plan(system(changes), Placement.PROCESSES)
    assert [need.name for need in made.workload("watcher").secrets] == ["alpaca-cancels"]
    assert [need.name for need in made.workload("execution").secrets] == ["alpaca"]


def test_the_watcher_is_there_before_execution_and_no_part_of_trading() -> None:
    """Nothing is sent before somebody watches over it, and the watcher's own settings never stop services from agreeing."""
    before, after = (
        plan(system(changes), Placement.KUBERNETES) for changes in ({}, {"spec.components.watcher.resources.requests.cpu": "2"})
    )
    assert "watcher" in before.workload("execution").after
    assert before.boot_hash == after.boot_hash


def test_an_empty_schedule_is_never() -> None:
    """A job without a schedule is not in the plan."""
    changes = PAPER | {"spec.learning.incremental.schedule": ""}
    assert "learning-incremental" not in names(plan(system(changes), Placement.KUBERNETES))


def test_redis_password_is_for_ingestion_alone() -> None:
    """The cache's password is read by who asks the REST endpoints."""
    changes = PAPER | {"spec.cache": {"type": "Redis", "address": "redis:6379", "secretRef": {"name": "redis"}}}
    users = [item.name for item in plan(system(changes), Placement.KUBERNETES).workloads if "redis" in [need.name for need in item.secrets]]
    assert users == ["ingestion"]


def test_live_is_refused_in_one_process() -> None:
    """One crash must not take execution and its watchers together where money is."""
    with pytest.raises(InvalidSpec, match="one process"):
        plan(system(LIVE), Placement.ONE_PROCESS)
    assert plan(system(LIVE), Placement.PROCESSES)
    assert plan(system(PAPER), Placement.ONE_PROCESS)


def test_recorded_days_without_a_volume_are_refused_in_pods_and_nowhere_else() -> None:
    """A pod has no file of anybody's machine: the simulator would end again and again. Outside Simulation nothing is played."""
    here = {"spec.simulation": {"source": "Recorded", "data": "/days"}}
    with pytest.raises(InvalidSpec, match="recorded days come to a pod on a volume alone"):
        plan(system(here), Placement.KUBERNETES)
    assert plan(system(here), Placement.PROCESSES)
    assert plan(system(PAPER | here), Placement.KUBERNETES)
    assert plan(system({"spec.simulation": {"source": "Recorded", "dataClaimName": "days"}}), Placement.KUBERNETES)


def test_processes_by_placement() -> None:
    """One process holds every service of ours, never the message server; otherwise each has its own."""
    one = plan(system(PAPER), Placement.ONE_PROCESS).processes()
    assert list(one) == ["nats", "system"]
    assert [workload.name for workload in one["system"]] == ["recorder", "monitor", "watcher", "models", "execution", "filter", "ingestion"]
    assert list(plan(system(), Placement.PROCESSES).processes()) == SIMULATED


@pytest.mark.parametrize("placement", EVERYWHERE)
@pytest.mark.parametrize("changes", [{}, PAPER, TRITON])
def test_start_order_holds(placement: Placement, changes: dict[str, object]) -> None:
    """Whatever must be ready first is in the plan and stands before."""
    seen: list[str] = []
    for workload in plan(system(changes), placement).workloads:
        assert set(workload.after) <= set(seen), workload.name
        seen.append(workload.name)


@pytest.mark.parametrize("changes", [{}, TRITON])
def test_local_ports_are_in_one_block_and_distinct(changes: dict[str, object]) -> None:
    """Two workloads on one machine never ask for the same port, and two systems one block apart do not meet."""
    made = plan(system(changes | {"spec.telemetry.metricsPort": 9_000}), Placement.PROCESSES)
    numbers = [port.number for workload in made.workloads for port in workload.ports]
    assert len(set(numbers)) == len(numbers)
    assert all(9_000 <= number < 9_000 + BLOCK for number in numbers)
    assert made.workload("monitor").port("metrics") == 9_000


def test_pods_have_their_metrics_at_8000() -> None:
    """In pods each workload has its own address; Triton's HTTP port gives way to the metrics port."""
    made = plan(system(TRITON), Placement.KUBERNETES)
    assert {item.port("metrics") for item in made.workloads if item.name != "nats"} == {8_000}
    assert made.workload("nats").port("client") == 4_222
    assert made.workload("triton").port("http") != 8_000


def test_triton_holds_the_gpu_and_pins_the_filter() -> None:
    """One GPU per system, held by Triton; the filter goes to the same node unless told otherwise."""
    made = plan(system(TRITON), Placement.KUBERNETES)
    assert {item.name: item.gpus for item in made.workloads if item.gpus} == {"triton": 1}
    assert made.workload("filter").pinned_to == "triton"
    loose = plan(system(TRITON | {"spec.inference.placement": "AnyNode"}), Placement.KUBERNETES)
    assert loose.workload("filter").pinned_to == ""
    assert loose.workload("triton").port("metrics") == 8_000
    together = plan(system(TRITON | {"spec.inference.placement": "Sidecar"}), Placement.KUBERNETES)
    assert together.workload("filter").pinned_to == ""
    assert together.workload("triton").port("metrics") == 9_002, "the filter's own are at 8000 of the same pod"
    on_cpu = plan(system(TRITON | {"spec.inference.gpu.count": 0}), Placement.KUBERNETES)
    assert not any(item.gpus for item in on_cpu.workloads)


@pytest.mark.parametrize("service", SLICE_OF)
def test_a_slice_survives_the_way_to_its_process(service: str) -> None:
    """What a process decodes is what was planned, and every service has component settings and resources of its own."""
    made = plan(system(TRITON), Placement.PROCESSES)
    simulated = plan(system(), Placement.PROCESSES)
    workload = next(item for item in (*made.workloads, *simulated.workloads) if item.service == service)
    assert msgspec.json.decode(workload.slice_json(), type=SLICE_OF[service]) == workload.slice
    assert service in Components.__struct_fields__
    assert service in _OWN_RESOURCES


def test_slices_are_the_spec_s_own_sections() -> None:
    """A slice is a part of the resource, not a copy in another form."""
    whole = system({"spec.risk.dailyLossMax": 700, "spec.sizing.method": "RiskBased"})
    piece = plan(whole, Placement.PROCESSES).workload("execution").slice
    assert isinstance(piece, ExecutionSlice)
    assert piece.sizing is whole.spec.sizing
    assert piece.live == LiveSettings(risk=whole.spec.risk, trading=whole.spec.trading, models=whole.spec.models)


RESTARTED_BY = {
    "spec.filter.rules": {"filter"},
    "spec.cache.database": {"ingestion"},
    "spec.execution.watcherSilenceSeconds": {"execution", "watcher"},
    "spec.sizing.kellyFractionPercent": {"execution"},
    "spec.inference.precision": {"filter", "models"},
    "spec.risk.dailyTarget": set(),
    "spec.trading.state": set(),
    "spec.models.pinnedVersion": set(),
    "spec.components.filter.resources.requests.cpu": set(),
}
_RULE = {"volumeRatioMinPercent": 1, "priceChangeMinBasisPoints": 1, "volatilityMaxBasisPoints": 1}
CHANGED: dict[str, object] = {
    "spec.filter.rules": [_RULE | {"regime": "Bull"}, _RULE | {"regime": "Bear"}],
    "spec.cache.database": 1,
    "spec.execution.watcherSilenceSeconds": 9,
    "spec.sizing.kellyFractionPercent": 20,
    "spec.inference.precision": "Float32",
    "spec.risk.dailyTarget": 500,
    "spec.trading.state": "Halted",
    "spec.models.pinnedVersion": 12,
    "spec.components.filter.resources.requests.cpu": "3",
}


@pytest.mark.parametrize("path", RESTARTED_BY)
def test_which_change_restarts_whom(path: str) -> None:
    """Boot hashes move for who reads the field and nobody else; limits, the wish and the pin move the live hash alone."""
    before, after = (plan(system(changes), Placement.KUBERNETES, build="1") for changes in ({}, {path: CHANGED[path]}))
    moved = {item.name for item in before.workloads if item.boot_hash != after.workload(item.name).boot_hash}
    assert moved == RESTARTED_BY[path]
    assert (before.boot_hash != after.boot_hash) == bool(moved)
    live = path.split(".")[1] in {"risk", "trading", "models"}
    assert (before.live_hash != after.live_hash) == live


def test_storage_restarts_only_who_stores() -> None:
    """What becomes of stored data does not interrupt who trades."""
    before, after = (plan(system(PAPER | changes), Placement.KUBERNETES) for changes in ({}, {"spec.storage.onDelete": "Delete"}))
    moved = {item.name for item in before.workloads if item.boot_hash != after.workload(item.name).boot_hash}
    assert moved == {"nats", "recorder", "learning-incremental", "learning-retrain"}


def test_build_is_part_of_every_boot_hash() -> None:
    """Two releases never look alike; `spec.version` goes before the caller's build."""
    one, two = (plan(system(), Placement.PROCESSES, build=build) for build in ("1", "2"))
    assert all(item.boot_hash != two.workload(item.name).boot_hash for item in one.workloads)
    assert one.boot_hash != two.boot_hash
    assert plan(system({"spec.version": "3"}), Placement.PROCESSES, build="1").build == "3"


def test_boot_hash_does_not_depend_on_the_placement() -> None:
    """The same system is the same system on a laptop and in a cluster."""
    assert len({plan(system(), placement).boot_hash for placement in EVERYWHERE}) == 1


def test_defaults_written_out_change_no_hash() -> None:
    """Writing a default into the file is not a change."""
    written = system({"spec.sizing.kellyFractionPercent": 25, "spec.universe": {"symbolsMax": 12_000}})
    assert plan(written, Placement.KUBERNETES) == plan(system(), Placement.KUBERNETES)


def test_resources_given_go_before_our_own() -> None:
    """What a person asks for is what is asked for; the rest is the release's."""
    made = plan(system({"spec.components.filter.resources.requests": {"cpu": "3"}}), Placement.KUBERNETES).workload("filter")
    assert (made.resources.requests.cpu, made.resources.requests.memory) == ("3", "640Mi")
    assert made.resources.limits.memory == "640Mi"


def test_filter_slice_names_no_money() -> None:
    """The filter judges the market; what may be risked is not its business beyond what is live."""
    assert not {"sizing", "execution"} & set(FilterSlice.__struct_fields__)


def test_explain_has_a_row_per_workload_and_no_secret_values() -> None:
    """`tradingsystem plan` prints one line per workload, secrets by name."""
    rows = explain(plan(system(PAPER), Placement.PROCESSES))
    assert [row.workload for row in rows] == names(plan(system(PAPER), Placement.PROCESSES))
    (execution,) = [row for row in rows if row.workload == "execution"]
    assert execution.secrets == "alpaca"
    assert "metrics 8003" in execution.ports
    assert "sizing" in execution.reads
    assert [row.kind for row in rows][-1] == "Job at 30 0 * * 6 America/New_York"


def test_canonical_json_is_the_same_for_equal_values() -> None:
    """Order of keys says nothing; values do. The bytes are golden: they are compared across processes and releases."""
    assert canonical_json({"b": (1, 2), "a": {"d": 1, "c": None}}) == b'{"a":{"c":null,"d":1},"b":[1,2]}'
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash({"a": 1}) == hashlib.sha256(b'[{"a":1}]').hexdigest()


@pytest.mark.parametrize("character", ["\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff"])
def test_canonical_json_means_the_same_as_yaml(character: str) -> None:
    """What JSON may hold bare and YAML refuses or folds is escaped: an annotation with a control character is not a resource nobody can read."""
    values = {"note": f"a{character}b {character}"}
    assert read(canonical_json(values))[0] == values
