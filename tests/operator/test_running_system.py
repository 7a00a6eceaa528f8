"""A system that runs, as far as it can without a node: a real API server and a real message server; the test is kubelet, controllers and execution.

It writes into the status of workloads what controllers would, and says on the message server what execution would. Real pods are the matter of the
end-to-end tests.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.cluster.waiting import until
from tests.faults.proxy import FaultProxy
from tests.operator.operating import Place, Running, place
from tests.operator.speaking import Execution
from tests.operator.systems import EVENING_NS, position
from tests.promises.server import RunningServer
from tests.spec.documents import document
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.domain.control import CommandAnswer, CommandKind, ModelsState
from tradingsystem.domain.trading import Latch, LatchKind, TradingState
from tradingsystem.messages.codec import encode
from tradingsystem.messages.live_settings import settings_of
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec import from_document
from tradingsystem_operator.objects import (
    CLEAR_LATCH_ANNOTATION,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    POD,
    SECRET,
    STATEFUL_SET,
    TRADING_SYSTEM,
    Object,
    workload_of,
)

pytestmark = [pytest.mark.cluster, pytest.mark.nats, pytest.mark.slow]

WORKLOADS = {"nats", "simulator", "recorder", "monitor", "watcher", "models", "execution", "filter", "ingestion"}
JOBS = {"learning-incremental", "learning-retrain"}  # of a person's hand in Simulation


class Cluster:
    """The controllers' and the kubelet's side: everything that exists becomes ready, unless it is held back."""

    def __init__(self, here: Place) -> None:
        self._here = here
        self.order: list[str] = []
        self.unready: set[str] = set()

    def act(self) -> None:
        """Once: whatever is there is ready in its newest form."""
        for kind in (STATEFUL_SET, DEPLOYMENT):
            for thing in self._here.list(kind):
                name, generation = workload_of(thing), thing["metadata"]["generation"]
                if name in self.unready or (thing.get("status") or {}).get("observedGeneration") == generation:
                    continue
                self.order.append(name)
                counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 1)
                revisions = {"currentRevision": "r1", "updateRevision": "r1"} if kind is STATEFUL_SET else {}
                status = {"status": {"observedGeneration": generation, **counts, **revisions}}
                self._here.patch(kind, thing["metadata"]["name"], status, "/status")

    def settle(self, what: str, true: object, seconds: float = 60.0) -> None:
        """Act until it holds."""
        assert callable(true)

        def holds() -> bool:
            self.act()
            return bool(true())

        until(what, holds, seconds)


class Voice:
    """Execution's side of the message server, in a thread with an event loop of its own."""

    def __init__(self, execution: Execution, server: RunningServer) -> None:
        self.execution, self._server = execution, server
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._speaking: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Voice:
        self._thread.start()
        self._speaking.result(20)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def _run(self) -> None:
        self._loop.run_until_complete(self._speak())
        self._loop.close()

    async def _speak(self) -> None:
        self._stop = asyncio.Event()
        async with self.execution.speaking(self._server):
            self._speaking.set_result(None)
            await self._stop.wait()


class Scene:
    """One system that runs: its namespace, its operator, its message server, its execution."""

    def __init__(self, here: Place, running: Running, server: RunningServer, voice: Voice, cluster: Cluster) -> None:
        self.here, self.running, self.server, self.voice, self.cluster = here, running, server, voice, cluster

    @property
    def execution(self) -> Execution:
        return self.voice.execution

    def system(self) -> Object:
        return self.here.system("momentum")

    def edit(self, change: Object) -> int:
        """A person's edit; the generation it makes."""
        return int(self.here.patch(TRADING_SYSTEM, "momentum", change)["metadata"]["generation"])

    def template(self, workload: str = "execution") -> Object:
        found = self.here.get(STATEFUL_SET, f"momentum-{workload}")
        assert found is not None
        template: Object = found["spec"]["template"]
        return template


