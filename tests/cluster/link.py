"""The wire between this machine and a node: a pair of virtual interfaces with addresses nobody else uses here.

One end is this machine's, the other the node's `eth0`. The kernel removes both when the node's network namespace ends, and with them the route to its
pods: there is nothing to clean. It changes no other route, no firewall rule and no setting of the machine, so pods reach this machine and no further.
"""

from __future__ import annotations

import dataclasses
import subprocess
import threading
import time
from pathlib import Path

CLUSTERS_MAX = 64
JOINED_WITHIN_SECONDS = 10.0


class NoLink(Exception):
    """The interfaces could not be made; the text has what `ip` said."""


@dataclasses.dataclass(frozen=True)
class Link:
    """Addresses of one cluster on this machine."""

    number: int

    @property
    def name(self) -> str:
        return f"tradingsys-{self.number}"

    @property
    def machine(self) -> str:
        return f"10.213.{self.number}.1"

    @property
    def node(self) -> str:
        return f"10.213.{self.number}.2"

    @property
    def pods(self) -> str:
        return f"10.214.{self.number}.0/24"

    def exists(self) -> bool:
        """Whether this machine has its end of the wire."""
        return self.index() > 0

    def index(self) -> int:
        """Which interface it is, 0 when there is none: a name is given again, an index is not."""
        try:
            return int(Path("/sys/class/net", self.name, "ifindex").read_text())
        except OSError:
            return 0


def wait_for_namespace(pid: int) -> None:
    """Return when the process has a network of its own."""
    own = Path("/proc/self/ns/net").readlink()
    began, pause = time.monotonic(), threading.Event()
    while Path(f"/proc/{pid}/ns/net").readlink() == own:
        if time.monotonic() - began > JOINED_WITHIN_SECONDS:
            raise NoLink(f"process {pid} has no network of its own after {JOINED_WITHIN_SECONDS:.0f} s")
        pause.wait(0.01)


def join(pid: int, link: Link) -> None:
    """Connect the process's network with this machine's. Raises `NoLink` when the number is taken."""
    peer = ("type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("link", "add", link.name, *peer)
    _ip("address", "add", f"{link.machine}/30", "dev", link.name)
    _ip("link", "set", link.name, "up")
    _ip("route", "add", link.pods, "via", link.node, "dev", link.name)


def free_numbers() -> list[int]:
    """Numbers whose interface does not exist; two that ask at once may get the same, and then `join` refuses the second."""
    return [number for number in range(CLUSTERS_MAX) if not Link(number).exists()]


def _ip(*words: str) -> None:
    ran = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if ran.returncode:
        raise NoLink(f"ip {' '.join(words)}: {ran.stderr.strip()}")
