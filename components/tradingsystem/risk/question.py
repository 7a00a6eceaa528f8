"""What the gate is asked: the order, what is held and on its way, the limits, the market and the state of the system, as frozen values.

Exists so that a rule is a function of one argument and a test needs no broker. It refuses to compute: whoever asks counts.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.orders import OrderIntent
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_MINUTE, NS_PER_SECOND, at_speed
from tradingsystem.domain.trading import Mark, TradingState
from tradingsystem.spec.execution import EntryWindow
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.risk import Risk

ENTRY_DATA_AGE_NS = 5 * NS_PER_SECOND  # a quote's life in the cache, too
CLOCK_AGE_NS = 5 * NS_PER_SECOND
CLOCK_SKEW_NS = 500 * NS_PER_MILLISECOND
APPROVAL_NS = 5 * NS_PER_SECOND
SCALED_AGE_NS = 10 * NS_PER_MILLISECOND
SCALED_TICK_NS = 200 * NS_PER_MILLISECOND  # our own timer runs at most twenty times a second of machine time, and the journal is waited for


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The live settings the rules compare with. Ages grow with the speed of a scaled clock: max(limit, speed x 10 ms)."""

    risk: Risk
    window: EntryWindow
    mode: Mode
    speed: float = 1.0
    throttle_entries_max: int = 6  # entry orders of one symbol inside throttle_window_ns: three signals of two brackets; more is a runaway
    throttle_window_ns: int = 10 * NS_PER_MINUTE

    def age_ns(self, limit_ns: int, machine_ns: int = SCALED_AGE_NS) -> int:
        """An age limit at this speed."""
        return at_speed(limit_ns, self.speed, machine_ns)


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """What is held and on its way. Open and UNKNOWN orders count as filled; siblings of the asked order (same cause) are told apart."""

    held: int = 0  # shares of the asked symbol
    pending_exits: int = 0  # shares of it that open or UNKNOWN sells may still take, the replaced order not counted
    other_open: int = 0  # open or UNKNOWN entry orders in the symbol with another cause
    foreign_sells: int = 0  # shares of it that open sells which are not ours may take
    sibling_notional: Decimal = Decimal(0)  # entries of the same cause that were approved before
    sibling_quantity: int = 0  # shares of those
    symbols: frozenset[str] = frozenset()  # held, or with an open or UNKNOWN entry
    opened_today: frozenset[str] = frozenset()  # causes that opened, or may yet open, a position today
    entries_last_minute: int = 0
    symbol_entries_in_window: int = 0  # of the throttle's window
    gross_notional: Decimal = Decimal(
        0
    )  # cost of what is held, and of entries that are open, UNKNOWN, or filled by a word without its execution
    unsettled_notional: Decimal = Decimal(0)  # bought or on its way since the account was last told
    buying_power: Decimal = Decimal(0)
    day_profit: Decimal = Decimal(0)  # realised and marked, less fees, since the loss limit was last armed
    day_realised: Decimal = Decimal(0)
    drawdown_percent: float = 0.0


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """The symbol's market now; ``signal_*`` only for entries."""

    now_ns: int
    mark: Mark | None
    session: Session | None
    clock_at_ns: int  # when market time was last confirmed
    signal_at_ns: int = 0
    signal_expires_ns: int = 0
    average_volume: float | None = None  # the symbol's shares on an ordinary day, None when unknown
    simulated_model: bool = False


class SystemState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the system may trade at all."""

    trading: TradingState
    why: str = ""
    reconciled: bool = False
    connected: bool = False
    frozen: bool = False  # this symbol, since an outcome is UNKNOWN or the broker disagrees
    account_blocked: bool = False
    services_problem: str = ""  # why they do not make one system
    clock_skew_ns: int = 0  # our clock less the broker's, the least that its answers prove


class Question(msgspec.Struct, frozen=True):
    """All of it, as the rules get it."""

    intent: OrderIntent
    exposure: Exposure
    limits: Limits
    market: Market
    state: SystemState

    @property
    def notional(self) -> Decimal:
        """Dollars the order may cost, at its limit; an entry without a limit has no bound and compares as NaN."""
        price = self.intent.limit_price
        return Decimal("NaN") if price is None else price * self.intent.quantity
