"""The operator on a real API server: what it makes, what it puts right, what it leaves alone, what it says; killed, paused, and given rubbish."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.waiting import until
from tests.operator.operating import Place
from tests.promises.server import RunningServer
from tests.spec.documents import document
from tradingsystem.messages.permissions import permissions
from tradingsystem.process.nats_server import free_ports, write_configuration
from tradingsystem_operator.deletion import FINALIZER
from tradingsystem_operator.objects import CONFIG_MAP, MANAGED_BY_LABEL, OWNED, SECRET, TRADING_SYSTEM, VOLUME_CLAIM, Kind, Object

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

REPAIRED_SECONDS = NOTICED_SECONDS = 5.0
POKE = {"metadata": {"annotations": {"example.com/poke": "1"}}}
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")


def settled(here: Place, name: str = "momentum", changes: dict[str, Any] | None = None) -> list[tuple[Kind, Object]]:
    """A system whose first objects are all there, and they."""
    here.create(TRADING_SYSTEM, document(changes))
    until("the operator has said something", lambda: here.system(name).get("status", {}).get("revision"))
    return here.owned(name)


def versions(here: Place) -> dict[tuple[str, str], str]:
    return {(kind.kind, thing["metadata"]["name"]): thing["metadata"]["resourceVersion"] for kind, thing in here.owned("momentum")}


def test_a_system_becomes_objects_that_are_its_own(here: Place) -> None:
    """Labelled to be found, controlled so that they go with it; kopf leaves no trace on the resource, our finalizer is the only one."""
    here.operate()
    owned = settled(here)
    system = here.system("momentum")
    assert system["metadata"]["finalizers"] == [FINALIZER]
    assert "annotations" not in system["metadata"]
    assert {kind.kind for kind, _ in owned} >= {"ServiceAccount", "ConfigMap"}
    for _, thing in owned:
        (reference,) = thing["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (system["metadata"]["uid"], True)
    secret = here.get(SECRET, "momentum-nats")
    assert secret is not None
    assert {row.user for row in permissions("momentum")} <= set(secret["data"])
    assert system["status"]["observedGeneration"] == 1
    assert here.events("RevisionApplied")


def test_a_message_server_of_a_person_is_asked_and_not_made(here: Place, tmp_path: Path) -> None:
    """Missing passwords are named; with them an address where nobody listens is; and then, by the users of the printed account, it is reached."""
    (port,) = free_ports(1)
    server = RunningServer(tmp_path / "nats", "momentum")
    messaging = {"type": "External", "urls": [f"nats://127.0.0.1:{port}"], "secretRef": {"name": "nats-users"}}
    running = here.operate()
    owned = settled(here, changes={"spec.messaging": messaging})
    assert not [thing for _, thing in owned if thing["metadata"]["name"] == "momentum-nats"]
    assert here.get(SECRET, "momentum-nats") is None
    assert "Secret nats-users is not there" in here.said("momentum", "Degraded", "MissingSecret")["message"]
    write_configuration(server.settings)
    passwords = {row.user: base64.b64encode(server.as_user(row.user).password.encode()).decode() for row in permissions("momentum")}
    here.create(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nats-users"}, "data": passwords})
    assert f"nats://127.0.0.1:{port}" in here.said("momentum", "Degraded", "NatsUnreachable")["message"]
    users = server.settings.folder / "users.conf"
    users.write_text(users.read_text().replace('"user": "', '"user": "momentum-'))
    configuration = server.settings.folder / "nats.conf"
    configuration.write_text(configuration.read_text().replace(str(server.settings.port), str(port)))
    server.launch()
    try:
        until("the operator speaks with it", lambda: running.metric('control_channels{connected="true"}') == 1)
    finally:
        server.stop()


def test_whatever_is_edited_or_deleted_by_hand_is_put_right_within_five_seconds(
    here: Place, record_property: Callable[[str, object], None]
) -> None:
    """Every object of every owned kind; what others added beside our fields stays."""
    running = here.operate()
    times: dict[str, list[float]] = {}
    for kind, thing in settled(here):
        name, began = thing["metadata"]["name"], time.monotonic()
        here.patch(kind, name, {"metadata": {"labels": {MANAGED_BY_LABEL: "somebody", "example.com/theirs": "stays"}}})
        fixed = until(f"{kind.kind} {name} is labelled again", partial(_labelled, here, kind, name), REPAIRED_SECONDS)
        assert fixed["metadata"]["labels"]["example.com/theirs"] == "stays"
        middle = time.monotonic()
        here.delete(kind, name)
        until(f"{kind.kind} {name} is there again", partial(_made_anew, here, kind, thing), REPAIRED_SECONDS)
        times.setdefault(kind.kind, []).extend((middle - began, time.monotonic() - middle))
    record_property("repaired_seconds_at_most", {kind: round(max(each), 2) for kind, each in times.items()})
    assert running.metric("drift_repaired_total") > 0
    assert here.events("DriftRepaired")


def _labelled(here: Place, kind: Kind, name: str) -> Object | None:
    thing = here.get(kind, name)
    return thing if thing is not None and thing["metadata"]["labels"].get(MANAGED_BY_LABEL) == "tradingsystem-operator" else None


def _made_anew(here: Place, kind: Kind, before: Object) -> bool:
    thing = here.get(kind, before["metadata"]["name"])
    return thing is not None and thing["metadata"]["uid"] != before["metadata"]["uid"]


def test_content_that_was_edited_is_put_right(here: Place) -> None:
    """A slice changed by hand would give a restarted pod settings that nobody asked for."""
    here.operate()
    settled(here)
    before = here.get(CONFIG_MAP, "momentum-execution")
    assert before is not None
    here.patch(CONFIG_MAP, "momentum-execution", {"data": {"slice.json": "{}", "theirs": "stays"}})
    until(
        "the slice is as rendered",
        lambda: _data(here, "momentum-execution").get("slice.json") == before["data"]["slice.json"],
        REPAIRED_SECONDS,
    )
    assert _data(here, "momentum-execution")["theirs"] == "stays"


def _data(here: Place, name: str) -> dict[str, str]:
    return dict((here.get(CONFIG_MAP, name) or {}).get("data") or {})


def test_a_system_that_runs_costs_no_writes(here: Place) -> None:
    """Looked at again and again, by resyncs and after a restart of the operator: nothing is written but the Lease."""
    running = here.operate("--resync-seconds", "1")
    settled(here)
    rounds = running.metric("reconciles_total")
    until("it has come to rest", lambda: running.metric("reconciles_total") >= rounds + 3)
    writes, before, rounds = running.metric("writes_total"), versions(here), running.metric("reconciles_total")
    status = here.system("momentum")["metadata"]["resourceVersion"]
    until("ten more rounds", lambda: running.metric("reconciles_total") >= rounds + 10)
    assert running.metric("writes_total") == writes
    running.end()
    again = here.operate("--resync-seconds", "1")
    until("the next one has looked", lambda: again.metric("reconciles_total") >= 5)
    assert versions(here) == before
    assert here.system("momentum")["metadata"]["resourceVersion"] == status


def test_a_foreign_object_of_the_same_name_is_left_alone(here: Place) -> None:
    """The person learns which one; everything else is applied; once it is gone the system is whole."""
    theirs = here.create(CONFIG_MAP, {"metadata": {"name": "momentum-filter"}, "data": {"a": "theirs"}})
    here.operate()
    settled(here)
    degraded = here.said("momentum", "Degraded", "NameConflict")
    assert "ConfigMap momentum-filter" in degraded["message"]
    there = here.get(CONFIG_MAP, "momentum-filter")
    assert there is not None
    assert there["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    assert here.get(CONFIG_MAP, "momentum-execution") is not None
    here.delete(CONFIG_MAP, "momentum-filter")
    here.patch(TRADING_SYSTEM, "momentum", POKE)
    here.said("momentum", "Degraded", "AsExpected")
    assert here.get(CONFIG_MAP, "momentum-filter") is not None


def test_a_missing_secret_is_named_with_its_keys(here: Place) -> None:
    """And nothing of its content is ever said."""
    here.operate()
    paper = {"spec.mode": "Paper", "spec.execution.broker": {"secretRef": {"name": "alpaca"}}}
    settled(here, changes=paper)
    degraded = here.said("momentum", "Degraded", "MissingSecret")
    assert all(word in degraded["message"] for word in ("alpaca", "apiKey", "apiSecret", "polygon"))
    for name in ("alpaca", "unusual-whales", "polygon"):  # the last one is the one whose absence is waited out
        here.create(SECRET, {"metadata": {"name": name}, "data": {"apiKey": base64.b64encode(b"canary").decode()}})
    here.patch(TRADING_SYSTEM, "momentum", POKE)
    message = until("only one key is missing", lambda: _without(here, "polygon"))
    assert "has no key apiSecret" in message
    assert "canary" not in str(here.system("momentum")["status"])


def _without(here: Place, word: str) -> str:
    message: str = here.condition("momentum", "Degraded").get("message", "")
    return "" if word in message else message


def test_an_invalid_spec_that_slips_through_changes_nothing(here: Place) -> None:
    """The API server cannot look into a calendar: every problem is told, what runs stays as it was, and the correction heals."""
    running = here.operate()
    settled(here)
    until("it has come to rest", lambda: running.metric("queue_depth") == 0 and here.condition("momentum", "Degraded"))
    before = versions(here)
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"simulation": {"startDate": "2026-07-04"}}})
    degraded = here.said("momentum", "Degraded", "InvalidSpec")
    assert "startDate" in degraded["message"]
    assert versions(here) == before
    here.delete(CONFIG_MAP, "momentum-execution")
    until("drift is repaired meanwhile", lambda: here.get(CONFIG_MAP, "momentum-execution"), REPAIRED_SECONDS)
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"simulation": {"startDate": "2026-03-03"}}})
    here.said("momentum", "Degraded", "AsExpected")
    until("the correction is applied", lambda: here.system("momentum")["status"]["revision"] == 2)


def test_a_list_of_symbols_is_followed_and_its_mistakes_change_nothing(here: Place) -> None:
    """Nothing starts without it; an edit is a new revision without anybody touching the resource; what is wrong is told, and what runs stays as it was."""
    running = here.operate("--resync-seconds", "3600")
    here.create(TRADING_SYSTEM, document({"spec.universe": {"selection": "ConfigMap", "configMapRef": {"name": "listed"}}}))
    assert "ConfigMap listed is not there" in here.said("momentum", "Degraded", "MissingSymbols")["message"]
    assert here.get(CONFIG_MAP, "momentum-filter") is None
    here.create(CONFIG_MAP, {"metadata": {"name": "listed"}, "data": {"symbols": "SPY\nAAPL\n"}})
    until("it runs with both", lambda: _symbols(here) == ["SPY", "AAPL"], NOTICED_SECONDS)
    here.patch(CONFIG_MAP, "listed", {"data": {"symbols": "SPY\n"}})
    until("it runs with one", lambda: _symbols(here) == ["SPY"], NOTICED_SECONDS)
    until("as a revision of its own", lambda: here.system("momentum")["status"]["revision"] == 2)
    until("it has come to rest", lambda: running.metric("queue_depth") == 0 and here.condition("momentum", "Progressing"))
    before = versions(here)
    here.patch(CONFIG_MAP, "listed", {"data": {"symbols": "SPY\nnot one\n$\n"}})
    message = here.said("momentum", "Degraded", "InvalidSymbols", NOTICED_SECONDS)["message"]
    assert all(words in message for words in ("ConfigMap listed, key symbols, line 2: 'not one'", "line 3: '$'"))
    here.delete(CONFIG_MAP, "listed")
    here.said("momentum", "Degraded", "MissingSymbols", NOTICED_SECONDS)
    assert versions(here) == before
    assert here.events("InvalidSymbols")
    here.create(CONFIG_MAP, {"metadata": {"name": "listed"}, "data": {"symbols": "SPY\n"}})
    here.said("momentum", "Degraded", "AsExpected", NOTICED_SECONDS)
    assert versions(here) == before


def _symbols(here: Place) -> list[str]:
    slices = _data(here, "momentum-ingestion").get("slice.json")
    return list(json.loads(slices)["universe"]["symbols"]) if slices else []


def test_recorded_days_wait_for_their_claim_and_a_lost_one_changes_nothing(here: Place) -> None:
    """A pod that mounts what is not there would wait without a word; the claim is noticed by itself, and an edit to another that is missing is held back."""
    running = here.operate("--resync-seconds", "3600")
    recorded = {"source": "Recorded", "dataClaimName": "days", "startDate": "2013-10-08"}
    here.create(TRADING_SYSTEM, document({"spec.simulation": recorded}))
    assert "PersistentVolumeClaim days is not there" in here.said("momentum", "Degraded", "MissingVolumeClaim")["message"]
    here.create(VOLUME_CLAIM, claim("days"))
    here.said("momentum", "Degraded", "AsExpected", NOTICED_SECONDS)
    until("it has come to rest", lambda: running.metric("queue_depth") == 0 and here.system("momentum")["status"].get("revision"))
    before = versions(here)
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"simulation": {"dataClaimName": "others"}}})
    here.said("momentum", "Degraded", "MissingVolumeClaim")
    assert versions(here) == before
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"simulation": {"dataClaimName": "", "data": "/my/days"}}})
    assert "recorded days come to a pod on a volume alone" in here.said("momentum", "Degraded", "InvalidSpec")["message"]
    assert versions(here) == before
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"simulation": {"source": "Generated", "data": ""}}})
    until("the market is generated", lambda: here.system("momentum")["status"]["revision"] == 2)


def claim(name: str) -> Object:
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}}


def test_an_unknown_version_is_told_and_what_runs_runs_on(here: Place) -> None:
    """Nobody renders a release that was never seen."""
    here.operate()
    settled(here)
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"version": "9.9.9"}})
    degraded = here.said("momentum", "Degraded", "UnknownVersion")
    assert "1.0.0" in degraded["message"]
    assert here.system("momentum")["status"]["revision"] == 1


def test_a_newer_operator_changes_nothing_and_says_so(here: Place) -> None:
    """Upgrading the operator restarts nobody; going to its release is the person's word."""
    first = here.operate()
    settled(here)
    until("it has come to rest", lambda: here.condition("momentum", "Degraded"))
    first.end()
    before = versions(here)
    here.operate("--release-version", "1.1.0")
    warning = here.said("momentum", "Warning", "UpdateAvailable")
    assert "1.1.0" in warning["message"]
    assert versions(here) == before
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"version": "1.1.0"}})
    until("the new release is applied", lambda: here.system("momentum")["status"]["version"] == "1.1.0")
    assert here.system("momentum")["status"]["revision"] == 2


