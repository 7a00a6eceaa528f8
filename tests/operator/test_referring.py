"""What a spec names that others made: taken into what is rendered; or each trouble told by name, and the last good spec with the newest limits."""

from __future__ import annotations

import pytest

from tests.operator.systems import OWNER, RELEASE
from tests.spec.documents import document
from tradingsystem.spec import TradingSystem, from_document
from tradingsystem.spec.universe import Selection
from tradingsystem_operator.desired import build_all, plan_of
from tradingsystem_operator.facts import Problem
from tradingsystem_operator.objects import CONFIG_MAP, VOLUME_CLAIM, Object, Reference, workload_of
from tradingsystem_operator.reasons import ORDER
from tradingsystem_operator.referring import references, resolve
from tradingsystem_operator.revisions import boot_spec_hash

LIST, CLAIM = Reference(CONFIG_MAP, "listed"), Reference(VOLUME_CLAIM, "days")
LISTED = {"spec.universe": {"selection": "ConfigMap", "configMapRef": {"name": "listed"}, "symbolsMax": 3}}
RECORDED = {"spec.simulation": {"source": "Recorded", "dataClaimName": "days", "data": "2013", "startDate": "2013-10-08"}}


def system(changes: dict[str, object]) -> TradingSystem:
    return from_document(document({"metadata.namespace": "trading"} | changes))


def listing(text: str, key: str = "symbols") -> Object:
    return {"metadata": {"name": "listed"}, "data": {key: text}}


def claim(phase: str = "Bound", **metadata: object) -> Object:
    return {"metadata": {"name": "days", **metadata}, "spec": {"volumeName": "pv-1"}, "status": {"phase": phase}}


def test_only_what_is_read_is_named() -> None:
    """A claim outside Simulation is mounted by nobody."""
    assert references(system({})) == frozenset()
    assert references(system(LISTED | RECORDED)) == {LIST, CLAIM}
    paper = {
        "spec.mode": "Paper",
        "spec.execution.broker.secretRef.name": "alpaca",
        "spec.sources": [{"name": "polygon", "type": "Polygon", "secretRef": {"name": "polygon"}}],
    }
    assert references(system(RECORDED | paper)) == frozenset()


def test_the_symbols_become_boot_configuration_and_another_list_is_another_revision() -> None:
    """The slices of all who look at the universe hold them; no pod mounts the ConfigMap, so none can see another list than its neighbours."""
    rendered = []
    for text in ("SPY\nAAPL\n", "SPY\n"):
        answer = resolve(system(LISTED), {LIST: listing(text)}, (), None)
        assert (answer.system is not None, answer.problems) == (True, ())
        assert answer.system is not None
        assert answer.system.spec.universe.selection is Selection.LIST
        rendered.append(answer.system)
    one, other = rendered
    assert boot_spec_hash(one) != boot_spec_hash(other)
    assert plan_of(one, RELEASE).boot_hash != plan_of(other, RELEASE).boot_hash
    things = build_all(one, RELEASE, OWNER)
    holding = {workload_of(thing) for thing in things if '"symbols":["SPY","AAPL"]' in thing.get("data", {}).get("slice.json", "")}
    assert {"ingestion", "filter", "execution"} <= holding
    assert "listed" not in str(things)


@pytest.mark.parametrize(
    ("there", "reason", "words"),
    [
        ({}, "MissingSymbols", ["ConfigMap listed is not there", "kubectl -n trading create configmap listed --from-file=symbols=FILE"]),
        ({LIST: listing("SPY", key="other")}, "MissingSymbols", ["has no key symbols (it has other)"]),
        ({LIST: {"metadata": {}}}, "MissingSymbols", ["has no key symbols (it has none)"]),
        ({LIST: {"metadata": {}, "binaryData": {"symbols": "/w=="}}}, "MissingSymbols", ["key symbols is not text"]),
        ({LIST: listing("SPY\nnot one\n$\n")}, "InvalidSymbols", ["key symbols, line 2: 'not one'", "line 3: '$'"]),
        ({LIST: listing("A\nB\nC\nD")}, "InvalidSymbols", ["4 symbols, and universe.symbolsMax allows 3"]),
        ({LIST: listing("# none")}, "InvalidSymbols", ["names no symbol"]),
    ],
)
def test_every_mistake_of_the_list_is_told(there: dict[Reference, Object], reason: str, words: list[str]) -> None:
    """By ConfigMap, key and line; nothing is rendered where nothing ran before."""
    answer = resolve(system(LISTED), there, (), None)
    assert answer.system is None
    assert [problem.reason for problem in answer.problems] == [reason]
    assert [word for word in words if word not in answer.problems[0].message] == []
    assert reason in ORDER


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({}, "days is not there"),
        ({CLAIM: claim(deletionTimestamp="2026-03-02T12:00:00Z")}, "being deleted"),
        ({CLAIM: claim("Lost")}, "lost its volume (pv-1)"),
    ],
)
def test_a_claim_that_cannot_be_mounted_is_told_before_a_pod_waits_for_it(there: dict[Reference, Object], words: str) -> None:
    """A pod would stand in Pending without a word in the system's status."""
    answer = resolve(system(RECORDED), there, (), system({}))
    assert [problem.reason for problem in answer.problems] == ["MissingVolumeClaim"]
    assert words in answer.problems[0].message
    assert answer.system == system({})


def test_a_claim_that_waits_for_its_first_consumer_is_a_claim() -> None:
    """The usual way of a StorageClass: it is bound when the simulator's pod comes."""
    answer = resolve(system(RECORDED), {CLAIM: claim("Pending")}, (), None)
    assert (answer.system, answer.problems) == (system(RECORDED), ())


def test_what_runs_stays_as_it_was_and_limits_go_on() -> None:
    """All that is wrong is told at once; a lower limit is not kept from execution by a mistake in a list."""
    edited = system(LISTED | RECORDED | {"spec.risk.dailyLossMax": 100, "spec.ensemble.signalThresholdPercent": 99})
    answer = resolve(edited, {LIST: listing("$")}, (), system({"spec.simulation.seed": 3}))
    assert [problem.reason for problem in answer.problems] == ["InvalidSymbols", "MissingVolumeClaim"]
    assert answer.system == system({"spec.simulation.seed": 3, "spec.risk.dailyLossMax": 100})


def test_what_the_operator_may_not_see_is_not_called_missing() -> None:
    """Its own words, and nothing guessed."""
    forbidden = Problem("Forbidden", "ConfigMap listed: no")
    answer = resolve(system(LISTED), {}, (forbidden,), system({}))
    assert (answer.system, answer.problems) == (system({}), (forbidden,))


def test_the_simulator_alone_mounts_the_days_and_cannot_write_them() -> None:
    """Read-only twice: in the container, and for the kubelet, which then does not hand a person's files to the pod's group."""
    things = build_all(system(RECORDED), RELEASE, OWNER)
    mounting = [thing for thing in things if "claimName': 'days'" in str(thing)]
    assert [workload_of(thing) for thing in mounting] == ["simulator"]
    spec = mounting[0]["spec"]["template"]["spec"]
    assert {"name": "recorded", "persistentVolumeClaim": {"claimName": "days", "readOnly": True}} in spec["volumes"]
    container = spec["containers"][0]
    assert {"name": "recorded", "mountPath": "/var/lib/tradingsystem/recorded", "readOnly": True} in container["volumeMounts"]
    assert container["args"][container["args"].index("--data-folder") + 1] == "/var/lib/tradingsystem/recorded/2013"
