"""Ingestion against the simulated venues: one generated market, seen through the venues' own wire, becomes a tape without loss."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from tests.adapters.listening import DAY, SessionClock
from tests.ingestion.test_service import SUBJECT, Bench, serving
from tradingsystem.adapters.history import PolygonHistory, PolygonHistorySettings
from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource
from tradingsystem.adapters.unusual_whales.client import UnusualWhalesSettings, UnusualWhalesSource
from tradingsystem.domain.control import SessionOpened, SymbolTable
from tradingsystem.domain.rows import RowKind
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND
from tradingsystem.messages.codec import encode
from tradingsystem.simulator import polygon_rest, polygon_wire, unusual_whales_wire
from tradingsystem.simulator.capture import Capture
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.faults import Faults
from tradingsystem.simulator.feed import Kind
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.spec.sources import Source, SourceType
from tradingsystem.telemetry.metrics import REGISTRY

KEY = "made-up-key"
START_NS = DAY.open_ns - 2 * NS_PER_SECOND
STEP_NS = 100 * NS_PER_MILLISECOND


@dataclass
class Market:
    """The venues on one port; ``step`` plays a tenth of a second of market time."""

    feed: GeneratedMarket
    memory: MarketMemory
    polygon: polygon_wire.PolygonWire
    whales: unusual_whales_wire.UnusualWhalesWire
    url: str = ""
    sent: Counter[int] = field(default_factory=Counter)

    def step(self) -> None:
        slice_ = self.feed.advance(self.memory.now_ns + STEP_NS)
        totals = self.memory.publish(slice_)
        self.polygon.publish(slice_, totals)
        self.whales.publish(slice_)
        self.sent.update(slice_.kind.tolist())


@contextlib.asynccontextmanager
async def venues(symbols: int, events_per_second: float) -> AsyncIterator[Market]:
    feed = GeneratedMarket(
        MarketSettings(seed=7, date=DAY.day, symbols=symbols, events_per_second=events_per_second, flow_alerts_per_minute=0.0)
    )
    memory = MarketMemory(len(feed.symbols))
    wire = Wire(Faults(), Capture(None, lambda: memory.now_ns), lambda: memory.now_ns)
    keys = frozenset({KEY})
    polygon = polygon_wire.PolygonWire(wire, feed, memory, keys)
    market = Market(feed, memory, polygon, unusual_whales_wire.UnusualWhalesWire(wire, feed, memory, keys))
    app = web.Application()
    app.add_routes(polygon_wire.routes(polygon))
    app.add_routes(polygon_rest.routes(polygon_rest.PolygonRest(wire, feed, memory, keys, listed=symbols + 50)))
    app.add_routes(unusual_whales_wire.routes(market.whales))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    market.url = f"127.0.0.1:{runner.addresses[0][1]}"
    memory.publish(feed.advance(START_NS))
    try:
        yield market
    finally:
        await wire.close()
        await runner.cleanup()


class MarketClock(SessionClock):
    """Market time is where the market stands."""

    def __init__(self, market: Market) -> None:
        super().__init__()
        self._market = market

    def now(self) -> int:
        super().now()
        return self._market.memory.now_ns


SPECS = (
    Source(name="polygon", type=SourceType.POLYGON),
    Source(name="flow", type=SourceType.UNUSUAL_WHALES),
)


def confirmed() -> float | None:
    return REGISTRY.get_sample_value("tradingsystem_subscribed_symbols", {"source": "polygon", "tier": "confirmed"})


def arrived(bench: Bench) -> int:
    """Rows on the tape, conflated quotes and refusals, by the newest status."""
    state = bench.states[-1]
    return sum(believed(bench).values()) + state.conflated + sum(state.refused.values())


def believed(bench: Bench) -> Counter[int]:
    return Counter(int(kind) for batch in bench.batches for kind in batch.rows.kind)


def test_a_generated_market_becomes_a_tape_without_loss() -> None:
    """Over six simulated seconds around the open every print, bar, band and index value that the venue sent is on the tape, nothing is refused, and
    the quotes that are missing were conflated."""

    async def scenario() -> None:
        async with venues(40, events_per_second=400.0) as market:
            clock = MarketClock(market)
            history = PolygonHistory(PolygonHistorySettings(url=f"http://{market.url}", key=lambda: KEY))
            facts = await history.symbols()
            traded = sorted({fact.symbol for fact in facts} & set(market.feed.symbols))
            channels = frozenset({"Trades", "Quotes", "SecondBars", "MinuteBars", "LimitBands", "Indices"})
            polygon = PolygonSource(PolygonSettings(name="polygon", url=f"ws://{market.url}", key=lambda: KEY, channels=channels), clock)
            flow = UnusualWhalesSource(
                UnusualWhalesSettings(name="flow", url=f"http://{market.url}", key=lambda: KEY, poll_seconds=1), clock
            )
            async with serving([polygon, flow], *SPECS, clock=clock, past=history) as bench:
                await asyncio.wait_for(bench.ready.wait(), 20)
                bench.bus.publish(SUBJECT.held, encode(traded))
                wanted = 2 * len(traded) + 3
                await bench.until(lambda: confirmed() == wanted)
                market.sent.clear()
                for _ in range(60):
                    market.step()
                    await clock.asked(5)
                await bench.until(lambda: arrived(bench) >= market.sent.total())
            await history.close()
        first = bench.batches[0]
        assert [type(note) for note in first.notes] == [SymbolTable, SessionOpened]
        state, seen, sent = bench.states[-1], believed(bench), market.sent
        assert state.refused == {}
        assert sent[Kind.TRADE] > 100
        kinds = set(RowKind) - {RowKind.QUOTE}
        assert {kind: seen[kind] for kind in kinds} == {kind: sent[kind] for kind in kinds}
        assert seen[RowKind.QUOTE] + state.conflated == sent[Kind.QUOTE]

    asyncio.run(scenario())
