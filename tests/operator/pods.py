"""Rendered pods as processes of this machine: volumes become folders, names become loopback addresses, the command line stays as it was rendered.

What a kubelet and a cluster's DNS do, as far as one machine can: each pod gets an address of its own in 127/8, so that every pod has its ports. It is no
kubelet: nothing is isolated, and nobody starts again what has ended. Linux only, where the whole block is local.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tradingsystem.process.nats_server import program
from tradingsystem.process.triton_server import home
from tradingsystem_operator.objects import COMPONENT_LABEL

Object = dict[str, Any]
_PATH = re.compile("/(etc|var|tmp)/[-a-z/]+")


class Pod:
    """One container of a rendered pod; most have one."""

    def __init__(self, template: Object, container: Object, cluster: Cluster, address: str) -> None:
        self.name: str = container["name"]
        self.address = address
        self.ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        self._container = container
        self._root = cluster.folder / self.name
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None
        self.given: dict[str, str] = {}
        """Of the environment, beside what was rendered; a folder of libraries is looked into after the program's own."""
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for mount in self._container["volumeMounts"]:
            folder = self.place(mount["mountPath"])
            if claim := volumes.get(mount["name"], {}).get("persistentVolumeClaim"):
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.symlink_to(cluster.claimed(claim["claimName"], mount.get("subPath", "")))
                continue
            folder.mkdir(parents=True, exist_ok=True)
            for path, content in cluster.files_of(volumes.get(mount["name"], {})):
                file = folder / path
                file.write_bytes(content)
                file.chmod(0o440)

    def place(self, path: str) -> Path:
        """Where a path of the container is on this machine."""
        return self._root / path.lstrip("/")

    def start(self) -> None:
        """Run the container's command line, paths and names translated, with nothing of this machine's environment but PATH."""
        command = [self._translated(word) for word in (*self._container["command"], *self._container["args"])]
        started = {
            "tradingsystem": [sys.executable, "-m", "tradingsystem.cli"],
            "nats-server": [program()],
            "/bin/sh": ["/bin/sh"],  # which becomes tritonserver
        }[command[0]]
        own = {each["name"]: self._translated(each.get("value", f"{self.name}-by-hand")) for each in self._container["env"]}
        kept = {name: os.environ[name] for name in ("PATH", "NUMBA_CACHE_DIR") if name in os.environ}
        if self.name == "triton":
            libraries = ":".join([str(home() / "libs"), *filter(None, [self.given.get("LD_LIBRARY_PATH")])])
            kept |= {"PATH": f"{home() / 'bin'}:{kept['PATH']}", "LD_LIBRARY_PATH": libraries}
        with (self._cluster.folder / f"{self.name}.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*started, *command[1:]], env=self.given | kept | own, stdout=output, stderr=output, cwd=self._root
            )

    def _translated(self, word: str) -> str:
        if self.name == "triton":
            word = _PATH.sub(lambda found: str(self.place(found[0])), word).replace("/opt/tritonserver", str(home()))
        elif word.startswith(("/etc/", "/var/", "/tmp")):
            return str(self.place(word))
        return self._cluster.with_addresses(word, self.address)

    def asks(self, probe: str) -> int:
        """The status a kubelet gets from one of the container's probes; 0 when nobody answers."""
        request = self._container[probe]["httpGet"]
        connection = http.client.HTTPConnection(self.address, self.ports[request["port"]], timeout=5)
        try:
            connection.request("GET", request["path"])
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def metric(self, name: str, label: str = "") -> float:
        """One number of the pod's metrics, the sum over its labels, or over those with ``label``."""
        connection = http.client.HTTPConnection(self.address, self.ports["metrics"], timeout=5)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.partition("{")[0].partition(" ")[0] == name and label in line)

    @property
    def number(self) -> int:
        """The process's number."""
        assert self._process is not None, "started"
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        assert self._process is not None, "started"
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL; it counts as not started from then on."""
        assert self._process is not None, "started"
        process, self._process = self._process, None
        process.kill()
        process.wait()

    def end(self, within_seconds: float) -> int:
        """As a kubelet ends a container: SIGTERM, and after the grace period by force. The exit status."""
        assert self._process is not None, "started"
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    @property
    def process_id(self) -> int:
        """Another one when it was started again."""
        assert self._process is not None, "started"
        return self._process.pid

    def run(self, within_seconds: float) -> int:
        """As a Job's pod: started, and its exit status when it has ended by itself."""
        self.start()
        assert self._process is not None, "started"
        try:
            return self._process.wait(within_seconds)
        finally:
            if self._process.poll() is None:
                self.kill()

    def log(self) -> str:
        """What it said."""
        return (self._cluster.folder / f"{self.name}.log").read_text(encoding="utf-8", errors="replace")


