"""What must hold after every step, judged from the broker's ledger, the journal's entries and what execution says it knows.

Exists so that a fault is found where it shows and not where it hurts. It shares nothing with the code it judges but the words on the wire: it counts
shares, orders and dollars by the ledger. It repairs nothing and forgives only what it names: time in which execution or broker was not up.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from tradingsystem.domain.orders import Approved, OrderIntent, OrderState, Purpose
from tradingsystem.domain.signals import Signal
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.domain.trading import Latch, LatchCleared, LatchKind
from tradingsystem.execution.ages import Heard
from tradingsystem.execution.state import State
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.imagined import Ask, ImaginedJournal, Reply, Venue, body_of
from tradingsystem.risk import gate
from tradingsystem.spec.slices import ExecutionSlice

COVER_SECONDS = 3.0
ROUNDING_SECONDS = 0.001
DATA_AGE_NS = 5 * NS_PER_SECOND
TRUST_SLACK_NS = 50_000_000
LOST_SIGHT_SECONDS = 5.0
SILENT_SECONDS = 40  # after so long without a word, of ingestion's feeds or of the resource, nothing may open
NOTICED_SECONDS = 1.5  # execution looks once a second
SKEW_NS = NS_PER_SECOND // 2
SKEW_KNOWN_SECONDS = 33.0  # the broker is asked every half minute at the latest
SKEW_ENDS_SECONDS = SKEW_KNOWN_SECONDS + 65.0  # a small one is not contradicted, only forgotten

DURABLE = "1 durable intent"
APPROVED = "1 approved order"
ONCE = "2 once"
NEVER_FLAT = "3 unknown is not flat"
LATCHED = "5 latches survive"
HALTED = "5 halted sends no entry"
NEVER_SHORT = "6 never short"
FRESH = "7 fresh data, compared account"
AGREED = "7 the broker's clock"
HEARD = "7 nobody silent"
COVERED = "8 covered in 3 s"
FLAT = "9 flat at the close"
EQUAL = "10 positions are fills are the broker's"
LIMITS = "limits"
RUNS = "execution runs"
NAMES = (DURABLE, APPROVED, ONCE, NEVER_FLAT, LATCHED, HALTED, NEVER_SHORT, FRESH, AGREED, HEARD, COVERED, FLAT, EQUAL, LIMITS, RUNS)


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise that was broken, where and when."""

    invariant: str
    what: str
    at_seconds: float


@dataclass(slots=True)
class Sight:
    """What the day tells the judge of the running life."""

    alive: bool = False
    able: bool = False
    listening: bool = False
    clock_right: bool = True
    clocks_agree: bool = True  # ours and the broker's
    calm: bool = True  # no fault is at work that takes execution or broker away
    now_ns: int = 0  # the true time
    trusted_ns: list[tuple[int, int]] = field(default_factory=list)  # spans in which the stream was heard and the account compared
    state: State | None = None


