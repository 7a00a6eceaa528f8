"""A real control plane as processes of this machine: etcd and kube-apiserver, and when asked kube-controller-manager and kube-scheduler.

Every process listens on 127.0.0.1 on a port of its own, so several clusters live side by side, and is killed by the kernel when the process that
started it dies. Logs stay in `<folder>/log`; keys, sockets and data go when it stops. It has no node: pods stay Pending here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.api import Api
from tests.cluster.build import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, Program, path_of
from tests.cluster.keys import Authority
from tradingsystem.process.nats_server import free_ports

READY_WITHIN_SECONDS = 90.0
STOP_WITHIN_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.2
ATTEMPTS = 3  # a port that was free may be taken by the time a program binds it
TAIL_CHARACTERS = 1_500
SERVICE_ADDRESSES = "10.96.0.0/16"
LOOPBACK = "127.0.0.1"
# As root, since nobody else may. Pods that take all there is must not starve who keeps the cluster, which elsewhere has nodes of its own.
FIRST = ("nice", "-n", "-10") if os.geteuid() == 0 else ()
AGAIN = """
while began=$(date +%s); do
  "$@"; status=$?
  [ $(($(date +%s) - began)) -gt 10 ] || exit $status
  echo "$0 ended with $status and is started again"
done
"""


class NotStarted(Exception):
    """A part did not come up; the text has the end of its log."""


class PortTaken(NotStarted):
    """Another process took the port between choosing and binding."""


@dataclasses.dataclass
class Part:
    """One process and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-TAIL_CHARACTERS:]