class Cluster:
    """Every pod of one rendered system. ``volumes``: a person's own, by the name of the claim."""

    def __init__(self, things: tuple[Object, ...], credentials: Object, folder: Path, volumes: Mapping[str, Path] | None = None) -> None:
        self.folder, self._volumes = folder, volumes or {}
        self._things = (*things, credentials)
        block = secrets.randbelow(1 << 15)
        workloads = [thing for thing in things if thing["kind"] in {"StatefulSet", "Deployment"}]
        prefix = f"127.{128 + (block >> 8)}.{block & 255}"
        addresses = {thing["metadata"]["labels"][COMPONENT_LABEL]: f"{prefix}.{number}" for number, thing in enumerate(workloads, start=1)}
        services = [thing for thing in things if thing["kind"] == "Service"]
        self._names = {thing["metadata"]["name"]: addresses[thing["spec"]["selector"][COMPONENT_LABEL]] for thing in services}
        templates = {thing["metadata"]["labels"][COMPONENT_LABEL]: thing["spec"]["template"] for thing in workloads}
        made = [Pod(template, one, self, addresses[name]) for name, template in templates.items() for one in template["spec"]["containers"]]
        self.pods = {pod.name: pod for pod in made}
        of_jobs = [thing["spec"]["jobTemplate"]["spec"]["template"] for thing in things if thing["kind"] == "CronJob"]
        of_jobs += [thing["spec"]["template"] for thing in things if thing["kind"] == "Job"]
        jobs = [Pod(template, one, self, "127.0.0.1") for template in of_jobs for one in template["spec"]["containers"]]
        self.jobs = {job.name: job for job in jobs}
        nats = self.pods["nats"]
        configuration = nats.place("/etc/nats/nats.conf")
        text = self.with_addresses(configuration.read_text(), nats.address).replace("/var/lib/nats", str(nats.place("/var/lib/nats")))
        configuration.chmod(0o640)
        configuration.write_text(text)

    def claimed(self, claim: str, below: str) -> Path:
        """A folder of a volume that another pod, or a person, has claimed."""
        if claim in self._volumes:
            return self._volumes[claim] / below
        for thing in self._things:
            for template in thing.get("spec", {}).get("volumeClaimTemplates", []):
                if claim == f"{template['metadata']['name']}-{thing['metadata']['name']}-0":
                    mounts = thing["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
                    [path] = [mount["mountPath"] for mount in mounts if mount["name"] == template["metadata"]["name"]]
                    found = self.pods[thing["metadata"]["labels"][COMPONENT_LABEL]].place(path) / below
                    found.mkdir(parents=True, exist_ok=True)
                    return found
        raise AssertionError(f"nobody claims {claim}")

    def with_addresses(self, text: str, own: str) -> str:
        """Every Service's name, the address for all interfaces and a pod's own, as addresses of this machine."""
        for name, address in self._names.items():
            text = text.replace(f"//{name}:", f"//{address}:")
            text = f"{address}:{text[len(name) + 1 :]}" if text.startswith(f"{name}:") else text
        return text.replace("0.0.0.0", own).replace("127.0.0.1", own)

    def files_of(self, volume: Object) -> Iterator[tuple[str, bytes]]:
        """The files that a volume brings: of ConfigMaps and Secrets, alone or projected."""
        for source in volume.get("projected", {}).get("sources", [volume]):
            kind = next((kind for kind in ("configMap", "secret") if kind in source), None)
            if kind is None:
                continue
            name = source[kind].get("name") or source[kind]["secretName"]
            wanted = {"configMap": "ConfigMap", "secret": "Secret"}[kind]
            [found] = [thing for thing in self._things if (thing["kind"], thing["metadata"]["name"]) == (wanted, name)]
            content = {key: base64.b64decode(value) if wanted == "Secret" else value.encode() for key, value in found["data"].items()}
            items = source[kind].get("items") or [{"key": key, "path": key} for key in content]
            yield from ((item["path"], content[item["key"]]) for item in items)

    def until(self, true: Callable[[], bool], within_seconds: float, what: str) -> float:
        """Wait for something to be so, and no pod to end meanwhile; how long it took."""
        began, pause = time.monotonic(), 0.05
        while not true():
            ended = {name: pod.status for name, pod in self.pods.items() if pod._process is not None and pod.status is not None}
            assert not ended, f"{ended} while waiting for {what}:\n" + "\n".join(self.pods[name].log()[-2_000:] for name in ended)
            assert time.monotonic() - began < within_seconds, f"not within {within_seconds:g} s: {what}; {self._unready()}"
            _wait(pause)
        return time.monotonic() - began

    def _unready(self) -> str:
        started = {name: pod for name, pod in self.pods.items() if pod._process is not None}
        return ", ".join(f"{name}: {pod.log()[-300:]}" for name, pod in started.items() if pod.asks("readinessProbe") != 200)

    def ready(self) -> bool:
        """Whether every pod says that it can work."""
        return all(pod.asks("readinessProbe") == 200 for pod in self.pods.values())

    def stop(self) -> None:
        """End whatever still runs."""
        for pod in self.pods.values():
            if pod._process is not None and pod.status is None:
                pod.kill()


def _wait(seconds: float) -> None:
    """Between two looks at processes that tell nobody when they change."""
    threading.Event().wait(seconds)
