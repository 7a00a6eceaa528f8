"""Issue 5, "Shows it works", 2: what hands change is put right, rest is rest, and neither the operator's death nor the API server's stops trading."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes.installation import NAMESPACE, SYSTEMS, Installation, Object, say, simulation, wait

pytestmark = [pytest.mark.pods, pytest.mark.charts, pytest.mark.timeout(900)]

NAME = "drift"
REPAIRED_WITHIN_SECONDS = 5.0
IDLE_SECONDS = 120.0
API_SERVER_AWAY_SECONDS = 60.0
BACK_WITHIN_SECONDS = 180.0  # kube-proxy asks again ever more rarely, and until then pods have no way to the API server
HALTED_WITHIN_SECONDS = 5.0
KILLS = 10
# One object of every owned kind, with a part that somebody edits and that only a reconcile puts right.
OWNED: tuple[tuple[str, str, Object], ...] = (
    ("/api/v1", "serviceaccounts", {"metadata": {"labels": {"app.kubernetes.io/name": "edited"}}}),
    ("/api/v1", "configmaps", {"data": {"slice.json": "{}"}}),
    ("/api/v1", "services", {"metadata": {"labels": {"app.kubernetes.io/component": "edited"}}}),
    ("/apis/networking.k8s.io/v1", "networkpolicies", {"spec": {"policyTypes": ["Ingress"], "ingress": [{}]}}),
    ("/apis/policy/v1", "poddisruptionbudgets", {"metadata": {"labels": {"app.kubernetes.io/component": "edited"}}}),
    ("/apis/apps/v1", "statefulsets", {"spec": {"replicas": 0}}),
    ("/apis/apps/v1", "deployments", {"spec": {"replicas": 0}}),
)
SPARED = ("nats", "simulator", "execution")  # edited objects belong to services without which the day goes on


@pytest.fixture(scope="module")
def drift(installation: Installation) -> Iterator[Installation]:
    """One running system for this file."""
    installation.apply(simulation(NAME))
    installation.wait_ready(NAME)
    yield installation
    installation.delete(f"{SYSTEMS}/{NAME}")  # its pods go while the next file works


def victim(installation: Installation, group: str, plural: str) -> Object:
    """An owned object of that kind which belongs to a service that may be disturbed."""
    found = installation.items(f"{group}/namespaces/{NAMESPACE}/{plural}", f"tradingsystem.dev/system={NAME}")
    spared = {f"{NAME}-{service}" for service in SPARED}
    able = [each for each in found if each["metadata"]["name"] not in spared and "-revision-" not in each["metadata"]["name"]]
    wanted = [each for each in able if plural != "configmaps" or "slice.json" in each.get("data", {})]
    assert wanted, f"{NAME} owns no {plural} that could be disturbed: {[each['metadata']['name'] for each in found]}"
    return wanted[-1]


def differs(thing: Any, edit: Any) -> bool:
    """Whether an object no longer says what the edit wrote."""
    if isinstance(edit, dict):
        return isinstance(thing, dict) and any(differs(thing.get(key), value) for key, value in edit.items())
    return bool(thing != edit)


def entries(of: Installation, address: str, status: str = "all") -> set[str]:
    """Ids of the buys that the broker lists with that status; the newest five hundred."""
    listed = of.venue_at(address, f"/v2/orders?status={status}&limit=500&nested=true")
    return {order["id"] for order in listed if order["side"] == "buy"}


def test_without_an_api_server_pods_trade_on(drift: Installation) -> None:
    """A minute without the API server: market time goes on at the simulator, a halt halts, no pod is replaced, and afterwards all is ready.

    It comes first, while the market is open for sure.
    """
    before = drift.lives(NAME)
    person = drift.person(NAME)
    address = drift.pod(NAME, "simulator")["status"]["podIP"]
    at_first, bought = drift.venue_at(address, "/simulator/clock")["market_ns"], entries(drift, address)
    drift.api.close()  # the next request opens a connection to the one that comes back
    with drift.cluster.plane.without_api_server():
        threading.Event().wait(API_SERVER_AWAY_SECONDS / 2)
        answer = person.tell("HALT the API server is away")
        assert answer["accepted"], answer
        wait("no entry open, by the broker's word", lambda: not entries(drift, address, "open"), HALTED_WITHIN_SECONDS)
        halted = entries(drift, address)
        threading.Event().wait(API_SERVER_AWAY_SECONDS / 2)
        at_last = drift.venue_at(address, "/simulator/clock")["market_ns"]
        opened = entries(drift, address) - halted
    say(f"while the API server was away: {(at_last - at_first) / 1e9:.0f} s of market time, {len(halted - bought)} entries until the halt")
    assert at_last > at_first
    assert not opened
    drift.wait_operator(BACK_WITHIN_SECONDS)
    wait(f"{NAME}: says that it is halted", lambda: drift.trading(NAME).get("state") == "Halted", 60)
    answer = person.tell('{"kind": "Resume", "name": "tests", "reason": "the API server is back"}')
    assert answer["accepted"], answer
    wait(f"{NAME}: active", lambda: drift.trading(NAME).get("state") == "Active", 60)
    drift.wait_ready(NAME)
    assert drift.lives(NAME) == before


@pytest.mark.parametrize(("group", "plural", "edit"), OWNED, ids=[plural for _group, plural, _edit in OWNED])
def test_an_edited_object_is_put_right(drift: Installation, group: str, plural: str, edit: Object) -> None:
    """Within five seconds it says again what it should."""
    before = victim(drift, group, plural)
    path = f"{group}/namespaces/{NAMESPACE}/{plural}/{before['metadata']['name']}"
    drift.patch(path, edit)
    wait(f"{plural} {before['metadata']['name']}: edit undone", lambda: differs(drift.get(path), edit), REPAIRED_WITHIN_SECONDS)


@pytest.mark.parametrize(("group", "plural"), [(group, plural) for group, plural, _edit in OWNED], ids=[plural for _g, plural, _e in OWNED])
def test_a_deleted_object_comes_back(drift: Installation, group: str, plural: str) -> None:
    """Within five seconds there is one of the same name with another identity."""
    before = victim(drift, group, plural)["metadata"]
    path = f"{group}/namespaces/{NAMESPACE}/{plural}/{before['name']}"
    drift.delete(path)

    def made_again() -> bool:
        found = drift.find(path)
        return found is not None and bool(found["metadata"]["uid"] != before["uid"])

    wait(f"{plural} {before['name']}: made again", made_again, REPAIRED_WITHIN_SECONDS)


def test_foreign_fields_stay(drift: Installation) -> None:
    """What another manager adds to our object is not ours to take away."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}-monitor"
    drift.patch(path, {"metadata": {"annotations": {"example.org/note": "mine"}}, "spec": {"replicas": 0}})
    wait("replicas: put right", lambda: drift.get(path)["spec"]["replicas"] == 1, REPAIRED_WITHIN_SECONDS)
    assert drift.get(path)["metadata"]["annotations"]["example.org/note"] == "mine"


