"""A market whose every quote a test writes itself, and the exchange and venues on top of it. Time moves only when the test says so."""

from __future__ import annotations

import contextlib
import datetime
import warnings
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():  # alpaca-py stands on websockets' legacy client, which warns when it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    import alpaca.data.live
    import alpaca.trading.stream  # noqa: F401

from tradingsystem.simulator.exchange import BrokerEvent, Exchange, ExchangeSettings
from tradingsystem.simulator.feed import COLUMNS, DTYPES, DayBars, Kind, MinuteBars, Session, Slice, SymbolFacts, session_of
from tradingsystem.simulator.ledger import Ledger, Order
from tradingsystem.simulator.order_request import Refusal
from tradingsystem.simulator.server import Address, Simulator, SimulatorSettings, listening

SYMBOLS = ("AAA", "BBB", "SPY")
PREVIOUS_CLOSE = 10.0
SECOND = 1_000_000_000
LATENCY_US = 1_000


class ScriptedFeed:
    """Rows put in by the test, given out in time order."""

    def __init__(self, date: datetime.date = datetime.date(2026, 3, 2)) -> None:
        self.symbols = SYMBOLS
        self.session: Session = session_of(date)
        self._rows: list[dict[str, Any]] = []

    def put(self, kind: Kind, symbol: str, at_ns: int, **columns: float) -> None:
        self._rows.append({"kind": int(kind), "symbol": SYMBOLS.index(symbol), "at_ns": at_ns, **columns})

    def advance(self, to_ns: int) -> Slice:
        due = sorted((row for row in self._rows if row["at_ns"] <= to_ns), key=lambda row: row["at_ns"])
        self._rows = [row for row in self._rows if row["at_ns"] > to_ns]
        columns = [np.array([row.get(name, 0) for row in due], dtype=dtype) for name, dtype in zip(COLUMNS, DTYPES, strict=True)]
        return Slice(to_ns, *columns)

    def reference(self) -> list[SymbolFacts]:
        return [SymbolFacts(symbol, f"{symbol} Inc.", "CS", "XNYS", 1, PREVIOUS_CLOSE, 1e6, 1, 10_000_000) for symbol in SYMBOLS]

    def history_days(self, count: int) -> list[DayBars]:
        return []

    def history_minutes(self, symbol: int, date: datetime.date) -> MinuteBars:
        raise AssertionError(f"no history of {symbol} on {date}")


