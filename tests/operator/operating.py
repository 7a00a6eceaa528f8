"""The operator as a process of its own against a real API server, in a namespace of the test's own: started, killed, looked at through its ports and its log.

There is no kubelet and there are no controllers here: what they would write into status a test writes itself, and says so.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.cluster.waiting import until
from tradingsystem_operator.objects import MANAGED_BY_LABEL, OWNED, SYSTEM_LABEL, TRADING_SYSTEM, Kind, Object

MERGE = "application/merge-patch+json"
DEADLINE_SECONDS = 30.0
_numbers = itertools.count(1)


class Running:
    """One operator process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        whole = self._log.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    @property
    def port(self) -> int:
        """Where its probes and metrics are; waits until it listens."""
        found: int = until("it listens", lambda: next((line["port"] for line in self.lines() if line["event"] == "listening"), 0))
        return found

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text of one of its addresses."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    @property
    def ready(self) -> bool:
        """Whether it says that it leads and works."""
        return self.ask("/readyz")[0] == 200

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.ask("/metrics")[1].splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"tradingsystem_operator_{name}") and "Lease" not in line
        )

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


class Place:
    """A namespace, what is in it, and operators that watch it."""

    def __init__(self, plane: ControlPlane, api: Api, folder: Path) -> None:
        self.api, self._plane, self._folder = api, plane, folder
        self.namespace = f"test-{os.getpid()}-{next(_numbers)}"
        self._running: list[Running] = []
        status, answer = api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        assert status == 201, answer

    def operate(self, *flags: str, nats_port: int = 1, ready: bool = True, kubeconfig: Path | None = None) -> Running:
        """An operator on this namespace alone. ``nats_port``: where its systems' message server is. ``kubeconfig``: another way to the API server."""
        log = self._folder / f"operator-{len(self._running)}.log"
        command = [
            *(sys.executable, "-m", "tradingsystem_operator", "--kubeconfig", str(kubeconfig or self._plane.kubeconfig)),
            *("--namespace", self.namespace, "--lease-namespace", self.namespace, "--components-image", "example/components:1"),
            *("--release-version", "1.0.0", "--nats-url", f"nats://127.0.0.1:{nats_port}"),
            *("--metrics-host", "127.0.0.1", "--metrics-port", "0", *flags),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        running = Running(process, log)
        self._running.append(running)
        if ready:
            until("the operator is ready", lambda: running.ready)
        return running

    def close(self) -> None:
        """End every operator that is left, and let every system go."""
        for running in self._running:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()
        for system in self.list(TRADING_SYSTEM):
            self.patch(TRADING_SYSTEM, system["metadata"]["name"], {"metadata": {"finalizers": None}})
            self.delete(TRADING_SYSTEM, system["metadata"]["name"])

    # --- objects -----------------------------------------------------------------------------------------------------

    def _look(self, path: str) -> tuple[int, Any]:
        """A reading request; a connection that the server closed because it was idle for long is opened anew."""
        try:
            return self.api.ask("GET", path)
        except (OSError, http.client.HTTPException):
            return self.api.ask("GET", path)

    def get(self, kind: Kind, name: str) -> Object | None:
        """The object, None when there is none."""
        status, answer = self._look(kind.path(self.namespace, name))
        return answer if status == 200 else None

    def list(self, kind: Kind, selector: str = "") -> list[Object]:
        """Every object of a kind."""
        answer = self._look(kind.path(self.namespace) + (f"?labelSelector={selector}" if selector else ""))[1]
        return [{"apiVersion": kind.api_version, "kind": kind.kind} | item for item in answer["items"]]

    def create(self, kind: Kind, thing: Object) -> Object:
        """The object as it was made."""
        status, answer = self.api.ask("POST", kind.path(self.namespace), thing)
        assert status == 201, answer
        return dict(answer)

    def patch(self, kind: Kind, name: str, change: Object, part: str = "") -> Object:
        """A merge patch, as a person's."""
        status, answer = self.api.ask("PATCH", kind.path(self.namespace, name) + part, change, MERGE)
        assert status == 200, answer
        return dict(answer)

    def delete(self, kind: Kind, name: str) -> None:
        """As a person deletes."""
        status, answer = self.api.ask("DELETE", kind.path(self.namespace, name), {"propagationPolicy": "Background"})
        assert status in {200, 202}, answer

    def owned(self, system: str) -> list[tuple[Kind, Object]]:
        """Everything the operator owns for a system."""
        selector = f"{SYSTEM_LABEL}={system},{MANAGED_BY_LABEL}=tradingsystem-operator"
        return [(kind, thing) for kind in OWNED for thing in self.list(kind, selector)]

    # --- systems -----------------------------------------------------------------------------------------------------

    def system(self, name: str) -> Object:
        """The resource."""
        found = self.get(TRADING_SYSTEM, name)
        assert found is not None, f"{name} is gone"
        return found

    def condition(self, name: str, kind: str) -> Object:
        """One condition; empty while there is none."""
        conditions = (self.system(name).get("status") or {}).get("conditions") or []
        return next((each for each in conditions if each["type"] == kind), {})

    def said(self, name: str, kind: str, reason: str, seconds: float = DEADLINE_SECONDS) -> Object:
        """The condition, once it gives that reason of the newest generation."""

        def holds() -> Object | None:
            found, generation = self.condition(name, kind), self.system(name)["metadata"]["generation"]
            return found if found.get("reason") == reason and found.get("observedGeneration") == generation else None

        found: Object = until(f"{kind} says {reason}: {self.condition(name, kind)}", holds, seconds)
        return found

    def events(self, reason: str) -> list[str]:
        """The notes of all events of one reason."""
        items = self._look(f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")[1]["items"]
        return [item["note"] for item in items if item["reason"] == reason]


@contextlib.contextmanager
def place(plane: ControlPlane, api: Api, folder: Path) -> Iterator[Place]:
    """A place that is left clean."""
    made = Place(plane, api, folder)
    try:
        yield made
    finally:
        made.close()
