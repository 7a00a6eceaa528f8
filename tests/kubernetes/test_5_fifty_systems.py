"""Issue 5, "Shows it works", 5: fifty systems and one operator, their pods left out. All settle; a limit is lowered in all of them while the operator is
killed; one that is edited all the time keeps nobody waiting; at rest nothing is written. What that costs is printed; only what is right is asserted.

The API server is real; there are no controllers and no node. In their place the test says of each workload that it is ready.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.kubernetes.installation import MERGE, SYSTEMS, Object, say, simulation, wait
from tests.kubernetes.operator_process import OperatorProcess, ask, create, define, operator

pytestmark = [pytest.mark.pods, pytest.mark.timeout(900)]

SYSTEMS_COUNT = 50
LIMIT = 3
IDLE_SECONDS = 60.0
QUIET_SECONDS = 40.0  # longer than a system with a problem waits before it is looked at again
SETTLED_WITHIN_SECONDS = 400.0
WORKLOADS = ("/apis/apps/v1/namespaces/default/statefulsets", "/apis/apps/v1/namespaces/default/deployments")
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NAMES_ALONE = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
# A container that is started again in its pod is the same holder of the Lease; nobody listens where the message servers should be.
FLAGS = ("--identity", "one", "--nats-url", "nats://127.0.0.1:1")
BUSY = "many-00"


def names_alone(api: Api, path: str) -> list[Object]:
    """What a list holds, without what is in it."""
    status, answer = api.ask("GET", path, accept=NAMES_ALONE)
    assert status == 200, answer
    return [each["metadata"] for each in answer["items"] or ()]


class Repeated:
    """Something done again and again beside the test, with a client of its own; what goes wrong there fails the test at the end."""

    def __init__(self, kubeconfig: Path, pause_seconds: float) -> None:
        self._pause_seconds, self._asked = pause_seconds, threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] = Future()
        self.api = Api(kubeconfig)

    def __enter__(self) -> None:
        self._running = self._pool.submit(self._run)

    def __exit__(self, *_: object) -> None:
        self._asked.set()
        with self._pool, contextlib.closing(self.api):
            self._running.result(60)

    def once(self) -> None:
        """One time."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._asked.wait(self._pause_seconds):
            self.once()


class Controllers(Repeated):
    """Every workload is ready in its newest form, as controllers and kubelet would say after a while."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig, 0.5)
        self._known: set[tuple[str, int]] = set()

    def once(self) -> None:
        for path in WORKLOADS:
            for metadata in names_alone(self.api, path):
                name, generation = metadata["name"], metadata["generation"]
                if (metadata["uid"], generation) not in self._known:
                    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 1)
                    ask(self.api, "PATCH", f"{path}/{name}/status", {"status": {"observedGeneration": generation, **counts}}, MERGE)
                    self._known.add((metadata["uid"], generation))


class Editor(Repeated):
    """Somebody who cannot leave one system alone."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig, 0.05)
        self.edits = 0

    def once(self) -> None:
        self.edits += 1
        ask(self.api, "PATCH", f"{SYSTEMS}/{BUSY}", {"spec": {"trading": {"state": ("Active", "Reducing")[self.edits % 2]}}}, MERGE)


def unsettled(api: Api) -> set[str]:
    """Systems whose newest generation the operator has not yet brought to rest."""
    found = set()
    for system in ask(api, "GET", SYSTEMS)["items"]:
        status = system.get("status", {})
        settled = any(each["type"] == "Progressing" and each["reason"] == "Settled" for each in status.get("conditions", []))
        if not settled or status["observedGeneration"] != system["metadata"]["generation"]:
            found.add(system["metadata"]["name"])
    return found


def identities(api: Api) -> dict[str, str]:
    """Each workload and which one it is: unequal means made anew."""
    return {f"{path}/{each['name']}": each["uid"] for path in WORKLOADS for each in names_alone(api, path)}