def test_paused_means_hands_off(here: Place) -> None:
    """Somebody who works by hand is not worked against; drift waits until the annotation goes."""
    here.operate()
    settled(here)
    here.patch(TRADING_SYSTEM, "momentum", {"metadata": {"annotations": {"tradingsystem.dev/pause": "true"}}})
    here.said("momentum", "Paused", "PausedByAnnotation")
    here.delete(CONFIG_MAP, "momentum-execution")
    here.patch(TRADING_SYSTEM, "momentum", {"spec": {"simulation": {"seed": 99}}})
    here.said("momentum", "Paused", "PausedByAnnotation")
    assert here.get(CONFIG_MAP, "momentum-execution") is None
    here.patch(TRADING_SYSTEM, "momentum", {"metadata": {"annotations": {"tradingsystem.dev/pause": None}}})
    here.said("momentum", "Paused", "NotPaused")
    until("everything is as it should be", lambda: here.get(CONFIG_MAP, "momentum-execution"))


def test_the_passwords_are_made_once_and_put_back_as_they_were(here: Place) -> None:
    """New passwords would lock out every service that runs."""
    here.operate()
    settled(here)
    before = here.get(SECRET, "momentum-nats")
    assert before is not None
    here.delete(SECRET, "momentum-nats")
    here.patch(TRADING_SYSTEM, "momentum", POKE)
    after = until("it is there again", lambda: here.get(SECRET, "momentum-nats"))
    assert after["data"] == before["data"]


