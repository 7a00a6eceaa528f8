"""Issue 5, "Shows it works", 1 and 2, on one system and one simulated half-day: installed, applied, ready, traded, flat, and the auditor agrees; meanwhile what
hands change is put right, and neither the operator's death nor the API server's stops trading. Afterwards rest is rest; what stays of it is the volumes, and
they are taken up again.
"""

from __future__ import annotations

import datetime
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes.installation import NAMESPACE, SYSTEMS, Installation, Object, say, simulation, wait

pytestmark = [pytest.mark.pods, pytest.mark.charts, pytest.mark.timeout(900)]

NAME = "session"
SPEED = 60
COVER_SECONDS = 3 + SPEED * 0.05
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
COLUMNS = ["Name", "Mode", "Trading", "Ready", "Model", "Day P&L", "Age"]
REPAIRED_WITHIN_SECONDS = 5.0
IDLE_SECONDS = 120.0
API_SERVER_AWAY_SECONDS = 60.0
BACK_WITHIN_SECONDS = 180.0  # kube-proxy asks again ever more rarely, and until then pods have no way to the API server
HALTED_WITHIN_SECONDS = 5.0
KILLS = 10
PODS_TAKEN_EVERY = 5  # and whoever comes then has another name and waits until the Lease has run out
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
def session(installation: Installation) -> Iterator[Installation]:
    """One system for this file, ready within three minutes of its application; its simulated day begins then."""
    installation.apply(simulation(NAME, speed=SPEED))
    installation.wait_ready(NAME, 180)
    yield installation
    if installation.find(f"{SYSTEMS}/{NAME}"):
        installation.delete(f"{SYSTEMS}/{NAME}")  # its pods go while the next file works


def claims(installation: Installation) -> dict[str, tuple[str, str]]:
    """Its claims: name to identity and bound volume."""
    found = installation.items(CLAIMS, f"tradingsystem.dev/system={NAME}")
    return {each["metadata"]["name"]: (each["metadata"]["uid"], each["spec"].get("volumeName", "")) for each in found}


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
    """Ids of the buys that the broker lists with that status, by their own and not by that of their legs; of the newest five hundred orders."""
    listed = of.venue_at(address, f"/v2/orders?status={status}&limit=500&nested=false")
    return {order["id"] for order in listed if order["side"] == "buy"}


@pytest.mark.core
def test_a_person_sees_that_it_is_ready(session: Installation) -> None:
    """The table of `kubectl get tsys` has its columns and says so, and `kubectl wait` returns."""
    table = session.api.table(SYSTEMS)
    assert [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0] == COLUMNS
    (row,) = (row["cells"] for row in table["rows"] if row["cells"][0] == NAME)
    assert row[1] == "Simulation"
    assert row[3] == "True"
    if kubectl := shutil.which("kubectl"):
        words = [kubectl, "--kubeconfig", str(session.cluster.kubeconfig)]
        subprocess.run([*words, "wait", "--for=condition=Ready", f"tsys/{NAME}", "--timeout=30s"], check=True, capture_output=True)
        shown = subprocess.run([*words, "get", "tsys"], check=True, capture_output=True, text=True).stdout
        assert shown.splitlines()[0].split("  ")[0] == "NAME"
        say(f"kubectl get tsys\n{shown}")


@pytest.mark.core
@pytest.mark.parametrize(("group", "plural", "edit"), OWNED, ids=[plural for _group, plural, _edit in OWNED])
def test_an_edited_object_is_put_right(session: Installation, group: str, plural: str, edit: Object) -> None:
    """Within five seconds it says again what it should."""
    before = victim(session, group, plural)
    path = f"{group}/namespaces/{NAMESPACE}/{plural}/{before['metadata']['name']}"
    session.patch(path, edit)
    wait(f"{plural} {before['metadata']['name']}: edit undone", lambda: differs(session.get(path), edit), REPAIRED_WITHIN_SECONDS)


@pytest.mark.core
@pytest.mark.parametrize(("group", "plural"), [(group, plural) for group, plural, _edit in OWNED], ids=[plural for _g, plural, _e in OWNED])
def test_a_deleted_object_comes_back(session: Installation, group: str, plural: str) -> None:
    """Within five seconds there is one of the same name with another identity."""
    before = victim(session, group, plural)["metadata"]
    path = f"{group}/namespaces/{NAMESPACE}/{plural}/{before['name']}"
    session.delete(path)

    def made_again() -> bool:
        found = session.find(path)
        return found is not None and bool(found["metadata"]["uid"] != before["uid"])

    wait(f"{plural} {before['name']}: made again", made_again, REPAIRED_WITHIN_SECONDS)