def limits(api: Api) -> dict[str, int]:
    """For each system the limit in its last good spec, which is what a change of it has to reach."""
    maps = ask(api, "GET", CONFIG_MAPS)["items"]
    specs = {each["metadata"]["name"].removesuffix("-spec"): each["data"] for each in maps if each["metadata"]["name"].endswith("-spec")}
    return {name: json.loads(data["spec.json"])["risk"]["positionsOpenMax"] for name, data in specs.items()}


def written(plane: ControlPlane, since: datetime.datetime) -> list[str]:
    """What the operator has written since that moment, its Lease left out, by the API server's own record."""
    found = []
    for line in plane.audit_log.read_text().splitlines():
        event = json.loads(line)
        at = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"])
        what = event.get("objectRef", {})
        if at >= since and event.get("userAgent") == "tradingsystem-operator" and what.get("resource") != "leases":
            found.append(f"{at:%H:%M:%S} {event['verb']} {what.get('resource')} {what.get('name')}")
    return found


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@contextlib.contextmanager
def measured(running: OperatorProcess, what: str) -> Iterator[None]:
    """Prints what a stretch of work cost: rounds and their duration since the process began, all else of the stretch itself."""
    began, used, asked = time.monotonic(), running.processor_seconds(), running.total("tradingsystem_operator_request_seconds_count")
    yield
    lasted, spent = time.monotonic() - began, running.processor_seconds() - used
    requests = running.total("tradingsystem_operator_request_seconds_count") - asked
    rounds = running.total("tradingsystem_operator_reconcile_seconds_count")
    p50, p99 = (running.quantile("tradingsystem_operator_reconcile_seconds", share) for share in (0.5, 0.99))
    cost = f"{spent:.1f} processor seconds in {lasted:.1f} s, {requests:.0f} requests, at most {running.memory_mib():.0f} MiB"
    say(f"{what}: {cost}; {rounds:.0f} rounds since its start, p50 at most {p50:g} s, p99 at most {p99:g} s")


def test_fifty_systems_one_limit_and_one_kill(tmp_path: Path) -> None:
    """Made, settled, changed under a kill with one busy system among them, and at rest."""
    with ControlPlane(tmp_path, say=say) as plane, contextlib.closing(Api(plane.kubeconfig)) as api, Controllers(plane.kubeconfig):
        define(api)
        with operator(plane.kubeconfig, tmp_path / "log" / "operator-1.log", *FLAGS) as first:
            with measured(first, f"{SYSTEMS_COUNT} systems made"):
                for number in range(SYSTEMS_COUNT):
                    create(api, simulation(f"many-{number:02}"))
                wait(f"{SYSTEMS_COUNT} systems: settled", lambda: not unsettled(api), SETTLED_WITHIN_SECONDS)
            before = identities(api)
            say(f"workloads: {len(before)}")
            for number in range(SYSTEMS_COUNT):
                ask(api, "PATCH", f"{SYSTEMS}/many-{number:02}", {"spec": {"risk": {"positionsOpenMax": LIMIT}}}, MERGE)
            wait("the first limits: in force", lambda: LIMIT in limits(api).values(), 60)
            first.kill()
        say(f"killed when {sum(value == LIMIT for value in limits(api).values())} of {SYSTEMS_COUNT} limits were lowered")
        with operator(plane.kubeconfig, tmp_path / "log" / "operator-2.log", *FLAGS) as second:
            editor = Editor(plane.kubeconfig)
            with measured(second, "after the kill, until all but the busy one are settled"), editor:
                wait("all others: settled", lambda: not unsettled(api) - {BUSY}, SETTLED_WITHIN_SECONDS)
            say(f"edits of {BUSY} meanwhile: {editor.edits}")
            wait(f"{BUSY}: settled", lambda: not unsettled(api), 60)
            assert limits(api) == {f"many-{number:02}": LIMIT for number in range(SYSTEMS_COUNT)}
            assert identities(api) == before
            wait(
                f"{QUIET_SECONDS:.0f} s without a write",
                lambda: not written(plane, now() - datetime.timedelta(seconds=QUIET_SECONDS)),
                SETTLED_WITHIN_SECONDS,
            )
            since = now()
            with measured(second, f"{IDLE_SECONDS:.0f} s of rest"):
                threading.Event().wait(IDLE_SECONDS)
            assert not written(plane, since)
