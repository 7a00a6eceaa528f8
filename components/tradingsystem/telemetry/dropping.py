"""What becomes of a message that is not what its subject promises: dropped, counted and logged, the same by every service.

Exists so that no service falls over another's words and none passes over them in silence. It decides nothing and reads no message.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import structlog

from tradingsystem.telemetry import metrics

_log = structlog.get_logger()


class Dropping:
    """A block that reads one message of a ``kind`` and takes it over: an ``error`` of that type ends the block and nothing else. ``about``: logged with it."""

    def __init__(self, error: type[Exception], kind: str, **about: Any) -> None:
        self.dropped = False
        self._error, self._kind, self._about = error, kind, about

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, self._error):
            return False
        self.dropped = True
        metrics.bus_malformed.labels(kind=self._kind).inc()
        _log.error("message_malformed", kind=self._kind, reason=str(error), **self._about)
        return True
