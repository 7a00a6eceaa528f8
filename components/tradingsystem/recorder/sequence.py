"""Which batches of the tape have been seen: repeats are dropped, holes remembered until they are filled or given up."""

from __future__ import annotations


class TapeSequence:
    """Follows ``(epoch, seq)``. An epoch starts at seq 1."""

    def __init__(self, epoch: int, seq: int) -> None:
        self._epoch = epoch
        self._seq = seq
        self.missing: set[tuple[int, int]] = set()

    def take(self, epoch: int, seq: int) -> bool:
        """Whether this batch is new; holes it reveals go to ``missing``."""
        if (epoch, seq) in self.missing:
            self.missing.discard((epoch, seq))
            return True
        if epoch < self._epoch or (epoch == self._epoch and seq <= self._seq):
            return False
        first_expected = self._seq + 1 if epoch == self._epoch else 1
        self.missing.update((epoch, hole) for hole in range(first_expected, seq))
        self._epoch, self._seq = epoch, seq
        return True

    def give_up(self) -> list[tuple[int, int]]:
        """The holes still open, oldest first, which are forgotten by this."""
        lost = sorted(self.missing)
        self.missing.clear()
        return lost
