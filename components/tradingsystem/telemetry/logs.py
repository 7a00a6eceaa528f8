"""Log lines: one JSON object per event, with keys, to stderr or a file. Secrets are dropped by key before a line is written."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog

from tradingsystem.telemetry import metrics

CANNOT_START = "cannot_start"
"""The event of a process that ends because of what a person gave it, with ``reason`` and the ``code`` of that kind of reason, which may be empty."""

_SECRET_WORDS = ("password", "secret", "token", "api_key", "authorization", "key_id")
_files: list[TextIO] = []
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(*, service: str, system: str, path: Path | None = None, level: str = "info", human: bool = False) -> None:
    """Set up structlog for this process. ``path``: append to that file, else stderr. ``human``: coloured lines instead of JSON.

    Lines of libraries that use ``logging`` are written in the same form, from warnings on.
    """
    close()
    stream: TextIO = sys.stderr if path is None else path.open("a", encoding="utf-8", buffering=1)
    _files.extend([] if path is None else [stream])
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _count,
        _without_secrets,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    final: structlog.typing.Processor = structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(serializer=_json)
    structlog.configure(
        processors=[*shared, final],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service, system=system)
    _adopt_libraries(stream, [*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, final], shared)


def why_it_could_not_start(lines: str) -> tuple[str, str]:
    """Code and reason of the last ``CANNOT_START`` among the last lines of a log, of which the first may be torn; both empty when there is none."""
    for line in reversed(lines.splitlines()):
        try:
            event = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeEncodeError):
            continue
        if event.get("event") == CANNOT_START:
            return str(event.get("code", "")), str(event.get("reason", ""))
    return "", ""


def close() -> None:
    """Back to the libraries' own settings, the file closed. Idempotent."""
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers = [handler for handler in logging.getLogger().handlers if not isinstance(handler, _Handler)]
    while _files:
        _files.pop().close()


class _Handler(logging.StreamHandler[TextIO]):
    """Ours among the root's handlers."""


def _adopt_libraries(stream: TextIO, processors: list[structlog.typing.Processor], foreign: list[structlog.typing.Processor]) -> None:
    handler = _Handler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors[len(foreign) :], foreign_pre_chain=foreign))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)


def _count(_: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    metrics.log_lines.labels(level=event.get("level", method)).inc()
    return event


def _without_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "(not shown)"
    return event


def _json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
