"""The filter's statistics, under the founding document's names: what was looked at, what was left, and what that cost in copies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tradingsystem.domain.rows import COLUMNS, I64
from tradingsystem.filter.tradability import Stage

ROW_BYTES = sum(np.dtype(kind).itemsize for _, kind in COLUMNS)


@dataclass(slots=True)
class FilterStatistics:
    """Counted since the start. A symbol counts each time a sweep looks at it."""

    total_symbols_processed: int = 0
    total_symbols_passed: int = 0
    cuts: int = 0
    full_sweeps: int = 0
    batches: int = 0
    rows: int = 0
    bytes_moved: int = 0  # columns read where the message lay
    bytes_copied: int = 0  # feature rows and lists of symbols written anew
    stages: I64 = field(default_factory=lambda: np.zeros(len(Stage), np.int64))  # of full sweeps only, so that each symbol counts alike
    last_full: I64 = field(default_factory=lambda: np.zeros(len(Stage), np.int64))

    def applied(self, rows: int) -> None:
        """One batch went into the state."""
        self.batches += 1
        self.rows += rows
        self.bytes_moved += rows * ROW_BYTES

    def swept(self, counts: I64, *, full: bool, copied: int) -> None:
        """One sweep ended with so many symbols at each stage."""
        self.cuts += 1
        self.total_symbols_processed += int(counts.sum())
        self.total_symbols_passed += int(counts[Stage.PASSED])
        self.bytes_copied += copied
        if full:
            self.full_sweeps += 1
            self.stages += counts
            self.last_full = counts

    def report(self) -> dict[str, float]:
        """All numbers; ``filter_efficiency_pct`` is the share of looked-at symbols that cost no model, percent."""
        processed = max(1, self.total_symbols_processed)
        moved = max(1, self.bytes_moved + self.bytes_copied)
        return {
            "total_symbols_processed": self.total_symbols_processed,
            "total_symbols_passed": self.total_symbols_passed,
            "filter_efficiency_pct": 100.0 * (1.0 - self.total_symbols_passed / processed),
            "cuts": self.cuts,
            "full_sweeps": self.full_sweeps,
            "batches": self.batches,
            "rows": self.rows,
            "bytes_moved": self.bytes_moved,
            "bytes_copied": self.bytes_copied,
            "zero_copy_pct": 100.0 * self.bytes_moved / moved,
            **{f"funnel_{stage.name.lower()}": int(self.last_full[stage]) for stage in Stage},
        }
