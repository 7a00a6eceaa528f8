"""A trading desk in virtual time: the real ``step`` against the simulator's real exchange, with a wire between them that can lie.

Everything goes through bytes as in the service: entries are encoded before they are applied, orders are spelled by the simulator and read by our
adapter. Faults are chosen by the test; the desk itself has no chance in it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from tradingsystem.adapters.alpaca import corporate_actions, errors, parse
from tradingsystem.adapters.alpaca.models import WireAccount, WireCorporateActions, WireOrder, WireUpdate
from tradingsystem.domain.control import Command, CommandKind
from tradingsystem.domain.errors import NotAuthorized, OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.domain.orders import BrokerOrder, BrokerPosition, OrderIntent, OrderUpdate, Purpose
from tradingsystem.domain.signals import Regime, Signal
from tradingsystem.domain.trading import Mark
from tradingsystem.execution import actions as act
from tradingsystem.execution import inbox
from tradingsystem.execution.recovery import rebuild
from tradingsystem.execution.step import begin, step
from tradingsystem.messages.codec import decode, encode
from tradingsystem.risk import gate
from tradingsystem.simulator import alpaca_views as views
from tradingsystem.simulator.alpaca_corporate_actions import StockSplit
from tradingsystem.simulator.exchange import Exchange, ExchangeSettings
from tradingsystem.simulator.feed import SECOND_NS, Kind, Slice, empty_slice, session_of
from tradingsystem.simulator.ledger import Ledger
from tradingsystem.simulator.order_request import Refusal
from tradingsystem.spec import TradingSystem, from_document, slice_of
from tradingsystem.spec.slices import ExecutionSlice

DAY = datetime.date(2026, 3, 2)
HALF_DAY = datetime.date(2026, 11, 27)
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG")


def execution_slice(**spec: Any) -> ExecutionSlice:
    """The slice of a document with these sections, as the process gets it; sizes are risk-based, so that every signal has one."""
    sections = {"sizing": {"method": "RiskBased"}, "mode": "Simulation"} | spec
    document = {"apiVersion": "tradingsystem.dev/v1alpha1", "kind": "TradingSystem", "metadata": {"name": "desk"}, "spec": sections}
    system: TradingSystem = from_document(document)
    made = slice_of("execution", system)
    assert isinstance(made, ExecutionSlice)
    return made


@dataclass
class Wire:
    """What happens to the next requests and events; consumed one by one."""

    answers: list[str] = field(default_factory=list)  # "", "lost-before", "lost-after", "html", "refuse" for writes in order
    drop_events: int = 0
    repeat_events: int = 0
    hold_events: bool = False
    held: list[OrderUpdate] = field(default_factory=list)


class Desk:
    """One system on one simulated account."""

    def __init__(
        self,
        *,
        day: datetime.date = DAY,
        settings: ExecutionSlice | None = None,
        exchange: ExchangeSettings | None = None,
        size: float = 1_000.0,
        before_close_minutes: int | None = None,
    ) -> None:
        self.session = session_of(day)
        self.settings = settings or execution_slice()
        self.ledger = Ledger(Decimal(50_000), seed=1)
        self.exchange = Exchange(self.ledger, SYMBOLS, self.session, exchange or ExchangeSettings(), seed=1)
        self.now_ns = self.session.open_ns + 10 * 60 * SECOND_NS
        if before_close_minutes is not None:
            self.now_ns = self.session.close_ns - before_close_minutes * 60 * SECOND_NS
        self.size = size
        self.prices: dict[str, tuple[float, float]] = {}
        self.wire = Wire()
        self.inbox: list[bytes] = []
        self.decisions: list[bytes] = []
        self.intents: dict[str, bytes] = {}
        self.latches: list[bytes] = []
        self.log: list[act.Action] = []
        self.posted: list[str] = []
        self.announced: list[StockSplit] = []
        self.splits_refused = False  # the market data's host does not answer
        self.quiet = False  # a broker that cannot be reached at all
        self.connected = False
        self._signals = 0
        self._move([empty_slice(self.now_ns)])
        self.state = begin(self._started())
        self.start()

    # --- time and market -------------------------------------------------------------------------------------------------------------------

    def quote(self, symbol: str, bid: float, ask: float, size: float | None = None) -> None:
        """A new best bid and offer."""
        shares = self.size if size is None else size
        self.prices[symbol] = (bid, ask)
        self._move([_row(self.now_ns, Kind.QUOTE, SYMBOLS.index(symbol), bid, shares, ask, shares)])
        if symbol in self.state.interesting():
            self.enter(inbox.MarksReceived(received_at_ns=self.now_ns, marks=(self.mark(symbol),)))

    def mark(self, symbol: str, **more: Any) -> Mark:
        bid, ask = self.prices[symbol]
        return Mark(symbol, self.now_ns, bid, ask, ask, **more)

    def halt(self, symbol: str) -> None:
        """The exchange stops trading in a symbol, and the mark says so."""
        bid, _ = self.prices[symbol]
        self._move([_row(self.now_ns, Kind.HALT, SYMBOLS.index(symbol), bid, 0, 0, 0)])
        self.enter(inbox.MarksReceived(received_at_ns=self.now_ns, marks=(self.mark(symbol, halted=True),)))

    def advance(self, seconds: float, tick: float = 0.25) -> None:
        """Let time pass: the venue works, a timer entry comes each second, marks stay fresh."""
        end_ns = self.now_ns + int(seconds * SECOND_NS)
        while self.now_ns < end_ns:
            before = self.now_ns
            self.now_ns = min(end_ns, self.now_ns + int(tick * SECOND_NS))
            self._move([empty_slice(self.now_ns)])
            if self.now_ns // SECOND_NS != before // SECOND_NS:
                self.enter(inbox.TimerTicked(received_at_ns=self.now_ns))

    def to(self, at_ns: int, tick: float = 1.0) -> None:
        """Let time pass until a moment."""
        self.advance((at_ns - self.now_ns) / SECOND_NS, tick)

    def next_session(self, day: datetime.date, morning: Callable[[], None] = lambda: None) -> None:
        """The night passes: the account is the same one, the exchange's day a new one; a timer entry comes each minute. ``morning`` is what happens when
        the exchange's day begins. It ends a minute before the open."""
        self.session = session_of(day)
        while self.now_ns < self.session.first_ns:
            self.now_ns = min(self.now_ns + 60 * SECOND_NS, self.session.first_ns)
            self.enter(inbox.TimerTicked(received_at_ns=self.now_ns))
        self.exchange = Exchange(self.ledger, SYMBOLS, self.session, self.exchange.settings, seed=1)
        morning()
        self.to(self.session.open_ns - 60 * SECOND_NS, tick=60.0)

    def split(self, symbol: str, old_rate: int, new_rate: int) -> None:
        """The broker carries a split out: open orders end, shares are other ones, a fraction is paid in cash."""
        price = Decimal(repr(self.prices[symbol][0])) * old_rate / new_rate
        self.exchange.split(symbol, Decimal(old_rate), Decimal(new_rate), price)
        self._stream(self.exchange.take_events())

    def announce(self, symbol: str, old_rate: int, new_rate: int, day: datetime.date) -> None:
        """From now on the broker knows of a split."""
        self.announced.append(StockSplit(symbol=symbol, ex_date=day, old_rate=Decimal(old_rate), new_rate=Decimal(new_rate)))

    def _move(self, slices: list[Slice]) -> None:
        for part in slices:
            self._stream(self.exchange.on_slice(part))

    def tell(self, events: list[Any]) -> None:
        """What the exchange has to say goes out, by the wire."""
        self._stream(events)

    def _stream(self, events: list[Any]) -> None:
        for event in events:
            payload = json.dumps(views.update_view(event, self.ledger)).encode()
            if not self.connected:
                continue
            if self.wire.drop_events:
                self.wire.drop_events -= 1
                continue
            update = parse.update(parse.read(payload, WireUpdate))
            if self.wire.hold_events:
                self.wire.held.append(update)
                continue
            self.enter(inbox.UpdateReceived(received_at_ns=self.now_ns, update=update))
            for _ in range(min(self.wire.repeat_events, 1)):
                self.wire.repeat_events -= 1
                self.enter(inbox.UpdateReceived(received_at_ns=self.now_ns, update=update))

    def release(self, order: list[int] | None = None) -> None:
        """Deliver the events that were held back, in another order if one is given."""
        held, self.wire.held, self.wire.hold_events = self.wire.held, [], False
        for place in order or range(len(held)):
            self.enter(inbox.UpdateReceived(received_at_ns=self.now_ns, update=held[place]))

    # --- people and processes ---------------------------------------------------------------------------------------------------------------

    def _started(self, **more: Any) -> inbox.Started:
        return inbox.Started(received_at_ns=self.now_ns, settings=self.settings, speed=1.0, store="store-1", **more)

    def start(self) -> None:
        """A first start, up to a reconciled account."""
        self.enter(self._started())
        self.connect()
        self.enter(inbox.TimerTicked(received_at_ns=self.now_ns))

    def connect(self) -> None:
        self.connected = True
        self.enter(inbox.ConnectionChanged(received_at_ns=self.now_ns, connected=True))

    def disconnect(self) -> None:
        self.connected = False
        self.enter(inbox.ConnectionChanged(received_at_ns=self.now_ns, connected=False))

    def crash(self, lost: int = 0) -> None:
        """kill -9: memory is gone, the last ``lost`` inbox entries never became durable, intents and latches did."""
        kept = max(len(self.inbox) - lost, 1)  # the first entry is never in doubt: nothing was sent before it
        self.inbox, self.decisions = self.inbox[:kept], self.decisions[:kept]
        recovered = rebuild([decode(one, inbox.InboxEntry) for one in self.inbox], list(self.intents.values()), self.latches)
        started = self._started(intents=recovered.intents, latches=recovered.latches, cleared=recovered.cleared)
        self.state = recovered.state if recovered.state is not None else begin(started)
        self.connected = False
        self.wire.held.clear()
        self.enter(started)
        self.connect()

    def command(self, kind: CommandKind, latch_id: str | None = None) -> None:
        self.enter(
            inbox.CommandReceived(
                received_at_ns=self.now_ns, command=Command(id="c", kind=kind, name="Ada", reason="drill", latch_id=latch_id)
            )
        )

    def signal(self, symbol: str, *, p_low: float = 0.7, **more: Any) -> Signal:
        """A signal at the symbol's quote, as the filter would send it."""
        bid, ask = self.prices[symbol]
        self._signals += 1
        values = {
            "id": f"desk.1.{self._signals}.{symbol}",
            "system": "desk",
            "epoch": 1,
            "last_seq": self._signals,
            "symbol": symbol,
            "at_ns": self.now_ns,
            "expires_at_ns": self.now_ns + 300 * SECOND_NS,
            "p": p_low + 0.05,
            "p_low": p_low,
            "confidence": 0.9,
            "bid": bid,
            "ask": ask,
            "vix": 18.0,
            "regime": Regime.BULL,
            "model": 1,
            "members": (0.7, 0.7, 0.7),
            "simulated_model": True,
            "average_volume": 2e6,
        }
        made = Signal(**(values | more))
        self.enter(inbox.SignalReceived(received_at_ns=self.now_ns, signal=made, mark=self.mark(symbol), seq=self._signals))
        return made

    # --- the service's part ------------------------------------------------------------------------------------------------------------------

    def enter(self, entry: inbox.InboxEntry) -> None:
        """Journal, apply, act."""
        payload = encode(entry)
        self.inbox.append(payload)
        made = step(self.state, decode(payload, inbox.InboxEntry))
        self.decisions.append(encode(made))
        for action in made:
            self.log.append(action)
            self._carry_out(action)

    def _carry_out(self, action: act.Action) -> None:
        match action:
            case act.Submit(approved) | act.Resubmit(approved):
                if isinstance(action, act.Submit):
                    assert approved.intent.client_order_id not in self.intents
                    self.intents[approved.intent.client_order_id] = encode(approved.intent)
                assert gate.invalid(approved, self.now_ns) is None
                self._write(
                    inbox.Request.SUBMIT, approved.intent, lambda intent: self.exchange.submit(parse.post_body(intent), self.now_ns)
                )
            case act.Replace(order_id, approved, journaled):
                assert journaled == (approved.intent.client_order_id in self.intents)  # the journal refuses to create an intent twice
                self.intents[approved.intent.client_order_id] = encode(approved.intent)
                self._write(
                    inbox.Request.REPLACE,
                    approved.intent,
                    lambda intent: self.exchange.replace(order_id, parse.patch_body(intent), self.now_ns),
                )
            case act.Cancel(order_id, key):
                refusal = self.exchange.cancel(order_id, self.now_ns)
                outcome = inbox.Outcome.DONE if refusal is None else inbox.Outcome.REFUSED
                self._answer(inbox.Request.CANCEL, key, outcome, order_id=order_id)
            case act.Lookup(key, order_id):
                found = order_id or self.ledger.by_client_id.get(key)
                known = found is not None and not self.quiet
                outcome = inbox.Outcome.DONE if known else inbox.Outcome.NOT_SENT if self.quiet else inbox.Outcome.NOT_FOUND
                self._answer(inbox.Request.LOOKUP, key, outcome, order_id=order_id, order=self.view(found or "") if known else None)
            case act.TakeSnapshot():
                self._snapshot()
            case act.AskSession(day):
                ours = session_of(day)
                told = parse.Session(day=day, open_ns=ours.open_ns, close_ns=ours.close_ns)
                self.enter(inbox.SessionReceived(received_at_ns=self.now_ns, day=day, session=told))
            case act.AskSplits():
                self._tell_splits(action)
            case act.SetLatch(latch):
                self.latches.append(encode(latch))
            case act.ClearLatch(cleared):
                self.latches.append(encode(cleared))

    def _tell_splits(self, asked: act.AskSplits) -> None:
        if self.splits_refused:
            self.enter(inbox.SplitsReceived(received_at_ns=self.now_ns, failed="cannot be reached"))
            return
        page: dict[str, Any] = {}
        for one in self.announced:
            if one.symbol in asked.symbols and asked.first <= one.ex_date <= asked.last:
                page.setdefault(f"{one.kind}s", []).append(one.view())
        wire = parse.read(json.dumps({"corporate_actions": page, "next_page_token": None}).encode(), WireCorporateActions)
        self.enter(inbox.SplitsReceived(received_at_ns=self.now_ns, splits=corporate_actions.splits(wire)))

    def _write(self, request: inbox.Request, intent: OrderIntent, send: Callable[[OrderIntent], Any]) -> None:
        fault = self.wire.answers.pop(0) if self.wire.answers else ""
        self.posted.append(intent.client_order_id)
        key = intent.client_order_id
        if fault == "lost-before" or self.quiet:
            self._answer(request, key, inbox.Outcome.UNKNOWN)
            return
        if fault == "refuse":
            self._answer(request, key, inbox.Outcome.REFUSED, code="forbidden")
            return
        made = send(intent)
        if fault == "lost-after":
            self._stream(self.exchange.take_events())
            self._answer(request, key, inbox.Outcome.UNKNOWN)
            return
        if isinstance(made, Refusal):
            error = errors.of_answer(made.http, json.dumps(made.body()).encode(), {}, 0.0, write=True)
            assert isinstance(error, RequestRefused | OutcomeUnknown | TryAgain | NotAuthorized)
            self._answer(request, key, inbox.Outcome.REFUSED, code=getattr(error, "code", ""), reason=str(error))
            return
        order = self.view(made.id)
        if fault == "late":  # the events overtake the answer
            self._stream(self.exchange.take_events())
        self._answer(request, key, inbox.Outcome.DONE, order=order)
        self._stream(self.exchange.take_events())

    def _answer(self, request: inbox.Request, key: str, outcome: inbox.Outcome, **more: Any) -> None:
        values = {"order_id": None, "asked_at_ns": self.now_ns, "took_us": 900} | more
        self.enter(inbox.AnswerReceived(received_at_ns=self.now_ns, request=request, client_order_id=key, outcome=outcome, **values))

    def view(self, order_id: str) -> BrokerOrder:
        text = json.dumps(views.order_view(self.ledger.orders[order_id], self.ledger, nested=True)).encode()
        return parse.order(parse.read(text, WireOrder))

    def _snapshot(self) -> None:
        if self.quiet:
            self.enter(inbox.SnapshotReceived(received_at_ns=self.now_ns, asked_at_ns=self.now_ns, failed="cannot be reached"))
            return
        legs = {leg for order in self.ledger.orders.values() for leg in order.leg_ids}
        chained = {order.id for order in self.ledger.orders.values() if order.replaces in legs}
        orders = tuple(self.view(one.id) for one in self.ledger.orders.values() if one.id not in legs | chained)
        positions = tuple(
            BrokerPosition(symbol=name, quantity=int(held.quantity), average_entry_price=held.average_price)
            for name, held in self.ledger.positions.items()
            if held.quantity
        )
        account = parse.account(parse.read(json.dumps(views.account_view(self.exchange)).encode(), WireAccount))
        self.enter(
            inbox.SnapshotReceived(received_at_ns=self.now_ns, asked_at_ns=self.now_ns, orders=orders, positions=positions, account=account)
        )

    # --- what tests ask ----------------------------------------------------------------------------------------------------------------------

    def shares(self, symbol: str) -> int:
        """By the broker's word."""
        return int(self.ledger.position(symbol).quantity)

    def codes(self) -> list[str]:
        return [action.refusal.code for action in self.log if isinstance(action, act.Refused)]

    def alerts(self) -> list[str]:
        return [action.code for action in self.log if isinstance(action, act.Alert)]

    def sent(self, purpose: Purpose) -> list[OrderIntent]:
        intents = [decode(payload, OrderIntent) for payload in self.intents.values()]
        return [intent for intent in intents if intent.purpose is purpose]


def _row(at_ns: int, kind: Kind, symbol: int, price: float, size: float, price2: float, size2: float) -> Slice:
    return Slice(
        to_ns=at_ns,
        kind=np.array([int(kind)], np.uint8),
        symbol=np.array([symbol], np.int32),
        at_ns=np.array([at_ns], np.int64),
        price=np.array([price]),
        size=np.array([float(size)]),
        price2=np.array([float(price2)]),
        size2=np.array([float(size2)]),
        price3=np.zeros(1),
        price4=np.zeros(1),
        condition=np.zeros(1, np.int32),
        exchange=np.zeros(1, np.uint8),
    )
