"""The rendered system runs: every pod as a process with exactly its rendered command line, files and probes, over a real nats-server with the rendered file.

In the worst order: the message server comes last, the operator's word after everybody. What only a cluster can do is not shown here.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from tests.e2e.planted import publish_overconfident
from tests.operator.pods import Cluster
from tests.promises.waiting import until
from tests.spec.documents import document
from tradingsystem.adapters.nats import NatsBus, NatsSettings
from tradingsystem.domain.control import ModelsState
from tradingsystem.domain.outcomes import FilterModels
from tradingsystem.messages.codec import decode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec import canonical_json, from_document
from tradingsystem.spec.inference import Models
from tradingsystem.spec.slices import live_settings
from tradingsystem.world.learning_store import prepare
from tradingsystem.world.recipe import recipe_key
from tradingsystem_operator.control import ControlChannel, Link
from tradingsystem_operator.credentials import credentials, secret
from tradingsystem_operator.desired import build_all
from tradingsystem_operator.objects import Owner
from tradingsystem_operator.release import Release

RELEASE = Release(version="1.2.3", build="1.2.3+abc", components_image="none")
OWNER = Owner(name="momentum", namespace="trading", uid="u-7")
SYSTEM = from_document(
    document(
        {
            "spec.simulation": {"symbols": 100, "speed": 60, "signals": "Probe"},
            "spec.storage.journal.size": "512Mi",
        }
    )
)
READY_SECONDS = 240.0  # on a machine that has never compiled the kernels

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def passwords() -> dict[str, bytes]:
    return credentials("momentum", None, lambda: secrets.token_urlsafe(24))


@pytest.fixture(scope="module")
def cluster(passwords: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Every service started, the message server not yet."""
    made = Cluster(build_all(SYSTEM, RELEASE, OWNER), secret(OWNER, passwords), tmp_path_factory.mktemp("pods"))
    try:
        for name, pod in made.pods.items():
            if name != "nats":
                pod.start()
        yield made
    finally:
        made.stop()


def test_pods_run_in_any_order_and_come_back(cluster: Cluster, passwords: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    """Services wait for the message server alive and unready; then all become ready, trade once the journal has told them to, and get over its loss."""
    services = [pod for name, pod in cluster.pods.items() if name != "nats"]
    cluster.until(lambda: all(pod.asks("livenessProbe") == 200 for pod in services), READY_SECONDS, "services alive without nats")
    cluster.until(lambda: all("waits_for_nats" in pod.log() for pod in services), READY_SECONDS, "services that say what they wait for")
    assert [pod.name for pod in services if pod.asks("readinessProbe") == 200] == []

    cluster.pods["nats"].start()
    took = {"ready": cluster.until(cluster.ready, READY_SECONDS, "everything ready")}
    execution = cluster.pods["execution"]
    assert execution.metric("tradingsystem_orders_total") == 0

    asyncio.run(tell(cluster, passwords))
    took["first order"] = cluster.until(lambda: execution.metric("tradingsystem_orders_total") > 0, READY_SECONDS, "an order")

    cluster.pods["nats"].kill()
    cluster.pods["nats"].start()
    before = applied(cluster)
    took["nats back"] = cluster.until(
        lambda: cluster.ready() and applied(cluster) > before + 60, READY_SECONDS, "a minute after nats came back"
    )

    for name in ("execution", "filter", "ingestion", "recorder", "models", "monitor", "watcher"):
        pod = cluster.pods[name]
        assert pod.end(60) == 0, pod.log()[-2_000:]
        pod.start()
        took[f"{name} again"] = cluster.until(lambda pod=pod: pod.asks("readinessProbe") == 200, READY_SECONDS, f"{name} again")
    with capsys.disabled():
        sys.stdout.write("\npods as processes: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in took.items()) + "\n")


def test_a_candidate_is_judged_serves_and_is_taken_back_and_no_pod_is_restarted(
    cluster: Cluster, passwords: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning job's own command line sends what an earlier one had published before it was killed; by the object store it reaches models and filter,
    which have no folder in common; it passes the gate (its evidence was made too good) and stands beside who serves. One pin has it serve, another takes
    it back."""
    before = {name: pod.process_id for name, pod in cluster.pods.items()}
    job = cluster.jobs["learning-incremental"]
    store = job.place("/var/lib/tradingsystem/models")
    prepare(store, recipe_key())
    assert publish_overconfident(store).version == 2
    assert job.run(READY_SECONDS) == 0, job.log()
    assert "version 2 is in the object store" in job.log()
    told = asyncio.run(life(cluster, passwords))
    assert {name: pod.process_id for name, pod in cluster.pods.items()} == before
    for name in ("models", "filter"):
        assert (cluster.pods[name].place("/var/lib/tradingsystem/models") / "2" / "manifest.json").is_file()
    with capsys.disabled():
        sys.stdout.write(
            "\na candidate in pods as processes: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in told.items()) + "\n"
        )


async def life(cluster: Cluster, passwords: dict[str, bytes]) -> dict[str, float]:
    """What the models service and the filter say of it, until a pin has taken it back; how long each step took."""
    server, subjects = cluster.pods["nats"], Subjects("momentum")
    heard: list[ModelsState] = []
    filters: list[FilterModels] = []

    def decided() -> int:
        return filters[-1].serving if filters else 0

    bus = NatsBus(NatsSettings(f"nats://{server.address}:{server.ports['client']}", "momentum", PERSON, passwords[PERSON].decode()))
    await bus.open()
    await bus.subscribe(subjects.state("models"), lambda delivery: heard.append(decode(delivery.payload, ModelsState)))
    await bus.subscribe(subjects.state("filter"), lambda delivery: filters.append(decode(delivery.payload, FilterModels)))
    began, took = time.monotonic(), {}
    try:
        await until(lambda: heard and heard[-1].trial == 2, READY_SECONDS)
        took["judged, and on trial"] = time.monotonic() - began
        assert (heard[-1].phase, heard[-1].refused) == ("Shadow", {})
        for generation, version in ((2, 2), (3, 1)):
            pinned = msgspec.structs.replace(SYSTEM, spec=msgspec.structs.replace(SYSTEM.spec, models=Models(pinned_version=version)))
            asked = time.monotonic()
            await put(cluster, passwords, canonical_json(live_settings(pinned)), generation)
            await until(lambda version=version: heard[-1].serving == version and decided() == version, READY_SECONDS)  # type: ignore[misc]
            took[f"{version} serves by a pin"] = time.monotonic() - asked
    finally:
        await bus.close()
    return took


async def tell(cluster: Cluster, passwords: dict[str, bytes]) -> None:
    """What the operator does once it reaches the message server: put the live settings into the journal."""
    await put(cluster, passwords, canonical_json(live_settings(SYSTEM)), 1)


async def put(cluster: Cluster, passwords: dict[str, bytes], settings: bytes, generation: int) -> None:
    """As the operator does."""
    server, heard = cluster.pods["nats"], asyncio.Event()
    channel = ControlChannel(
        "momentum", Link((f"nats://{server.address}:{server.ports['client']}",), PERSON, passwords[PERSON].decode()), heard.set
    )
    channel.start()
    try:
        async with asyncio.timeout(READY_SECONDS):
            await heard.wait()

        async def wanted() -> bytes:
            return settings

        assert await channel.put_in_force(wanted) == generation
    finally:
        await channel.close()


def applied(cluster: Cluster) -> float:
    """Market time up to which the filter has applied what it heard."""
    return cluster.pods["filter"].metric("tradingsystem_applied_timestamp_seconds")
