"""Any order of signals, prices, losses, repeats, reorderings, crashes and lies of the wire: the invariants hold after every step.

Invariants 1, 2, 3, 6, 10 and 12 of the design, against the simulator's exchange as the only judge of what really happened.
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.execution.desk import SYMBOLS, Desk
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.orders import OrderIntent, OrderState, Purpose
from tradingsystem.execution import inbox
from tradingsystem.execution.exposure import exit_shares, pending_exits
from tradingsystem.execution.orders import OrderRecord, Role
from tradingsystem.execution.step import begin, step
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.identifiers import is_ours
from tradingsystem.simulator.exchange import ExchangeSettings, StopTrigger

symbols = st.sampled_from(SYMBOLS[:3])
faults = st.sampled_from(["", "", "", "lost-before", "lost-after", "refuse", "late"])


class Desks(RuleBasedStateMachine):
    """A desk on which everything may go wrong."""

    @initialize(trigger=st.sampled_from(list(StopTrigger)), size=st.sampled_from([7.0, 100.0, 1_000.0]))
    def open(self, trigger: StopTrigger, size: float) -> None:
        self.desk = Desk(exchange=ExchangeSettings(stop_trigger=trigger, latency_us=200_000, latency_jitter_us=300_000), size=size)
        for symbol in SYMBOLS[:3]:
            self.desk.quote(symbol, 49.99, 50.00)

    @rule(symbol=symbols, fault=st.lists(faults, max_size=4))
    def signal(self, symbol: str, fault: list[str]) -> None:
        self.desk.wire.answers = fault
        self.desk.signal(symbol)

    @rule(symbol=symbols, cents=st.integers(-80, 80), size=st.sampled_from([3.0, 50.0, 1_000.0]))
    def quote(self, symbol: str, cents: int, size: float) -> None:
        bid = round(50.0 + cents / 100, 2)
        self.desk.quote(symbol, bid, round(bid + 0.01, 2), size)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 12.0]))
    def advance(self, seconds: float) -> None:
        self.desk.advance(seconds)

    @rule(count=st.integers(1, 6))
    def lose_events(self, count: int) -> None:
        self.desk.wire.drop_events = count
        self.desk.advance(1.0)
        self.desk.wire.drop_events = 0
        self.desk.disconnect()
        self.desk.connect()

    @rule(count=st.integers(1, 4))
    def repeat_events(self, count: int) -> None:
        self.desk.wire.repeat_events = count

    @rule(seconds=st.sampled_from([0.5, 2.0]), turned=st.booleans())
    def delay_events(self, seconds: float, turned: bool) -> None:
        self.desk.wire.hold_events = True
        self.desk.advance(seconds)
        places = list(range(len(self.desk.wire.held)))
        self.desk.release(places[::-1] if turned else places)

    @rule(lost=st.integers(0, 4), fault=st.lists(faults, max_size=2))
    def crash(self, lost: int, fault: list[str]) -> None:
        self.desk.wire.answers = fault
        self.desk.crash(lost)

    @rule(kind=st.sampled_from([CommandKind.HALT, CommandKind.REDUCE, CommandKind.RESUME, CommandKind.FLATTEN]))
    def command(self, kind: CommandKind) -> None:
        self.desk.command(kind)

    @invariant()
    def nothing_is_sold_that_is_not_held(self) -> None:
        """Invariant 6."""
        for symbol in SYMBOLS:
            assert self.desk.shares(symbol) >= 0
            free = self.desk.state.held(symbol) - pending_exits(self.desk.state, symbol)
            assert free >= 0 or self.desk.state.is_frozen(symbol) or not self.desk.state.reconciled or self.desk.state.suspicions, (
                symbol,
                free,
            )

    @invariant()
    def every_order_has_a_durable_intent(self) -> None:
        """Invariant 1: what the broker holds under an id of ours was written down first, and is exactly that."""
        for order in self.desk.ledger.orders.values():
            if is_ours("desk", order.client_order_id):
                intent = decode(self.desk.intents[order.client_order_id], OrderIntent)
                assert intent.symbol == order.symbol
                assert order.quantity is not None
                assert order.quantity <= intent.quantity

    @invariant()
    def no_entry_is_posted_twice(self) -> None:
        """Invariant 2."""
        entries = [key for key in self.desk.posted if decode(self.desk.intents[key], OrderIntent).purpose is Purpose.ENTRY]
        assert len(entries) == len(set(entries))

    @invariant()
    def unknown_freezes(self) -> None:
        """Invariant 3."""
        for record in self.desk.state.book.orders.values():
            if record.state is OrderState.UNKNOWN:
                assert self.desk.state.is_frozen(record.symbol)
                assert record.remaining == record.quantity - record.filled

    @invariant()
    def positions_are_sums_of_fills(self) -> None:
        """Invariant 10, our half: nothing but executions moves a position."""
        for symbol in SYMBOLS:
            records = [record for record in self.desk.state.book.of(symbol) if record.role is not Role.EXTERNAL]
            total = sum(record.filled if record.side.value == "Buy" else -record.filled for record in records)
            assert total == self.desk.state.held(symbol)

    @invariant()
    def what_is_set_aside_is_over(self) -> None:
        """No group counts for anything that is not looked through: counted over all orders of a symbol, its exits hold the same shares."""
        state = self.desk.state
        for symbol in SYMBOLS:
            groups: dict[str, list[OrderRecord]] = {}
            for record in state.book.of(symbol):
                groups.setdefault(record.group, []).append(record)
            ours = sum(exit_shares(state, group) for group in groups.values() if group[0].role is not Role.EXTERNAL)
            foreign = [group[0] for group in groups.values() if group[0].role is Role.EXTERNAL]
            assert pending_exits(state, symbol) == ours + sum(record.remaining for record in foreign if record.side.value == "Sell")
            assert all(record.key in state.book.live for record in state.book.of(symbol) if record.open or record.uncounted)

    def teardown(self) -> None:
        desk = getattr(self, "desk", None)
        if desk is None:
            return
        desk.wire.answers, desk.wire.hold_events, desk.wire.drop_events = [], False, 0
        desk.disconnect()
        desk.connect()
        desk.advance(45.0, tick=0.5)
        for symbol in SYMBOLS:
            assert desk.state.held(symbol) == desk.shares(symbol), symbol  # invariant 10
        assert desk.state.reconciled
        desk.command(CommandKind.FLATTEN)
        for symbol in SYMBOLS[:3]:
            desk.quote(symbol, 50.00, 50.01, 10_000)
        desk.advance(20.0, tick=0.5)
        assert [desk.shares(symbol) for symbol in SYMBOLS] == [0] * len(SYMBOLS)
        assert not list(desk.ledger.open_orders())
        assert abs(desk.state.equity() - desk.ledger.cash) < Decimal("0.005")  # a missed fill is priced from an average of six digits
        self._replays()

    def _replays(self) -> None:
        """Invariant 12: the recorded inbox makes the same decisions, byte for byte."""
        entries = [decode(payload, inbox.InboxEntry) for payload in self.desk.inbox]
        assert isinstance(entries[0], inbox.Started)
        state = begin(entries[0])
        assert [encode(step(state, entry)) for entry in entries] == self.desk.decisions


TestDesks = Desks.TestCase
TestDesks.settings = settings(max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
