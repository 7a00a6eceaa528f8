"""Sources that are not ours: found by entry point, so that adding a feed changes no file of this project.

A package announces ``[project.entry-points."tradingsystem.sources"] my_feed = "my_package:build"``; the resource names it as ``plugin: my_feed`` with
``type: Custom``. What it delivers passes the same validation as every other source's rows.
"""

from __future__ import annotations

from collections.abc import Callable

from tradingsystem.adapters.entry_points import announced
from tradingsystem.interfaces import Clock, Source
from tradingsystem.spec.sources import Source as SourceSpec

GROUP = "tradingsystem.sources"

SourceFactory = Callable[[SourceSpec, Clock, str], Source]
"""Builds a source from its entry in the resource, the clock, and the ``apiKey`` of its secret (empty when it names none)."""


def factory(plugin: str) -> SourceFactory:
    """The factory an installed package announces under that name. Raises ``InvalidInput`` with the names there are."""
    return announced(GROUP, plugin, "spec.sources.plugin")
