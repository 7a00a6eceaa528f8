"""One session's learning rows while its tape goes by: quotes are kept for those symbols alone that were candidates, each from its first time on.

A universe may hold 12,000 symbols of which a few hundred ever pass; a second of quotes is kept for these. Symbols are known by name, so that a new symbol
table in the middle of a day changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tradingsystem.domain.rows import F32, I32
from tradingsystem.domain.signals import Regime
from tradingsystem.ensemble.labels import SAMPLE_SECONDS, LabelRule
from tradingsystem.learning.dataset import DayCollector
from tradingsystem.learning.rows import LearningRows, symbol_id

_FIRST_ROOM = 64


class SessionCollector:
    """Takes full sweeps in their order; ``rows`` gives what is closed."""

    def __init__(self, open_ns: int, close_ns: int) -> None:
        self._day = DayCollector.start(_FIRST_ROOM, open_ns, close_ns)
        self._places: dict[str, int] = {}
        self._table: Sequence[str] = ()
        self._tracked: I32 = np.empty(0, np.int32)  # rows of the present symbol table, in the order of places; -1: not in it
        self.sweeps = 0

    def sweep(self, at_ns: int, table: Sequence[str], bid: F32, ask: F32, rows: I32, features: F32, regime: Regime) -> None:
        """One full sweep: the quotes F32[symbols] of the whole ``table`` and the candidates' ``rows`` I32[n] in it with their features F32[n, 50]."""
        self.sweeps += 1
        if table is not self._table:
            self._table = table
            at = {name: place for place, name in enumerate(table)}
            self._tracked = np.array([at.get(name, -1) for name in self._places], np.int32)
        second = self._day.second_of(at_ns)
        chosen = (rows + second) % SAMPLE_SECONDS == 0
        if chosen.any():
            self._admit([table[row] for row in rows[chosen]], rows[chosen])
        here = np.flatnonzero(self._tracked >= 0).astype(np.int32)
        self._day.quotes(at_ns, bid[self._tracked[here]], ask[self._tracked[here]], here)
        if chosen.any() and second >= 0:
            places = np.array([self._places[table[row]] for row in rows[chosen]], np.int32)
            self._day.sampled(second, places, features[chosen], regime)

    def _admit(self, names: list[str], rows: I32) -> None:
        for name, row in zip(names, rows.tolist(), strict=True):
            if name not in self._places:
                self._places[name] = len(self._places)
                self._tracked = np.append(self._tracked, np.int32(row))
        if len(self._places) > len(self._day.bid):
            self._day.widen(2 * len(self._places))

    def rows(self, rule: LabelRule) -> LearningRows:
        """The labelled rows in the order of time."""
        ids = np.zeros(len(self._day.bid), np.int64)
        ids[: len(self._places)] = [symbol_id(name) for name in self._places]
        return self._day.rows(rule, ids)