class Trading:
    """An exchange at the open, one second of market time per `quote` or `trade`."""

    def __init__(self, settings: ExchangeSettings | None = None, *, cash: int = 100_000, seed: int = 1, early: bool = False) -> None:
        self.feed = ScriptedFeed()
        self.session = self.feed.session
        self.ledger = Ledger(Decimal(cash), seed)
        settings = settings or ExchangeSettings(latency_us=LATENCY_US, latency_jitter_us=0)
        closes = np.full(len(SYMBOLS), PREVIOUS_CLOSE)
        self.exchange = Exchange(self.ledger, SYMBOLS, self.session, settings, seed=seed, previous_close=closes)
        self.now_ns = self.session.first_ns if early else self.session.open_ns
        self.events: list[BrokerEvent] = []
        self.quotes: list[tuple[int, float, float, int, int]] = []  # at_ns, bid, ask, bid size, ask size
        self.to(self.now_ns)

    def to(self, at_ns: int) -> list[BrokerEvent]:
        self.now_ns = at_ns
        new = self.exchange.on_slice(self.feed.advance(at_ns))
        self.events += new
        return new

    def wait(self, seconds: float = 1.0) -> list[BrokerEvent]:
        return self.to(self.now_ns + int(seconds * SECOND))

    def quote(self, bid: float, ask: float, bid_size: int = 1_000, ask_size: int = 1_000, symbol: str = "AAA") -> list[BrokerEvent]:
        self.feed.put(Kind.QUOTE, symbol, self.now_ns + SECOND, price=bid, size=bid_size, price2=ask, size2=ask_size)
        self.quotes.append((self.now_ns + SECOND, bid, ask, bid_size, ask_size))
        return self.wait()

    def trade(self, price: float, symbol: str = "AAA", condition: int = 0) -> list[BrokerEvent]:
        self.feed.put(Kind.TRADE, symbol, self.now_ns + SECOND, price=price, size=100, condition=condition)
        return self.wait()

    def put(self, kind: Kind, symbol: str = "AAA", **columns: float) -> list[BrokerEvent]:
        self.feed.put(kind, symbol, self.now_ns + SECOND, **columns)
        return self.wait()

    def post(self, side: str = "buy", qty: object = 100, **fields: object) -> Order:
        """Post an order that must be accepted; market and day unless said otherwise. Returns the order as the ledger keeps it."""
        result = self.ask(side, qty, **fields)
        assert isinstance(result, Order), result
        return self.ledger.orders[result.id]

    def ask(self, side: str = "buy", qty: object = 100, **fields: object) -> Order | Refusal:
        body = {"symbol": "AAA", "side": side, "qty": qty, "type": "market", "time_in_force": "day", **fields}
        if "limit_price" in fields and "type" not in fields:
            body["type"] = "limit"
        return self.exchange.submit({key: value for key, value in body.items() if value is not None}, self.now_ns)

    def bracket(self, qty: int = 100, limit: str = "10.00", target: str = "10.50", stop: str = "9.50", **fields: object) -> Order:
        return self.post(
            qty=qty,
            limit_price=limit,
            order_class="bracket",
            take_profit={"limit_price": target},
            stop_loss={"stop_price": stop},
            **fields,
        )

    def hold(self, qty: int = 100, price: float = 10.0) -> None:
        """Own shares, bought at `price`, with a book that is one cent wide."""
        self.quote(price - 0.01, price, ask_size=max(qty, 1))
        self.post(qty=qty)
        self.wait()
        assert self.ledger.position("AAA").quantity == qty

    def names(self, order: Order | None = None) -> list[str]:
        return [event.event for event in self.events if order is None or event.order.id == order.id]


@pytest.fixture
def trading() -> Trading:
    """At the open, AAA quoted 9.99 x 10.00 with 1,000 shares a side."""
    made = Trading()
    made.quote(9.99, 10.00)
    return made


@pytest.fixture
def make_trading() -> Callable[..., Trading]:
    return Trading


class Venues:
    """A simulator that listens, over a scripted feed."""

    def __init__(self, simulator: Simulator, address: Address, feed: ScriptedFeed) -> None:
        self.simulator = simulator
        self.address = address
        self.feed = feed

    @property
    def now_ns(self) -> int:
        return self.simulator.pacer.market_ns

    def wait(self, seconds: float = 1.0) -> None:
        self.simulator.step_to(self.now_ns + int(seconds * SECOND))

    def quote(self, bid: float, ask: float, size: int = 1_000, symbol: str = "AAA") -> None:
        self.feed.put(Kind.QUOTE, symbol, self.now_ns + SECOND, price=bid, size=size, price2=ask, size2=size, exchange=12)
        self.wait()

    def put(self, kind: Kind, symbol: str = "AAA", **columns: float) -> None:
        self.feed.put(kind, symbol, self.now_ns + SECOND, **columns)
        self.wait()


@contextlib.asynccontextmanager
async def open_venues(*, quoted: bool = True, **settings: Any) -> AsyncIterator[Venues]:
    settings.setdefault("exchange", ExchangeSettings(latency_us=LATENCY_US, latency_jitter_us=0))
    date = settings.pop("date", datetime.date(2026, 3, 2))
    feed = ScriptedFeed(date)
    simulator = Simulator(SimulatorSettings(**settings), feed)
    simulator.step_to(feed.session.open_ns)
    async with listening(simulator) as address:
        venues = Venues(simulator, address, feed)
        if quoted:
            venues.quote(9.99, 10.00)
        yield venues


@pytest.fixture
def venues() -> Callable[..., contextlib.AbstractAsyncContextManager[Venues]]:
    """Opens all venues on a free port: `async with venues(scenario=...) as v`. AAA is quoted 9.99 x 10.00."""
    return open_venues
