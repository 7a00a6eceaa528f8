"""Issue 5, "Shows it works", 3 and 4, on one system while it trades: the resource is edited; the execution pod dies softly, hard and with its node closed, and
one writes; what needs a restart waits while positions are open.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import images
from tests.cluster.node_objects import NODE_NAME
from tests.kubernetes.installation import (
    CHART,
    CHART_VALUES,
    MERGE,
    NAMESPACE,
    OPERATOR_NAMESPACE,
    SYSTEMS,
    Installation,
    helm,
    say,
    simulation,
    wait,
)

pytestmark = [pytest.mark.pods, pytest.mark.charts, pytest.mark.timeout(900)]

NAME = "changes"
SPEED = 60
COVER_SECONDS = 3 + SPEED * 30  # while execution has no pod nothing covers; its new pod covers first
NEXT_VERSION = "0.1.1"
HALTED_WITHIN_SECONDS = 2.0
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@pytest.fixture(scope="module")
def changes(installation: Installation) -> Iterator[Installation]:
    """One system for this file, with a whole day before it."""
    installation.apply(simulation(NAME, speed=SPEED, startDate="2026-03-02"))
    installation.wait_ready(NAME)
    yield installation
    installation.delete(f"{SYSTEMS}/{NAME}")  # its pods go while the next file works


def set_spec(installation: Installation, **spec: Any) -> int:
    """Patch the spec; its new generation."""
    generation: int = installation.patch(f"{SYSTEMS}/{NAME}", {"spec": spec})["metadata"]["generation"]
    return generation


def acknowledged(installation: Installation) -> int:
    generation: int = installation.system(NAME)["status"].get("acknowledgedGeneration", 0)
    return generation


def bought(installation: Installation) -> set[str]:
    """Every entry order the broker has ever accepted."""
    listed = installation.venue(NAME, "/v2/orders?status=all&limit=500&nested=true")
    return {order["id"] for order in listed if order["side"] == "buy"}


def test_a_lowered_limit_is_in_force_without_a_restart(changes: Installation) -> None:
    """Execution acknowledges the generation; every pod is the one it was."""
    before = changes.lives(NAME)
    generation = set_spec(changes, risk={"positionsOpenMax": 3})
    wait("lowered limit: acknowledged", lambda: acknowledged(changes) >= generation, 30)
    assert changes.lives(NAME) == before


def test_a_raised_limit_is_refused_while_it_trades(changes: Installation) -> None:
    """The API server says which field, and what to do."""
    wait("trading: active", lambda: changes.trading(NAME).get("state") == "Active", 60)
    status, answer = changes.api.ask("PATCH", f"{SYSTEMS}/{NAME}", {"spec": {"risk": {"positionsOpenMax": 20}}}, MERGE)
    assert status == 422, answer
    assert "positionsOpenMax" in answer["message"]
    assert "alted" in answer["message"]


def test_halted_no_order_leaves_after_two_seconds(changes: Installation) -> None:
    """From two seconds after the edit on the broker gets no further entry; active again it does."""
    wait("entries: some", lambda: changes.summary(NAME)["orders"], 240)
    set_spec(changes, trading={"state": "Halted"})
    threading.Event().wait(HALTED_WITHIN_SECONDS)
    then = bought(changes)
    wait("status: halted", lambda: changes.trading(NAME).get("state") == "Halted", 30)
    threading.Event().wait(10)
    assert bought(changes) == then
    set_spec(changes, trading={"state": "Active"})
    wait("status: active", lambda: changes.trading(NAME).get("state") == "Active", 30)


@pytest.mark.parametrize("grace_seconds", [30, 0], ids=["deleted", "force-deleted"])
def test_a_deleted_execution_pod_is_replaced_by_one(changes: Installation, grace_seconds: int) -> None:
    """Its successor has another identity, gets ready, and is the only one."""
    wait(f"{NAME}: a fill", lambda: changes.summary(NAME)["fills"], 240)
    before = changes.pod(NAME, "execution")["metadata"]
    changes.delete(f"{PODS}/{before['name']}", gracePeriodSeconds=grace_seconds)
    wait("execution: another pod", lambda: changes.lives(NAME).get("execution", (before["uid"], 0))[0] != before["uid"], 60)
    changes.wait_ready(NAME, 120)
    assert changes.pod(NAME, "execution")["metadata"]["uid"] != before["uid"]


def test_a_closed_node_says_so_and_goes_on_when_opened(changes: Installation) -> None:
    """Cordoned: the new pod has nowhere to go, and the system is not ready with a reason; uncordoned: it goes on by itself."""
    node = f"/api/v1/nodes/{NODE_NAME}"
    before = changes.pod(NAME, "execution")["metadata"]
    changes.patch(node, {"spec": {"unschedulable": True}})
    try:
        changes.delete(f"{PODS}/{before['name']}")
        wait(f"{NAME}: not ready", lambda: changes.condition(NAME, "Ready").get("status") == "False", 60)
        wait("reason: no node", lambda: "node" in str(changes.system(NAME)["status"]["conditions"]).lower(), 60)
    finally:
        changes.patch(node, {"spec": {"unschedulable": False}})
    changes.wait_ready(NAME, 120)


def test_after_three_pods_the_wire_has_one_writer(changes: Installation) -> None:
    """Halted and sold by a person in mid-session: nothing is held, no id was accepted twice, nothing was sold that was not held."""
    person = changes.person(NAME)
    for kind in ("Halt", "Flatten"):
        answer = person.tell(f'{{"kind": "{kind}", "name": "tests", "reason": "the wire is looked at"}}')
        assert answer["accepted"], answer
    wait("status: nothing is held", lambda: (said := changes.trading(NAME)).get("state") == "Halted" and said["positions"] == 0, 60)
    found = changes.audit(NAME, COVER_SECONDS)
    say(f"auditor: {found}")
    assert found["executions"] >= 2
    assert found["flat"]
    answer = person.tell('{"kind": "Resume", "name": "tests", "reason": "the wire was looked at"}')
    assert answer["accepted"], answer
    wait("status: active", lambda: changes.trading(NAME).get("state") == "Active", 30)


def test_a_new_release_waits_for_open_positions_and_then_goes(changes: Installation) -> None:
    """The operator of the next release restarts nothing; asked for, its image waits with its reason until nothing is held, then every pod runs it."""
    changes.cluster.tag_image(images.COMPONENTS.name, images.COMPONENTS.name.replace(images.version(), NEXT_VERSION))
    before = changes.lives(NAME)
    values = ("--set", f"release.version={NEXT_VERSION}", "--set", f"release.componentsImage.tag={NEXT_VERSION}")
    helm(
        changes.cluster.kubeconfig,
        "upgrade",
        "tradingsystem-operator",
        str(CHART),
        "--namespace",
        OPERATOR_NAMESPACE,
        *CHART_VALUES,
        *values,
    )
    wait("another operator", lambda: f"--release-version={NEXT_VERSION}" in str((changes.operator_pod() or {}).get("spec", "")), 60)
    changes.wait_operator()
    wait("status: an update is available", lambda: "UpdateAvailable" in str(changes.system(NAME)["status"]["conditions"]), 60)
    assert changes.lives(NAME) == before
    wait("positions: open", lambda: changes.trading(NAME).get("positions", 0) > 0, 240)
    set_spec(changes, version=NEXT_VERSION)
    wait("rollout: waits for positions", lambda: "PositionsOpen" in str(changes.system(NAME)["status"]["conditions"]), 30)
    held = changes.lives(NAME)["execution"]
    assert held == before["execution"]

    def runs_next() -> bool:
        return all(pod["spec"]["containers"][0]["image"].endswith(f":{NEXT_VERSION}") for pod in changes.pods(NAME))

    wait("rollout: done", runs_next, 400)
    changes.wait_ready(NAME)
    assert changes.system(NAME)["status"]["version"] == NEXT_VERSION