class ControlPlane:
    """Started by `with`; `kubeconfig` is the administrator's. `whole` adds controllers and scheduler."""

    def __init__(
        self, folder: Path, *, whole: bool = False, address: str = LOOPBACK, say: Callable[[str], None] = lambda _text: None
    ) -> None:
        self.folder = folder.resolve()
        self.address = address
        self.port = 0
        self.kubeconfig = self.folder / "admin.conf"
        self.parts: list[Part] = []
        self._whole = whole
        self._say = say

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Return when the API server says it is ready. Raises `NotStarted`, `BuildFailed`."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start_once()
            except PortTaken:
                self.stop()
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    def stop(self) -> None:
        """End every process this object started, latest first, and remove all but the logs."""
        for part in reversed(self.parts):
            _end(part)
        self.parts.clear()
        self._clear()

    def _clear(self) -> None:
        for name in ("etcd", "keys"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for path in (self.kubeconfig, self.folder / "audit-policy.json"):
            path.unlink(missing_ok=True)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.port}"

    @property
    def audit_log(self) -> Path:
        """Who wrote what: one JSON object for each writing request that was answered."""
        return self.folder / "log" / "audit.jsonl"

    @contextlib.contextmanager
    def without_api_server(self) -> Iterator[None]:
        """The API server is killed, and started again with the same data at the end. A server that is asked to end takes its own address out of the Service
        `kubernetes` first, and nodes that are slow to hear of its return keep pods from it for a minute more."""
        part = next(part for part in self.parts if part.name == API_SERVER.name)
        words = part.process.args
        part.process.kill()
        part.process.wait()
        try:
            yield
        finally:
            assert isinstance(words, list)
            with part.log.open("ab") as output:
                part.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder)
            self._wait("kube-apiserver", self._api_ready)

    def _audit_policy(self) -> Path:
        writes = {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]}
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
        path = self.folder / "audit-policy.json"
        path.write_text(json.dumps(policy | {"rules": [writes, {"level": "None"}]}))
        return path

    def _start_once(self) -> None:
        self._clear()  # what a killed cluster of this folder left would be this one's past
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        self.keys = keys = Authority(self.folder / "keys")
        keys.server("server", self.address)
        keys.client("admin", "admin", "system:masters")
        keys.service_account_pair()
        client, peer, self.port = free_ports(3)
        etcd_url = f"http://127.0.0.1:{client}"
        keys.kubeconfig(self.kubeconfig, self.server, "admin")
        self._launch(ETCD, *self._etcd_flags(etcd_url, f"http://127.0.0.1:{peer}"))
        self._wait("etcd", lambda: _answers(client, "/health"))
        self._launch(API_SERVER, *self._api_server_flags(etcd_url))
        self._wait("kube-apiserver", self._api_ready)
        if self._whole:
            controllers, scheduler = free_ports(2)
            self._launch(CONTROLLER_MANAGER, *self._controller_flags(controllers), again=True)
            self._launch(SCHEDULER, *self._scheduler_flags(scheduler), again=True)
            self._wait("controllers", self._default_account_exists)

    def _etcd_flags(self, client: str, peer: str) -> tuple[str, ...]:
        return (
            *("--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync"),  # what it holds dies with the test
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
        )

    def _api_server_flags(self, etcd: str) -> tuple[str, ...]:
        keys = self.folder / "keys"
        # The Service `kubernetes` refuses an endpoint on the loopback, so it gets one only when the API server has another address.
        reconciler = "none" if self.address == LOOPBACK else "lease"
        return (
            *("--etcd-servers", etcd, "--bind-address", self.address, "--secure-port", str(self.port)),
            *("--advertise-address", self.address, "--endpoint-reconciler-type", reconciler),
            *("--service-cluster-ip-range", SERVICE_ADDRESSES),
            *(
                "--tls-cert-file",
                f"{keys}/server.crt",
                "--tls-private-key-file",
                f"{keys}/server.key",
                "--client-ca-file",
                f"{keys}/ca.crt",
            ),
            *("--service-account-key-file", f"{keys}/service-account.pub"),
            *("--service-account-signing-key-file", f"{keys}/service-account.key"),
            *("--service-account-issuer", "https://kubernetes.default.svc", "--authorization-mode", "Node,RBAC"),
            *("--allow-privileged", "--enable-admission-plugins", "NodeRestriction"),
            *("--kubelet-client-certificate", f"{keys}/admin.crt", "--kubelet-client-key", f"{keys}/admin.key"),
            *("--kubelet-preferred-address-types", "InternalIP"),
            *("--audit-policy-file", str(self._audit_policy()), "--audit-log-path", str(self.audit_log)),
        )

    def _controller_flags(self, port: int) -> tuple[str, ...]:
        keys = self.folder / "keys"
        return (
            *("--kubeconfig", str(self.kubeconfig), "--bind-address", "127.0.0.1", "--secure-port", str(port)),
            *("--service-account-private-key-file", f"{keys}/service-account.key", "--root-ca-file", f"{keys}/ca.crt"),
            *("--use-service-account-credentials", "--leader-elect=false"),  # there is one, and it is to outlive its API server's absence
            *("--node-monitor-grace-period", "150s"),  # a node that was not heard because its API server was away is not lost
            *("--cluster-signing-cert-file", f"{keys}/ca.crt", "--cluster-signing-key-file", f"{keys}/ca.key"),
        )

    def _scheduler_flags(self, port: int) -> tuple[str, ...]:
        return (
            *("--kubeconfig", str(self.kubeconfig), "--bind-address", "127.0.0.1", "--secure-port", str(port)),
            "--leader-elect=false",
        )

    def _launch(self, program: Program, *flags: str, again: bool = False) -> None:
        """Start a part. ``again``: start it again when it ends, as a kubelet would, unless it has hardly run: a scheduler that doubts its memory ends."""
        log = self.folder / "log" / f"{program.name}.log"
        with log.open("wb") as output:
            # setpriv asks the kernel to kill the program when this process dies, however it dies.
            command = ["setpriv", "--pdeathsig", "KILL", *FIRST, str(path_of(program)), *flags]
            if again:
                command = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", AGAIN, program.name, *command]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder)
        self.parts.append(Part(program.name, process, log))

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        began = time.monotonic()
        pause = threading.Event()
        while not ready():
            for part in self.parts:
                if part.process.poll() is not None:
                    kind = PortTaken if "address already in use" in part.end_of_log() else NotStarted
                    raise kind(f"{part.name} ended with {part.process.returncode}; {part.log} ends:\n{part.end_of_log()}")
            if time.monotonic() - began > READY_WITHIN_SECONDS:
                raise NotStarted(f"{what} not ready after {READY_WITHIN_SECONDS:.0f} s; its log ends:\n{self.parts[-1].end_of_log()}")
            pause.wait(LOOK_AGAIN_SECONDS)
        self._say(f"{what}: ready after {time.monotonic() - began:.1f} s")

    def _api_ready(self) -> bool:
        return self._answer("/readyz") == 200

    def _default_account_exists(self) -> bool:
        return self._answer("/api/v1/namespaces/default/serviceaccounts/default") == 200

    def _answer(self, path: str) -> int:
        api = Api(self.kubeconfig)
        with contextlib.closing(api), contextlib.suppress(OSError, http.client.HTTPException):
            return api.ask("GET", path)[0]
        return 0


def _end(part: Part) -> None:
    part.process.terminate()
    try:
        part.process.wait(STOP_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        part.process.kill()
        part.process.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False
