"""An engine travels: from the rendered Job, run as a process, by the message server's object store to the models service, and by it to a real tritonserver.

TensorRT, CuPy and the driver are stand-ins that speak of an A100; the server has no backend that could run an engine, so its refusal is the last step, and the
first that a GPU would take otherwise.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.adapters.gpu_libraries import A100, compiled
from tests.adapters.gpu_stand_in import VERSION
from tests.conftest import program
from tests.operator.pods import Cluster
from tests.promises.waiting import until
from tests.spec.documents import document
from tradingsystem.adapters.nats import NatsBus, NatsSettings
from tradingsystem.domain.control import ModelsState
from tradingsystem.messages.codec import decode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec import from_document
from tradingsystem_operator.credentials import credentials, secret
from tradingsystem_operator.desired import build_all, plan_of
from tradingsystem_operator.desired.engine_build import engine_job
from tradingsystem_operator.objects import Owner
from tradingsystem_operator.release import Release

RELEASE = Release(version="1.2.3", build="1.2.3+abc", components_image="none", triton_image="none", components_gpu_image="none")
OWNER = Owner(name="momentum", namespace="trading", uid="u-7")
SYSTEM = from_document(
    document({"spec.simulation": {"symbols": 40}, "spec.inference": {"runtime": "Triton"}, "spec.storage.journal.size": "512Mi"})
)
MODULES = Path(__file__).with_name("gpu_modules")
READY_SECONDS = 120.0

pytestmark = [pytest.mark.nats, pytest.mark.triton, pytest.mark.compiler, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def passwords() -> dict[str, bytes]:
    return credentials("momentum", None, lambda: secrets.token_urlsafe(24))


@pytest.fixture
def cluster(passwords: dict[str, bytes], tmp_path: Path) -> Iterator[Cluster]:
    """The message server, the clock, Triton and models; and the Job, not yet run."""
    made = plan_of(SYSTEM, RELEASE)
    job = engine_job(1, made, RELEASE, OWNER, SYSTEM.spec.inference.gpu, suspended=False)
    cluster = Cluster((*build_all(SYSTEM, RELEASE, OWNER), job), secret(OWNER, passwords), tmp_path)
    libraries = compiled(program("compiler"), tmp_path / "libraries", msgspec.structs.replace(A100, tensorrt=VERSION))
    cluster.pods["triton"].given = {"LD_LIBRARY_PATH": str(libraries)}
    cluster.jobs["engine"].given = {"PYTHONPATH": os.pathsep.join([str(MODULES), str(Path(__file__).parents[2])])}
    try:
        for name in ("nats", "simulator", "triton", "models"):
            cluster.pods[name].start()
            cluster.until(lambda name=name: cluster.pods[name].asks("readinessProbe") == 200, READY_SECONDS, f"{name} ready")  # type: ignore[misc]
        yield cluster
    finally:
        cluster.stop()


def test_an_engine_travels_from_the_job_to_the_server_that_says_it_has_that_gpu(
    cluster: Cluster, passwords: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Models asks Triton what it has and misses an engine for that; the Job builds it once, and nobody is restarted for it."""
    before = {name: cluster.pods[name].process_id for name in ("triton", "models")}
    heard = asyncio.run(travelled(cluster, passwords))
    assert {name: cluster.pods[name].process_id for name in before} == before
    assert cluster.jobs["engine"].log().count("built: fused-1-int8-") == 1
    assert cluster.jobs["engine"].log().count("there already: fused-1-int8-") == 1
    with capsys.disabled():
        sys.stdout.write(f"\nan engine's way ends at: {heard.engines_lacking['1'][:200]}\n")


async def travelled(cluster: Cluster, passwords: dict[str, bytes]) -> ModelsState:
    """What models says at the end."""
    server, heard = cluster.pods["nats"], list[ModelsState]()
    bus = NatsBus(NatsSettings(f"nats://{server.address}:{server.ports['client']}", "momentum", PERSON, passwords[PERSON].decode()))
    await bus.open()
    await bus.subscribe(Subjects("momentum").state("models"), lambda delivery: heard.append(decode(delivery.payload, ModelsState)))
    try:
        await until(lambda: heard and heard[-1].engines_wanted == (1,), READY_SECONDS)
        assert heard[-1].engines_lacking["1"].startswith(f"EngineMissing: none for {A100.gpu} and TensorRT {VERSION}: no fused-1-int8-")
        job = cluster.jobs["engine"]
        assert await asyncio.to_thread(job.run, READY_SECONDS) == 0, job.log()
        await until(lambda: heard[-1].engines_wanted == (), READY_SECONDS)
        words = heard[-1].engines_lacking["1"]
        assert words.startswith("NotLoaded: fused-1-int8-")
        assert "tensorrt" in words.lower()
        assert await asyncio.to_thread(job.run, READY_SECONDS) == 0, job.log()
        return heard[-1]
    finally:
        await bus.close()