@pytest.fixture
def scene(plane: ControlPlane, api: Api, tmp_path: Path) -> Iterator[Scene]:
    """A simulated system, ready, its execution heard and its live settings in force."""
    with running_scene(plane, api, tmp_path) as made:
        yield made


@contextlib.contextmanager
def running_scene(plane: ControlPlane, api: Api, tmp_path: Path, *flags: str, changes: dict[str, Any] | None = None) -> Iterator[Scene]:
    """Such a system with that changed of it, under an operator with those flags."""
    with place(plane, api, tmp_path) as here:
        server = RunningServer(tmp_path / "nats", "momentum")
        running = here.operate(*flags, nats_port=server.settings.port)
        here.create(TRADING_SYSTEM, document(changes))
        secret = until("the passwords are there", lambda: here.get(SECRET, "momentum-nats"))
        folder = server.settings.folder / "passwords"
        folder.mkdir(parents=True, mode=0o700)
        for user, value in secret["data"].items():
            path = folder / user
            path.touch(0o600)
            path.write_bytes(base64.b64decode(value))
        server.start()
        try:
            with Voice(Execution("momentum"), server) as voice:
                made = Scene(here, running, server, voice, Cluster(here))
                made.cluster.settle("the system is ready", lambda: here.condition("momentum", "Ready").get("status") == "True", 120.0)
                acknowledged = lambda: made.system()["status"]["acknowledgedGeneration"] == 1  # noqa: E731
                until("its settings are in force", acknowledged)
                yield made
        finally:
            server.stop()


def test_workloads_start_in_order_and_the_status_tells_all(scene: Scene) -> None:
    """Who listens starts before who speaks; the columns of kubectl and the waits of scripts have what they need."""
    first = {name: scene.cluster.order.index(name) for name in WORKLOADS}
    assert first["nats"] == 0
    assert first["execution"] < first["filter"] < first["ingestion"]
    assert max(first[name] for name in ("simulator", "recorder", "watcher")) < first["execution"]
    status = scene.system()["status"]
    assert {component["name"] for component in status["components"]} == WORKLOADS | JOBS
    assert all(component["ready"] and component["revision"] == 1 for component in status["components"])
    assert status["trading"]["state"] == "Active"
    execution = next(component for component in status["components"] if component["name"] == "execution")
    assert execution["bootHash"] == "ab" * 32, "what execution says of itself"
    assert len(execution["liveHash"]) == 64
    assert scene.here.condition("momentum", "TradingEnabled")["status"] == "True"


def test_execution_is_told_of_the_resource_as_long_as_it_is_read(scene: Scene) -> None:
    """Told by rounds that read it from the API server, before a resync would have come: execution need not believe in it for ever."""
    until("told", lambda: scene.execution.resource_told)
    before = scene.execution.resource_told
    until("told again", lambda: scene.execution.resource_told > before, 60.0)
    scene.running.end()
    told = scene.execution.resource_told
    said = scene.execution.said
    until("execution has spoken on", lambda: scene.execution.said > said + 10)
    assert scene.execution.resource_told == told


def test_a_limit_is_lowered_without_a_restart_and_the_last_of_quick_edits_holds(scene: Scene) -> None:
    """Five edits in a row: entries of rising generations, the newest is the last spec, and no pod's template moves."""
    before = scene.template()
    for limit in (490, 480, 470, 460, 450):
        generation = scene.edit({"spec": {"risk": {"dailyLossMax": limit}}})
    until("the last edit is acknowledged", lambda: scene.system()["status"]["acknowledgedGeneration"] == generation)
    applied = scene.execution.applied
    generations = [each.generation for each in applied]
    assert generations == sorted(set(generations))
    assert applied[-1].spec == settings_of(from_document(scene.system()))
    assert b'"dailyLossMax":450' in applied[-1].spec
    assert scene.template() == before
    assert scene.system()["status"]["revision"] == 1


