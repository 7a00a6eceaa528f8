"""Issue 5, "Shows it works", 3: the execution pod dies mid-session, softly, hard and with its node closed; one writes, and the day ends flat."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.node_objects import NODE_NAME
from tests.kubernetes.installation import NAMESPACE, SYSTEMS, Installation, simulation, wait

pytestmark = [pytest.mark.pods, pytest.mark.charts, pytest.mark.timeout(900)]

NAME = "writer"
SPEED = 60
COVER_SECONDS = 3 + SPEED * 30  # while execution has no pod nothing covers; its new pod covers first
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@pytest.fixture(scope="module")
def writer(installation: Installation) -> Iterator[Installation]:
    installation.apply(simulation(NAME, speed=SPEED))
    installation.wait_ready(NAME)
    wait(f"{NAME}: the first fill", lambda: installation.summary(NAME)["fills"] > 0, 240)
    yield installation
    installation.delete(f"{SYSTEMS}/{NAME}")  # its pods go while the next file works


@pytest.mark.parametrize("grace_seconds", [30, 0], ids=["deleted", "force-deleted"])
def test_a_deleted_execution_pod_is_replaced_by_one(writer: Installation, grace_seconds: int) -> None:
    """Its successor has another identity, gets ready, and is the only one."""
    before = writer.pod(NAME, "execution")["metadata"]
    writer.delete(f"{PODS}/{before['name']}", gracePeriodSeconds=grace_seconds)
    wait("execution: another pod", lambda: writer.lives(NAME).get("execution", (before["uid"], 0))[0] != before["uid"], 60)
    writer.wait_ready(NAME, 120)
    assert writer.pod(NAME, "execution")["metadata"]["uid"] != before["uid"]


def test_a_closed_node_says_so_and_goes_on_when_opened(writer: Installation) -> None:
    """Cordoned: the new pod has nowhere to go, and the system is not ready with a reason; uncordoned: it goes on by itself."""
    node = f"/api/v1/nodes/{NODE_NAME}"
    before = writer.pod(NAME, "execution")["metadata"]
    writer.patch(node, {"spec": {"unschedulable": True}})
    try:
        writer.delete(f"{PODS}/{before['name']}")
        wait(f"{NAME}: not ready", lambda: writer.condition(NAME, "Ready").get("status") == "False", 60)
        wait("reason: no node", lambda: "node" in str(writer.system(NAME)["status"]["conditions"]).lower(), 60)
    finally:
        writer.patch(node, {"spec": {"unschedulable": False}})
    writer.wait_ready(NAME, 120)


def test_the_day_ends_flat(writer: Installation) -> None:
    """After all that: nothing is held at the close, no id was accepted twice, nothing was sold that was not held."""
    wait(f"{NAME}: the market has closed", lambda: writer.venue(NAME, "/simulator/clock")["finished"], 400)
    found = writer.audit(NAME, COVER_SECONDS)
    assert found["executions"] >= 2
    assert found["flat"]
