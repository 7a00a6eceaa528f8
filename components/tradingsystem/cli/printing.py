"""How commands print what more than one of them prints: a value as JSON, numbers of versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import typer


def print_json(value: Any) -> None:
    """On standard output, for a person and for a script."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def numbers(versions: Iterable[int]) -> str:
    """Separated by commas; none is said so."""
    return ", ".join(map(str, versions)) or "none"
