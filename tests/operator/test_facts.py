"""From raw objects to reasons: each trouble that Kubernetes tells somewhere is one reason here, with the cluster's own words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operator.systems import EVENING_NS, OWNER, claim, observed, pod, position, trading, workload_object
from tradingsystem_operator.facts import WorkloadFact, in_session_with_positions, workload_facts
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
