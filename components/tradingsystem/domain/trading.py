"""Trading state and latches: what may be done at all, why not, and who can change that."""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec


class TradingState(enum.Enum):
    """Active opens and closes; Reducing only closes; Halted sends nothing but protection."""

    ACTIVE = "Active"
    REDUCING = "Reducing"
    HALTED = "Halted"


class LatchKind(enum.Enum):
    """What can latch. A latch survives restarts and is cleared by a person, by its id, with name and reason."""

    HALT = "Halt"
    DAILY_LOSS = "DailyLoss"
    DRAWDOWN = "Drawdown"
    REPEATED_EXECUTION = "RepeatedExecution"
    REFUSALS = "Refusals"
    RECONCILIATION = "Reconciliation"
    CARRIED = "Carried"
    NEW_STORE = "NewStore"
    ACCOUNT = "Account"


class Latch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One latch as it was set."""

    id: str
    kind: LatchKind
    state: TradingState  # what it forces at least
    reason: str
    set_by: str
    set_at_ns: int


class LatchCleared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person's act."""

    id: str
    name: str
    reason: str
    cleared_at_ns: int


class Mark(msgspec.Struct, frozen=True):
    """The current market of one symbol, for valuing, collars and exits. LULD bands are None while unknown."""

    symbol: str
    at_ns: int
    bid: float
    ask: float
    last: float
    lower_band: float | None = None
    upper_band: float | None = None
    halted: bool = False


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """One position in a status message."""

    symbol: str
    quantity: int
    average_price: Decimal
    mark: Decimal | None
    unrealised: Decimal
    protected_quantity: int


class TradingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What execution says of itself, at least once a second; the operator, the CLI and the monitor read nothing else."""

    at_ns: int
    state: TradingState
    since_ns: int
    why: str
    latches: tuple[Latch, ...]
    positions: tuple[PositionView, ...]
    day_realised: Decimal
    day_unrealised: Decimal
    day_fees: Decimal
    equity: Decimal
    drawdown_percent: float
    signals_seen: int
    orders_sent: int
    orders_filled: int
    orders_refused: dict[str, int]  # by code
    unknown_orders: int
    unprotected_shares: int
    reconciled: bool
    halt_confirmed: bool = True  # False: Halted, and the broker has not yet said that no entry of ours is open
    statistics: dict[str, float] = {}  # the day in numbers: fill rate, win rate, profit factor, times; NaN where nothing is known yet
