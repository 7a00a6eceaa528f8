"""Write what the broker and its clients say to each other to a JSON-lines file, byte for byte, for an auditor that shares no code with us.

The broker's side is trading REST and `/stream`; market data is hundreds of megabytes a day, says nothing about orders, and is left out unless asked for.
One row per message: `{at_ns, monotonic_ns, connection, direction, kind, text|base64}`; `at_ns` is market time. `direction` is "in" (from the client) or
"out". Credentials are masked, nothing else is changed. It never interprets what it writes and drops no row of what it takes: a full disk raises `OSError`.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

Direction = Literal["in", "out"]

BROKER_PATHS = ("/stream", "/v2/account", "/v2/assets", "/v2/calendar", "/v2/clock", "/v2/orders", "/v2/positions")

_SECRET_HEADERS = frozenset({"apca-api-secret-key", "apca-api-key-id", "authorization", "x-api-key"})
_SECRET_QUERY = re.compile(r"(?i)\b(apiKey|token)=[^&\s]+")
_SECRET_FIELDS = re.compile(rb'("(?:key|secret|key_id|secret_key)"\s*:\s*")[^"]*"')
_SECRET_PARAMS = re.compile(rb'("params"\s*:\s*")[^"]*"')
_ENCODER = msgspec.json.Encoder()


class Capture:
    """The capture file; without a path nothing is written. `everything` takes the market data venues too."""

    def __init__(self, path: Path | None, market_now_ns: Callable[[], int], *, everything: bool = False) -> None:
        self._now_ns = market_now_ns
        self._prefixes = ("/",) if everything else BROKER_PATHS
        self._file: BinaryIO | None = None
        self._connections = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=1 << 20)

    def connection(self, name: str, path: str) -> str:
        """A name for a new connection to this path, unique in this capture; empty when it is not captured, and then none of its rows is written."""
        if self._file is None or not path.startswith(self._prefixes):
            return ""
        self._connections += 1
        return f"{name}#{self._connections}"

    def frame(self, connection: str, direction: Direction, payload: bytes, *, text: bool) -> None:
        """One WebSocket data frame."""
        if not connection:
            return
        if direction == "in" and b'"auth' in payload:
            payload = _SECRET_PARAMS.sub(rb'\1***"', _SECRET_FIELDS.sub(rb'\1***"', payload))
        self._row(connection, direction, "text" if text else "binary", payload)

    def event(self, connection: str, direction: Direction, kind: str, text: str) -> None:
        """A control fact of a connection: open, close, reset, mute."""
        if connection:
            self._row(connection, direction, kind, text.encode())

    def request(self, connection: str, start: str, headers: list[tuple[str, str]], body: bytes) -> None:
        """One HTTP request: its first line, headers and body as they read on the wire."""
        if connection:
            self._row(connection, "in", "http", _http_bytes(_SECRET_QUERY.sub(r"\1=***", start), headers, body))

    def response(self, connection: str, start: str, headers: list[tuple[str, str]], body: bytes) -> None:
        if connection:
            self._row(connection, "out", "http", _http_bytes(start, headers, body))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _row(self, connection: str, direction: Direction, kind: str, payload: bytes) -> None:
        if self._file is None:  # closed while a connection was still ending
            return
        row: dict[str, object] = {
            "at_ns": self._now_ns(),
            "monotonic_ns": time.monotonic_ns(),
            "connection": connection,
            "direction": direction,
            "kind": kind,
        }
        try:
            row["text"] = payload.decode()
        except UnicodeDecodeError:
            row["base64"] = base64.b64encode(payload).decode("ascii")
        self._file.write(_ENCODER.encode(row) + b"\n")
        self._file.flush()  # whoever reads beside a running simulator, or after its crash, misses nothing


def _http_bytes(start: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [start]
    lines += [f"{name}: {'***' if name.lower() in _SECRET_HEADERS else value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
