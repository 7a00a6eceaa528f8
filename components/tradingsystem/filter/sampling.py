"""The rows that models read live, thinned, for who watches drift. Off the path to signals: nothing is binned, judged or kept for long here.

Of the rows that are followed to their end (each candidate every 20 s, as training keeps them) every fifteenth of a symbol is told, so that the sample has
the times of day and the symbols in the shares in which models read them: 512 candidates make 102 rows a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.outcomes import FeatureSample
from tradingsystem.domain.rows import F32, I32
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.labels import SAMPLE_SECONDS

EVERY = 15  # of the rows that are followed: a symbol each five minutes
TELL_SECONDS = 60
ROWS_MAX = 2_000  # told at once: 400 kB, below what a message may hold


class Sampling:
    """Of one filter. Seconds are of the session."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._symbols: list[str] = []
        self._waiting: list[F32] = []
        self._told_second = 0

    def take(self, session: Session, second: int, names: Sequence[str], rows: I32, values: F32) -> None:
        """Followed candidates' positions I32[n] in the table of names, and their features F32[n, 50], at that second of that session."""
        if session != self._session:
            self._session, self._told_second, self._symbols, self._waiting = session, second, [], []
        taken = np.flatnonzero((rows + second) // SAMPLE_SECONDS % EVERY == 0)
        if len(taken) and len(self._symbols) < ROWS_MAX:
            self._symbols += [names[row] for row in rows[taken]]
            self._waiting.append(values[taken])

    def due(self, second: int) -> FeatureSample | None:
        """What is to be told at that second of the session, None while a minute has not passed or nothing waits."""
        session = self._session
        if session is None or not self._waiting or second - self._told_second < TELL_SECONDS:
            return None
        values = np.concatenate(self._waiting)[:ROWS_MAX]
        symbols, self._symbols, self._waiting, self._told_second = self._symbols[:ROWS_MAX], [], [], second
        return FeatureSample(
            session_open_ns=session.open_ns,
            elapsed=min(1.0, second * NS_PER_SECOND / (session.close_ns - session.open_ns)),
            symbols=tuple(symbols),
            values=np.ascontiguousarray(values, "<f4").tobytes(),
        )
