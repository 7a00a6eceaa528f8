"""Engines are built when nobody needs the GPU, once each, and whatever becomes of it is said in a word that a person can act on."""

from __future__ import annotations

import msgspec
import pytest

from tests.operator.systems import DAY, EVENING_NS, NOON_NS, OWNER, RELEASE, trading
from tests.spec.documents import system
from tradingsystem.domain.control import ModelsState
from tradingsystem.domain.time import NS_PER_MINUTE
from tradingsystem.domain.trading import TradingStatus
from tradingsystem_operator.desired import build_all, left_out, plan_of
from tradingsystem_operator.engines import NOTHING, EngineWork, engine_work, may_build, version_of
from tradingsystem_operator.objects import Key, Object, key_of
from tradingsystem_operator.release import Release

LACKING = ModelsState(serving=2, pinned=0, generation=1, refused={}, backend="onnxruntime", engines_wanted=(1, 2))
NIGHT, NOON = trading(at_ns=EVENING_NS), trading(at_ns=NOON_NS)


def work(
    *children: Object,
    models: ModelsState | None = LACKING,
    status: TradingStatus | None = NIGHT,
    inference: dict[str, object] | None = None,
    release: Release = RELEASE,
) -> EngineWork:
    """One round's, for a system with a GPU."""
    one = system({"spec.inference": {"runtime": "Triton", **(inference or {})}})
    there = {key_of(thing): thing for thing in children}
    return engine_work(plan_of(one, release), one.spec.inference.gpu, release, OWNER, models, status, there)


def ended(job: Object, kind: str) -> Object:
    """As the controller leaves it."""
    return job | {"status": {"conditions": [{"type": kind, "status": "True", "message": "it was retried too often"}]}}


def pod_of(job: Object, **status: object) -> Object:
    """A pod of that Job."""
    name = job["metadata"]["name"]
    labels = job["spec"]["template"]["metadata"]["labels"] | {"batch.kubernetes.io/job-name": name}
    return {"kind": "Pod", "metadata": {"name": f"{name}-x", "labels": labels}, "spec": {}, "status": status}


def without_a_gpu(job: Object) -> Object:
    """Its pod, as long as every GPU is somebody's."""
    words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    return pod_of(job, conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}])


def triton(replicas: int) -> Object:
    """Triton's Deployment."""
    return {"kind": "Deployment", "metadata": {"name": "momentum-triton", "labels": {}}, "spec": {"replicas": replicas}}


def suspended(found: EngineWork) -> dict[int, bool]:
    """Of each version's Job."""
    return {version_of(job): job["spec"]["suspend"] for job in found.jobs}


def test_each_version_that_lacks_an_engine_has_one_job_that_runs_while_the_market_is_closed() -> None:
    """In the session it is there, suspended: who holds the GPU serves. Without a word from execution nobody knows what time it is in the market."""
    assert suspended(work()) == {1: False, 2: False}
    for status in (NOON, None):
        found = work(status=status)
        assert suspended(found) == {1: True, 2: True}
        assert (found.building, found.gives_way) == ("", False)
        assert found.waiting.endswith("waits until the market is closed")


@pytest.mark.parametrize(("minutes", "may"), [(-31, True), (-29, False), (0, False), (DAY.minutes - 1, False), (DAY.minutes, True)])
def test_half_an_hour_before_the_open_the_gpu_is_triton_s(minutes: int, *, may: bool) -> None:
    """By the exchange's calendar, half-days and holidays included."""
    assert may_build(trading(at_ns=DAY.open_ns + minutes * NS_PER_MINUTE)) is may


def test_the_same_work_is_the_same_job() -> None:
    """Whenever it is looked at; another image, another GPU or another precision is other work."""
    names = [job["metadata"]["name"] for job in work().jobs]
    assert [job["metadata"]["name"] for job in work(status=NOON).jobs] == names
    others = [
        work(release=msgspec.structs.replace(RELEASE, components_gpu_image="example.org/other")),
        work(inference={"gpu": {"resourceName": "nvidia.com/mig-3g.20gb"}}),
        work(inference={"precision": "Float32"}),
    ]
    assert len({name for found in others for name in (job["metadata"]["name"] for job in found.jobs)} | set(names)) == 8


