"""The shipped clients of broker and market data against addresses over TLS, in a process whose trusted authorities come from SSL_CERT_FILE.

    SSL_CERT_FILE=authority.pem python -m tests.faults.tls_client ADDRESS...

Prints one line of JSON by address: what a read and a write of the account came to and the alarms they raised, what the market data's REST and a market
data socket came to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import date
from typing import Any

import structlog

from tests.adapters.listening import Memory
from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource
from tradingsystem.domain.errors import TradingSystemError
from tradingsystem.telemetry import metrics

ALARMS = ("certificate_expires", "certificate_refused")


async def outcome(asked: Any) -> str:
    """In words: the error's kind and text, or that it was answered."""
    try:
        await asked
    except TradingSystemError as error:
        return f"{type(error).__name__}: {error}"
    return "answered"


def alarms() -> dict[str, float]:
    """How often each was raised."""
    return {name: metrics.alarms.labels(alarm=name)._value.get() for name in ALARMS}


async def socket_reason(address: str) -> str:
    """Why the market data socket is not healthy."""
    sink = Memory()
    settings = PolygonSettings(name="polygon", url=address.replace("https", "wss", 1), key=lambda: "K", channels=frozenset({"MinuteBars"}))
    running = asyncio.create_task(PolygonSource(settings, SystemClock()).run(("ABC",), sink))
    try:
        await sink.until(lambda: bool(sink.events))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return sink.events[0][1].reason


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for address in sys.argv[1:]:
        before = alarms()
        broker = AlpacaBroker(address, lambda: Credentials("K", "S"), SystemClock().now)
        found = {"read": await outcome(broker.account()), "write": await outcome(broker.suspend(suspended=False))}
        raised = {name: count - before[name] for name, count in alarms().items()}
        found["data"] = await outcome(broker.splits(["ABC"], date(2026, 3, 2), date(2026, 3, 3)))
        found["data_certificate_seconds"] = metrics.certificate_left.labels(place="Alpaca market data")._value.get()
        await broker.close()
        sys.stdout.write(json.dumps(found | {"socket": await socket_reason(address), "alarms": raised}) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
