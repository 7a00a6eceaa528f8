"""Match orders against the book and move them through their life. Pure: the same seed, slices and calls give the same events, for ever.

**Harsher than Alpaca's paper account, on purpose.** An order reaches the venue only after `latency_us` of market time; it takes displayed shares only,
and they stay taken until the next quote; a larger order walks to worse levels or waits; a resting limit order trades when the opposite quote reaches
it, at its own limit, never for being in the queue; stops are elected by a trade *or* by the quote they would trade against; sells pay SEC and TAF fees
at once. There is no price improvement, no hidden liquidity and no random luck. It refuses to know clients: `BrokerEvent`s go out, wire servers spell
them. Entry points are `submit`, `replace`, `cancel` and `on_slice`; the life of groups (brackets, OCO, OTO) is in `order_groups.py`.
"""

from __future__ import annotations

import copy
import enum
import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Annotated

import msgspec
import numpy as np

from tradingsystem.simulator import rules
from tradingsystem.simulator.book import CENT, FRACTION, Book, sets_last, to_price
from tradingsystem.simulator.feed import F64, Kind, Session, Slice
from tradingsystem.simulator.ledger import ZERO, Execution, Ledger, Leg, Order, OrderClass, OrderType, Side, Status, TimeInForce
from tradingsystem.simulator.order_groups import Groups
from tradingsystem.simulator.order_request import OrderRequest, Refusal, parse_order, parse_replace

_ON_BOOK = ~np.isin(np.arange(256), (Kind.SECOND_BAR, Kind.MINUTE_BAR, Kind.FLOW))  # by kind
Micros = Annotated[int, msgspec.Meta(ge=0)]


class StopTrigger(enum.StrEnum):
    """How the shares move from the take-profit to a stop that has been elected; reports about Alpaca differ."""

    CANCEL = "Cancel"  # the take-profit is canceled
    REPLACE_TAKE_PROFIT = "ReplaceTakeProfit"  # the take-profit ends `replaced` by the stop
    REPLACE_STOP_LOSS = "ReplaceStopLoss"  # the stop gets a new id, the take-profit is canceled


class ExchangeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The venue's terms. Money in dollars, latencies in microseconds of market time."""

    latency_us: Micros = 20_000  # from the broker's answer to the venue's book, for orders, cancels, replaces and legs
    latency_jitter_us: Micros = 10_000  # up to so much more, drawn from the seed
    depth_levels: Annotated[int, msgspec.Meta(ge=1, le=50)] = 5  # levels an aggressive order may walk, each as deep as the touch
    multiplier: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2
    sec_fee_per_million: Decimal = Decimal("27.80")  # of sale proceeds; the rate is dated, this one is among the highest of recent years
    taf_per_share: Decimal = Decimal("0.000195")
    taf_per_order_max: Decimal = Decimal("9.79")
    stop_trigger: StopTrigger = StopTrigger.CANCEL


@dataclass(frozen=True, slots=True)
class BrokerEvent:
    """One change of an order, in the venue's words (`new`, `fill`, `partial_fill`, `canceled`, ...). `order` is a copy of that moment."""

    event: str
    order: Order
    at_ns: int
    execution: Execution | None = None
    sibling: bool = False  # the other leg of a group caused it


class _Act(enum.IntEnum):
    ACTIVATE = 1
    CANCEL = 2
    REPLACE = 3
    LEGS = 4
    OPEN = 5
    CLOSE = 6


@dataclass(order=True, slots=True)
class _Due:
    at_ns: int
    sequence: int
    act: _Act = field(compare=False)
    order_id: str = field(compare=False, default="")
    successor_id: str = field(compare=False, default="")
    total: Decimal | None = field(compare=False, default=None)  # shares asked for the whole chain of a replace


