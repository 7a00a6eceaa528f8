"""One loopback port with every simulated venue on it, and the controls of the simulation itself.

`Simulator` assembles feed, exchange, wire servers and market time; `serve` starts it stand-alone. It binds to loopback only. Controls are
`/simulator/{clock,scenario,summary,pace}`; they need no credentials because nothing outside this machine can reach them.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from aiohttp import web

from tradingsystem.simulator import http_wire, polygon_rest, polygon_wire, unusual_whales_wire
from tradingsystem.simulator.alpaca_account import Credentials, Desk, RateLimit, RateSettings, answer
from tradingsystem.simulator.alpaca_corporate_actions import AlpacaCorporateActions, StockSplit
from tradingsystem.simulator.alpaca_data import AlpacaData
from tradingsystem.simulator.alpaca_data_rest import AlpacaDataRest
from tradingsystem.simulator.alpaca_rest import AlpacaRest
from tradingsystem.simulator.alpaca_stream import AlpacaStream
from tradingsystem.simulator.capture import Capture
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.exchange import Exchange, ExchangeSettings
from tradingsystem.simulator.faults import Faults, Scenario
from tradingsystem.simulator.feed import Feed, Slice
from tradingsystem.simulator.ledger import Ledger
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings, warm_up
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.simulator.pacer import Pacer
from tradingsystem.simulator.player import Player
from tradingsystem.simulator.summary import oracle_hit_rate, summary

LOOPBACK = "127.0.0.1"
SLICE_SECONDS = 0.01
SIMULATED_KEY = "simulation"


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a simulator is started with. One key and secret open every venue."""

    seed: int = 7
    symbols: Annotated[int, msgspec.Meta(ge=2, le=12_000)] = 2_000
    speed: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 60.0
    start_date: datetime.date = datetime.date(2026, 3, 2)
    folder: str = ""  # recorded days are played from here; empty: the market is generated
    edge: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0  # generated market: 1 is the declared edge, 0 plants none
    host: str = LOOPBACK  # who else may reach it is decided by who starts it
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0  # 0: any free one
    capture_path: str = ""
    capture_everything: bool = False  # market data too, not only the broker's side
    starting_cash: Decimal = Decimal(100_000)
    splits: tuple[StockSplit, ...] = ()  # announced
    key: str = SIMULATED_KEY
    secret: str = SIMULATED_KEY
    rate: RateSettings = RateSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    scenario: Scenario = Scenario()


@dataclass(slots=True)
class _Venues:
    """The wire servers, in the order in which they hear a slice."""

    polygon: polygon_wire.PolygonWire
    whales: unusual_whales_wire.UnusualWhalesWire
    data: AlpacaData
    stream: AlpacaStream
    desk: Desk


