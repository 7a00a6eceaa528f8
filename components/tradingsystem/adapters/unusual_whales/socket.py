"""Unusual Whales' socket: one channel, joined once per connection. What is heard becomes alerts; the caller judges which are news."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec
from websockets.asyncio.client import ClientConnection

from tradingsystem.adapters.pacing import WatchLimits
from tradingsystem.adapters.streaming import ConnectionLost, Endpoint, Heard
from tradingsystem.adapters.unusual_whales.parse import CHANNEL, Alert, parse_frame
from tradingsystem.domain.time import NS_PER_SECOND

LIMITS = WatchLimits(silent_ns=300 * NS_PER_SECOND, behind_ns=300 * NS_PER_SECOND)  # alerts are rare, and seconds old when they come


def endpoint(source: str, url: str, key: str, credential: str) -> Endpoint:
    """Where the socket of a REST address is. The vendor wants the token in the query: nothing here prints a query."""
    return Endpoint(source, f"{url.replace('http', 'ws', 1).rstrip('/')}/socket?token={quote(key, safe='')}", credential)


class FlowDialogue:
    """The dialogue on one socket. ``take`` gets the alerts of a frame and its moment, ``malformed`` what could not be read."""

    def __init__(self, take: Callable[[Sequence[Alert], int], None], malformed: Callable[[str, int], None]) -> None:
        self._take = take
        self._malformed = malformed
        self._joined = False

    async def greet(self, socket: ClientConnection) -> None:  # noqa: ARG002  the interface's
        """The handshake has judged the token: there is nothing to say."""
        self._joined = False

    async def subscribe(self, socket: ClientConnection) -> None:
        """Join once per connection; a socket that forgets a channel is one that is silent, and is given up for that."""
        if not self._joined:
            self._joined = True
            await socket.send(msgspec.json.encode({"channel": CHANNEL, "msg_type": "join"}).decode())

    def hear(self, payload: bytes, received_ns: int) -> Heard:
        """Take one frame. Raises ``ConnectionLost`` when the server refuses the channel."""
        frame = parse_frame(payload)
        for reason, count in frame.malformed.items():
            self._malformed(reason, count)
        if frame.refusal:
            raise ConnectionLost("refused", f"the socket refuses {CHANNEL}: {frame.refusal}", 60.0)
        if frame.alerts:
            self._take(frame.alerts, received_ns)
        return Heard(data=bool(frame.alerts), subscribed=frame.joined)
