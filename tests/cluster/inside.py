"""Process 1 of a node: it lives in network, mount and process namespaces of its own, so that everything it starts ends and vanishes with it.

Started by `node.py` and by nobody else. It covers the folders in which container programs write at fixed places, waits for its network and for the
commands to run, starts them in order, and takes in orphans. When a command ends the whole node ends: a node that lost a part is no node. It knows
nothing of Kubernetes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Fixed places: sockets of shims and named network namespaces; what network plugins remember; log links. A mount over each hides the machine's own.
COVERED = ("/run", "/var/lib", "/var/log")
READY_WITHIN_SECONDS = 120.0
LOOK_AGAIN_SECONDS = 0.05


def run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def wait_for(what: str, true: Callable[[], bool]) -> None:
    began, pause = time.monotonic(), threading.Event()
    while not true():
        if time.monotonic() - began > READY_WITHIN_SECONDS:
            sys.exit(f"node: {what} not there after {READY_WITHIN_SECONDS:.0f} s")
        pause.wait(LOOK_AGAIN_SECONDS)


def prepare(order: dict[str, Any]) -> None:
    """Network and mounts."""
    for place in COVERED:
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", place)
    run("mount", "--make-rshared", "/")  # within this namespace: volumes that ask for propagation need it
    wait_for("the network link", lambda: b"eth0:" in Path("/proc/net/dev").read_bytes())
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{order['address']}/30", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    run("ip", "route", "add", "default", "via", order["gateway"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def start(command: dict[str, Any], log_folder: Path) -> subprocess.Popen[bytes]:
    with (log_folder / f"{command['name']}.log").open("wb") as log:
        return subprocess.Popen(command["words"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def main(folder: Path) -> int:
    """Prepare, start, then wait for an end."""
    order = json.loads((folder / "node" / "order.json").read_text())
    prepare(order)
    commands_file = folder / "node" / "commands.json"
    wait_for("the list of commands", commands_file.exists)
    running: dict[int, str] = {}
    for command in json.loads(commands_file.read_text()):
        if command["once"]:
            run(*command["words"])
            continue
        process = start(command, folder / "log")
        running[process.pid] = command["name"]
        if command["socket"]:
            wait_for(f"{command['name']}'s socket", Path(command["socket"]).exists)
    while True:
        pid, status = os.wait()
        if pid in running:
            sys.stderr.write(f"node: {running[pid]} ended with {os.waitstatus_to_exitcode(status)}\n")
            return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    sys.exit(main(Path(sys.argv[1])))
