"""Polygon's official client (now `massive`), unchanged, against `tradingsystem simulate`: prints twenty trades and quotes. Give the address that it printed."""

import asyncio
import sys

from massive import WebSocketClient

address = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8020").removeprefix("http://")
client = WebSocketClient("simulation", feed=address, market="stocks", secure=False, subscriptions=["T.SPY", "Q.SPY"])
left = 20


async def heard(messages):
    global left
    for message in messages:
        print(message.event_type, message.symbol, getattr(message, "price", None) or (message.bid_price, message.ask_price), flush=True)
    left -= len(messages)
    if left <= 0:
        await client.close()


asyncio.run(client.connect(heard))
