"""The day in numbers: how much of what was tried happened, and what came of it. Counting only; nothing here feeds back into a decision."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec

from tradingsystem.execution.positions import ZERO, Closed

CLOSED_MAX = 1_000


class Spread(msgspec.Struct):
    """Count, sum and maximum of some times."""

    count: int = 0
    total: int = 0
    largest: int = 0

    def add(self, value: int) -> None:
        self.count += 1
        self.total += value
        self.largest = max(self.largest, value)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan


class Statistics(msgspec.Struct):
    """Counted since the session began."""

    signals: int = 0
    sent: int = 0
    filled: int = 0
    entries_sent: int = 0
    entries_filled: int = 0  # at least in part
    refused: dict[str, int] = {}
    submit_us: Spread = msgspec.field(default_factory=Spread)
    cover_ns: Spread = msgspec.field(default_factory=Spread)  # from a fill to its protective order
    closed: list[Closed] = []
    wins: int = 0
    losses: int = 0
    gross_profit: Decimal = ZERO
    gross_loss: Decimal = ZERO
    drawdown_max_percent: float = 0.0

    def refuse(self, code: str) -> None:
        """Count one refusal by its code."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def close(self, closed: Closed) -> None:
        """Count one finished position; a position that earned nothing is a loss."""
        if len(self.closed) < CLOSED_MAX:
            self.closed.append(closed)
        if closed.profit > 0:
            self.wins += 1
            self.gross_profit += closed.profit
        else:
            self.losses += 1
            self.gross_loss -= closed.profit

    def numbers(self) -> dict[str, float]:
        """Fill rate (entry orders filled at least in part / sent), win rate, profit factor (gross profit / gross loss), times; NaN where undefined."""
        trades = self.wins + self.losses
        return {
            "fill_rate_percent": 100.0 * self.entries_filled / self.entries_sent if self.entries_sent else math.nan,
            "win_rate_percent": 100.0 * self.wins / trades if trades else math.nan,
            "profit_factor": float(self.gross_profit / self.gross_loss) if self.gross_loss else math.nan,
            "trades": float(trades),
            "submission_mean_milliseconds": self.submit_us.mean / 1_000,
            "submission_max_milliseconds": self.submit_us.largest / 1_000,
            "cover_mean_seconds": self.cover_ns.mean / 1e9,
            "cover_max_seconds": self.cover_ns.largest / 1e9,
            "drawdown_max_percent": self.drawdown_max_percent,
        }
