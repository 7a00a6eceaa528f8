"""Everything execution knows, in one value: rebuilt from the inbox, encodable, comparable.

It holds no connection, no clock and no task. ``now_ns`` is the moment of the entry that is being applied.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec

from tradingsystem.domain import calendar
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.orders import Account, OrderState
from tradingsystem.domain.splits import Split
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_SECOND, at_speed, new_york_date
from tradingsystem.domain.trading import Latch, Mark, TradingState
from tradingsystem.execution.book import Book
from tradingsystem.execution.latches import deepest, state_of
from tradingsystem.execution.orders import Role
from tradingsystem.execution.positions import ZERO, Position
from tradingsystem.execution.statistics import Statistics
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.slices import ExecutionSlice, LiveSettings

SCALED_WAIT_NS = 50 * NS_PER_MILLISECOND  # machine time that every wait allows for, whatever the speed


class Day(msgspec.Struct, kw_only=True):
    """What counts by the session."""

    day: date | None = None
    session: Session | None = None  # the broker's word; None while unknown or closed
    doubted: bool = False  # the broker's session is not our calendar's: nothing opens
    asked_at_ns: int = 0
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    armed_at: Decimal = ZERO  # day's profit when the loss limit was last armed
    opened: dict[str, None] = {}  # causes of positions that were opened
    entries: list[tuple[int, str]] = []  # (decided at, symbol) of entry orders
    flattened: bool = False  # the close's flattening has begun
    carried: bool = False


class Suspicion(msgspec.Struct, frozen=True):
    """A difference with the broker, as it was last told."""

    seen_at_ns: int
    ours: int
    theirs: int


class Halting(msgspec.Struct):
    """A halt that is in force, and whether the broker's word has confirmed that nothing of ours may open any more."""

    since_ns: int
    confirmed: bool = False
    alarmed_ns: int = 0


class Silence(msgspec.Struct, frozen=True):
    """What the silence of something forces, and why."""

    state: TradingState
    reason: str


class Splits(msgspec.Struct):
    """Splits of what is carried: announced, and not carried out yet as far as we know."""

    announced: dict[str, tuple[Split, ...]] = {}
    applied: dict[str, None] = {}  # their keys: none is applied twice
    standing: dict[str, Decimal] = {}  # unrealised profit of symbols whose shares and prices may not belong together
    uncovered: dict[str, int] = {}  # symbol to when it was rebased: it still lacks the stop that rests until the session
    asked_at_ns: int = 0
    waiting: bool = False  # the broker was asked and has not answered