def test_a_limit_goes_on_while_a_list_of_symbols_is_missing(scene: Scene) -> None:
    """The edit names a ConfigMap that is not there and lowers a limit: the limit is in force, no pod is changed until the list comes."""
    before = scene.template()
    universe = {"selection": "ConfigMap", "configMapRef": {"name": "listed"}}
    generation = scene.edit({"spec": {"universe": universe, "risk": {"dailyLossMax": 450}}})
    until("the limit is acknowledged", lambda: scene.system()["status"]["acknowledgedGeneration"] == generation)
    assert b'"dailyLossMax":450' in scene.execution.applied[-1].spec
    scene.here.said("momentum", "Degraded", "MissingSymbols")
    assert (scene.template(), scene.system()["status"]["revision"]) == (before, 1)
    scene.here.create(CONFIG_MAP, {"metadata": {"name": "listed"}, "data": {"symbols": "SPY\n"}})
    scene.cluster.settle("the list is rolled out", lambda: scene.template() != before)
    assert scene.system()["status"]["acknowledgedGeneration"] == generation


def test_what_execution_has_not_taken_over_is_not_called_in_force(scene: Scene) -> None:
    """A person who waits for a limit must not be told too early."""
    scene.execution.takes_over = False
    generation = scene.edit({"spec": {"trading": {"state": "Halted"}}})
    scene.here.said("momentum", "Progressing", "LiveSettingsPending")
    assert scene.system()["status"]["acknowledgedGeneration"] < generation


def test_a_restarted_operator_journals_nothing_anew(scene: Scene) -> None:
    """Its memory is the journal: the same settings are not applied twice."""
    count = len(scene.execution.applied)
    scene.running.end()
    again = scene.here.operate("--resync-seconds", "1", nats_port=scene.server.settings.port)
    until("the new one has heard and looked", lambda: again.metric("control_channels") >= 1 and again.metric("reconciles_total") >= 5)
    scene.here.said("momentum", "Progressing", "Settled")
    assert len(scene.execution.applied) == count


def test_a_halt_does_not_wait_for_objects(scene: Scene, plane: ControlPlane, tmp_path: Path) -> None:
    """An operator that begins to lead applies every object, which on a slow API server takes long: a halt that comes meanwhile is in force before that."""
    scene.running.end()
    proxy = FaultProxy(plane.port, delay_seconds=0.2).start()
    slow = tmp_path / "slow.conf"
    slow.touch(0o600)
    slow.write_text(plane.kubeconfig.read_text().replace(plane.server, f"https://127.0.0.1:{proxy.port}"))
    try:
        again = scene.here.operate(nats_port=scene.server.settings.port, kubeconfig=slow)
        until("it has begun to apply", lambda: again.metric("writes_total") >= 2)
        scene.edit({"spec": {"trading": {"state": "Halted"}}})
        until("the halt is in force", lambda: b'"Halted"' in scene.execution.applied[-1].spec)
        assert again.metric("writes_total") < len(scene.here.owned("momentum")) / 2
        scene.here.said("momentum", "Progressing", "Settled")
        again.end()
    finally:
        proxy.stop()


def test_an_unsafe_change_waits_while_positions_are_open_and_then_goes(scene: Scene) -> None:
    """A new boot configuration restarts pods: not while something is held in session; budgets allow no drain meanwhile."""
    before = scene.template()
    scene.execution.become(positions=(position(),))
    until("the status shows the position", lambda: scene.system()["status"]["trading"]["positions"] == 1)
    budget = lambda: (scene.here.get(DISRUPTION_BUDGET, "momentum-execution") or {})["spec"]["maxUnavailable"]  # noqa: E731
    until("no disruption of who guards it", lambda: budget() == 0)
    scene.edit({"spec": {"execution": {"flattenBeforeCloseMinutes": 20}}})
    waiting = scene.here.said("momentum", "Progressing", "PositionsOpen")
    assert "execution" in waiting["message"]
    assert scene.template() == before
    assert scene.here.condition("momentum", "Ready")["status"] == "True"
    scene.execution.become(positions=())
    scene.cluster.settle("it goes once nothing is held", lambda: scene.template() != before)
    settled = lambda: all(component["revision"] == 2 for component in scene.system()["status"]["components"])  # noqa: E731
    scene.cluster.settle("every workload runs revision 2", settled)
    assert budget() == 1


