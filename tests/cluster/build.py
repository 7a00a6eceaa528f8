"""Builds programs from Go modules: a Kubernetes control plane, so that a real API server runs where no image can be pulled, and helm's like.

The go.mod and go.sum files under `modules/` are the pins: `-mod=readonly` refuses to build anything else. What is built lies in
`~/.cache/tradingsystem/cluster/<module>-<key>/`, the key being the hash of those two files and of the Go release, so a changed pin never meets an
old program. It takes no version from the network and writes nowhere else but Go's own caches.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "modules"
KUBERNETES_VERSION = "v1.35.4"
PROGRESS_SECONDS = 15.0
NICENESS = 10


class BuildFailed(Exception):
    """A program could not be built; the text says which, and the end of what Go said."""


@dataclasses.dataclass(frozen=True)
class Program:
    """One program: the module that pins it, and its package."""

    name: str
    module: str
    package: str


ETCD = Program("etcd", "etcd", "go.etcd.io/etcd/server/v3")
API_SERVER = Program("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver")
CONTROLLER_MANAGER = Program("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager")
SCHEDULER = Program("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler")
KUBELET = Program("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet")
PROXY = Program("kube-proxy", "kubernetes", "k8s.io/kubernetes/cmd/kube-proxy")
COREDNS = Program("coredns", "coredns", ".")
PAUSE = Program("pause", "pause", ".")
KWOK = Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok")
HELM = Program("helm", "helm", "helm.sh/helm/v4/cmd/helm")
KUBECONFORM = Program("kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
KUBE_SCORE = Program("kube-score", "kube-score", "github.com/zegl/kube-score/cmd/kube-score")
ACTIONLINT = Program("actionlint", "actionlint", "github.com/rhysd/actionlint/cmd/actionlint")

API_PROGRAMS = (ETCD, API_SERVER)
CONTROL_PLANE_PROGRAMS = (*API_PROGRAMS, CONTROLLER_MANAGER, SCHEDULER)
NODE_PROGRAMS = (*CONTROL_PLANE_PROGRAMS, KUBELET, PROXY, COREDNS, PAUSE)
CHART_PROGRAMS = (HELM, KUBECONFORM, KUBE_SCORE)
WORKFLOW_PROGRAMS = (ACTIONLINT,)
TOOLS_COMMAND = "make tools"


def cache() -> Path:
    """Where built programs lie."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingsystem" / "cluster"


@functools.cache
def go_release() -> str:
    """The Go release on PATH, or "" without one."""
    if shutil.which("go") is None:
        return ""
    return subprocess.run(["go", "env", "GOVERSION"], cwd=MODULES, check=True, capture_output=True, text=True).stdout.strip()


def place(program: Program, release: str) -> Path:
    """Where a program of these pins lies once it is built."""
    digest = hashlib.sha256(release.encode())
    folder = MODULES / program.module
    for path in (folder / "go.mod", folder / "go.sum", *sorted(folder.glob("*.go"))):
        digest.update(path.read_bytes() if path.exists() else b"")
    return cache() / f"{program.module}-{digest.hexdigest()[:16]}" / program.name


def missing(programs: tuple[Program, ...] = API_PROGRAMS, remedy: str = "make cluster") -> str | None:
    """Why these programs cannot be started here, or None when all are built."""
    release = go_release()
    if not release:
        return f"no Go on PATH, with which {', '.join(each.name for each in programs)} are built; install Go 1.26 or later, then: {remedy}"
    absent = [program.name for program in programs if not place(program, release).exists()]
    return f"not built yet: {', '.join(absent)}; build with: {remedy}" if absent else None


def path_of(program: Program) -> Path:
    """The built program; `BuildFailed` when it is not there."""
    found = place(program, go_release())
    if not found.exists():
        raise BuildFailed(
            f"{program.name} is not built; run: {TOOLS_COMMAND if program in (*CHART_PROGRAMS, *WORKFLOW_PROGRAMS) else 'make cluster'}"
        )
    return found


def build(programs: tuple[Program, ...], say: Callable[[str], None]) -> None:
    """Build what is absent, one after the other; a second builder waits for the first. Raises `BuildFailed`."""
    release = go_release()
    if not release:
        raise BuildFailed("no Go on PATH; install Go 1.26 or later (https://go.dev/dl)")
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for program in programs:
            target = place(program, release)
            if not target.exists():
                _build_one(program, target, say)


def _build_one(program: Program, target: Path, say: Callable[[str], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.building")
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}" if program.module == "kubernetes" else "-s -w"
    command = ["nice", "-n", str(NICENESS), "go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags]
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    say(f"{program.name}: building")
    began = time.monotonic()
    done = threading.Event()
    watch = threading.Thread(target=_tell_progress, args=(program.name, began, done, say), daemon=True)
    watch.start()
    try:
        ran = subprocess.run(
            [*command, "-o", str(fresh), program.package],
            cwd=MODULES / program.module,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        done.set()
        watch.join()
    if ran.returncode:
        raise BuildFailed(f"{program.name}: go build ended with {ran.returncode}\n{ran.stderr[-2_000:]}")
    fresh.rename(target)
    say(f"{program.name}: built in {time.monotonic() - began:.0f} s, {target.stat().st_size / 2**20:.0f} MiB")


def _tell_progress(name: str, began: float, done: threading.Event, say: Callable[[str], None]) -> None:
    while not done.wait(PROGRESS_SECONDS):
        say(f"{name}: still building, {time.monotonic() - began:.0f} s")