@pytest.mark.core
def test_foreign_fields_stay(session: Installation) -> None:
    """What another manager adds to our object is not ours to take away."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}-monitor"
    session.patch(path, {"metadata": {"annotations": {"example.org/note": "mine"}}, "spec": {"replicas": 0}})
    wait("replicas: put right", lambda: session.get(path)["spec"]["replicas"] == 1, REPAIRED_WITHIN_SECONDS)
    assert session.get(path)["metadata"]["annotations"]["example.org/note"] == "mine"


def test_without_an_api_server_pods_trade_on(session: Installation) -> None:
    """A minute without the API server: market time goes on at the simulator, a halt halts, no pod is replaced, and afterwards all is ready.

    It comes after the repairs: for a while afterwards controllers are still blind, and take a StatefulSet that was made anew for the old one.
    """
    session.wait_ready(NAME)
    before = session.lives(NAME)
    person = session.person(NAME)
    address = session.pod(NAME, "simulator")["status"]["podIP"]
    at_first, bought = session.venue_at(address, "/simulator/clock")["market_ns"], entries(session, address)
    session.api.close()  # the next request opens a connection to the one that comes back
    with session.cluster.plane.without_api_server():
        threading.Event().wait(API_SERVER_AWAY_SECONDS / 2)
        answer = person.tell("HALT the API server is away")
        assert answer["accepted"], answer
        wait("no entry open, by the broker's word", lambda: not entries(session, address, "open"), HALTED_WITHIN_SECONDS)
        halted = entries(session, address)
        threading.Event().wait(API_SERVER_AWAY_SECONDS / 2)
        at_last = session.venue_at(address, "/simulator/clock")["market_ns"]
        opened = entries(session, address) - halted
    say(f"while the API server was away: {(at_last - at_first) / 1e9:.0f} s of market time, {len(halted - bought)} entries until the halt")
    assert at_last > at_first
    assert not opened
    session.wait_operator(BACK_WITHIN_SECONDS)
    wait(f"{NAME}: says that it is halted", lambda: session.trading(NAME).get("state") == "Halted", 60)
    answer = person.tell('{"kind": "Resume", "name": "tests", "reason": "the API server is back"}')
    assert answer["accepted"], answer
    wait(f"{NAME}: active", lambda: session.trading(NAME).get("state") == "Active", 60)
    session.wait_ready(NAME)
    assert session.lives(NAME) == before


def test_an_operator_killed_mid_apply_restarts_nothing(session: Installation) -> None:
    """Ten times the operator dies while it works on a change, its process killed or its pod taken; it converges, and no pod was replaced by it."""
    session.wait_ready(NAME)
    before = session.lives(NAME)
    for number in range(1, KILLS + 1):
        session.wait_operator()
        since = datetime.datetime.now(datetime.UTC)
        session.patch(f"{SYSTEMS}/{NAME}", {"spec": {"risk": {"ordersPerMinuteMax": 60 - number}}})
        wait("operator: began to write", lambda since=since: session.writes(since), 10)
        session.delete_operator_pod() if number % PODS_TAKEN_EVERY == 0 else session.kill_operator()
    session.wait_operator()
    generation = session.system(NAME)["metadata"]["generation"]
    wait("the last change: acknowledged", lambda: session.system(NAME)["status"]["acknowledgedGeneration"] == generation, 60)
    session.wait_ready(NAME)
    assert session.lives(NAME) == before


@pytest.mark.core
def test_the_day_ends_flat(session: Installation) -> None:
    """After all that: orders were filled, at the close nothing is held, and the auditor finds nothing."""
    wait(f"{NAME}: the market has closed", lambda: session.venue(NAME, "/simulator/clock")["finished"], 400)
    found = session.audit(NAME, COVER_SECONDS)
    say(f"auditor: {found}")
    assert found["executions"] >= 2
    assert found["flat"]


def test_nothing_is_written_at_rest(session: Installation) -> None:
    """The market has closed and nothing changes: two minutes without a write by the operator, its Lease left out.

    Of an operator that leads. One that has just begun to lead applies everything once, since it remembers nothing; that is over before the two minutes.
    """
    session.wait_operator()
    wait(f"{NAME}: the market has closed", lambda: session.venue(NAME, "/simulator/clock")["finished"], 400)
    threading.Event().wait(40)  # the day's profit is told at most every 30 s: the last time may be still to come
    since = datetime.datetime.now(datetime.UTC)
    threading.Event().wait(IDLE_SECONDS)
    session.api.close()  # nobody asked for so long that the server has closed the connection
    written = [
        (event["requestReceivedTimestamp"], event["verb"], event["objectRef"]["resource"], event["objectRef"].get("name"))
        for event in session.writes(since)
    ]
    assert not written
    say(f"writes in {IDLE_SECONDS:.0f} idle seconds: {len(written)}")


@pytest.mark.core
def test_delete_leaves_the_volumes_and_a_new_one_takes_them_up(session: Installation) -> None:
    """Nothing but retained claims stays of a deleted system; the same name finds the same volumes again."""
    before = claims(session)
    assert len(before) == 2
    session.remove(NAME)
    assert claims(session) == before
    for kind in ("services", "configmaps", "serviceaccounts", "secrets"):
        assert not session.items(f"/api/v1/namespaces/{NAMESPACE}/{kind}", f"tradingsystem.dev/system={NAME}"), kind
    session.apply(simulation(NAME))
    session.wait_ready(NAME, 180)
    assert claims(session) == before


@pytest.mark.core
def test_what_halted_it_holds_until_a_person_clears_it(session: Installation) -> None:
    """The deletion halted the system in the journal that was taken up again: it opens nothing until the latch is cleared by its id, name and reason."""
    trading = wait(f"{NAME}: halted", lambda: (said := session.trading(NAME)).get("state") == "Halted" and said, 30)
    (latch,) = trading["latches"]
    cleared = {"tradingsystem.dev/clear-latch": f"{latch['id']};tests;trades again"}
    session.patch(f"{SYSTEMS}/{NAME}", {"metadata": {"annotations": cleared}})
    wait(f"{NAME}: active", lambda: session.trading(NAME).get("state") == "Active", 30)
    wait("the annotation: gone", lambda: not session.system(NAME)["metadata"].get("annotations"), 30)
