"""A broker that answers every order at once: ``python -m tradingsystem.world.bench.loopback_broker``. What is measured against it is the client.

It notes an order's symbol and the machine time at which its first bytes were read, and tells both on ``GET /receipts``. It checks nothing, fills
nothing and keeps no account; prices and risks are the simulator's business.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from typing import Any, cast

HEAD_END = b"\r\n\r\n"
TIME = "2026-03-02T15:00:00.123456789Z"

Receipts = dict[str, tuple[int, str]]


class Broker(asyncio.Protocol):
    """One connection, kept alive; requests are answered in the order in which they came."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._buffer = b""
        self._begun_ns = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no common class

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if not self._buffer:
            self._begun_ns = now_ns
        self._buffer += data
        while (end := self._buffer.find(HEAD_END)) >= 0:
            head, length = self._buffer[:end], _length(self._buffer[:end])
            if len(self._buffer) < end + len(HEAD_END) + length:
                return
            body = self._buffer[end + len(HEAD_END) : end + len(HEAD_END) + length]
            self._buffer = self._buffer[end + len(HEAD_END) + length :]
            self._answer(head.split(b" ", 2)[:2], body)
            self._begun_ns = now_ns

    def _answer(self, start: list[bytes], body: bytes) -> None:
        if start == [b"POST", b"/v2/orders"]:
            order = json.loads(body)
            self._receipts[order["client_order_id"]] = (self._begun_ns, order["symbol"])
            self._send(taken(order))
        elif start == [b"GET", b"/receipts"]:
            self._send(self._receipts)
            self._receipts.clear()
        else:
            self._send({"message": "only orders are answered here", "code": 40410000}, "404 Not Found")

    def _send(self, answer: dict[str, Any], status: str = "200 OK") -> None:
        payload = json.dumps(answer).encode()
        limit = "X-RateLimit-Limit: 1000000\r\nX-RateLimit-Remaining: 999999\r\n"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{limit}Content-Length: {len(payload)}\r\n\r\n"
        assert self._transport is not None, "connected"
        self._transport.write(head.encode() + payload)


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


async def _main() -> None:
    receipts: Receipts = {}
    server = await asyncio.get_running_loop().create_server(lambda: Broker(receipts), "127.0.0.1", 0)
    sys.stdout.write(f"port {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_main())
