"""The Debian packages that a node and image builds need: installed where they are missing and it may be done, named otherwise.

It upgrades nothing, removes nothing, and asks nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping

PROGRAM_FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/lib/cni"])
NODE_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "socat": "socat",
    "ethtool": "ethtool",
    "modprobe": "kmod",
    "mount": "mount",
    "unshare": "util-linux",
}
IMAGE_PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}


class Missing(Exception):
    """Something this machine lacks; the text says what, and what to do."""


def lacking(packages: Mapping[str, str]) -> list[str]:
    """Packages whose program is not here."""
    return sorted({package for program, package in packages.items() if shutil.which(program, path=PROGRAM_FOLDERS) is None})


def require(packages: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Have these programs, or raise `Missing`."""
    if os.geteuid() != 0:
        raise Missing("a node and its images need root (namespaces, mounts, cgroups); without it: make cluster API_ONLY=1")
    absent = lacking(packages)
    if not absent:
        return
    if shutil.which("apt-get") is None:
        raise Missing(f"missing, and no apt-get here to install them: {', '.join(absent)}; without a node: make cluster API_ONLY=1")
    say(f"installing {', '.join(absent)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *absent]):
        ran = subprocess.run(["apt-get", *words], env=environment, check=False, capture_output=True, text=True)
        if ran.returncode:
            raise Missing(f"apt-get {' '.join(words)} ended with {ran.returncode}:\n{ran.stderr[-1_000:]}")
    if still := lacking(packages):
        raise Missing(f"still missing after apt-get: {', '.join(still)}")
