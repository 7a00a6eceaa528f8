"""The rendered system runs: every pod as a process with exactly its rendered command line, files and probes, over a real nats-server with the rendered file.

In the worst order: the message server comes last, the operator's word after everybody. What only a cluster can do is not shown here.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Iterator

import pytest

from tests.operator.pods import Cluster
from tests.spec.documents import document
from tradingsystem.messages.permissions import PERSON
from tradingsystem.spec import canonical_json, from_document
from tradingsystem.spec.slices import live_settings
from tradingsystem_operator.control import ControlChannel
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


async def tell(cluster: Cluster, passwords: dict[str, bytes]) -> None:
    """What the operator does once it reaches the message server: put the live settings into the journal."""
    server, heard = cluster.pods["nats"], asyncio.Event()
    channel = ControlChannel("momentum", f"nats://{server.address}:{server.ports['client']}", passwords[PERSON].decode(), heard.set)
    channel.start()
    try:
        async with asyncio.timeout(READY_SECONDS):
            await heard.wait()
        settings = canonical_json(live_settings(SYSTEM))

        async def wanted() -> bytes:
            return settings

        assert await channel.put_in_force(wanted) == 1
    finally:
        await channel.close()


def applied(cluster: Cluster) -> float:
    """Market time up to which the filter has applied what it heard."""
    return cluster.pods["filter"].metric("tradingsystem_applied_timestamp_seconds")
