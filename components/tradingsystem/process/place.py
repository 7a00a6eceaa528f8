"""A place that one living process can occupy at a time: a locked file on one machine's disk.

Exists so that a restarted process need not wait for the lease of the one that died: whoever can lock the file knows that its last occupant is gone.
It refuses to say anything about another machine: the place carries the machine's boot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def occupied(path: Path) -> Iterator[str]:
    """The place's name while inside; empty when another process is there or this machine cannot tell its boots apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield ""
            return
        about = os.fstat(descriptor)
        yield f"{_BOOT.read_text().strip()}:{about.st_dev}:{about.st_ino}" if _BOOT.exists() else ""
    finally:
        os.close(descriptor)
