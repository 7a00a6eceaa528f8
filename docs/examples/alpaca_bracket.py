"""alpaca-py, unchanged, against `tradingsystem simulate`: place a bracket, hear its updates, cancel it. Give the address that it printed."""

import asyncio
import sys

from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, StopLossRequest, TakeProfitRequest
from alpaca.trading.stream import TradingStream

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8020"
client = TradingClient("simulation", "simulation", url_override=url)
stream = TradingStream("simulation", "simulation", url_override=url.replace("http", "ws") + "/stream")
legs = {"order_class": OrderClass.BRACKET, "take_profit": TakeProfitRequest(limit_price=2), "stop_loss": StopLossRequest(stop_price=0.5)}
bracket = LimitOrderRequest(symbol="SPY", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=1, **legs)


async def heard(update):
    print(getattr(update.event, "value", update.event), update.order.order_class.value, update.order.qty, update.order.symbol, flush=True)
    if update.event == "new":
        await asyncio.to_thread(client.cancel_order_by_id, update.order.id)
    if update.event == "canceled":
        await stream.stop_ws()


async def trade():
    stream.subscribe_trade_updates(heard)
    listening = asyncio.create_task(stream._run_forever())
    while not stream._running:  # alpaca-py does not say when it listens
        await asyncio.sleep(0.05)
    order = client.submit_order(bracket)
    print("placed", order.order_class.value, "with", len(order.legs), "legs")
    await listening


asyncio.run(trade())
