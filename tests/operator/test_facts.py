"""From raw objects to reasons: each trouble that Kubernetes tells somewhere is one reason here, with the cluster's own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.operator.systems import EVENING_NS, OWNER, claim, observed, pod, position, trading, workload_object
from tradingsystem.domain.errors import Unplayable
from tradingsystem_operator.facts import Problem, WorkloadFact, in_session_with_positions, workload_facts
from tradingsystem_operator.objects import Key, Object
from tradingsystem_operator.reasons import ORDER


def fact(*things: Object, kind: str = "Deployment", workload: str = "filter") -> WorkloadFact:
    children = {Key(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    return workload_facts([(workload, kind)], children, OWNER.name)[0]


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "filter", "image": "x:1", "state": {"waiting": {"reason": reason, "message": message}}, **more}]}


def unschedulable(message: str) -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}


UNREADY = observed(workload_object("Deployment", "filter"), revision=1, ready=False)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (unschedulable("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."), "NoMatchingNode"),
        (unschedulable("0/3 nodes are available: 3 node(s) had untolerated taint {gpu: true}."), "NoMatchingNode"),
        (unschedulable("0/1 nodes are available: 1 Insufficient memory."), "InsufficientResources"),
        (unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), "GpuNotFree"),
        (unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."), "VolumeNotBound"),
        (waiting("ImagePullBackOff", "Back-off pulling image"), "ImagePullFailed"),
        (waiting("ErrImageNeverPull"), "ImagePullFailed"),
        (waiting("CreateContainerConfigError", 'secret "alpaca" not found'), "PodCannotStart"),
        (waiting("CrashLoopBackOff", restartCount=7, lastState={"terminated": {"exitCode": 2, "reason": "Error"}}), "CrashLoop"),
        (waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "OutOfMemory"),
    ],
)
def test_each_trouble_of_a_pod_has_its_reason(status: dict[str, Any], reason: str) -> None:
    """A person must not have to describe nine pods to learn what is wrong."""
    found = fact(UNREADY, pod("filter", **status))
    assert [problem.reason for problem in found.problems] == [reason]
    assert "filter" in found.problems[0].message
    assert reason in ORDER


def unplayable(code: str, state: str) -> dict[str, Any]:
    """A simulator that could not play, while it is in that state; its last lines as a kubelet keeps them, the first one torn."""
    said = {"event": "cannot_start", "code": code, "reason": "/days/a.zip: not a readable zip"}
    lines = f'"level":"info"}}\n{json.dumps(said)}\n' + '{"event":"stopping"}\n'
    ended = {"terminated": {"exitCode": 2, "message": lines}}
    states = {
        "ended": {"state": ended},
        "trying": {"state": {"running": {}}, "lastState": ended, "ready": False},
        "backing off": {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended},
        "playing": {"state": {"running": {}}, "lastState": ended, "ready": True},
    }
    return {"containerStatuses": [{"name": "simulator", "image": "x:1", "restartCount": 3, **states[state]}]}


@pytest.mark.parametrize("code", Unplayable)
def test_days_that_cannot_be_played_are_told_in_the_simulator_s_words_and_once(code: str) -> None:
    """The same words while it has ended, waits and tries again, so one event; none once it plays."""
    simulator = observed(workload_object("Deployment", "simulator"), revision=1, ready=False)
    told = {
        fact(simulator, pod("simulator", **unplayable(code, state)), workload="simulator").problems
        for state in ("ended", "trying", "backing off")
    }
    assert told == {(Problem(code, "simulator: /days/a.zip: not a readable zip"),)}
    assert code in ORDER
    assert fact(simulator, pod("simulator", **unplayable(code, "playing")), workload="simulator").problems == ()


def test_a_crash_loop_says_why_where_the_process_did() -> None:
    """What a person gave it is named in the status; only what nobody foresaw has to be looked up in the log."""
    simulator = observed(workload_object("Deployment", "simulator"), revision=1, ready=False)
    (problem,) = fact(simulator, pod("simulator", **unplayable("", "backing off")), workload="simulator").problems
    assert (problem.reason, problem.message.endswith(": /days/a.zip: not a readable zip")) == ("CrashLoop", True)


def test_a_claim_without_a_class_is_its_own_reason() -> None:
    """A cluster without a default StorageClass keeps the journal's pod waiting for ever, without a word of why in the pod."""
    nats = observed(workload_object("StatefulSet", "nats"), revision=1, ready=False)
    found = fact(nats, claim("nats", phase="Pending", storage_class=None), kind="StatefulSet", workload="nats")
    assert [problem.reason for problem in found.problems] == ["NoStorageClass"]
    assert "StorageClass" in found.problems[0].message
    bound = fact(nats, claim("nats", phase="Pending", storage_class="fast"), kind="StatefulSet", workload="nats")
    assert bound.problems == ()


def test_ready_means_the_newest_template_runs() -> None:
    """A rollout that has only begun still shows the old pod as ready."""
    ready = observed(workload_object("Deployment", "filter"), revision=1)
    assert fact(ready).ready
    lagging = ready | {"status": ready["status"] | {"observedGeneration": 2}}
    assert not fact(lagging).ready
    old = ready | {"status": ready["status"] | {"updatedReplicas": 0}}
    assert not fact(old).ready
    assert not fact(workload="filter").exists


def test_a_stateful_set_s_stuck_pod_is_found_and_a_working_one_is_not() -> None:
    """Kubernetes never replaces a pod of an older revision that does not get ready; a pod that works is never taken away."""
    thing = observed(workload_object("StatefulSet", "execution"), revision=2, ready=False)
    thing["status"] |= {"updateRevision": "r2"}
    broken = pod("execution", **waiting("ImagePullBackOff"))
    broken["metadata"]["labels"] |= {"controller-revision-hash": "r1"}
    assert fact(thing, broken, kind="StatefulSet", workload="execution").stuck_pod == (broken["metadata"]["name"], "uid-execution")
    working = broken | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    starting = broken | {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    newest = broken | {"metadata": broken["metadata"] | {"labels": broken["metadata"]["labels"] | {"controller-revision-hash": "r2"}}}
    for other in (working, starting, newest):
        assert fact(thing, other, kind="StatefulSet", workload="execution").stuck_pod is None


def test_the_image_is_the_one_that_runs_with_its_digest() -> None:
    """What is asked for and what runs differ as soon as a tag is moved."""
    running = pod("filter", containerStatuses=[{"image": "r/c:1", "imageID": "r/c@sha256:abc", "state": {"running": {}}}])
    assert fact(observed(workload_object("Deployment", "filter"), revision=1), running).image == "r/c:1@sha256:abc"
    assert fact(observed(workload_object("Deployment", "filter", image="r/c:1"), revision=1)).image == "r/c:1"


def test_positions_guard_only_while_the_session_runs() -> None:
    """After the close a rollout may go on: the stops lie at the broker."""
    held = (position(),)
    assert in_session_with_positions(trading(positions=held))
    assert not in_session_with_positions(trading(positions=held, at_ns=EVENING_NS))
    assert not in_session_with_positions(trading())
    assert not in_session_with_positions(None)
