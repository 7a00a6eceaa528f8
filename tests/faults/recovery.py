"""How long the way back took, told and kept.

With RELIABILITY set to a file the times go there, by test, with machine and date: that is how `make faults` writes docs/reliability.json.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path

VARIABLE = "RELIABILITY"


def took(test: str, seconds: float) -> None:
    """Say it, and keep it when asked to. ``test`` is the pytest node id."""
    sys.stdout.write(f"\n{test.rpartition('::')[2]}: back after {seconds:.1f} s\n")
    if VARIABLE not in os.environ:
        return
    path = Path(os.environ[VARIABLE])
    known = json.loads(path.read_text()) if path.exists() else {}
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    known[test] = {"seconds": round(seconds, 1), "machine": machine, "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat()}
    path.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")
