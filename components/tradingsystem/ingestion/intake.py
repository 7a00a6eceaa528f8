"""One epoch's way of a row: from the source that is heard, through validation, to the sealer. Pure: both times are arguments.

It is what ``service.py`` feeds from the sources' callbacks, and what tests and benchmarks feed without sockets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tradingsystem.domain.control import SourceState, SymbolTable, TapeNote
from tradingsystem.domain.rows import RowFlag, RowKind, Rows
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.ingestion.failover import Carrier, Failover
from tradingsystem.ingestion.sealing import Moment, Sealed, Sealer
from tradingsystem.ingestion.validation import Limits, Validator

_WINDOW_NS = {int(RowKind.SECOND_BAR): NS_PER_SECOND, int(RowKind.MINUTE_BAR): NS_PER_MINUTE}


class Intake:
    """The state of one epoch. Every method answers with the batches that became due."""

    def __init__(self, epoch: int, table: SymbolTable, carriers: Sequence[Carrier], limits: Limits, moment: Moment) -> None:
        self.table = table
        self.sealer = Sealer(epoch, len(table.facts))
        self.validator = Validator(table.facts, limits)
        self.failover = Failover(carriers, moment.machine_ns)
        self.refused: Counter[str] = Counter()
        self.unhealthy: dict[str, str] = {carrier.name: "not connected yet" for carrier in carriers}
        self.accepted = 0
        self.newest_ns = 0  # the moment that the newest accepted row tells of
        self.newest_machine_ns = 0
        self._delivered: set[str] = set()

    def rows(self, source: str, rows: Rows, moment: Moment) -> tuple[list[Sealed], dict[str, int]]:
        """Rows of a source; also why those of this call that were refused were."""
        refused: dict[str, int] = {}
        mask = self.failover.mask(source)
        if mask is not None:
            heard = mask[rows.kind]
            standby = len(rows) - int(np.count_nonzero(heard))
            if standby:
                refused["standby"] = standby
                rows = rows.take(heard)
        verdict = self.validator.check(rows, moment.market_ns)
        for reason, count in verdict.refused.items():
            refused[reason.label] = count
        self.refused.update(refused)
        accepted = verdict.rows
        if not len(accepted):
            return self.sealer.advance(moment), refused
        self.accepted += len(accepted)
        self.newest_ns = int(accepted.at_ns[-1]) + _WINDOW_NS.get(int(accepted.kind[-1]), 0)
        self.newest_machine_ns = moment.machine_ns
        return self.sealer.add(accepted, moment), refused

    def backfill(self, position: int, rows: Rows, moment: Moment) -> list[Sealed]:
        """History of one symbol, as rows that fill state and open nothing."""
        rows.symbol[:] = position
        rows.flags[:] |= int(RowFlag.BACKFILL)
        verdict = self.validator.check(rows, moment.market_ns)
        self.refused.update({reason.label: count for reason, count in verdict.refused.items()})
        return self.sealer.add(verdict.rows, moment) if len(verdict.rows) else []

    def health(self, source: str, *, healthy: bool, reason: str, moment: Moment) -> tuple[list[Sealed], bool]:
        """A source's health changed: it is a note on the tape, and the batch after a loss carries the gap flag. True when data was lost and is
        back now, so that it can be fetched."""
        self.failover.told(source, healthy=healthy, machine_ns=moment.machine_ns)
        returned = healthy and source in self._delivered
        if healthy:
            self.unhealthy.pop(source, None)
            self._delivered.add(source)
        else:
            self.unhealthy[source] = reason
        sealed = self.note(SourceState(source=source, healthy=healthy, reason=reason), gap=source in self._delivered, moment=moment)
        return [*sealed, *self.review(moment)], returned

    def note(self, note: TapeNote, *, gap: bool, moment: Moment) -> list[Sealed]:
        """Rows that wait come before the note, in a batch of their own or the same."""
        if gap:
            self.sealer.mark_gap()
        self.sealer.note(note)
        return self.sealer.advance(moment)

    def review(self, moment: Moment) -> list[Sealed]:
        """Move kinds of rows to another source where that is due; what fell between the two is a gap."""
        moved = self.failover.review(moment.machine_ns)
        if moved:
            self.sealer.mark_gap()
        return self.sealer.advance(moment)

    def progress_ns(self, moment: Moment) -> int:
        """Market time up to which input has been applied. While frames pour in it is their newest event, because a backlog on the socket is not
        seen otherwise; when they pause it is the last seal."""
        flowing = moment.machine_ns - self.newest_machine_ns < NS_PER_SECOND // 4
        return min(self.newest_ns, self.sealer.sealed_at_ns) if flowing else self.sealer.sealed_at_ns