class Simulator:
    """Every venue over one feed and one ledger. `step` moves market time; nothing else does."""

    def __init__(self, settings: SimulatorSettings, feed: Feed | None = None) -> None:
        self.settings = settings
        self.feed = feed if feed is not None else make_feed(settings)
        session = self.feed.session
        self.pacer = Pacer(session.first_ns, session.last_ns, settings.speed)
        path = Path(settings.capture_path) if settings.capture_path else None
        self.capture = Capture(path, self.now_ns, everything=settings.capture_everything)
        self.faults = Faults(settings.scenario, seed=settings.seed)
        self.wire = Wire(self.faults, self.capture, self.now_ns)
        self.memory = MarketMemory(len(self.feed.symbols))
        self.ledger = Ledger(settings.starting_cash, settings.seed)
        facts = self.feed.reference()
        closes = np.array([fact.previous_close for fact in facts])
        self.exchange = Exchange(self.ledger, self.feed.symbols, session, settings.exchange, seed=settings.seed, previous_close=closes)
        self._started = False
        self._oracle: asyncio.Task[float | None] | None = None
        self._stepped_ns = session.first_ns
        self._venues = self._make_venues({fact.symbol: fact for fact in facts})

    def _make_venues(self, facts: dict[str, Any]) -> _Venues:
        settings, keys = self.settings, frozenset({self.settings.key})
        credentials = Credentials(settings.key, settings.secret)
        stream = AlpacaStream()
        rate = RateLimit(settings.rate, self.now_ns, time.time_ns)
        desk = Desk(self.exchange, facts, credentials, self.wire, rate, stream.publish)
        stream.attach(desk)
        return _Venues(
            polygon=polygon_wire.PolygonWire(self.wire, self.feed, self.memory, keys),
            whales=unusual_whales_wire.UnusualWhalesWire(self.wire, self.feed, self.memory, keys),
            data=AlpacaData(self.wire, self.feed, credentials),
            stream=stream,
            desk=desk,
        )

    def application(self) -> web.Application:
        """All routes of all venues; REST capture and faults wrap them."""
        application = web.Application(middlewares=[http_wire.middleware(self.wire)])
        keys = frozenset({self.settings.key})
        venues = self._venues
        data_rest = AlpacaDataRest(self.wire, self.feed, self.memory, venues.desk.credentials)
        application.add_routes(AlpacaRest(venues.desk).routes())
        application.add_routes(venues.stream.routes())
        application.add_routes(venues.data.routes())
        application.add_routes(data_rest.routes())
        application.add_routes(AlpacaCorporateActions(self.wire, venues.desk.credentials, self.settings.splits).routes())
        application.add_routes(polygon_wire.routes(venues.polygon))
        application.add_routes(polygon_rest.routes(polygon_rest.PolygonRest(self.wire, self.feed, self.memory, keys)))
        application.add_routes(unusual_whales_wire.routes(venues.whales))
        application.add_routes(self._controls())
        return application

    # --- market time ------------------------------------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Market time at this moment, also between two slices; stands still until `begin`."""
        return self.pacer.step(time.monotonic_ns()) if self._started else self.pacer.market_ns

    def begin(self) -> None:
        """Let market time run."""
        self._started = True

    @property
    def finished(self) -> bool:
        """True when the last slice has been played."""
        return self._stepped_ns >= self.feed.session.last_ns

    def step(self) -> Slice:
        """Play the market up to now: memory, exchange, then the wires, so that no client knows more than the ledger."""
        return self.step_to(self.now_ns())

    def step_to(self, market_ns: int) -> Slice:
        """Play the market up to a moment, as an unpaced run does; the pacer jumps there if it lies ahead."""
        if market_ns > self.pacer.market_ns:
            self.pacer.jump(market_ns)
        part = self.feed.advance(market_ns)
        totals = self.memory.publish(part)
        events = self.exchange.on_slice(part)
        self._venues.polygon.publish(part, totals)
        self._venues.data.publish(part)
        self._venues.whales.publish(part)
        self._venues.stream.publish(events)
        self._stepped_ns = market_ns
        return part

    def pace(self, lag_seconds: float) -> float:
        """Tell how far the slowest consumer lags, in wall seconds; returns the share of full speed now in force."""
        self.pacer.step(time.monotonic_ns())
        return self.pacer.pace(lag_seconds)

    def set_scenario(self, scenario: Scenario) -> None:
        self.faults.set(scenario)

    def summary(self) -> dict[str, Any]:
        """See `summary.py`."""
        return summary(self.exchange, self.feed, self.now_ns(), self.faults)

    async def oracle(self) -> float | None:
        """The oracle's hit rate on this day, measured once, beside the loop; None for recorded days."""
        if self._oracle is None:
            self._oracle = asyncio.create_task(asyncio.to_thread(oracle_hit_rate, self.feed))
        return await asyncio.shield(self._oracle)

    # --- controls ---------------------------------------------------------------------------------------------------------------------------

    def _controls(self) -> list[web.RouteDef]:
        return [
            web.get("/simulator/clock", self._get_clock),
            web.get("/simulator/summary", self._get_summary),
            web.get("/simulator/scenario", self._get_scenario),
            web.put("/simulator/scenario", self._put_scenario),
            web.post("/simulator/scenario", self._put_scenario),
            web.post("/simulator/pace", self._post_pace),
        ]

    async def _get_clock(self, _: web.Request) -> web.Response:
        session = self.feed.session
        return answer(
            {
                "market_ns": self.now_ns(),
                "speed": self.pacer.speed,
                "factor": self.pacer.factor,
                "finished": self.finished,
                "date": session.date,
                "open_ns": session.open_ns,
                "close_ns": session.close_ns,
            }
        )

    async def _get_summary(self, request: web.Request) -> web.Response:
        """With `?oracle=true` also the oracle's hit rate: the whole day is played once more for it, which takes seconds."""
        found = self.summary()
        if request.query.get("oracle") == "true":
            found["oracle_hit_rate"] = await self.oracle()
        return answer(found)

    async def _get_scenario(self, _: web.Request) -> web.Response:
        return answer({"scenario": self.faults.scenario, "fired": dict(self.faults.fired)})

    async def _put_scenario(self, request: web.Request) -> web.Response:
        try:
            scenario = msgspec.json.decode(await request.read(), type=Scenario)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return answer({"error": f"scenario: {error}"}, 422)
        self.set_scenario(scenario)
        return answer({"scenario": scenario})

    async def _post_pace(self, request: web.Request) -> web.Response:
        try:
            lag = msgspec.json.decode(await request.read(), type=dict[str, float])["lag_seconds"]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
            return answer({"error": 'pace: the body must be {"lag_seconds": number}'}, 422)
        return answer({"factor": self.pace(lag)})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running simulator listens."""

    port: int

    @property
    def http(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def websocket(self) -> str:
        return f"ws://{LOOPBACK}:{self.port}"


def make_feed(settings: SimulatorSettings) -> Feed:
    """The generated market, or the recorded day of `folder`. Raises ValueError with what is wrong."""
    if settings.folder:
        return Player(Path(settings.folder), settings.start_date)
    warm_up(settings.start_date)
    return GeneratedMarket(MarketSettings(settings.seed, settings.start_date, settings.symbols, settings.edge))


@contextlib.asynccontextmanager
async def listening(simulator: Simulator) -> AsyncIterator[Address]:
    """Serve all venues on the settings' port (0: any free one) until the context ends. Market time is not moved here."""
    runner = web.AppRunner(simulator.application(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, simulator.settings.host, simulator.settings.port)
        await site.start()
        yield Address(int(runner.addresses[0][1]))
    finally:
        await simulator.wire.close()
        await runner.cleanup()
        simulator.capture.close()