class Judge:
    """One day's judge."""

    def __init__(self, venue: Venue, settings: ExecutionSlice, subjects: Subjects) -> None:
        self.violations: list[Violation] = []
        self.found: list[Violation] = []  # since last asked: for the story
        self.intents: dict[str, OrderIntent] = {}
        self.entries_sent: list[OrderIntent] = []
        self.signals: dict[str, Signal] = {}
        self.standing: dict[str, None] = {}  # latches by the journal and by answers to people, less what a person wants cleared
        self.slowest_cover = 0.0  # seconds from a share's fill to its cover, while both sides were up
        self.seconds = 0.0
        self._venue, self._settings, self._subjects = venue, settings, subjects
        self._sent_ns: list[int] = []  # of each of entries_sent
        self._approvals: dict[str, Approved] = {}
        self._pardoned: set[str] = set()
        self._posts: Counter[str] = Counter()
        self._accepted: Counter[str] = Counter()
        self._marked_ns: dict[str, int] = {}
        self._read = 0
        self._executions = 0
        self._opened: dict[str, None] = {}
        self._cause: dict[str, str] = {}
        self._bare: dict[str, deque[tuple[int, float]]] = {}  # (shares, since), oldest first
        self._up_since = 0.0
        self._strange: dict[str, float] = {}
        self._heard: dict[str, float] = {}  # when each word that gives the right to open was last heard, or first expected
        self._again: dict[str, float] = {}  # since when it has been heard again
        self._skewed_since = self._agreed_since = 0.0  # while both sides were up

    # --- what is seen ----------------------------------------------------------------------------------------------------------------------

    def new_store(self) -> None:
        """The journal is another one: what only the old one knew is gone, and execution must say so by a latch."""
        self._read = 0
        self.standing.clear()

    def new_watch(self, seconds: float) -> None:
        """A new life has heard nothing yet, and waits for every word from now on."""
        self._marked_ns.clear()
        self._heard = dict.fromkeys((heard.value for heard in Heard), seconds)

    def spoken(self, heard: str, seconds: float) -> None:
        """A word that gives the right to open has reached execution."""
        if seconds - self._heard[heard] > SILENT_SECONDS:
            self._again[heard] = seconds
        self._heard[heard] = seconds

    def marked(self, marks: list[Any]) -> None:
        """Marks reached execution."""
        for mark in marks:
            self._marked_ns[mark.symbol] = max(self._marked_ns.get(mark.symbol, 0), mark.at_ns)

    def read(self, store: ImaginedJournal) -> None:
        """Take in what has become durable."""
        entries = store.entries
        while self._read < len(entries):
            entry = entries[self._read]
            self._read += 1
            if entry.subject == self._subjects.journal_latch:
                change: Latch | LatchCleared = decode(entry.payload, Latch | LatchCleared)
                if isinstance(change, Latch):
                    self.promised(change.id)
                else:
                    self.standing.pop(change.id, None)
            elif entry.subject.startswith(self._subjects.journal_intents[:-1]):
                intent: OrderIntent = decode(entry.payload, OrderIntent)
                self.intents[intent.client_order_id] = intent
            elif entry.subject == self._subjects.journal_signal:
                signal: Signal = decode(entry.payload, Signal)
                self.signals[signal.id] = signal

    def promised(self, latch_id: str) -> None:
        """A latch is durable, or a person was told that it is set."""
        if latch_id not in self._pardoned:
            self.standing[latch_id] = None

    def pardoned(self, latch_id: str) -> None:
        """A person has asked for a latch to be cleared: it may stand or not."""
        self._pardoned.add(latch_id)
        self.standing.pop(latch_id, None)

    def approved(self, order: Approved, now_ns: int) -> None:
        """An order was handed to the order client: is the gate's word good for it now?"""
        problem = gate.invalid(order, now_ns)
        if problem is not None:
            self._break(APPROVED, f"{order.intent.client_order_id}: {problem}")
        if order.record != encode(order.intent):
            self._break(APPROVED, f"{order.intent.client_order_id}: another order")
        self._approvals[order.intent.client_order_id] = order

    # --- a write arrives -------------------------------------------------------------------------------------------------------------------

    def arriving(self, ask: Ask, sight: Sight) -> None:
        """Before the broker takes a POST or PATCH."""
        body = msgspec.json.decode(ask.body)
        key = body.get("client_order_id", "")
        intent = self.intents.get(key)
        if intent is None:
            self._break(DURABLE, f"{ask.method} {key} without an intent in the journal")
            return
        if body_of(intent) != ask.body:
            self._break(DURABLE, f"{key} is not the order that was journaled")
        approval = self._approvals.get(key)
        if approval is None or body_of(approval.intent) != ask.body:
            self._break(APPROVED, f"{key} is not the order that was approved")
        self._posts[key] += 1
        if intent.purpose is Purpose.ENTRY:
            self._entry(intent, sight)

    def answered(self, ask: Ask, reply: Reply) -> None:
        """After the broker has answered a POST or PATCH."""
        if 200 <= reply.status < 300:
            key = msgspec.json.decode(ask.body).get("client_order_id", "")
            self._accepted[key] += 1
            if self._accepted[key] > 1:
                self._break(ONCE, f"{key} was accepted twice")

    def _entry(self, intent: OrderIntent, sight: Sight) -> None:
        key, symbol = intent.client_order_id, intent.symbol
        if self._posts[key] > 1:
            self._break(ONCE, f"entry {key} was sent {self._posts[key]} times")
        siblings = [other for other in self.entries_sent if other.cause == intent.cause and other.client_order_id != key]
        if any(other.target_price == intent.target_price for other in siblings):
            self._break(ONCE, f"signal {intent.cause} stands under two ids")
        if self.standing:
            self._break(HALTED, f"entry {key} left while {', '.join(self.standing)} stood")
        self._not_flat(intent)
        self._fresh(intent, sight)
        self._told(intent, sight)
        self._limits(intent, siblings)
        self.entries_sent.append(intent)
        self._sent_ns.append(min(intent.decided_at_ns, sight.now_ns))  # a clock that was ahead is not believed
        self._cause[symbol] = intent.cause

    def _not_flat(self, intent: OrderIntent) -> None:
        ledger, symbol = self._venue.ledger, intent.symbol
        if self._cause.get(symbol) == intent.cause:
            return
        held = ledger.position(symbol).quantity
        open_buys = [order.client_order_id for order in ledger.open_orders(symbol) if str(order.side) == "buy"]
        if held or open_buys:
            self._break(NEVER_FLAT, f"entry {intent.client_order_id} although {held} {symbol} are held and {open_buys} open")

    def _fresh(self, intent: OrderIntent, sight: Sight) -> None:
        signal = self.signals.get(intent.cause)
        if signal is None:
            self._break(FRESH, f"entry {intent.client_order_id} without a signal")
            return
        if not sight.clock_right or intent.decided_at_ns > sight.now_ns:  # a clock that was ahead is remembered by the journal
            return
        newest = max(self._marked_ns.get(intent.symbol, 0), signal.at_ns)
        if intent.decided_at_ns - newest > DATA_AGE_NS or intent.decided_at_ns >= signal.expires_at_ns:
            age = (intent.decided_at_ns - newest) / NS_PER_SECOND
            self._break(FRESH, f"entry {intent.client_order_id} decided on data {age:.1f} s old")
        if not any(first_ns <= intent.decided_at_ns <= last_ns + TRUST_SLACK_NS for first_ns, last_ns in sight.trusted_ns):
            self._break(FRESH, f"entry {intent.client_order_id} before the account was compared")

    def _told(self, intent: OrderIntent, sight: Sight) -> None:
        """Nobody who must speak is silent for too long, and the broker's answers have not said for long that its clock is another."""
        for heard, at in self._heard.items():
            if sight.calm and self.seconds - at > SILENT_SECONDS + NOTICED_SECONDS:
                self._break(HEARD, f"entry {intent.client_order_id} after {self.seconds - at:.0f} s without a word of {heard}")
        if not sight.clocks_agree and self.seconds - self._skewed_since > SKEW_KNOWN_SECONDS:
            self._break(
                AGREED,
                f"entry {intent.client_order_id} although the broker's clock has been another for {self.seconds - self._skewed_since:.0f} s",
            )

    def _limits(self, intent: OrderIntent, siblings: list[OrderIntent]) -> None:
        risk, ledger = self._settings.live.risk, self._venue.ledger
        notional = sum((one.quantity * (one.limit_price or Decimal("NaN")) for one in (*siblings, intent)), Decimal(0))
        if not notional <= risk.order_notional_max:
            self._break(LIMITS, f"{intent.cause} costs {notional}, at most {risk.order_notional_max}")
        shares = sum(one.quantity for one in (*siblings, intent))
        if shares > risk.order_quantity_max:
            self._break(LIMITS, f"{intent.cause} buys {shares} shares, at most {risk.order_quantity_max}")
        signal = self.signals.get(intent.cause)
        average = None if signal is None else signal.average_volume
        if average is None or not shares * 10_000 <= risk.daily_volume_share_max_basis_points * average:
            share = risk.daily_volume_share_max_basis_points
            self._break(LIMITS, f"{intent.cause} buys {shares} shares of {average} a day, at most {share} basis points")
        gross = sum((abs(position.cost) for position in ledger.positions.values()), Decimal(0))
        gross += sum(
            (one.remaining * (one.limit_price or Decimal("NaN")) for one in ledger.open_orders() if str(one.side) == "buy"), Decimal(0)
        )
        gross += intent.quantity * (intent.limit_price or Decimal("NaN"))
        if not gross <= risk.gross_notional_max:
            self._break(LIMITS, f"{gross} held and open with {intent.client_order_id}, at most {risk.gross_notional_max}")
        symbols = {name for name, position in ledger.positions.items() if position.quantity}
        symbols |= {order.symbol for order in ledger.open_orders() if str(order.side) == "buy"} | {intent.symbol}
        if len(symbols) > risk.positions_open_max:
            self._break(LIMITS, f"{len(symbols)} symbols open with {intent.client_order_id}, at most {risk.positions_open_max}")
        self.count()
        causes = set(self._opened) | {intent.cause}
        if len(causes) > risk.positions_per_day_max:
            self._break(LIMITS, f"{len(causes)} positions of the day with {intent.client_order_id}, at most {risk.positions_per_day_max}")
        since_ns = intent.decided_at_ns - NS_PER_MINUTE
        recent = sum(1 for at_ns in self._sent_ns if since_ns < at_ns <= intent.decided_at_ns) + 1
        if recent > risk.orders_per_minute_max:
            self._break(LIMITS, f"{recent} entries in a minute with {intent.client_order_id}, at most {risk.orders_per_minute_max}")

    def count(self) -> int:
        """Positions that the ledger says were opened, by the signal that caused them."""
        executions = self._venue.ledger.executions
        while self._executions < len(executions):
            execution = executions[self._executions]
            self._executions += 1
            order = self._venue.ledger.orders[execution.order_id]
            if str(execution.side) == "buy" and order.client_order_id in self.intents:
                self._opened[self.intents[order.client_order_id].cause] = None
        return len(self._opened)

    # --- after every step ------------------------------------------------------------------------------------------------------------------

    def after(self, seconds: float, sight: Sight) -> None:
        """Whatever has moved: no shares sold that were not held, every filled share covered."""
        self.seconds = seconds
        up = sight.alive and sight.able and sight.listening and sight.calm
        if not up:
            self._up_since = seconds
        if not up or sight.clocks_agree or not sight.clock_right:
            self._skewed_since = seconds
        if not up or not sight.clocks_agree:
            self._agreed_since = seconds
        for symbol, position in self._venue.ledger.positions.items():
            held = int(position.quantity)
            if held < 0:
                self._break(NEVER_SHORT, f"{held} {symbol}")
            self._expose(symbol, max(held - self._covered(symbol), 0) if held > 0 else 0, held)

    def _expose(self, symbol: str, bare: int, held: int) -> None:
        """Shares become bare as they are bought and are covered oldest first; what is waited for counts from when both sides were up."""
        lots = self._bare.setdefault(symbol, deque())
        more = bare - sum(shares for shares, _ in lots)
        if more > 0:
            lots.append((more, self.seconds))
        while more < 0:
            shares, since = lots.popleft()
            self._waited(symbol, shares, held, since)
            if shares + more > 0:
                lots.appendleft((shares + more, since))
            more = min(more + shares, 0)
        if lots:
            self._waited(symbol, lots[0][0], held, lots[0][1])

    def _waited(self, symbol: str, shares: int, held: int, since: float) -> None:
        waited = self.seconds - max(since, self._up_since)
        self.slowest_cover = max(self.slowest_cover, waited)
        if waited > COVER_SECONDS + ROUNDING_SECONDS:
            self._break(COVERED, f"{shares} of {held} {symbol} for {waited:.2f} s")

    def _covered(self, symbol: str) -> int:
        """Shares with a working stop, or with a working sell that has no other leg."""
        covered = 0
        for order in self._venue.ledger.open_orders(symbol):
            if str(order.side) == "sell" and order.active and str(order.leg) != "take_profit":
                covered += int(order.remaining)
        return covered

    def glance(self, sight: Sight) -> None:
        """Once a second: what execution believes of the orders the broker has."""
        if not (sight.alive and sight.able and sight.state is not None):
            self._strange.clear()
            return
        missing = [latch for latch in self.standing if latch not in sight.state.latches]
        if missing:
            self._break(LATCHED, f"{', '.join(missing)} stood and does not any more")
        self._ended(sight.state)
        for key in self.intents:
            record = sight.state.book.orders.get(key)
            if record is not None and record.state is OrderState.REJECTED and self._taken(key):
                self._break(NEVER_FLAT, f"{key} is at the broker and called rejected here: {record.refusal}")
        strange = {}
        for order in self._venue.ledger.open_orders():
            record = sight.state.book.orders.get(order.client_order_id)
            if order.client_order_id not in self.intents:
                continue
            if record is None or not record.open:
                belief = "nothing" if record is None else record.state.value
                since = self._strange.get(order.id, self.seconds)
                strange[order.id] = since if sight.calm and sight.listening else self.seconds
                if self.seconds - strange[order.id] > LOST_SIGHT_SECONDS:
                    self._break(NEVER_FLAT, f"{order.client_order_id} is {order.status} at the broker, {belief} here")
        self._strange = strange

    def _taken(self, key: str) -> bool:
        """Whether the broker has an order that it has not rejected itself, as it does with a replacement of what has just filled."""
        ledger = self._venue.ledger
        return key in ledger.by_client_id and str(ledger.orders[ledger.by_client_id[key]].status) != "rejected"

    def _ended(self, state: State) -> None:
        """What forbids to open ends by itself, once it is over."""
        for heard, since in self._again.items():
            again = self.seconds - max(since, self._up_since) > NOTICED_SECONDS and self.seconds - self._heard[heard] < SILENT_SECONDS / 2
            if again and heard in state.silences:
                self._break(HEARD, f"{heard} is heard again and still called silent: {state.silences[heard].reason}")
        if self.seconds - self._agreed_since > SKEW_ENDS_SECONDS and abs(state.clock_skew_ns) > SKEW_NS:
            self._break(AGREED, f"the clocks agree again, and are called {state.clock_skew_ns / NS_PER_SECOND:.1f} s apart")

    def new_life(self, state: State, *, store_lost: bool) -> None:
        """A life is able: what was latched still is, and a new store is a halt."""
        missing = [latch for latch in self.standing if latch not in state.latches]
        if missing:
            self._break(LATCHED, f"{', '.join(missing)} did not survive the restart")
        if store_lost and not any(latch.kind is LatchKind.NEW_STORE for latch in state.latches.values()):
            self._break(LATCHED, "the store was lost and trading goes on")

    def closed(self, sight: Sight) -> None:
        """The session is over."""
        left = {name: int(position.quantity) for name, position in self._venue.ledger.positions.items() if position.quantity}
        if left:
            self._break(FLAT, f"{left} held after the close")
        if sight.state is not None:
            self._equal(sight.state)

    def _equal(self, state: State) -> None:
        ledger = self._venue.ledger
        theirs = {name: int(position.quantity) for name, position in ledger.positions.items() if position.quantity}
        ours = {name: position.quantity for name, position in state.positions.items() if position.quantity}
        if ours != theirs:
            self._break(EQUAL, f"{ours} here, {theirs} by the broker")
        fills: Counter[str] = Counter()
        for execution in ledger.executions:
            fills[execution.symbol] += int(execution.quantity) * (1 if str(execution.side) == "buy" else -1)
        if {name: count for name, count in fills.items() if count} != theirs:
            self._break(EQUAL, f"the ledger's fills give {dict(fills)}, its positions {theirs}")
        for order in ledger.orders.values():
            record = state.book.orders.get(order.client_order_id)
            if record is None and order.filled:
                self._break(EQUAL, f"{order.client_order_id} filled {order.filled}, nobody here knows it")
            elif record is not None and record.filled != int(order.filled):
                self._break(EQUAL, f"{order.client_order_id} filled {order.filled}, {record.filled} here")
        unknown = [record.key for record in state.book.open() if record.state is OrderState.UNKNOWN]
        if unknown:
            self._break(EQUAL, f"still UNKNOWN after the close: {', '.join(unknown)}")

    def failed(self, reason: str) -> None:
        """Execution has ended by itself."""
        self._break(RUNS, reason)

    def _break(self, invariant: str, what: str) -> None:
        if not any(one.invariant == invariant for one in self.violations):
            violation = Violation(invariant, what, self.seconds)
            self.violations.append(violation)
            self.found.append(violation)
