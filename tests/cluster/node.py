"""A whole cluster on this machine: a control plane, and one real node with containerd, kubelet, kube-proxy, DNS and volumes.

The node lives in network, mount and process namespaces of its own (`inside.py` is its process 1), so what it mounts, routes and starts is invisible
outside and ends with it, also when the process that started it is killed. It needs root, pulls no image (`images.py` brings them) and gives pods a way
to each other and to this machine, none to the world. It enforces no NetworkPolicy.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster import cgroups, node_objects
from tests.cluster.api import Api
from tests.cluster.build import COREDNS, KUBELET, PAUSE, PROXY, path_of
from tests.cluster.control_plane import FIRST, ControlPlane, NotStarted, Part
from tests.cluster.docker_archive import PAUSE_IMAGE, write_program_image
from tests.cluster.inside import COVERED
from tests.cluster.link import Link, NoLink, free_numbers, join, wait_for_namespace
from tests.cluster.node_objects import CONTAINERD_SOCKET, DNS_PORT, NODE_NAME, VOLUMES
from tests.cluster.packages import NODE_PACKAGES, require

READY_WITHIN_SECONDS = 120.0
GONE_WITHIN_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.2
REMOVED = ("node", "volumes")
SOCKET_BYTES_MAX = 107  # of a Unix socket's name, by the kernel
LONGEST_SOCKET = "node/kubelet/pod-resources/4294967295"
ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """Started by `with`; `kubeconfig` is the administrator's, `plane` the control plane."""

    def __init__(self, folder: Path, *, say: Callable[[str], None] = lambda _text: None) -> None:
        self.folder = folder.resolve()
        self.kubeconfig = self.folder / "admin.conf"
        self._say = say
        self._shell: Part | None = None
        self.link = Link(0)
        self.plane = ControlPlane(self.folder, whole=True, say=say)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def parts(self) -> list[Part]:
        return [*self.plane.parts, *([self._shell] if self._shell else [])]

    @property
    def group(self) -> str:
        """The control group of every container of this cluster."""
        return self.link.name

    def start(self) -> None:
        """Return when the node is ready. Raises `NotStarted`, `BuildFailed`, `Missing`, `NoLink`."""
        covered = [place for place in COVERED if self.folder.is_relative_to(place)]
        if covered:
            raise NotStarted(f"{self.folder} lies under {covered[0]}, which the node hides from itself; choose another --folder")
        if len(bytes(self.folder / LONGEST_SOCKET)) > SOCKET_BYTES_MAX:
            raise NotStarted(f"{self.folder} is too long for the kubelet's sockets in it; choose a shorter --folder")
        require(NODE_PACKAGES, self._say)
        self._clear()
        (self.folder / "node").mkdir(parents=True)
        (self.folder / "log").mkdir(exist_ok=True)
        self._join()
        self.plane = ControlPlane(self.folder, whole=True, address=self.link.machine, say=self._say)
        self.plane.start()
        cgroups.remove(self.group)  # empty ones, of a cluster that was killed
        cgroups.make(self.group)
        self._order_services()
        self._wait_ready()

    def stop(self) -> None:
        """End the node at once and the control plane after it, and remove all but the logs."""
        if self._shell is not None:
            self._shell.process.kill()  # the kernel ends everything in its process namespace before this process is gone
            self._shell.process.wait()
            self._shell = None
            if left := cgroups.remove(self.group):
                self._say(f"control groups still in use: {', '.join(map(str, left))}")
            began, pause = time.monotonic(), threading.Event()
            while self.link.exists() and time.monotonic() - began < GONE_WITHIN_SECONDS:
                pause.wait(LOOK_AGAIN_SECONDS)  # the kernel takes networks down in the background
        self.plane.stop()
        self._clear()

    def import_image(self, archive: Path) -> None:
        """Give the node an image from a docker or OCI archive."""
        assert self._shell is not None
        import_image(self._shell.process.pid, archive)

    def kill_container(self, identity: str) -> None:
        """SIGKILL for what a container was started with, by the identity that the kubelet tells; the kubelet starts it again."""
        found = cgroups.processes(self.group, identity.rpartition("/")[2])
        assert found, f"no process of container {identity}"
        os.kill(found[0], signal.SIGKILL)

    def tag_image(self, name: str, other: str) -> None:
        """The same image under another name, as if it were another release."""
        assert self._shell is not None
        _ctr(self._shell.process.pid, "images", "tag", "--force", name, other)

    def _clear(self) -> None:
        for name in REMOVED:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.folder / name)

    def _join(self) -> None:
        """Start the namespaces, with the first number that is free."""
        log = self.folder / "log" / "node.log"
        order = self.folder / "node" / "order.json"
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--mount-proc", "--kill-child"]
        for number in free_numbers():
            self.link = Link(number)
            order.write_text(json.dumps({"address": self.link.node, "gateway": self.link.machine}))
            with log.open("wb") as output:
                words = [*command, sys.executable, "-m", "tests.cluster.inside", str(self.folder)]
                process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT)
            self._shell = Part("node", process, log)
            try:
                wait_for_namespace(process.pid)
                join(process.pid, self.link)
            except NoLink as refused:
                process.kill()
                process.wait()
                self._shell = None
                self._say(f"number {number}: {refused}")
            else:
                return
        raise NotStarted(f"no link to a node could be made; {log} has what was said")

    def _order_services(self) -> None:
        folder, keys = self.folder / "node", self.plane.keys
        keys.client("kubelet", f"system:node:{NODE_NAME}", "system:nodes")
        keys.kubeconfig(folder / "kubelet.conf", self.plane.server, "kubelet")
        for number in range(VOLUMES):
            (self.folder / "volumes" / f"{number:02}").mkdir(parents=True)
        pause = folder / "pause.tar"
        write_program_image(pause, PAUSE_IMAGE, path_of(PAUSE))
        texts = node_objects.files(self.folder, self.link, self.group)
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        (folder / "commands.new").write_text(json.dumps(self._commands(pause)))
        (folder / "commands.new").rename(folder / "commands.json")

    def _commands(self, pause: Path) -> list[dict[str, Any]]:
        folder, conf = self.folder / "node", str(self.kubeconfig)
        ctr = ("ctr", "--address", CONTAINERD_SOCKET, "-n", "k8s.io", "images", "import", str(pause))
        kubelet = ("--config", f"{folder}/kubelet.json", "--kubeconfig", f"{folder}/kubelet.conf", "--hostname-override", NODE_NAME)
        places = ("--node-ip", self.link.node, "--root-dir", f"{folder}/kubelet", "--cert-dir", f"{folder}/kubelet/pki")
        proxy = ("--kubeconfig", conf, "--hostname-override", NODE_NAME, "--proxy-mode", "nftables", "--conntrack-max-per-core", "0")
        return [
            _command("containerd", "containerd", "--config", f"{folder}/containerd.toml", socket=CONTAINERD_SOCKET),
            _command("pause", *ctr, once=True),
            _command("kubelet", *FIRST, str(path_of(KUBELET)), *kubelet, *places),
            _command("kube-proxy", str(path_of(PROXY)), *proxy, "--cluster-cidr", self.link.pods),
            _command("coredns", str(path_of(COREDNS)), "-conf", f"{folder}/Corefile", "-dns.port", str(DNS_PORT)),
        ]

    def _wait_ready(self) -> None:
        api = Api(self.kubeconfig)
        began, pause = time.monotonic(), threading.Event()
        with contextlib.closing(api):
            node_objects.create(api, self.folder, self.link)
            while not node_objects.ready(api):
                self._demand_alive()
                if time.monotonic() - began > READY_WITHIN_SECONDS:
                    raise NotStarted(f"the node is not ready after {READY_WITHIN_SECONDS:.0f} s; see {self.folder}/log/kubelet.log")
                pause.wait(LOOK_AGAIN_SECONDS)
        self._say(f"node: ready after {time.monotonic() - began:.1f} s")

    def _demand_alive(self) -> None:
        for part in self.parts:
            if part.process.poll() is not None:
                raise NotStarted(f"{part.name} ended with {part.process.returncode}; {part.log} ends:\n{part.end_of_log()}")


def import_image(shell: int, archive: Path) -> None:
    """Give the node whose namespaces that process has started an image from a docker or OCI archive."""
    _ctr(shell, "images", "import", "--snapshotter", "overlayfs", str(archive))


def _ctr(shell: int, *words: str) -> None:
    """`ctr` within the node: unpacking mounts, and these mounts belong there."""
    inside = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0]
    command = ["nsenter", "--target", inside, "--mount", "--net", "--pid", "ctr", "--address", CONTAINERD_SOCKET, "-n", "k8s.io", *words]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise NotStarted(f"ctr {' '.join(words)} ended with {ran.returncode}: {ran.stderr[-1_000:]}")


def _command(name: str, *words: str, once: bool = False, socket: str = "") -> dict[str, Any]:
    return {"name": name, "words": list(words), "once": once, "socket": socket}
