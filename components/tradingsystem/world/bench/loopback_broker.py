"""A broker that answers every order at once: ``python -m tradingsystem.world.bench.loopback_broker``. What is measured against it is the client.

It notes an order's symbol and the machine time at which its bytes came to its socket, and tells both on ``GET /receipts``. On Linux that time is the
kernel's, which on a loopback takes it while the sender writes, so that waking this process up is not inside. It checks nothing, fills nothing and keeps
no account; prices and risks are the simulator's business.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import struct
import sys
import time
import uuid
from typing import Any

HEAD_END = b"\r\n\r\n"
TIME = "2026-03-02T15:00:00.123456789Z"
READ_BYTES = 1 << 16
STAMPED = sys.platform == "linux"
SO_TIMESTAMPNS = 35  # Linux' number on every processor that Python's wheels are built for; the socket module does not name it
_TIMESPEC = struct.Struct("@ll")

Receipts = dict[str, tuple[int, str]]


class Connection(socketserver.BaseRequestHandler):
    """One connection, kept alive; requests are answered in the order in which they came."""

    request: socket.socket
    server: Broker

    def setup(self) -> None:
        """See ``BaseRequestHandler``."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if STAMPED:
            self.request.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def handle(self) -> None:
        """Until the other side closes."""
        with contextlib.suppress(ConnectionError):  # a client that leaves in the middle
            self._serve()

    def _serve(self) -> None:
        buffer, begun_ns = b"", 0
        while True:
            data, came_ns = self._read()
            if not data:
                return
            begun_ns = begun_ns if buffer else came_ns
            buffer += data
            while (request := _first_of(buffer)) is not None:
                start, body, buffer = request
                self._answer(start, body, begun_ns)
                begun_ns = came_ns

    def _read(self) -> tuple[bytes, int]:
        """Bytes, and the monotonic time at which they came."""
        if not STAMPED:
            data = self.request.recv(READ_BYTES)
            return data, time.monotonic_ns()
        data, more, *_ = self.request.recvmsg(READ_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
        now_ns = time.monotonic_ns()
        for level, kind, stamp in more:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack(stamp)
                return data, now_ns - (time.time_ns() - seconds * 1_000_000_000 - nanoseconds)
        return data, now_ns

    def _answer(self, start: list[bytes], body: bytes, begun_ns: int) -> None:
        receipts = self.server.receipts
        if start == [b"POST", b"/v2/orders"]:
            order = json.loads(body)
            receipts[order["client_order_id"]] = (begun_ns, order["symbol"])
            self._send(taken(order))
        elif start == [b"GET", b"/receipts"]:
            told = dict(receipts)
            self._send(told)
            for key in told:
                del receipts[key]
        else:
            self._send({"message": "only orders are answered here", "code": 40410000}, "404 Not Found")

    def _send(self, answer: dict[str, Any], status: str = "200 OK") -> None:
        payload = json.dumps(answer).encode()
        limit = "X-RateLimit-Limit: 1000000\r\nX-RateLimit-Remaining: 999999\r\n"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{limit}Content-Length: {len(payload)}\r\n\r\n"
        self.request.sendall(head.encode() + payload)


class Broker(socketserver.ThreadingTCPServer):
    """A thread for each connection: the client keeps few, and a blocked read is woken up sooner than a loop."""

    daemon_threads = True

    def __init__(self) -> None:
        self.receipts: Receipts = {}
        super().__init__(("127.0.0.1", 0), Connection)


def _first_of(buffer: bytes) -> tuple[list[bytes], bytes, bytes] | None:
    """Method and path, body, and what follows; None while the first request is not whole."""
    if (end := buffer.find(HEAD_END)) < 0:
        return None
    body_at = end + len(HEAD_END)
    next_at = body_at + _length(buffer[:end])
    if len(buffer) < next_at:
        return None
    return buffer[:end].split(b" ", 2)[:2], buffer[body_at:next_at], buffer[next_at:]


def taken(order: dict[str, Any]) -> dict[str, Any]:
    """The order as Alpaca gives it back, every field there."""
    return {
        **dict.fromkeys(("filled_at", "expired_at", "canceled_at", "failed_at", "replaced_at", "replaced_by", "replaces", "notional")),
        **dict.fromkeys(("filled_avg_price", "stop_price", "legs", "trail_percent", "trail_price", "hwm")),
        "id": str(uuid.uuid4()),
        "client_order_id": order["client_order_id"],
        **dict.fromkeys(("created_at", "updated_at", "submitted_at"), TIME),
        "asset_id": "904837e3-3b76-47ec-b432-046db621571b",
        "asset_class": "us_equity",
        "symbol": order["symbol"],
        "qty": str(order["qty"]),
        "filled_qty": "0",
        "order_class": order.get("order_class") or "simple",
        **dict.fromkeys(("order_type", "type"), order["type"]),
        "side": order["side"],
        "time_in_force": order["time_in_force"],
        "limit_price": str(order.get("limit_price")),
        "status": "accepted",
        "extended_hours": False,
        "source": "access_key",
        "subtag": None,
    }


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _main() -> None:
    with Broker() as broker:
        sys.stdout.write(f"port {broker.server_address[1]}\n")
        sys.stdout.flush()
        broker.serve_forever()


if __name__ == "__main__":
    _main()
