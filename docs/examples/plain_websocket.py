"""Plain `websockets` against `tradingsystem simulate`: the volatility index and every second bar of SPY, on two sockets. Give the address that it printed."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect

url = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8020").replace("http", "ws")


async def hear(market, params, count):
    async with connect(f"{url}/{market}") as socket:
        for action, value in (("auth", "simulation"), ("subscribe", params)):
            await socket.send(json.dumps({"action": action, "params": value}))
        async for frame in socket:
            for event in json.loads(frame):
                print(event["ev"], event.get("message") or event.get("val") or (event.get("o"), event.get("c"), event.get("v")), flush=True)
                count -= event["ev"] != "status"
            if count <= 0:
                return


async def both():
    await asyncio.gather(hear("indices", "V.I:VIX", 3), hear("stocks", "A.SPY", 10))


asyncio.run(both())
