"""The control groups of one node: one folder in every hierarchy, removed with everything below it when the node is gone.

Containers end when the node's process namespace ends; what stays are empty folders of the kernel, and those this removes. It moves and ends nothing, and says
which processes are a container's.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Beside the group every process of the machine counts as much as all pods together would; a node's pods are to count like ten of them.
WEIGHTS = {"cpu.shares": "10240", "cpu.weight": "1000"}
EMPTY_WITHIN_SECONDS = 10.0


def hierarchies() -> list[Path]:
    """Where groups of this machine are made: one place with control groups v2, one for each controller with v1."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(folder for folder in ROOT.iterdir() if (folder / "cgroup.procs").exists() and not folder.is_symlink())


def make(name: str) -> None:
    """The group, in every hierarchy."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # v1: a new set of processors is empty, and nothing can run in it
            if (group / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((hierarchy / setting).read_text())
        for setting, weight in WEIGHTS.items():
            if (group / setting).exists():
                (group / setting).write_text(weight)


def processes(name: str, container: str) -> list[int]:
    """The processes of a container of that group, by this machine's numbers; the first is the one that it was started with."""
    for hierarchy in hierarchies():
        for listed in (hierarchy / name).rglob("cgroup.procs"):
            if container in listed.parent.name:
                return sorted(int(pid) for pid in listed.read_text().split())
    return []


def remove(name: str) -> list[Path]:
    """Remove the group everywhere; what could not be removed in time, because something still runs there, is returned."""
    began, pause = time.monotonic(), threading.Event()
    while left := [path for hierarchy in hierarchies() if (path := hierarchy / name).exists() and not _remove_tree(path)]:
        if time.monotonic() - began > EMPTY_WITHIN_SECONDS:
            break
        pause.wait(0.1)
    return left


def _remove_tree(group: Path) -> bool:
    try:
        for child in group.iterdir():
            if child.is_dir():
                _remove_tree(child)
        group.rmdir()
    except OSError:
        return False
    return True
