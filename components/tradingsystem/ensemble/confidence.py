"""Confidence: how strongly the members agree, ranked against what they said lately.

Agreement of a row is the members' mean logit less one standard deviation of them: high only when all say yes. Its rank in a trailing window of rows
is the confidence, so "70 %" means: stronger agreement than 70 % of the rows judged lately, whatever the level of the market.
"""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import F32, F64, I32
from tradingsystem.ensemble import kernel

WINDOW_ROWS = 8_192
"""Rows remembered. A full sweep of the founding universe leaves a few hundred candidates, so this is some ten seconds to minutes of them."""


def agreement(members: F32) -> F64:
    """Mean less standard deviation of the members' logits; members F32[n, m] -> F64[n]."""
    result: F64 = np.empty(len(members))
    kernel.agreements(members, result)
    return result


class ConfidenceWindow:
    """A ring of the latest agreements, seeded with the bundle's own held-out quantiles so that the first row has something to be ranked against.

    Ranking happens against the window before the new rows enter it; the sorted copy is renewed once a quarter of the window has changed, which keeps
    a rank cheap and still a pure function of the rows seen.
    """

    def __init__(self, reference: tuple[float, ...]) -> None:
        start = np.interp(np.linspace(0.0, 1.0, WINDOW_ROWS), np.linspace(0.0, 1.0, len(reference)), np.asarray(reference, np.float64))
        self._ring: F64 = start
        self._next = 0
        self._sorted: F64 = np.empty(WINDOW_ROWS)
        self._starts: I32 = np.empty(kernel.BINS + 1, np.int32)
        self._sort(start)

    def _sort(self, ring: F64) -> None:
        """Rank against these values from now on."""
        self._per_unit = kernel.sort_window(ring, self._sorted, self._starts)
        self._since_sort = 0

    def rank(self, values: F64) -> F64:
        """Share of the window below each value, 0 to 1; then the values enter the window."""
        ranks: F64 = np.empty(len(values))
        kernel.ranks(values, self._sorted, self._starts, self._per_unit, ranks)
        self._push(values[-WINDOW_ROWS:])
        return ranks

    def _push(self, values: F64) -> None:
        first = min(len(values), WINDOW_ROWS - self._next)
        self._ring[self._next : self._next + first] = values[:first]
        self._ring[: len(values) - first] = values[first:]
        self._next = (self._next + len(values)) % WINDOW_ROWS
        self._since_sort += len(values)
        if self._since_sort >= WINDOW_ROWS // 4:
            self._sort(self._ring)

    def snapshot(self) -> dict[str, F64 | int]:
        """Everything that decides later ranks."""
        return {"ring": self._ring.copy(), "sorted": self._sorted.copy(), "next": self._next, "since_sort": self._since_sort}

    def restore(self, state: dict[str, F64 | int]) -> None:
        """Take over a snapshot."""
        self._ring = np.array(state["ring"], np.float64)
        self._sort(np.array(state["sorted"], np.float64))
        self._next = int(state["next"])
        self._since_sort = int(state["since_sort"])