def test_an_operator_killed_mid_apply_restarts_nothing(drift: Installation) -> None:
    """Ten times the operator dies while it works on a change; it converges, and no pod was replaced or started again by it."""
    drift.wait_ready(NAME)
    before = drift.lives(NAME)
    for number in range(1, KILLS + 1):
        drift.wait_operator()
        since = datetime.datetime.now(datetime.UTC)
        drift.patch(f"{SYSTEMS}/{NAME}", {"spec": {"risk": {"ordersPerMinuteMax": 60 - number}}})
        wait("operator: began to write", lambda since=since: drift.writes(since), 10)
        drift.kill_operator()
    drift.wait_operator()
    generation = drift.system(NAME)["metadata"]["generation"]
    wait("the last change: acknowledged", lambda: drift.system(NAME)["status"]["acknowledgedGeneration"] == generation, 60)
    drift.wait_ready(NAME)
    assert drift.lives(NAME) == before


def test_nothing_is_written_at_rest(drift: Installation) -> None:
    """The market has closed and nothing changes: two minutes without a write by the operator, its Lease left out.

    Of an operator that leads. One that has just begun to lead applies everything once, since it remembers nothing; that is over before the two minutes.
    """
    drift.wait_operator()
    wait(f"{NAME}: the market has closed", lambda: drift.venue(NAME, "/simulator/clock")["finished"], 400)
    threading.Event().wait(40)  # the day's profit is told at most every 30 s: the last time may be still to come
    since = datetime.datetime.now(datetime.UTC)
    threading.Event().wait(IDLE_SECONDS)
    drift.api.close()  # nobody asked for so long that the server has closed the connection
    written = [
        (event["requestReceivedTimestamp"], event["verb"], event["objectRef"]["resource"], event["objectRef"].get("name"))
        for event in drift.writes(since)
    ]
    assert not written
    say(f"writes in {IDLE_SECONDS:.0f} idle seconds: {len(written)}")
