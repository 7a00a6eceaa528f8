"""Execution ready to trade without a market: the settings, the signals and a broker whose account is quiet. The gate is the real one.

Exists so that a decision can be timed alone. Orders go wherever the given function sends them; everything else is answered at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec

from tradingsystem.domain import calendar
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.orders import Account, Approved, BrokerOrder, BrokerPosition, OrderState, OrderUpdate
from tradingsystem.domain.signals import Regime, Signal
from tradingsystem.domain.splits import Split
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.execution import inbox
from tradingsystem.execution.actions import Submit
from tradingsystem.execution.state import State
from tradingsystem.execution.step import begin, step
from tradingsystem.process.measured import SYSTEM
from tradingsystem.spec import TradingSystem, from_document
from tradingsystem.spec.slices import ExecutionSlice, FilterSlice, IngestionSlice, slice_of
from tradingsystem.world.bench.loopback_broker import Receipts

DAY = date(2026, 3, 2)
BID, ASK = 99.98, 100.00
ACCOUNT = Account(
    account_number="PA000000001",
    equity=Decimal(50_000),
    last_equity=Decimal(50_000),
    cash=Decimal(50_000),
    buying_power=Decimal(50_000),
    blocked=False,
    suspended=False,
)


def system() -> TradingSystem:
    """The founding values with the bounds on how many and how often at their largest."""
    risk = {"positionsOpenMax": 100, "grossNotionalMax": 500_000, "positionsPerDayMax": 1_000, "ordersPerMinuteMax": 200}
    source = {"name": "polygon", "type": "Polygon"}
    spec: dict[str, Any] = {"mode": "Simulation", "sizing": {"method": "RiskBased"}, "risk": risk, "sources": [source]}
    return from_document({"apiVersion": "tradingsystem.dev/v1alpha1", "kind": "TradingSystem", "metadata": {"name": SYSTEM}, "spec": spec})


def settings() -> ExecutionSlice:
    """Execution's part of it."""
    made = slice_of("execution", system())
    assert isinstance(made, ExecutionSlice)
    return made


def filter_settings() -> FilterSlice:
    """The filter's part of it."""
    made = slice_of("filter", system())
    assert isinstance(made, FilterSlice)
    return made


def ingestion_settings() -> IngestionSlice:
    """Ingestion's part of it."""
    made = slice_of("ingestion", system())
    assert isinstance(made, IngestionSlice)
    return made


async def receipts(url: str) -> Receipts:
    """What the loopback broker noted since it was last asked."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/receipts") as answer:
        return msgspec.convert(await answer.json(), Receipts)


def begin_ns() -> int:
    """Half an hour after that day's open."""
    return calendar.session(DAY).open_ns + 30 * NS_PER_MINUTE


def signal(number: int, now_ns: int) -> Signal:
    """A signal for a symbol of its own."""
    symbol = f"S{number:06d}"
    return Signal(
        id=f"{SYSTEM}.1.{number}.{symbol}",
        system=SYSTEM,
        epoch=1,
        last_seq=number,
        symbol=symbol,
        at_ns=now_ns,
        expires_at_ns=now_ns + 300 * NS_PER_SECOND,
        p=0.75,
        p_low=0.7,
        confidence=0.9,
        bid=BID,
        ask=ASK,
        vix=18.0,
        average_volume=2_000_000.0,
        regime=Regime.BULL,
        model=1,
        members=(0.7, 0.7, 0.7),
        simulated_model=True,
    )


def ready_state(now_ns: int) -> State:
    """Execution's state at that moment of a session: connected, compared, nothing held."""
    started = inbox.Started(received_at_ns=now_ns, settings=settings(), speed=1.0, store=SYSTEM)
    state = begin(started)
    entries: list[inbox.InboxEntry] = [
        started,
        inbox.SessionReceived(received_at_ns=now_ns, day=DAY, session=calendar.session(DAY), failed=""),
        inbox.ConnectionChanged(received_at_ns=now_ns, connected=True),
        inbox.SnapshotReceived(received_at_ns=now_ns, asked_at_ns=now_ns, account=ACCOUNT),
        inbox.TimerTicked(received_at_ns=now_ns),
    ]
    for entry in entries:
        step(state, entry)
    return state


def approved_order() -> Approved:
    """One order that the gate let pass. Raises ``RuntimeError`` with the gate's words when it did not."""
    now_ns = begin_ns()
    received = inbox.SignalReceived(received_at_ns=now_ns, signal=signal(1, now_ns), mark=None, seq=1)
    actions = step(ready_state(now_ns), received)
    order = next((action.approved for action in actions if isinstance(action, Submit)), None)
    if order is None:
        raise RuntimeError(f"no order came of the signal: {actions}")
    return order


class QuietBroker:
    """``interfaces.Broker``: an empty account; orders are sent by ``send`` and cancelled by the broker as soon as they were answered."""

    def __init__(self, send: Callable[[Approved], Awaitable[BrokerOrder]]) -> None:
        self._send = send
        self._handler: Callable[[OrderUpdate], None] | None = None
        self._answered, self._more = 0, asyncio.Event()
        self.clock_skew_ns = 0

    async def answered(self, count: int) -> None:
        """Return when so many orders were sent and answered."""
        while self._answered < count:
            self._more.clear()
            await self._more.wait()

    async def submit(self, order: Approved) -> BrokerOrder:
        """See ``interfaces.Broker``."""
        answer = await self._send(order)
        asyncio.get_running_loop().call_soon(self._cancelled, answer)
        return answer

    def _cancelled(self, order: BrokerOrder) -> None:
        self._answered += 1
        self._more.set()
        if self._handler is not None:
            gone = msgspec.structs.replace(order, state=OrderState.CANCELED, raw_status="canceled")
            self._handler(
                OrderUpdate(event="canceled", at_ns=0, order=gone, execution_id=None, price=None, quantity=None, position_quantity=None)
            )

    async def replace(self, order_id: str, approved: Approved) -> BrokerOrder:  # noqa: ARG002  the interface's
        """See ``interfaces.Broker``: nothing is ever filled, so nothing is moved."""
        raise RuntimeError(f"{order_id} was to be replaced")

    async def cancel(self, order_id: str) -> None:
        """See ``interfaces.Broker``."""

    async def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
        """See ``interfaces.Broker``."""

    async def order(self, order_id: str) -> BrokerOrder | None:
        """See ``interfaces.Broker``."""

    async def orders(self, *, open_only: bool, after_ns: int = 0) -> tuple[BrokerOrder, ...]:  # noqa: ARG002  the interface's
        """See ``interfaces.Broker``."""
        return ()

    async def positions(self) -> tuple[BrokerPosition, ...]:
        """See ``interfaces.Broker``."""
        return ()

    async def account(self) -> Account:
        """See ``interfaces.Broker``."""
        return ACCOUNT

    async def session(self, day: date) -> Session | None:
        """See ``interfaces.Broker``."""
        return calendar.session(day)

    async def splits(self, symbols: Sequence[str], first: date, last: date) -> tuple[Split, ...]:  # noqa: ARG002  the interface's
        """See ``interfaces.Broker``."""
        return ()

    async def suspend(self, suspended: bool) -> None:
        """See ``interfaces.Broker``."""

    async def updates(self, handler: Callable[[OrderUpdate], None], connected: Callable[[bool], None]) -> None:
        """See ``interfaces.Broker``."""
        self._handler = handler
        connected(True)  # noqa: FBT003  the interface's callback has one flag
        await asyncio.Event().wait()
