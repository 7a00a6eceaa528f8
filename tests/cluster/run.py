"""One entry for a real cluster on this machine: `python -m tests.cluster.run up|down|status|build|tools|load`, or `make cluster` and `make cluster-down`.

`up` builds what is absent, starts a process that holds the cluster, and prints the kubeconfig; `down` ends that process and with it everything it
started. Where Docker answers and kind is installed, kind is used; else control plane and node are built from Go modules and Debian packages. It never
ends a process that it did not start: a state file names the holder, and the kernel's start time of it is compared first.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.cluster import images
from tests.cluster.build import API_PROGRAMS, CHART_PROGRAMS, KWOK, NODE_PROGRAMS, WORKFLOW_PROGRAMS, BuildFailed, build, cache
from tests.cluster.control_plane import ControlPlane, NotStarted
from tests.cluster.node import Cluster, import_image
from tests.cluster.packages import NODE_PACKAGES, Missing, require

BEGAN = time.monotonic()
UP_WITHIN_SECONDS = 300.0
DOWN_WITHIN_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.2


def say(text: str) -> None:
    sys.stderr.write(f"cluster {time.monotonic() - BEGAN:6.1f} s  {text}\n")
    sys.stderr.flush()


def can_use_kind() -> bool:
    """kind is installed and a Docker daemon answers."""
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0


def started_at(pid: int) -> str:
    """When the kernel started this process, in its own ticks; "" when there is none. A pid is used again, a pid with its start is not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def holder(folder: Path) -> int | None:
    """The process that holds the cluster of this folder, when it lives."""
    state = folder / "holder.json"
    if not state.exists():
        return None
    known = json.loads(state.read_text())
    return int(known["pid"]) if known["started"] and started_at(known["pid"]) == known["started"] else None


def kind_name(folder: Path) -> str:
    """One kind cluster for each folder, so that several live side by side."""
    return f"tradingsystem-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def make_ready(*, whole: bool) -> None:
    """Programs and packages."""
    if whole:
        require(NODE_PACKAGES, say)
    build(NODE_PROGRAMS if whole else API_PROGRAMS, say)


def up(folder: Path, *, whole: bool, from_source: bool) -> Path:
    """Start, and return the kubeconfig. A cluster that is up already is left as it is."""
    kubeconfig = folder / "admin.conf"
    if not from_source and can_use_kind():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kind").write_text(kind_name(folder))
        command = ["kind", "create", "cluster", "--name", kind_name(folder), "--kubeconfig", str(kubeconfig), "--wait", "120s"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return kubeconfig
    if holder(folder) is not None:
        say("is up already")
        return kubeconfig
    make_ready(whole=whole)
    (folder / "log").mkdir(parents=True, exist_ok=True)
    (folder / "holder.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.cluster.run", "hold", "--folder", str(folder), *(["--api-only"] if not whole else [])]
    with (folder / "log" / "holder.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + UP_WITHIN_SECONDS
    pause = threading.Event()
    while holder(folder) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            raise NotStarted((folder / "log" / "holder.log").read_text()[-2_000:])
        pause.wait(LOOK_AGAIN_SECONDS)
    return kubeconfig


def hold(folder: Path, *, whole: bool) -> None:
    """Keep the cluster up until SIGTERM or SIGINT, or until one of its parts ends."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: asked.set())
    state = folder / "holder.json"
    with Cluster(folder, say=say) if whole else ControlPlane(folder, say=say) as cluster:
        fresh = state.with_suffix(".new")
        node = next((part.process.pid for part in cluster.parts if part.name == "node"), 0)
        fresh.write_text(json.dumps({"pid": os.getpid(), "started": started_at(os.getpid()), "node": node}))
        fresh.rename(state)
        while not asked.wait(1.0):
            ended = [part.name for part in cluster.parts if part.process.poll() is not None]
            if ended:
                say(f"ended by itself: {', '.join(ended)}; the cluster goes down")
                break
    state.unlink(missing_ok=True)


def load(folder: Path) -> None:
    """Give the node of a running cluster the project's images, built from the working tree. Raises `NotStarted`."""
    node = json.loads((folder / "holder.json").read_text())["node"] if holder(folder) else 0
    if not node:
        raise NotStarted(f"no cluster with a node is up in {folder}; first: make cluster")
    images.build(images.IMAGES, say)
    for image in images.IMAGES:
        import_image(node, image.archive)
        say(f"the node has {image.name}")


def down(folder: Path) -> None:
    """End what `up` started; nothing to do is no mistake."""
    made_by_kind = folder / "kind"
    if made_by_kind.exists():
        subprocess.run(["kind", "delete", "cluster", "--name", made_by_kind.read_text()], check=True, stdout=sys.stderr)
        made_by_kind.unlink()
        (folder / "admin.conf").unlink(missing_ok=True)
        return
    pid = holder(folder)
    if pid is None:
        say("is not up")
        return
    os.kill(pid, signal.SIGTERM)
    started, deadline = started_at(pid), time.monotonic() + DOWN_WITHIN_SECONDS
    pause = threading.Event()
    while started and started_at(pid) == started and not _is_zombie(pid):
        if time.monotonic() > deadline:
            raise NotStarted(f"process {pid} still runs {DOWN_WITHIN_SECONDS:.0f} s after SIGTERM; see {folder / 'log' / 'holder.log'}")
        pause.wait(LOOK_AGAIN_SECONDS)
    say(f"is down; logs are in {folder / 'log'}")


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def main(arguments: list[str]) -> int:
    """Exit 0 when done, 1 when not, with what to do."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=["up", "down", "status", "build", "tools", "load", "hold"])
    parser.add_argument("--folder", type=Path, default=cache() / "run", help="where kubeconfig, keys, data and logs lie")
    parser.add_argument("--api-only", action="store_true", help="etcd and kube-apiserver alone: enough for the resource itself")
    parser.add_argument("--kwok", action="store_true", help="build: kwok as well, for nodes that are not there")
    parser.add_argument("--from-source", action="store_true", help="build from Go modules even where kind could be used")
    given = parser.parse_args(arguments)
    folder, whole = given.folder.resolve(), not given.api_only
    try:
        if given.command == "up":
            sys.stdout.write(f"{up(folder, whole=whole, from_source=given.from_source)}\n")
        elif given.command == "down":
            down(folder)
        elif given.command == "build":
            make_ready(whole=whole)
            build((KWOK,) if given.kwok else (), say)
        elif given.command == "tools":
            build((*CHART_PROGRAMS, *WORKFLOW_PROGRAMS), say)
        elif given.command == "load":
            load(folder)
        elif given.command == "hold":
            hold(folder, whole=whole)
        else:
            pid = holder(folder)
            by = f"process {pid}" if pid else "kind" if (folder / "kind").exists() else ""
            sys.stdout.write(f"up, held by {by}; kubeconfig {folder / 'admin.conf'}\n" if by else "not up\n")
            return 0 if by else 1
    except (BuildFailed, Missing, NotStarted, images.ImageFailed, subprocess.CalledProcessError) as error:
        say(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
