"""Alpaca as the ``Broker`` that execution asks for: REST for orders and questions, the socket for what became of them."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

from tradingsystem.adapters.alpaca.client import AlpacaClient
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.alpaca.stream import UpdateStream
from tradingsystem.adapters.warm_http import Http
from tradingsystem.domain.orders import OrderUpdate


class AlpacaBroker(AlpacaClient):
    """One account. ``base_url`` is the trading host; the update stream and the market data's REST are at the same one unless ``stream_url`` and
    ``data_url`` say otherwise. ``http`` and ``session`` are the sockets of REST and stream, for who has others."""

    def __init__(
        self,
        base_url: str,
        credentials: Callable[[], Credentials],
        now_ns: Callable[[], int],
        *,
        stream_url: str = "",
        data_url: str = "",
        timeout_seconds: float = 5.0,
        http: Http | None = None,
        session: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession,
    ) -> None:
        super().__init__(base_url, credentials, now_ns, data_url=data_url, timeout_seconds=timeout_seconds, http=http)
        address = stream_url or f"{self.base_url.replace('http', 'ws', 1)}/stream"
        self.stream = UpdateStream(address, credentials, self.trading.certificate, session)

    async def updates(self, handler: Callable[[OrderUpdate], None], connected: Callable[[bool], None]) -> None:
        """Deliver the update stream until cancelled, reconnecting for ever. Raises ``NotAuthorized``."""
        await self.stream.run(handler, connected)
