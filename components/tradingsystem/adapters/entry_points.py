"""What others announce to this project: functions found by entry point, so that adding one changes no file here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from tradingsystem.domain.errors import InvalidInput


def names(group: str) -> list[str]:
    """The names that installed packages announce in a group."""
    return sorted({point.name for point in entry_points(group=group)})


def announced(group: str, name: str, field: str) -> Callable[..., Any]:
    """The function announced under that name. Raises ``InvalidInput``, naming the resource's field and the names there are."""
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none are installed"
        raise InvalidInput(f"{field}: {name!r} is not an entry point of the group {group}; known: {known}")
    try:
        loaded = found[name].load()
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"{field}: {name!r} points to {found[name].value!r}, which cannot be loaded: {error}") from error
    if not callable(loaded):
        raise InvalidInput(f"{field}: {name!r} points to {found[name].value!r}, which is not a function")
    build: Callable[..., Any] = loaded
    return build