def test_a_stuck_pod_of_an_older_revision_is_taken_away(scene: Scene) -> None:
    """A bad image in a StatefulSet would otherwise hold its own correction up for ever."""
    labels = (scene.here.get(STATEFUL_SET, "momentum-execution") or {})["spec"]["template"]["metadata"]["labels"]
    container = {"name": "execution", "image": "bad:1"}
    spec = {"containers": [container], "automountServiceAccountToken": False, "serviceAccountName": "momentum-pods"}
    metadata = {"name": "momentum-execution-0", "labels": labels | {"controller-revision-hash": "r0"}}
    scene.here.create(POD, {"metadata": metadata, "spec": spec})
    waiting = {"name": "execution", "image": "bad:1", "imageID": "", "ready": False, "restartCount": 0}
    state = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    status = {"status": {"containerStatuses": [waiting | state]}}
    scene.here.patch(STATEFUL_SET, "momentum-execution", {"status": {"readyReplicas": 0, "availableReplicas": 0}}, "/status")
    scene.here.patch(POD, "momentum-execution-0", status, "/status")
    until(
        "the pod is taken away",
        lambda: (pod := scene.here.get(POD, "momentum-execution-0")) is None or "deletionTimestamp" in pod["metadata"],
    )
    until("it is told", lambda: scene.here.events("StuckPodReplaced"))


def test_a_latch_is_cleared_by_annotation_once(scene: Scene) -> None:
    """The person's name and reason reach execution, its answer becomes an event, the annotation goes whatever the answer is."""
    latch = Latch(
        id="l1", kind=LatchKind.DAILY_LOSS, state=TradingState.HALTED, reason="lost 500", set_by="execution", set_at_ns=EVENING_NS
    )
    scene.execution.become(state=TradingState.HALTED, latches=(latch,))
    until("the status shows the latch", lambda: scene.system()["status"]["trading"]["latches"])
    scene.edit({"metadata": {"annotations": {CLEAR_LATCH_ANNOTATION: "l1;Ada;looked at the account"}}})
    until("the annotation goes", lambda: CLEAR_LATCH_ANNOTATION not in (scene.system()["metadata"].get("annotations") or {}))
    (command,) = [each for each in scene.execution.commands if each.kind is CommandKind.CLEAR_LATCH]
    assert (command.latch_id, command.name, command.reason) == ("l1", "Ada", "looked at the account")
    assert "asked for by Ada" in until("it is told", lambda: scene.here.events("LatchCleared"))[0]
    scene.execution.answer = lambda asked: CommandAnswer(id=asked.id, accepted=False, reason="there is no latch l2")
    for value in ("l2;Ada;again", "only an id"):
        scene.edit({"metadata": {"annotations": {CLEAR_LATCH_ANNOTATION: value}}})
        until("it goes", lambda: CLEAR_LATCH_ANNOTATION not in (scene.system()["metadata"].get("annotations") or {}))
    assert len(until("both are told", lambda: len(scene.here.events("LatchNotCleared")) == 2 and scene.here.events("LatchNotCleared"))) == 2


