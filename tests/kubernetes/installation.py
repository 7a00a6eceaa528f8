"""The operator on a real cluster as a person installs it, and what the tests ask of the cluster, of pods and of the simulated broker.

It reads what the API server, the pods' own HTTP and the node's disk say; it shares nothing with the operator's code, so that both cannot be wrong alike.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import nats

from tests.cluster import build, images
from tests.cluster.api import Api
from tests.cluster.node import Cluster

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "tradingsystem-operator"
AUDITOR = ROOT / "tests" / "audit" / "audit.py"
# The node has Triton's image once a test asks for it. What the operator asks of a processor is what it gets when pods take all there is: repairs are timed.
CHART_VALUES = ("--set", f"release.tritonCpuImage={images.TRITON_CPU.name}", "--set", "resources.requests.cpu=500m")
OPERATOR_NAMESPACE = "tradingsystem-system"
NAMESPACE = "default"
SYSTEMS = f"/apis/tradingsystem.dev/v1alpha1/namespaces/{NAMESPACE}/tradingsystems"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
BROKER_KEYS = {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "simulation"}
SIMULATOR_PORT = 8_090
NATS_PORT = 4_222
METRICS_PORT = 8_000
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases"
HALF_DAY = "2026-11-27"  # the day after Thanksgiving: New York closes at one
LOOK_AGAIN_SECONDS = 0.2
BEGAN = time.monotonic()
SERVICES = ("nats", "simulator", "ingestion", "filter", "execution", "models", "recorder", "monitor", "watcher")

Object = dict[str, Any]


def say(text: str) -> None:
    """A figure for whoever reads the run, with the seconds since it began; `make e2e` shows it at once."""
    sys.stderr.write(f"{os.environ.get('PYTEST_XDIST_WORKER', 'e2e')} {time.monotonic() - BEGAN:7.1f} s  {text}\n")
    sys.stderr.flush()


def wait(what: str, true: Callable[[], Any], seconds: float) -> Any:
    """What `true` returns once it is true; how long that took is printed."""
    began, pause = time.monotonic(), threading.Event()
    while not (found := true()):
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        pause.wait(LOOK_AGAIN_SECONDS)
    say(f"{what}: after {time.monotonic() - began:.1f} s")
    return found


def simulation(name: str, **given: Any) -> Object:
    """A system of the sample's kind: a half-day as fast as pods on two processors follow; probes as signals, so that it surely trades."""
    settings = {"seed": 7, "speed": 60, "startDate": HALF_DAY, "source": "Generated", "symbols": 40, "signals": "Probe"} | given
    spec = {
        "components": {service: {"resources": {"requests": {"cpu": "20m"}}} for service in SERVICES},  # all fits a node of two processors
        "mode": "Simulation",
        "simulation": settings,
        "sources": [{"name": "polygon", "type": "Polygon"}, {"name": "flow", "type": "UnusualWhales"}],
    }
    return {"apiVersion": "tradingsystem.dev/v1alpha1", "kind": "TradingSystem", "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class Person:
    """Who may halt and resume one system, over its message server and nothing else."""

    system: str
    server: str
    password: str

    def tell(self, text: str) -> Object:
        """Send execution what a person may type, and return its answer: ``accepted`` and ``reason``."""
        return asyncio.run(self._tell(text.encode()))

    async def _tell(self, payload: bytes) -> Object:
        client = await nats.connect(self.server, user="person", password=self.password, inbox_prefix="_INBOX_person")
        try:
            answer = await client.request(f"command.{self.system}.execution", payload, timeout=10)
        finally:
            await client.close()
        found: Object = msgspec.msgpack.decode(answer.data)
        return found


@dataclass
class Installation:
    """One cluster with the operator in it."""

    cluster: Cluster
    api: Api

    # --- the API server ----------------------------------------------------------------------------------------------

    def get(self, path: str) -> Object:
        """An object that must be there."""
        status, answer = self.api.ask("GET", path)
        assert status == 200, f"GET {path}: {status} {answer}"
        found: Object = answer
        return found

    def find(self, path: str) -> Object | None:
        """An object, or None."""
        status, answer = self.api.ask("GET", path)
        assert status in {200, 404}, f"GET {path}: {status} {answer}"
        return answer if status == 200 else None

    def items(self, path: str, selector: str = "") -> list[Object]:
        """A list."""
        return list(self.get(f"{path}?labelSelector={selector}" if selector else path)["items"])

    def patch(self, path: str, body: Object, content: str = MERGE) -> Object:
        """A change that must be taken."""
        status, answer = self.api.ask("PATCH", path, body, content)
        assert status in {200, 201}, f"PATCH {path}: {status} {answer}"
        found: Object = answer
        return found

    def create(self, path: str, body: Object) -> Object:
        status, answer = self.api.ask("POST", path, body)
        assert status == 201, f"POST {path}: {status} {answer}"
        found: Object = answer
        return found

    def delete(self, path: str, **options: Any) -> None:
        status, answer = self.api.ask("DELETE", path, options or None)
        assert status in {200, 202}, f"DELETE {path}: {status} {answer}"

    # --- a system ----------------------------------------------------------------------------------------------------

    def apply(self, document: Object) -> Object:
        """As `kubectl apply --server-side` does."""
        self.api.close()  # other files may have run meanwhile, for so long that the server has closed the connection
        return self.patch(f"{SYSTEMS}/{document['metadata']['name']}?fieldManager=tests&force=true", document, APPLY)

    def system(self, name: str) -> Object:
        return self.get(f"{SYSTEMS}/{name}")

    def condition(self, name: str, kind: str) -> Object:
        """A condition of a system; empty while it is not said."""
        found = self.system(name).get("status", {}).get("conditions", [])
        return next((each for each in found if each["type"] == kind), {})

    def trading(self, name: str) -> Object:
        """What execution last said, by the status."""
        return dict(self.system(name).get("status", {}).get("trading") or {})

    def is_ready(self, name: str) -> bool:
        return self.condition(name, "Ready").get("status") == "True"

    def wait_ready(self, name: str, seconds: float = 180.0) -> None:
        """Ready by its own word, and every service's pod by the kubelet's."""

        def ready() -> bool:
            pods = {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in self.pods(name)}
            return self.is_ready(name) and set(SERVICES) <= set(pods) and all(_is_ready(pod) for pod in pods.values())

        try:
            wait(f"{name}: all ready", ready, seconds)
        except AssertionError:
            self.show(name)
            raise

    def pods(self, name: str) -> list[Object]:
        return self.items(f"/api/v1/namespaces/{NAMESPACE}/pods", f"tradingsystem.dev/system={name}")

    def pod(self, name: str, service: str) -> Object:
        """The one pod of a service that is not on its way out."""
        selector = f"tradingsystem.dev/system={name},app.kubernetes.io/component={service}"
        found = [pod for pod in self.items(f"/api/v1/namespaces/{NAMESPACE}/pods", selector) if "deletionTimestamp" not in pod["metadata"]]
        assert len(found) == 1, f"{service}: {[pod['metadata']['name'] for pod in found]}"
        return found[0]

    def lives(self, name: str) -> dict[str, tuple[str, int]]:
        """For each service the pod that runs it and how often its container was started again: unequal means restarted."""
        return {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]: (pod["metadata"]["uid"], _restarts(pod)) for pod in self.pods(name)
        }

    def person(self, name: str) -> Person:
        """What a person needs to reach a system when no API server answers."""
        password = self.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}-nats")["data"]["person"]
        server = f"nats://{self.pod(name, 'nats')['status']['podIP']}:{NATS_PORT}"
        return Person(name, server, base64.b64decode(password).decode())

    def remove(self, name: str, seconds: float = 180.0) -> None:
        """Delete, and wait until it and its pods are gone."""
        self.delete(f"{SYSTEMS}/{name}")
        wait(f"{name}: gone", lambda: self.find(f"{SYSTEMS}/{name}") is None and not self.pods(name), seconds)

    def show(self, name: str) -> None:
        """What a person would look at when something is wrong."""
        status = self.system(name).get("status", {})
        say(f"{name}: " + json.dumps({key: status.get(key) for key in ("conditions", "trading")}, indent=1))
        for pod in [*self.pods(name), *self.items(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods")]:
            place = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/log?tailLines=15"
            states = [each.get("state") for each in pod["status"].get("containerStatuses", [])]
            log = "" if _is_ready(pod) else str(self.api.ask("GET", place)[1])
            say(f"{pod['metadata']['name']}: {pod['status'].get('phase')} {states}\n{log}")

    def metric(self, name: str, service: str, wanted: str, label: str = "") -> float:
        """One number of a service's own metrics, the sum over its labels, or over those with ``label``."""
        address = self.pod(name, service)["status"]["podIP"]
        with urllib.request.urlopen(f"http://{address}:{METRICS_PORT}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0].partition(" ")[0] == wanted and label in line)

    # --- the simulated broker ----------------------------------------------------------------------------------------

    def venue(self, name: str, path: str) -> Any:
        """GET from the simulator: its control, or the broker's API."""
        return self.venue_at(self.pod(name, "simulator")["status"]["podIP"], path)

    def venue_at(self, address: str, path: str) -> Any:
        """The same by address, for when no API server answers."""
        request = urllib.request.Request(f"http://{address}:{SIMULATOR_PORT}{path}", headers=BROKER_KEYS)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def summary(self, name: str) -> Object:
        """The simulator's own count of orders, fills and positions."""
        found: Object = self.venue(name, "/simulator/summary")
        return found

    def capture(self, name: str) -> Path:
        """What broker and trader said to each other, as the simulator's pod writes it to the node's disk."""
        uid = self.pod(name, "simulator")["metadata"]["uid"]
        found = list((self.cluster.folder / "node" / "kubelet" / "pods" / uid / "volumes").rglob("wire.jsonl"))
        assert len(found) == 1, f"captures of {name}: {found}"
        return found[0]

    def audit(self, name: str, cover_seconds: float) -> Object:
        """The wire auditor's summary; fails on any finding."""
        command = [sys.executable, str(AUDITOR), str(self.capture(name)), "--cover-seconds", str(cover_seconds)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        found: Object = json.loads(result.stdout.splitlines()[-1])
        return found

    # --- the operator ------------------------------------------------------------------------------------------------

    def operator_pod(self) -> Object | None:
        """The operator's pod that is not on its way out."""
        found = [pod for pod in self.items(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods") if "deletionTimestamp" not in pod["metadata"]]
        return found[0] if found else None

    def wait_operator(self, seconds: float = 120.0) -> None:
        """Ready by the kubelet's word, and at work now: what the kubelet said last may be older than an absence of the API server."""
        since = datetime.datetime.now(datetime.UTC)

        def renewed() -> bool:
            stamps = [lease["spec"].get("renewTime") for lease in self.items(LEASES)]
            return any(datetime.datetime.fromisoformat(stamp) > since for stamp in stamps if stamp)

        wait("operator: ready", lambda: (pod := self.operator_pod()) is not None and _is_ready(pod) and renewed(), seconds)

    def kill_operator(self) -> None:
        """SIGKILL for its process; return when the kubelet has started another in the same pod."""
        pod = self.operator_pod()
        assert pod is not None
        (before,) = pod["status"]["containerStatuses"]
        self.cluster.kill_container(before["containerID"])

        def another() -> bool:
            new = self.operator_pod()
            return new is not None and new["status"]["containerStatuses"][0]["restartCount"] > before["restartCount"]

        wait("operator: started again", another, 60)

    def delete_operator_pod(self) -> None:
        """Its pod goes at once, without a word to the process; return when there is another, which has to wait for the Lease."""
        pod = self.operator_pod()
        assert pod is not None
        self.delete(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod['metadata']['name']}", gracePeriodSeconds=0)
        gone = pod["metadata"]["uid"]
        wait("operator: another pod", lambda: (new := self.operator_pod()) is not None and new["metadata"]["uid"] != gone, 30)

    def writes(self, since: datetime.datetime) -> list[Object]:
        """Every write that the operator's account made from a moment on, Leases left out."""
        account = f"system:serviceaccount:{OPERATOR_NAMESPACE}:"
        found = []
        for line in self.cluster.plane.audit_log.read_text().splitlines():
            event = json.loads(line)
            at = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"])
            by_operator = event["user"].get("username", "").startswith(account)  # a request that was cut off has none
            if at >= since and by_operator and event.get("objectRef", {}).get("resource") != "leases":
                found.append(event)
        return found


def helm(kubeconfig: Path, *words: str) -> str:
    """The real helm, built from its pinned module."""
    command = [str(build.path_of(build.HELM)), "--kubeconfig", str(kubeconfig), *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, f"helm {' '.join(words)}: {ran.stdout}{ran.stderr}"
    return ran.stdout


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    """Images built, a cluster with a node, the chart installed."""
    began = time.monotonic()
    images.build(images.IMAGES, say)
    say(f"images: after {time.monotonic() - began:.1f} s")
    with Cluster(folder, say=say) as cluster, contextlib.closing(Api(cluster.kubeconfig)) as api:
        for image in images.IMAGES:
            cluster.import_image(image.archive)
        say(f"cluster with images: after {time.monotonic() - began:.1f} s")
        install = ("install", "tradingsystem-operator", str(CHART), "--namespace", OPERATOR_NAMESPACE, "--create-namespace")
        helm(cluster.kubeconfig, *install, *CHART_VALUES)
        made = Installation(cluster, api)
        made.wait_operator()
        yield made


def _is_ready(pod: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def _restarts(pod: Object) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))
