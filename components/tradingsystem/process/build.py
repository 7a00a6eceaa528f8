"""Which build this is, from the source itself: trading starts only when every service reports the same one."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import tradingsystem


@cache
def build_digest() -> str:
    """The version and the first 12 hex digits of sha256 over every source file of the package, in order of their paths."""
    root = Path(tradingsystem.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return f"{version('tradingsystem')}+{digest.hexdigest()[:12]}"
