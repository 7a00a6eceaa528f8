"""A Polygon socket that sends made-up frames at a fixed rate: ``python -m tradingsystem.world.bench.frame_server EVENTS_PER_SECOND PER_FRAME SECONDS``.

It says its port, and when a client has subscribed, the machine time at which the first frame was due; frame k was due k intervals later, sent or not.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tradingsystem.process.measured import frames
from tradingsystem.world.bench.result import SEED

SETTLE_NS = 100_000_000
MADE_EVENTS = 60_000  # then they are sent again


class FrameServer:
    """One client, one schedule of ``count`` frames: the given ones, over and over, each finished by ``stamp`` with the moment at which it is due.

    ``ahead`` makes a frame that is sent at once, ``settle_ns`` before the first of the schedule.
    """

    def __init__(
        self,
        made: Sequence[bytes],
        interval_ns: int,
        count: int,
        stamp: Callable[[bytes, int], bytes] = lambda frame, _: frame,
        *,
        ahead: Callable[[int], bytes] | None = None,
        settle_ns: int = SETTLE_NS,
    ) -> None:
        self._made = made
        self._interval_ns, self._count, self._settle_ns = interval_ns, count, settle_ns
        self._stamp, self._ahead = stamp, ahead
        self._sending: asyncio.Task[None] | None = None

    async def serve(self, socket: ServerConnection) -> None:
        """Greet, confirm everything, then send."""
        try:
            await socket.send(_status("connected", "Connected Successfully"))
            async for text in socket:
                message = json.loads(text)
                if message["action"] == "auth":
                    await socket.send(_status("auth_success", "authenticated"))
                elif message["action"] == "subscribe":
                    for param in message["params"].split(","):
                        await socket.send(_status("success", f"subscribed to: {param}"))
                    self._sending = self._sending or asyncio.create_task(self._send(socket))
        except ConnectionClosed:
            return

    async def _send(self, socket: ServerConnection) -> None:
        begin_ns = time.perf_counter_ns() + self._settle_ns
        _say(f"begin {begin_ns} {self._interval_ns} {self._count}")
        made = itertools.cycle(self._made)
        try:
            if self._ahead is not None:
                await socket.send(self._ahead(time.perf_counter_ns()).decode())
            for number in range(self._count):
                due_ns = begin_ns + number * self._interval_ns
                frame = self._stamp(next(made), due_ns).decode()
                left_ns = due_ns - time.perf_counter_ns()
                if left_ns > 0:
                    await asyncio.sleep(left_ns / 1e9)
                await socket.send(frame)
        except ConnectionClosed:
            return


def _status(name: str, message: str) -> str:
    return json.dumps([{"ev": "status", "status": name, "message": message}])


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve_frames(server: FrameServer) -> None:
    """Listen on a free port, say which, and go on until ended."""
    async with serve(server.serve, "127.0.0.1", 0, compression=None) as listening:
        _say(f"port {next(iter(listening.sockets)).getsockname()[1]}")
        await listening.serve_forever()


def _server(per_second: float, per_frame: int, seconds: float) -> FrameServer:
    count = max(1, int(per_second * seconds / per_frame))
    made = frames(SEED, min(MADE_EVENTS, count * per_frame), per_frame)
    return FrameServer(made, int(1e9 * per_frame / per_second), count)


if __name__ == "__main__":
    asyncio.run(serve_frames(_server(float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