def test_the_steps_of_model_versions_are_mirrored_and_told(scene: Scene) -> None:
    """Tried, serving, taken back: the status says where things stand, the column of kubectl has the version, each step is one event with its reason."""
    steps = [
        ModelsState(serving=1, pinned=0, generation=1, refused={}),
        ModelsState(serving=1, pinned=0, generation=1, refused={"2": "NotBetter: it is not"}, trial=3, phase="Shadow"),
        ModelsState(serving=3, pinned=0, generation=1, refused={"2": "NotBetter: it is not"}, previous=1),
        ModelsState(
            serving=1,
            pinned=0,
            generation=1,
            refused={"2": "NotBetter: it is not", "3": "LiveLoss: 900 to 1"},
            rolled_back=3,
            rolled_back_because="LiveLoss: 900 to 1",
            rolled_back_to=1,
            rolled_back_at_ns=EVENING_NS,
        ),
    ]

    def shown(wanted: dict[str, int]) -> bool:
        models = scene.system()["status"].get("models", {})
        return wanted == {"serving": models.get("serving"), "candidate": models.get("candidate"), "refused": len(models.get("refused", ()))}

    async def speak() -> None:
        bus = NatsBus(scene.server.as_user("models"))
        await bus.open()
        for state in steps:
            bus.publish(Subjects("momentum").state("models"), encode(state))
            wanted = {"serving": state.serving, "candidate": state.trial, "refused": len(state.refused)}
            await asyncio.to_thread(until, f"the status shows {wanted}", functools.partial(shown, wanted))
        await bus.close()

    asyncio.run(speak())
    models = scene.system()["status"]["models"]
    assert models["lastRollback"] | {"at": ""} == {"fromVersion": 3, "toVersion": 1, "at": "", "why": "LiveLoss: 900 to 1"}
    assert models["refused"] == [
        {"version": 2, "reason": "NotBetter", "why": "it is not"},
        {"version": 3, "reason": "LiveLoss", "why": "900 to 1"},
    ]
    until("the last step is told", lambda: len(scene.here.events("ModelSwitched")) == 3)
    assert set(scene.here.events("ModelSwitched")) == {"version 1 serves", "version 3 serves, before it 1", "version 1 serves, before it 3"}
    assert scene.here.events("ModelOnTrial") == ["version 3: Shadow"]
    assert scene.here.events("ModelRefused") == ["version 2 does not serve: NotBetter: it is not"]
    assert scene.here.events("ModelRolledBack") == ["version 3 was taken back, version 1 serves again: LiveLoss: 900 to 1"]


def test_deleted_in_session_it_is_halted_sold_and_then_gone(scene: Scene) -> None:
    """In this order, each told; nothing of it is taken away before."""
    scene.execution.become(positions=(position(),))
    until("the status shows the position", lambda: scene.system()["status"]["trading"]["positions"] == 1)
    scene.here.delete(TRADING_SYSTEM, "momentum")
    until("it is gone", lambda: scene.here.get(TRADING_SYSTEM, "momentum") is None)
    assert [command.kind for command in scene.execution.commands] == [CommandKind.HALT, CommandKind.FLATTEN]
    assert all(scene.here.events(reason) for reason in ("Halting", "Flattening", "DeletedFlat"))


def test_deleted_while_the_market_is_closed_the_stops_stay(scene: Scene) -> None:
    """Nothing can be sold: the event names what is held."""
    scene.execution.become(positions=(position("AAA", 10, 10),), at_ns=EVENING_NS)
    until("the status shows the position", lambda: scene.system()["status"]["trading"]["positions"] == 1)
    scene.here.delete(TRADING_SYSTEM, "momentum")
    until("it is gone", lambda: scene.here.get(TRADING_SYSTEM, "momentum") is None)
    assert [command.kind for command in scene.execution.commands] == [CommandKind.HALT]
    assert "10 AAA" in scene.here.events("DeletedWithStops")[0]


def test_an_unreachable_message_server_is_named_and_nothing_else_stops(scene: Scene) -> None:
    """Its pod is ready and cannot be spoken with: a NetworkPolicy, most likely. Drift is repaired all the same."""
    scene.server.stop()
    degraded = scene.here.said("momentum", "Degraded", "NatsUnreachable", 60.0)
    assert "NetworkPolicies" in degraded["message"]
    scene.here.delete(DEPLOYMENT, "momentum-monitor")
    until("drift is repaired", lambda: scene.here.get(DEPLOYMENT, "momentum-monitor"), 5.0)
    assert scene.system()["status"]["trading"]["state"] == "Active", "what was said last"
    scene.server.start()
    scene.here.said("momentum", "Degraded", "AsExpected", 60.0)