class State(msgspec.Struct, kw_only=True):
    """The whole of it."""

    settings: ExecutionSlice
    live: LiveSettings
    book: Book
    generation: int = 0
    speed: float = 1.0
    store: str = ""
    now_ns: int = 0
    clock_at_ns: int = 0
    signal_seq: int = 0
    peers_problem: str = ""  # why the services do not make one system
    silences: dict[str, Silence] = {}  # what has not been heard for too long
    connected: bool = False
    reconciled: bool = False
    stopping: bool = False
    heard: bool = False  # the broker has told orders and positions since we last lost sight of it: nothing is sold before
    account: Account | None = None
    account_at_ns: int = 0
    clock_skew_ns: int = 0  # our clock less the broker's, as far as it is proven
    bought_since_account: Decimal = ZERO
    positions: dict[str, Position] = {}
    marks: dict[str, Mark] = {}
    latches: dict[str, Latch] = {}
    since_ns: int = 0  # of the trading state
    halting: Halting | None = None
    frozen: dict[str, str] = {}  # symbols the broker disagrees on
    suspicions: dict[str, Suspicion] = {}
    splits: Splits = msgspec.field(default_factory=Splits)
    snapshot_due_ns: int = 0
    snapshot_asked_ns: int = 0  # 0: none under way
    flattening: dict[str, str] = {}  # symbol to reason
    refused_ns: list[int] = []  # when the broker refused an order, within the last minute
    retry_at_ns: dict[str, int] = {}  # symbol to the moment of its next exit attempt
    day: Day = msgspec.field(default_factory=Day)
    statistics: Statistics = msgspec.field(default_factory=Statistics)
    realised: Decimal = ZERO  # since the store began, before fees
    fees: Decimal = ZERO
    peak_equity: Decimal = ZERO

    @property
    def mode(self) -> Mode:
        return self.settings.mode

    @property
    def able(self) -> bool:
        """Whether everything is known that deciding needs: the account compared, the day's session told (a closed market is known, too)."""
        return self.reconciled and self.day.day is not None

    def closing_session(self) -> Session | None:
        """The session whose close binds: the broker's, ours while it has not told, the one that closes earlier when they differ."""
        today = new_york_date(self.now_ns)
        own = own_session(today) if self.now_ns else None
        told = self.day.session if self.day.day == today else None
        known = [session for session in (told, own) if session is not None]
        return min(known, key=lambda session: session.close_ns, default=None)

    def wait_ns(self, seconds: float) -> int:
        """A wait in market time that is never shorter than the machine can be."""
        return at_speed(int(seconds * NS_PER_SECOND), self.speed, SCALED_WAIT_NS)

    def trading(self) -> tuple[TradingState, str]:
        """The state in force, and why."""
        if self.stopping:
            return TradingState.HALTED, "the process is stopping"
        state, why = state_of(TradingState(self.live.trading.state.value), self.latches)
        for silence in self.silences.values():
            if deepest([state, silence.state]) is not state:
                state, why = silence.state, silence.reason
        return state, why

    def held(self, symbol: str) -> int:
        """Shares of a symbol by our fills."""
        position = self.positions.get(symbol)
        return position.quantity if position is not None else 0

    def present(self, symbol: str) -> int:
        """Shares that are there: what our fills hold, less what the broker's word lacks of it. That word is of one moment, and what we have sold since
        has left both counts alike: so it is the difference that stays, not the number."""
        suspicion = self.suspicions.get(symbol)
        held = self.held(symbol)
        return held if suspicion is None else max(held - max(suspicion.ours - suspicion.theirs, 0), 0)

    def sellable(self, symbol: str) -> int:
        """Shares that may be sold: those that are there; none before the broker was heard."""
        return self.present(symbol) if self.heard else 0

    def unrealised(self) -> Decimal:
        held = ((symbol, position) for symbol, position in self.positions.items() if position.quantity)
        return sum((self.unrealised_of(symbol, position) for symbol, position in held), ZERO)

    def unrealised_of(self, symbol: str, position: Position) -> Decimal:
        """One position's, marked at the bid. While a split is announced and our shares are still those before it, marks may be those after it: then what
        it was goes on."""
        standing = self.splits.standing.get(symbol)
        return position.unrealised(self.marks.get(symbol)) if standing is None else standing

    def day_profit(self, unrealised: Decimal | None = None) -> Decimal:
        """Realised and marked, less fees, of the session; ``unrealised`` when the caller has summed it already, here and below."""
        return self.day.realised - self.day.fees + (self.unrealised() if unrealised is None else unrealised)

    def equity(self, unrealised: Decimal | None = None) -> Decimal:
        """Our own: initial capital and what we made of it."""
        made = self.unrealised() if unrealised is None else unrealised
        return self.settings.execution.initial_capital + self.realised - self.fees + made

    def drawdown_percent(self, unrealised: Decimal | None = None) -> float:
        """How far equity is below its peak."""
        peak, equity = self.peak_equity, self.equity(unrealised)
        return float((peak - equity) / peak * 100) if peak > 0 else 0.0

    def is_frozen(self, symbol: str) -> bool:
        """Whether nothing may open in a symbol: an outcome is UNKNOWN, or the broker disagrees."""
        return symbol in self.frozen or any(record.state is OrderState.UNKNOWN for record in self.book.current(symbol))

    def interesting(self) -> set[str]:
        """Symbols whose marks matter: held, or with an open order."""
        held = {symbol for symbol, position in self.positions.items() if position.quantity}
        return held | {record.symbol for record in self.book.open() if record.role is not Role.EXTERNAL}


def own_session(day: date) -> Session | None:
    """The session of a day by our own calendar; None when closed or unknown."""
    try:
        return calendar.session(day) if calendar.is_session(day) else None
    except calendar.OutsideCalendar:
        return None


def fresh(settings: ExecutionSlice) -> State:
    """The state before anything was heard."""
    capital = Decimal(settings.execution.initial_capital)
    return State(settings=settings, live=settings.live, book=Book(settings.system), peak_equity=capital)
