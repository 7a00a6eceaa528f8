"""The simulator's Alpaca on a loopback port, its market and its clock, and an ``ExecutionService`` in front of it.

Everything is the shipped thing but the market itself: a few symbols whose quotes a test sets. Market time runs ``speed`` times as fast as the
machine's, driven from the event loop.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from aiohttp import web

from tests.execution.desk import DAY, SYMBOLS, _row, execution_slice
from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.clocks import FollowerClock
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessJournal, InProcessLease
from tradingsystem.domain.control import ClockTick, Command, CommandAnswer, CommandKind
from tradingsystem.domain.signals import Regime, Signal
from tradingsystem.domain.trading import Mark, TradingStatus
from tradingsystem.execution.service import ExecutionService
from tradingsystem.execution.writer import Owner
from tradingsystem.interfaces import Delivery, Journal, Lease
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.simulator import http_wire
from tradingsystem.simulator.alpaca_account import Credentials as VenueCredentials
from tradingsystem.simulator.alpaca_account import Desk as Account
from tradingsystem.simulator.alpaca_account import RateLimit, RateSettings
from tradingsystem.simulator.alpaca_corporate_actions import AlpacaCorporateActions, StockSplit
from tradingsystem.simulator.alpaca_rest import AlpacaRest
from tradingsystem.simulator.alpaca_stream import AlpacaStream
from tradingsystem.simulator.capture import Capture
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.exchange import Exchange
from tradingsystem.simulator.faults import Faults
from tradingsystem.simulator.feed import SECOND_NS, Kind, SymbolFacts, empty_slice, session_of
from tradingsystem.simulator.ledger import Ledger
from tradingsystem.spec.slices import ExecutionSlice

STEP_SECONDS = 0.01
KEYS = Credentials("KEY", "SECRET")


class Venue:
    """A market of some symbols with an account, a bus and a journal."""

    def __init__(self, *, speed: float, start_ns: int | None = None, day: datetime.date = DAY, before: Venue | None = None) -> None:
        """``before``: another day's venue, whose account and journal these are."""
        self.session = session_of(day)
        self.speed = speed
        self.now_ns = start_ns or self.session.open_ns + 600 * SECOND_NS
        self.ledger = Ledger(Decimal(50_000), seed=2) if before is None else before.ledger
        self.splits: list[StockSplit] = []  # announced
        self.exchange = Exchange(self.ledger, SYMBOLS, self.session, seed=2)
        self.faults = Faults()
        self.wire = Wire(faults=self.faults, capture=Capture(None, lambda: self.now_ns), now_ns=lambda: self.now_ns)
        self.stream = AlpacaStream()
        facts = {symbol: SymbolFacts(symbol, symbol, "CS", "XNYS", 1, 100.0, 1e6, 1, 10**8) for symbol in SYMBOLS}
        rate = RateLimit(RateSettings(), lambda: self.now_ns, time.time_ns)
        self.account = Account(self.exchange, facts, VenueCredentials("KEY", "SECRET"), self.wire, rate, self.stream.publish)
        self.stream.attach(self.account)
        self.bus = InProcessBus()
        self.journal: Journal = InProcessJournal("desk") if before is None else before.journal
        self.lease: Lease = InProcessLease()
        self.lives = 0 if before is None else before.lives
        self.signals: Journal = self.journal  # the filter's connection to the same journal
        self.subjects = Subjects("desk")
        self.prices: dict[str, tuple[float, float]] = {}
        self.halted: set[str] = set()
        self.statuses: list[TradingStatus] = []
        self.url = ""
        self._signals = 0 if before is None else before._signals
        self._waiters: list[tuple[Callable[[], bool], asyncio.Event]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last = time.monotonic_ns()
        self._mark_at_ns = 0
        self.exchange.on_slice(empty_slice(self.now_ns))

    def quote(self, symbol: str, bid: float, ask: float, size: float = 1_000.0) -> None:
        """A new best bid and offer, and the filter's mark of it."""
        self.prices[symbol] = (bid, ask)
        self.stream.publish(self.exchange.on_slice(_row(self.now_ns, Kind.QUOTE, SYMBOLS.index(symbol), bid, size, ask, size)))
        self._marks()

    def halt(self, symbol: str) -> None:
        """The exchange stops trading in a symbol, and the filter's marks say so."""
        self.halted.add(symbol)
        self.stream.publish(self.exchange.on_slice(_row(self.now_ns, Kind.HALT, SYMBOLS.index(symbol), self.prices[symbol][0], 0, 0, 0)))
        self._marks()

    async def signal(self, symbol: str) -> Signal:
        """A signal at the current quote, by the journal as the filter sends it."""
        made = self.next_signal(symbol)
        await self.signals.append(self.subjects.journal_signal, encode(made))
        return made

    def next_signal(self, symbol: str) -> Signal:
        """A signal at the current quote that nobody has heard of."""
        self._signals += 1
        bid, ask = self.prices[symbol]
        return Signal(
            id=f"desk.1.{self._signals}.{symbol}",
            system="desk",
            epoch=1,
            last_seq=self._signals,
            symbol=symbol,
            at_ns=self.now_ns,
            expires_at_ns=self.now_ns + 300 * SECOND_NS,
            p=0.75,
            p_low=0.7,
            confidence=0.9,
            bid=bid,
            ask=ask,
            vix=18.0,
            regime=Regime.BULL,
            model=1,
            members=(0.7,),
            simulated_model=True,
            average_volume=2e6,
        )

    async def command(self, kind: CommandKind) -> CommandAnswer:
        command = Command(id=f"{kind.value}-{self.now_ns}", kind=kind, name="Ada", reason="drill")
        answer: CommandAnswer = decode(await self.bus.request(self.subjects.command, encode(command), 5.0), CommandAnswer)
        return answer

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for the market to reach a condition; checked at each of its steps."""
        reached = asyncio.Event()
        self._waiters.append((condition, reached))
        await asyncio.wait_for(reached.wait(), seconds)

    def shares(self, symbol: str) -> int:
        return int(self.ledger.position(symbol).quantity)

    def step(self) -> None:
        """One step of market time: matching, clock, marks, whoever waits."""
        now = time.monotonic_ns()
        self.now_ns += int((now - self._last) * self.speed)
        self._last = now
        self.stream.publish(self.exchange.on_slice(empty_slice(self.now_ns)))
        self.bus.publish(self.subjects.clock, encode(ClockTick(market_ns=self.now_ns, speed=self.speed, running=True)))
        if self.now_ns - self._mark_at_ns > SECOND_NS:
            self._mark_at_ns = self.now_ns
            self._marks()
        for condition, reached in self._waiters:
            if condition():
                reached.set()
        self._waiters = [(condition, reached) for condition, reached in self._waiters if not reached.is_set()]
        self._timer = asyncio.get_running_loop().call_later(STEP_SECONDS, self.step)

    def stop(self) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def _marks(self) -> None:
        marks = [Mark(symbol, self.now_ns, bid, ask, ask, halted=symbol in self.halted) for symbol, (bid, ask) in self.prices.items()]
        self.bus.publish(self.subjects.marks, encode(marks))

    def on_status(self, delivery: Delivery) -> None:
        self.statuses.append(decode(delivery.payload, TradingStatus))


class Running:
    """One life of the service."""

    def __init__(
        self,
        venue: Venue,
        settings: ExecutionSlice | None = None,
        *,
        place: str = "desk",
        peers: tuple[str, ...] = (),
        credentials: Callable[[], Credentials] = lambda: KEYS,
        folder: Path | None = None,
    ) -> None:
        self.venue = venue
        self.peers, self.folder = peers, folder
        self.credentials = credentials
        self.place = place  # two lives at one place are never alive together
        self.journal, self.lease = venue.journal, venue.lease
        self.settings = settings or execution_slice()
        self.stop_asked = asyncio.Event()
        self.ready = asyncio.Event()

    async def start(self) -> None:
        """Up to readiness."""
        venue = self.venue
        self.clock = FollowerClock("desk")
        await self.clock.attach(venue.bus)
        await self.clock.started()
        self.broker = AlpacaBroker(venue.url, self.credentials, self.clock.now)
        venue.lives += 1
        self.service = ExecutionService(
            system="desk",
            spec=self.settings,
            clock=self.clock,
            bus=venue.bus,
            journal=self.journal,
            lease=self.lease,
            broker=self.broker,
            owner=Owner(f"life-{venue.lives}", self.place),
            peers=self.peers,
            folder=self.folder,
        )
        self.task = asyncio.ensure_future(self.service.run(self.ready.set, self.stop_asked))
        ready = asyncio.ensure_future(self.ready.wait())
        await asyncio.wait({self.task, ready}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self.task.done():
            self.task.result()
        assert self.ready.is_set()

    async def stop(self) -> None:
        """In order."""
        self.stop_asked.set()
        await asyncio.wait_for(self.task, 20)
        await self._close()

    async def kill(self) -> None:
        """Without a word: nothing is drained, nothing is said to the broker."""
        self.service._ended = True
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        await self.broker.close()
        await self.clock.close()


@asynccontextmanager
async def opened(venue: Venue) -> AsyncIterator[Venue]:
    """The venue's wire servers on a loopback port, its time running."""
    app = web.Application(middlewares=[http_wire.middleware(venue.wire)])
    actions = AlpacaCorporateActions(venue.wire, venue.account.credentials, venue.splits)
    app.router.add_routes([*AlpacaRest(venue.account).routes(), *actions.routes(), *venue.stream.routes()])
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    venue.url = f"http://{host}:{port}"
    await venue.bus.subscribe(venue.subjects.state("execution"), venue.on_status)
    venue.step()
    try:
        yield venue
    finally:
        venue.stop()
        await venue.wire.close()
        await runner.cleanup()


def played(story: Callable[[Venue], Awaitable[None]]) -> None:
    """A market with a speed that leaves time for seconds of outage."""

    async def run() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            for symbol in ("AAA", "BBB"):
                venue.quote(symbol, 99.98, 100.00)
            await story(venue)

    asyncio.run(run())
