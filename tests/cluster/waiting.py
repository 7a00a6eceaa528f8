"""Waiting for what another process brings about: asked again until it is so, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

DEADLINE_SECONDS = 60.0


def until(what: str, true: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true answer; fails when there is none in time."""
    began, pause = time.monotonic(), threading.Event()
    while not (answer := true()):
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}"
        pause.wait(0.02)
    return answer
