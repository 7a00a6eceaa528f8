"""Row 5: one order to a loopback broker and its answer back: our client, alpaca-py's and bare aiohttp against the same server in the same run.

Each works as on a warm connection, one order after the other at the same offered rate. The server answers at once, so that what differs is the client.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp
import numpy as np

from tradingsystem.domain.rows import F64
from tradingsystem.process import measured
from tradingsystem.world.bench import desk, programs
from tradingsystem.world.bench.offering import offered, offered_later
from tradingsystem.world.bench.result import Effort, Row, latencies

PER_SECOND = 100
ROUNDS = 3
TIMES_FASTER = 3.0
BROKER = "tradingsystem.world.bench.loopback_broker"


def measure(effort: Effort) -> Row:
    """Rounds of each in turn, so that a slow moment of the machine meets all of them."""
    return programs.on_loop(_measure(effort))


async def _measure(effort: Effort) -> Row:
    found: dict[str, list[F64]] = {"our client": [], "aiohttp bare": [], "alpaca-py": []}
    async with programs.running(BROKER) as (port, *_):
        url, seconds = f"http://127.0.0.1:{port}", effort.part(0.6) / ROUNDS
        for number in range(ROUNDS):
            effort.tell(f"order round trips, round {number + 1} of {ROUNDS}")
            found["our client"].append(await ours(url, seconds))
            found["aiohttp bare"].append(await bare(url, seconds))
            found["alpaca-py"].append(await asyncio.to_thread(official, url, seconds))
    took = {name: np.concatenate(parts) / 1e3 for name, parts in found.items()}
    p50 = float(np.median(took["alpaca-py"])) / TIMES_FASTER
    rate = f"{PER_SECOND}/s each"
    lines = [
        latencies(
            name,
            times,
            "ms",
            offered=rate,
            limits=(p50, np.inf) if name == "our client" else None,
            goal=f"p50 {TIMES_FASTER:g} x faster than alpaca-py: {p50:.3g} ms" if name == "our client" else "",
        )
        for name, times in took.items()
    ]
    ratios = [float(np.quantile(took["alpaca-py"], share) / np.quantile(took["our client"], share)) for share in (0.5, 0.99)]
    notes = (
        f"ours is {ratios[0]:.1f} x as fast as alpaca-py at p50 and {ratios[1]:.1f} x at p99; alpaca-py 0.8 / 1.8 ms when the design was drawn",
    )
    return Row(name="orders", title="Order round trip to a loopback broker", lines=tuple(lines), notes=notes)


async def ours(url: str, seconds: float) -> F64:
    """An approved bracket by the client of the order path."""
    client = measured.order_client(url, desk.begin_ns)
    order = desk.approved_order()
    try:
        return await offered_later(lambda: client.submit(order), PER_SECOND, seconds)
    finally:
        await client.close()


async def bare(url: str, seconds: float) -> F64:
    """The same body by aiohttp, its answer read as text and not looked at: the floor for a client on this library."""
    body = {"symbol": "AAA", "qty": "20", "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": "100.00"}

    async with aiohttp.ClientSession() as session:

        async def post() -> None:
            async with session.post(f"{url}/v2/orders", json={**body, "client_order_id": uuid.uuid4().hex}) as answer:
                await answer.read()

        return await offered_later(post, PER_SECOND, seconds)


def official(url: str, seconds: float) -> F64:
    """The same order by alpaca-py's ``TradingClient``."""
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
    from alpaca.trading.requests import LimitOrderRequest, StopLossRequest, TakeProfitRequest

    client: Any = TradingClient("simulation", "simulation", url_override=url)

    def post() -> None:
        client.submit_order(
            LimitOrderRequest(
                symbol="AAA",
                qty=20,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.DAY,
                limit_price=100.0,
                order_class=OrderClass.BRACKET,
                take_profit=TakeProfitRequest(limit_price=101.0),
                stop_loss=StopLossRequest(stop_price=99.5),
                client_order_id=uuid.uuid4().hex,
            )
        )

    return offered(post, PER_SECOND, seconds)