class Exchange:
    """One account's orders at one simulated market for one session. Market time moves only in `on_slice`."""

    def __init__(
        self,
        ledger: Ledger,
        symbols: Sequence[str],
        session: Session,
        settings: ExchangeSettings | None = None,
        *,
        seed: int = 0,
        previous_close: F64 | None = None,
    ) -> None:
        self.ledger = ledger
        self.settings = settings or ExchangeSettings()
        self.session = session
        self.symbols = tuple(symbols)
        self.index = {symbol: row for row, symbol in enumerate(self.symbols)}
        self.book = Book(len(self.symbols), previous_close)
        self.now_ns = session.first_ns
        self.groups = Groups(ledger, self._emit)
        self._rng = random.Random(f"exchange-{seed}")
        self._events: list[BrokerEvent] = []
        self._due: list[_Due] = []
        self._sequence = 0
        self._schedule(session.open_ns, _Act.OPEN)
        self._schedule(session.close_ns, _Act.CLOSE)

    # --- what clients ask -------------------------------------------------------------------------------------------------------------------

    def submit(self, body: object, now_ns: int) -> Order | Refusal:
        """Take an order in (a copy as it stands in the answer) or refuse it. It is worked once market time reaches now + latency."""
        request = parse_order(body)
        if isinstance(request, Refusal):
            return request
        refusal = rules.check_order(request, self._circumstances(request.symbol, now_ns))
        if refusal is not None:
            return refusal
        order = self._admit(request, max(now_ns, self.now_ns))
        return copy.copy(order)

    def replace(self, order_id: str, body: object, now_ns: int) -> Order | Refusal:
        """Ask for a successor order; the answer is the successor, which works only when the venue has confirmed."""
        request = parse_replace(body)
        if isinstance(request, Refusal):
            return request
        order = self.ledger.orders[order_id]
        refusal = rules.check_replace(order, request, self._circumstances(order.symbol, now_ns))
        if refusal is not None:
            return refusal
        at_ns = max(now_ns, self.now_ns)
        successor = self.groups.successor(order, request, at_ns)
        order.status = Status.PENDING_REPLACE
        order.updated_ns = at_ns
        self._emit("pending_replace", order, at_ns)
        self._schedule(at_ns + self._latency_ns(), _Act.REPLACE, order.id, successor.id, request.quantity)
        return copy.copy(successor)

    def cancel(self, order_id: str, now_ns: int) -> Refusal | None:
        """Ask for a cancel: None means requested, not done. A group is canceled as one."""
        order = self.ledger.orders[order_id]
        refusal = rules.check_cancel(order)
        if refusal is not None:
            return refusal
        at_ns = max(now_ns, self.now_ns)
        order.status = Status.PENDING_CANCEL
        order.updated_ns = at_ns
        self._emit("pending_cancel", order, at_ns)
        self._schedule(at_ns + self._latency_ns(), _Act.CANCEL, order.id)
        return None

    def cancel_now(self, now_ns: int) -> None:
        """Cancel every open order without latency, as closing all positions with `cancel_orders` does."""
        at_ns = max(now_ns, self.now_ns)
        for order in self.ledger.open_orders():
            if not order.terminal:
                self.groups.cancel(order, at_ns)

    def split(self, symbol: str, old_rate: Decimal, new_rate: Decimal, price: Decimal) -> None:
        """Carry a split out between two sessions: open orders of the symbol are canceled, `old_rate` shares become `new_rate`, a fraction of one is paid
        in cash at `price`."""
        for order in self.ledger.open_orders(symbol):
            if not order.terminal:
                self.groups.cancel(order, self.now_ns)
        self.ledger.split(symbol, old_rate, new_rate, price)

    def take_events(self) -> list[BrokerEvent]:
        """Events since the last call, in the order in which they happened."""
        events, self._events = self._events, []
        return events

    @property
    def next_due_ns(self) -> int | None:
        """When something that was asked for comes due; None when nothing will."""
        return self._due[0].at_ns if self._due else None

    # --- what the account is worth ----------------------------------------------------------------------------------------------------------

    def prices(self) -> dict[str, Decimal]:
        """The last price of every symbol with a position."""
        held = [symbol for symbol, position in self.ledger.positions.items() if position.quantity]
        found = {symbol: self.book.last_price(self.index[symbol]) for symbol in held if symbol in self.index}
        return {symbol: price for symbol, price in found.items() if price is not None}

    def buying_power(self) -> Decimal:
        """multiplier x equity - gross positions - what open opening orders reserve; may be negative."""
        prices = self.prices()
        long_value, short_value = self.ledger.market_value(prices)
        power = self.settings.multiplier * self.ledger.equity(prices) - long_value + short_value
        for order in self.ledger.open_orders():
            if order.leg is Leg.NONE and order.order_class is not OrderClass.OCO and not order.pending_successor:
                position = self.ledger.position(order.symbol).quantity
                if position == 0 or (position > 0) == (order.side is Side.BUY):
                    power -= rules.reservation(order, self.book.price(self.index[order.symbol], order.side))
        return power

    def is_open(self, at_ns: int) -> bool:
        return self.session.open_ns <= at_ns < self.session.close_ns

    # --- market time ------------------------------------------------------------------------------------------------------------------------

    def on_slice(self, part: Slice) -> list[BrokerEvent]:
        """Move market time to `part.to_ns`; returns the events since the last call, those of requests in between included."""
        open_symbols = [self.index[symbol] for symbol in self.ledger.open_symbols()]
        if not open_symbols or not len(part):
            self.book.apply(part)
        else:
            live = np.zeros(len(self.symbols), dtype=bool)
            live[open_symbols] = True
            on_book = part.symbol >= 0
            watched = on_book & live[np.where(on_book, part.symbol, 0)]
            self.book.apply(part, ~watched)
            for row in np.flatnonzero(watched & _ON_BOOK[part.kind]):
                self._step(part, int(row))
        self._run_due(part.to_ns)
        self.now_ns = max(self.now_ns, part.to_ns)
        return self.take_events()

    def _step(self, part: Slice, row: int) -> None:
        at_ns = int(part.at_ns[row])
        self._run_due(at_ns)
        self.now_ns = max(self.now_ns, at_ns)
        self.book.apply_row(part, row)
        kind, symbol = int(part.kind[row]), int(part.symbol[row])
        if kind == Kind.QUOTE:
            self._match(symbol, at_ns)
        elif kind == Kind.TRADE and sets_last(int(part.condition[row])):
            traded = to_price(float(part.price[row]))
            self._match(symbol, at_ns, traded)

    def _run_due(self, to_ns: int) -> None:
        while self._due and self._due[0].at_ns <= to_ns:
            due = heapq.heappop(self._due)
            at_ns = max(due.at_ns, self.now_ns)
            self.now_ns = at_ns
            if due.act is _Act.OPEN:
                self._open_session(at_ns)
            elif due.act is _Act.CLOSE:
                self._close_session(at_ns)
            else:
                self._carry_out(due, self.ledger.orders[due.order_id], at_ns)

    def _carry_out(self, due: _Due, order: Order, at_ns: int) -> None:
        if due.act is _Act.ACTIVATE:
            self._activate(order, at_ns)
        elif due.act is _Act.CANCEL:
            if not order.terminal:
                self.groups.cancel(order, at_ns)
        elif due.act is _Act.LEGS:
            for leg in self.groups.activate_legs(order, at_ns):
                self._work(leg, at_ns)
        else:
            successor = self.groups.confirm_replace(order, self.ledger.orders[due.successor_id], due.total, at_ns)
            if successor is not None and successor.active:
                self._work(successor, at_ns)

    def _open_session(self, at_ns: int) -> None:
        for order in self.ledger.open_orders():
            if order.status is Status.ACCEPTED:
                self._activate(order, at_ns)

    def _close_session(self, at_ns: int) -> None:
        for order in self.ledger.open_orders():
            if order.time_in_force is not TimeInForce.GTC and order.created_ns < self.session.close_ns and not order.terminal:
                self.ledger.end(order, Status.EXPIRED, at_ns)
                self._emit("expired", order, at_ns)

    # --- orders -----------------------------------------------------------------------------------------------------------------------------

    def _circumstances(self, symbol: str, now_ns: int) -> rules.Circumstances:
        row = self.index.get(symbol)
        return rules.Circumstances(
            ledger=self.ledger,
            tradable=self.index,
            bid=None if row is None else self.book.price(row, Side.SELL),
            ask=None if row is None else self.book.price(row, Side.BUY),
            last=None if row is None else self.book.last_price(row),
            market_open=self.is_open(now_ns),
            buying_power=self.buying_power(),
            equity=self.ledger.equity(self.prices()),
        )

    def _admit(self, request: OrderRequest, at_ns: int) -> Order:
        order = self.groups.create(request, at_ns)
        now_open = self.is_open(at_ns) or (order.extended_hours and self.session.first_ns <= at_ns)
        if now_open:
            self._emit("pending_new", order, at_ns)
            self._schedule(at_ns + self._latency_ns(), _Act.ACTIVATE, order.id)
        else:
            order.status = Status.ACCEPTED
            self._emit("accepted", order, at_ns)
        return order

    def _activate(self, order: Order, at_ns: int) -> None:
        if order.terminal or order.active:
            return
        order.active = True
        if order.status in (Status.PENDING_NEW, Status.ACCEPTED):
            order.status = Status.NEW
        order.updated_ns = at_ns
        ask = self.book.price(self.index[order.symbol], Side.BUY)
        if order.type is OrderType.MARKET and order.side is Side.BUY and ask is not None:
            order.price_cap = collar(ask)
        self._emit("new", order, at_ns)
        if order.order_class is OrderClass.OCO:
            for leg in self.ledger.legs(order):
                leg.active = True
        self._match(self.index[order.symbol], at_ns)
        if order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) and not order.terminal:
            self.ledger.end(order, Status.CANCELED, at_ns)
            self._emit("canceled", order, at_ns)

    def _match(self, symbol: int, at_ns: int, traded: Decimal | None = None) -> None:
        for order in self.ledger.open_orders(self.symbols[symbol]):
            self._work(order, at_ns, traded)

    def _work(self, order: Order, at_ns: int, traded: Decimal | None = None) -> None:
        """Elect a stop, then trade what the book gives now."""
        symbol = self.index[order.symbol]
        if order.terminal or not order.active or not (self.is_open(at_ns) or order.extended_hours):
            return
        if order.type in (OrderType.STOP, OrderType.STOP_LIMIT) and not order.triggered:
            if self.book.halted[symbol] or not self._elected(order, symbol, traded):
                return
            order = self.groups.trigger(order, self.settings.stop_trigger, at_ns)
        if order.waiting or order.terminal:
            return
        if order.quantity is None and not self._size_notional(order, symbol):
            return
        limit = order.limit_price if order.limit_price is not None else order.price_cap
        offers = self.book.ladder(symbol, order.side, order.remaining, limit, self.settings.depth_levels)
        if order.time_in_force is TimeInForce.FOK and sum(shares for shares, _ in offers) < order.remaining:
            return
        for shares, price in offers:
            own = order.limit_price if order.resting and order.limit_price is not None else price
            self._execute(order, shares, own, at_ns)
            self.book.take(symbol, order.side, shares)
        order.resting = order.resting or not order.terminal

    def _elected(self, order: Order, symbol: int, traded: Decimal | None) -> bool:
        stop = order.stop_price
        assert stop is not None
        quoted = self.book.price(symbol, order.side)
        seen = [price for price in (quoted, traded) if price is not None]
        return any(price >= stop if order.side is Side.BUY else price <= stop for price in seen)

    def _size_notional(self, order: Order, symbol: int) -> bool:
        price = self.book.price(symbol, order.side)
        assert order.notional is not None
        if price is None:
            return False
        order.quantity = (order.notional / price).quantize(FRACTION, rounding=ROUND_DOWN)
        return order.quantity > 0

    def _execute(self, order: Order, shares: Decimal, price: Decimal, at_ns: int) -> None:
        execution = self.ledger.fill(order, shares, price, self._fee(order, shares, price), at_ns)
        self._emit("fill" if order.terminal else "partial_fill", order, at_ns, execution)
        if self.groups.on_fill(order, at_ns):
            self._schedule(at_ns + self._latency_ns(), _Act.LEGS, order.id)

    def _fee(self, order: Order, shares: Decimal, price: Decimal) -> Decimal:
        """SEC fee and TAF of a sale, per order rounded up to the cent; each fill pays the difference to what the order has paid."""
        if order.side is Side.BUY:
            return ZERO
        proceeds = order.filled_value + shares * price
        sec = proceeds * self.settings.sec_fee_per_million / 1_000_000
        taf = min((order.filled + shares) * self.settings.taf_per_share, self.settings.taf_per_order_max)
        due = sec.quantize(CENT, rounding=ROUND_UP) + taf.quantize(CENT, rounding=ROUND_UP)
        return due - order.fees

    def _latency_ns(self) -> int:
        jitter = self._rng.randint(0, self.settings.latency_jitter_us)
        return (self.settings.latency_us + jitter) * 1_000

    def _schedule(self, at_ns: int, act: _Act, order_id: str = "", successor_id: str = "", total: Decimal | None = None) -> None:
        self._sequence += 1
        heapq.heappush(self._due, _Due(at_ns, self._sequence, act, order_id, successor_id, total))

    def _emit(self, event: str, order: Order, at_ns: int, execution: Execution | None = None, *, sibling: bool = False) -> None:
        self._events.append(BrokerEvent(event, copy.copy(order), at_ns, execution, sibling))


def collar(ask: Decimal) -> Decimal:
    """The most a market buy pays: 4 % above the ask below $50, else 2.5 %."""
    factor = Decimal("1.04") if ask < 50 else Decimal("1.025")
    return (ask * factor).quantize(CENT, rounding=ROUND_DOWN)
