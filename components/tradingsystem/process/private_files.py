"""Files that only their owner may read: passwords, configurations, notes."""

from __future__ import annotations

import os
from pathlib import Path

from tradingsystem.domain.errors import InvalidInput


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, in one step."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)


def read_password(path: Path) -> str:
    """The password in a file. Raises ``InvalidInput``."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot read the NATS password ({error.strerror})") from error
