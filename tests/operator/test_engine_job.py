"""An engine is lacking: a real API server and a real message server; the test is the Job's controller, the scheduler, execution and models.

What the Job does is shown where its command line runs (`tests/operator/test_engine_pod.py`), what a GPU does nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.cluster.waiting import until
from tests.operator.systems import EVENING_NS, NOON_NS, beat
from tests.operator.test_running_system import Scene, running_scene
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.domain.control import ModelsState
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem_operator.objects import DEPLOYMENT, JOB, POD, Object

pytestmark = [pytest.mark.cluster, pytest.mark.nats, pytest.mark.slow]

SAY_SECONDS = 0.2
MOMENT = "2026-03-03T22:00:00Z"


@pytest.fixture
def scene(plane: ControlPlane, api: Api, tmp_path: Path) -> Iterator[Scene]:
    """A system whose Triton has a GPU, in the evening."""
    flags = ("--triton-image", "example/triton:1", "--components-gpu-image", "example/components-gpu:1")
    with running_scene(plane, api, tmp_path, *flags, changes={"spec.inference.runtime": "Triton"}) as made:
        made.execution.become(at_ns=EVENING_NS)
        yield made


class Models:
    """What models says, all the time."""

    def __init__(self) -> None:
        self.state = lacking()

    async def say(self, scene: Scene) -> None:
        """Until cancelled."""
        bus, subjects, wake = NatsBus(scene.server.as_user("models")), Subjects("momentum"), asyncio.Event()
        await bus.open()
        try:
            while True:
                bus.publish(subjects.state("models"), encode(self.state))
                bus.publish(subjects.beat("models"), encode(beat("models")))
                asyncio.get_running_loop().call_later(SAY_SECONDS, wake.set)
                await wake.wait()
                wake.clear()
        finally:
            await bus.close()


def lacking(*versions: int) -> ModelsState:
    """Version 1 serves by onnxruntime; these have no engine."""
    why = {str(version): "EngineMissing: none for NVIDIA A100" for version in versions}
    return ModelsState(serving=1, pinned=0, generation=1, refused={}, backend="onnxruntime", engines_lacking=why, engines_wanted=versions)


def played(scene: Scene, play: Callable[[Models], Awaitable[None]]) -> None:
    """A scenario beside which models speaks."""

    async def main() -> None:
        models = Models()
        saying = asyncio.create_task(models.say(scene))
        try:
            await play(models)
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)

    asyncio.run(main())


def job(scene: Scene, version: int) -> Object | None:
    """The Job of that version."""
    return next((thing for thing in scene.here.list(JOB) if thing["metadata"]["name"].startswith(f"momentum-engine-{version}-")), None)


def made(scene: Scene, version: int) -> Object:
    """That Job, once it is there."""
    found: Object = until(f"the job of version {version}", lambda: job(scene, version), 60.0)
    return found


def replicas(scene: Scene) -> int:
    """How many pods of Triton there shall be."""
    found = scene.here.get(DEPLOYMENT, "momentum-triton")
    assert found is not None
    return int(found["spec"]["replicas"])


def become(scene: Scene, thing: Object, **status: Any) -> None:
    """As the Job's controller says it."""
    scene.here.patch(JOB, thing["metadata"]["name"], {"status": {"startTime": MOMENT, "uncountedTerminatedPods": {}, **status}}, "/status")


def ended(kind: str, before: str) -> list[Object]:
    """A Job's conditions at its end."""
    named = ((before, ""), (kind, "BackoffLimitExceeded" if kind == "Failed" else ""))
    return [
        {"type": name, "status": "True", "reason": reason, "lastProbeTime": MOMENT, "lastTransitionTime": MOMENT} for name, reason in named
    ]


def pod(scene: Scene, thing: Object, **status: Any) -> None:
    """Its pod, and what the scheduler or the kubelet says of it."""
    name = f"{thing['metadata']['name']}-x"
    if scene.here.get(POD, name) is None:
        labels = thing["spec"]["template"]["metadata"]["labels"]
        scene.here.create(POD, {"metadata": {"name": name, "labels": labels}, "spec": thing["spec"]["template"]["spec"]})
    scene.here.patch(POD, name, {"status": status}, "/status")