def test_a_job_that_has_ended_is_left_as_it_is_and_not_made_again() -> None:
    """Not even by the hours of the market; when models lacks nothing any more it goes."""
    first, second = work().jobs
    for status in (NIGHT, NOON):
        found = work(ended(first, "Complete"), ended(second, "Complete"), status=status)
        assert found.jobs == (first, second)
        assert (found.building, found.waiting, found.gives_way, found.failed) == ("", "", False, ())
    assert work(first, models=msgspec.structs.replace(LACKING, engines_wanted=())).jobs == ()


def test_triton_leaves_its_gpu_when_there_is_no_other_and_comes_back() -> None:
    """Off-hours alone, until the last Job has ended: also while the Job has the GPU and nothing is unschedulable any more."""
    first, second = work().jobs
    assert not work(first, triton(1)).gives_way
    found = work(first, without_a_gpu(first), triton(1))
    assert found.gives_way
    assert found.building.endswith("builds on Triton's GPU, and models run in the filter's process meanwhile")
    assert work(first, pod_of(first, phase="Running"), triton(0)).gives_way
    assert not work(first, without_a_gpu(first), triton(0), status=NOON).gives_way
    assert not work(ended(first, "Complete"), ended(second, "Failed"), triton(0)).gives_way


def test_in_the_filter_s_pod_triton_stays() -> None:
    """Ending it would end the filter: with a sidecar an engine is built where a second GPU is free, or not at all."""
    inference = {"placement": "Sidecar"}
    (first, _) = work(inference=inference).jobs
    assert not work(first, without_a_gpu(first), inference=inference).gives_way


def test_a_failure_is_told_with_the_last_line_and_what_to_do() -> None:
    """The others go on."""
    first, second = work().jobs
    words = "building for NVIDIA A100\nversion 1: NotLoaded: TensorRT builds no engine: no implementation for node product\n"
    pod = pod_of(first, containerStatuses=[{"state": {"terminated": {"exitCode": 2, "message": words}}}])
    found = work(ended(first, "Failed"), pod)
    [problem] = found.failed
    assert problem.reason == "EngineBuildFailed"
    assert "version 1: NotLoaded: TensorRT builds no engine: no implementation for node product; kubectl delete job" in problem.message
    assert found.building == f"{second['metadata']['name']} builds"
    [silent] = work(ended(first, "Failed")).failed
    assert "it was retried too often" in silent.message


def test_while_models_is_silent_what_was_begun_goes_on() -> None:
    """A restart of models is no reason to throw a build away."""
    first, second = work().jobs
    assert work(first, models=None).jobs == (first,)
    assert work(models=None).jobs == ()
    assert second not in work(first, models=None).jobs


def test_without_a_gpu_or_an_image_nothing_is_built() -> None:
    """And the second is told by name, since Triton could do better."""
    bare = msgspec.structs.replace(RELEASE, components_gpu_image="")
    assert work(inference={"gpu": {"count": 0}}) == work(release=bare) == NOTHING
    one = system({"spec.inference.runtime": "Triton"})
    assert [reason for reason, _ in left_out(one, bare)] == ["NoEngineImage"]
    assert left_out(one, RELEASE) == ()
    assert left_out(system({"spec.inference": {"runtime": "Triton", "gpu": {"count": 0}}}), bare) == ()
    policies = {thing["metadata"]["name"] for thing in build_all(one, bare, OWNER) if thing["kind"] == "NetworkPolicy"}
    assert "momentum-engine" not in policies


def test_the_job_runs_where_triton_does_with_what_triton_has() -> None:
    """The same GPU, nodes, taints and memory; the same service account, which can do nothing."""
    one = system({"spec.inference": {"runtime": "Triton", "gpu": {"resourceName": "nvidia.com/mig-3g.20gb"}}})
    [server] = [thing for thing in build_all(one, RELEASE, OWNER) if key_of(thing) == Key("Deployment", "momentum-triton")]
    (job, _) = work(inference={"gpu": {"resourceName": "nvidia.com/mig-3g.20gb"}}).jobs
    theirs, ours = server["spec"]["template"]["spec"], job["spec"]["template"]["spec"]
    for name in ("affinity", "tolerations", "serviceAccountName", "securityContext"):
        assert ours[name] == theirs[name]
    assert ours["containers"][0]["resources"] == theirs["containers"][0]["resources"]
    assert ours["containers"][0]["image"] == "example.org/components-gpu:1.2.3"
    assert ours["containers"][0]["args"][:2] == ["models", "build-engine"]