def test_killed_again_and_again_it_converges_to_one_revision(here: Place) -> None:
    """SIGKILL at any moment of the first round leaves something the next process goes on from; nothing is made twice."""
    here.create(TRADING_SYSTEM, document())
    pause = threading.Event()
    for attempt in range(4):
        running = here.operate("--identity", "one", ready=False)
        until("it leads", lambda running=running: any(line["event"] == "leads" for line in running.lines()))
        pause.wait(0.15 * attempt)
        running.end(signal.SIGKILL)
    here.operate("--identity", "one")
    until("it has come to rest", lambda: here.system("momentum").get("status", {}).get("revision"))
    revisions = [thing["metadata"]["name"] for _, thing in here.owned("momentum") if "-revision-" in thing["metadata"]["name"]]
    assert revisions == ["momentum-revision-1"]
    whole = {kind.kind for kind, _ in here.owned("momentum")}
    assert whole <= {kind.kind for kind in OWNED}
    assert {"momentum-execution", "momentum-spec"} <= {thing["metadata"]["name"] for _, thing in here.owned("momentum")}


def test_a_second_operator_stands_by_and_takes_over(here: Place) -> None:
    """One works; the other is not ready, and is at work soon after the first one ends, by itself or by force."""
    first = here.operate("--identity", "first")
    second = here.operate("--identity", "second", ready=False)
    until("the second stands by", lambda: any(line["event"] == "standing_by" for line in second.lines()))
    assert second.ask("/healthz")[0] == 200
    status, why = second.ask("/readyz")
    assert (status, "stands by" in why) == (503, True)
    assert first.end() == 0
    until("the second is ready", lambda: second.ready, 10.0)
    settled(here)
    third = here.operate("--identity", "third", ready=False)
    second.end(signal.SIGKILL)
    until("the third is ready once the Lease has run out", lambda: third.ready, 40.0)
    here.delete(CONFIG_MAP, "momentum-execution")
    until("it repairs", lambda: here.get(CONFIG_MAP, "momentum-execution"), REPAIRED_SECONDS)


def test_who_loses_the_lease_ends_at_once(here: Place) -> None:
    """Somebody else holds it: two that write would undo each other."""
    running = here.operate("--identity", "first")
    lease = here.get(LEASE, "tradingsystem-operator")
    assert lease is not None
    with contextlib.suppress(AssertionError):
        here.patch(LEASE, "tradingsystem-operator", {"spec": {"holderIdentity": "somebody"}})
    assert running.process.wait(20) == 1
    assert any(line["event"] == "lease_lost" for line in running.lines())


def test_a_system_that_never_ran_goes_at_once_and_one_of_the_same_name_begins_anew(here: Place) -> None:
    """Nothing of the first one's memory is taken for the second's."""
    here.operate()
    settled(here)
    here.delete(TRADING_SYSTEM, "momentum")
    until("it is gone", lambda: here.get(TRADING_SYSTEM, "momentum") is None, 10.0)
    assert here.events("DeletedBeforeItRan")
    for kind, thing in here.owned("momentum"):  # the garbage collector's work, which does not run here
        here.delete(kind, thing["metadata"]["name"])
    here.delete(SECRET, "momentum-nats")
    settled(here)
    assert here.system("momentum")["status"]["revision"] == 1
    here.said("momentum", "Degraded", "AsExpected")
