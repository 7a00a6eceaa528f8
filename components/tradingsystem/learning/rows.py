"""Rows to learn from, as columns: what was seen, what came of it, and what it would have cost to act on it.

Every row knows when its future was closed: that is what keeps later folds apart from earlier ones, and what a position's time is counted by.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32, F64, I8, I64
from tradingsystem.domain.signals import Regime
from tradingsystem.learning.fit import Rows50

REGIMES = tuple(Regime)
"""A row's ``regime`` is a place in here."""


@dataclass(frozen=True, slots=True)
class LearningRows:
    """n rows in the order of time. Costs are in basis points of the entry price: a buy at the ask, sold at the bid or at the target's price.

    ``features`` F32[n, 50], ``labels`` F64[n] (0 or 1), ``at_ns`` and ``closed_ns`` I64[n] market time, ``symbol`` I64[n] (``symbol_id``), ``regime`` I8[n],
    ``gross`` F32[n] return before fees with the spread paid, ``spread`` F32[n] at the entry.
    """

    features: F32
    labels: F64
    at_ns: I64
    closed_ns: I64
    symbol: I64
    regime: I8
    gross: F32
    spread: F32

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> LearningRows:
        """The rows that positions or a mask pick, as copies."""
        return LearningRows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def fitting(self) -> Rows50:
        """What a fit sees."""
        return Rows50(features=self.features, labels=self.labels)

    def digest(self) -> str:
        """sha256 over every column."""
        whole = hashlib.sha256()
        for field in fields(self):
            column = np.ascontiguousarray(getattr(self, field.name))
            whole.update(f"{field.name} {column.dtype.str} {column.shape};".encode())
            whole.update(column.tobytes())
        return whole.hexdigest()


def no_rows() -> LearningRows:
    """Not one row."""
    one, many = np.zeros(0), np.zeros((0, FEATURE_COUNT), np.float32)
    times = np.zeros(0, np.int64)
    return LearningRows(many, one, times, times, times, np.zeros(0, np.int8), one.astype(np.float32), one.astype(np.float32))


def join(parts: list[LearningRows]) -> LearningRows:
    """Several blocks as one, in the order of time; what is equally old stays in its order."""
    if not parts:
        return no_rows()
    joined = LearningRows(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(LearningRows)))
    return joined if bool(np.all(np.diff(joined.at_ns) >= 0)) else joined.take(np.argsort(joined.at_ns, kind="stable"))


def symbol_id(name: str) -> int:
    """A symbol's number, the same on every day and machine: 63 bits of its name's sha256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def net(rows: LearningRows, fee_basis_points: float, times: float = 1.0) -> F64:
    """Returns net of costs F64[n], basis points; ``times`` makes spread and fees dearer than they were: 1 as met, 2 twice as dear."""
    dearer: F64 = rows.gross.astype(np.float64) - times * fee_basis_points - (times - 1.0) * rows.spread.astype(np.float64)
    return dearer