def unschedulable() -> list[Object]:
    """Every GPU is somebody's."""
    words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}]


def test_triton_gives_way_while_its_engine_is_built_and_comes_back(scene: Scene) -> None:
    """Off-hours, once, with the reason BuildingEngine; a Job that has ended is not made again, and goes when nothing is lacking."""

    async def play(models: Models) -> None:
        models.state = lacking(1)
        thing = await asyncio.to_thread(made, scene, 1)
        await asyncio.to_thread(until, "it may run", lambda: not (job(scene, 1) or thing)["spec"]["suspend"], 60.0)
        await asyncio.to_thread(scene.here.said, "momentum", "ModelServing", "BuildingEngine", 60.0)
        assert replicas(scene) == 1
        pod(scene, thing, conditions=unschedulable())
        await asyncio.to_thread(until, "Triton has left its GPU", lambda: replicas(scene) == 0)
        words = (await asyncio.to_thread(scene.here.said, "momentum", "ModelServing", "BuildingEngine"))["message"]
        await asyncio.to_thread(
            until, "the status says so", lambda: "on Triton's GPU" in scene.here.condition("momentum", "ModelServing")["message"]
        )
        assert words.startswith("bundle 1 serves; momentum-engine-1-")
        become(scene, thing, succeeded=1, completionTime=MOMENT, conditions=ended("Complete", "SuccessCriteriaMet"))
        await asyncio.to_thread(until, "Triton is back", lambda: replicas(scene) == 1)
        await asyncio.to_thread(
            scene.cluster.settle, "Triton is ready", lambda: scene.here.condition("momentum", "ModelServing")["reason"] == "Serving"
        )
        now = job(scene, 1)
        assert now is not None
        assert (now["metadata"]["uid"], len(scene.here.list(JOB))) == (thing["metadata"]["uid"], 1)
        models.state = lacking()
        await asyncio.to_thread(until, "the job has gone", lambda: not scene.here.list(JOB))

    played(scene, play)
    assert len(scene.here.events("EngineBuildEnded")) == 1
    assert scene.here.events("EngineBuildStarted")


def test_while_the_market_is_open_a_job_waits_and_a_failure_is_told(scene: Scene) -> None:
    """Suspended at noon, though it was made in the evening; the last line of what failed is a warning, and everything serves on."""

    async def play(models: Models) -> None:
        models.state = lacking(2)
        thing = await asyncio.to_thread(made, scene, 2)
        scene.execution.become(at_ns=NOON_NS)
        await asyncio.to_thread(until, "it is suspended", lambda: (job(scene, 2) or thing)["spec"]["suspend"], 60.0)
        said = (await asyncio.to_thread(scene.here.said, "momentum", "ModelServing", "Serving", 60.0))["message"]
        assert said.startswith("bundle 1 serves by onnxruntime; version 2 has no engine that fits (EngineMissing: none for NVIDIA A100); ")
        assert said.endswith("waits until the market is closed")
        scene.execution.become(at_ns=EVENING_NS)
        await asyncio.to_thread(until, "it may run", lambda: not (job(scene, 2) or thing)["spec"]["suspend"], 60.0)
        words = {
            "exitCode": 2,
            "message": "building\nversion 2: NotLoaded: TensorRT builds no engine\n",
            "startedAt": MOMENT,
            "finishedAt": MOMENT,
        }
        container = {"name": "engine", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": words}}
        pod(scene, thing, containerStatuses=[container], phase="Failed")
        become(scene, thing, failed=1, conditions=ended("Failed", "FailureTarget"))
        told = await asyncio.to_thread(scene.here.said, "momentum", "Warning", "EngineBuildFailed", 60.0)
        assert "version 2: NotLoaded: TensorRT builds no engine; kubectl delete job momentum-engine-2-" in told["message"]
        assert replicas(scene) == 1
        assert scene.here.condition("momentum", "ModelServing")["status"] == "True"

    played(scene, play)
    assert len(scene.here.events("EngineBuildFailed")) == 1
