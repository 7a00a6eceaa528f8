"""The operator as a process of this machine, outside of any cluster: for what needs an API server and no pods; and what it costs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Api
from tests.kubernetes.installation import APPLY, ROOT, SYSTEMS, Object, wait
from tradingsystem.process.nats_server import free_ports

DEFINITION = ROOT / "manifests/crd/tradingsystems.tradingsystem.dev.yaml"
READY_WITHIN_SECONDS = 90.0
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ([-+0-9.eEinfa]+)$")


@dataclass(frozen=True)
class OperatorProcess:
    """One running operator."""

    pid: int
    port: int

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask("/readyz"))
        return False

    def kill(self) -> None:
        """SIGKILL: no word to anybody."""
        os.kill(self.pid, signal.SIGKILL)

    def total(self, name: str) -> float:
        """A counter summed over its labels."""
        matches = [match for line in self.ask("/metrics").splitlines() if (match := SAMPLE.match(line)) and match[1] == name]
        return sum(float(match[3]) for match in matches)

    def buckets(self, name: str) -> list[tuple[float, float]]:
        """A histogram summed over its labels: upper bound to count at most that."""
        found: dict[float, float] = {}
        for line in self.ask("/metrics").splitlines():
            match = SAMPLE.match(line)
            if match and match[1] == f"{name}_bucket":
                bound = float(re.search(r'le="([^"]+)"', match[2])[1])  # type: ignore[index]
                found[bound] = found.get(bound, 0.0) + float(match[3])
        return sorted(found.items())

    def quantile(self, name: str, share: float) -> float:
        """The smallest bound below which that share lies: an upper limit, as coarse as the buckets."""
        buckets = self.buckets(name)
        return next(bound for bound, count in buckets if count >= share * buckets[-1][1])

    def memory_mib(self) -> float:
        """The most it has ever had."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    def processor_seconds(self) -> float:
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def operator(kubeconfig: Path, log: Path, *flags: str) -> Iterator[OperatorProcess]:
    """Started, and leader."""
    (port,) = free_ports(1)
    words = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tradingsystem_operator", "--kubeconfig", str(kubeconfig)]
    words += ["--components-image", "none:1", "--metrics-host", "127.0.0.1", "--metrics-port", str(port), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    running = OperatorProcess(process.pid, port)
    try:
        began, pause = time.monotonic(), threading.Event()
        while not running.is_ready():
            assert process.poll() is None, log.read_text()[-3_000:]
            assert time.monotonic() - began < READY_WITHIN_SECONDS, log.read_text()[-3_000:]
            pause.wait(0.1)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def ask(api: Api, method: str, path: str, body: Object | None = None, content: str = "application/json") -> Any:
    """The answer of a request that must succeed."""
    status, answer = api.ask(method, path, body, content)
    assert status in {200, 201}, f"{method} {path}: {status} {answer}"
    return answer


def define(api: Api) -> None:
    """The resource's definition, ready to be used."""
    ask(api, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(DEFINITION.read_text()))
    wait("the definition: served", lambda: api.ask("GET", SYSTEMS)[0] == 200, 30)


def create(api: Api, document: Object) -> None:
    """As `kubectl apply --server-side` does."""
    ask(api, "PATCH", f"{SYSTEMS}/{document['metadata']['name']}?fieldManager=tests&force=true", document, APPLY)
