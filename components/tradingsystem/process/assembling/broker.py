"""The broker's account, as execution, the watcher and a person's commands reach it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.venues import SIMULATED_KEY, Venues, venues_of
from tradingsystem.spec import Mode

if TYPE_CHECKING:
    from tradingsystem.adapters.alpaca.broker import AlpacaBroker
    from tradingsystem.interfaces import Broker

SHORT_REQUEST_SECONDS = 3.0  # of whoever only looks and cancels


def alpaca(
    venues: Venues, secret: str, key: Callable[[str, str, str], Callable[[], str]], now_ns: Callable[[], int], timeout_seconds: float
) -> AlpacaBroker:
    """One account of Alpaca's; ``key`` gives a value of the secret as it is whenever asked for."""
    from tradingsystem.adapters.alpaca.broker import AlpacaBroker
    from tradingsystem.adapters.alpaca.credentials import Credentials

    key_id, key_secret = key(secret, "apiKey", "ALPACA_API_KEY"), key(secret, "apiSecret", "ALPACA_API_SECRET")
    return AlpacaBroker(
        venues.alpaca_trading,
        lambda: Credentials(key_id(), key_secret()),
        now_ns,
        data_url=venues.alpaca_data,
        timeout_seconds=timeout_seconds,
    )


@contextlib.asynccontextmanager
async def account(mode: Mode, simulator: str, secret: str) -> AsyncIterator[Broker]:
    """The broker's account itself, for a person's commands: neither bus nor journal. Raises ``NotAuthorized``."""
    key = Secrets(local_folder()).kept if mode is not Mode.SIMULATION else lambda *_: lambda: SIMULATED_KEY
    broker = alpaca(venues_of(mode, simulator), secret, key, time.time_ns, SHORT_REQUEST_SECONDS)
    try:
        yield broker
    finally:
        await broker.close()
