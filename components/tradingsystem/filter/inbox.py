"""Batches that wait to be cut, in the one order there is. Repeats are dropped, a hole is seen before anything behind it is taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tradingsystem.domain.signals import Cut
from tradingsystem.messages.batch import Batch, decode_batch, read_position

Position = tuple[int, int]


class Inbox:
    """Encoded batches by position (epoch, seq). ``taken`` is the last one handed out."""

    def __init__(self, taken: Position = (0, 0)) -> None:
        self.taken = taken
        self._newest = taken
        self._waiting: deque[tuple[Position, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, payload: bytes) -> None:
        """Take in a batch as the bus delivers it. Raises ``Malformed``."""
        epoch, seq, _ = read_position(payload)
        position = (epoch, seq)
        if position <= self._newest:
            self.merge([payload])
            return
        self._newest = position
        self._waiting.append((position, payload))

    def merge(self, payloads: Iterable[bytes]) -> int:
        """Take in batches in any order, also such as are here or were taken already; returns how many were new. Raises ``Malformed``."""
        known = dict(self._waiting)
        before = len(known)
        for payload in payloads:
            position = read_position(payload)[:2]
            if position > self.taken:
                known.setdefault(position, payload)
        self._waiting = deque(sorted(known.items()))
        if self._waiting:
            self._newest = max(self._newest, self._waiting[-1][0])
        return len(known) - before

    def hole(self) -> int:
        """How many batches are missing before the next one that waits; 0 when none is, or when nothing was taken from its epoch yet and it is the first."""
        if not self._waiting:
            return 0
        epoch, seq = self._waiting[0][0]
        expected = self.taken[1] + 1 if epoch == self.taken[0] else 1
        return max(0, seq - expected)

    def take(self, most: int) -> list[Batch]:
        """The next batches, at most ``most``: of one epoch, without a hole between them. Raises ``Malformed``; the bad batch is gone then."""
        found: list[Batch] = []
        while self._waiting and len(found) < most:
            position, payload = self._waiting[0]
            if found and position != (self.taken[0], self.taken[1] + 1):
                break
            self._waiting.popleft()
            batch = decode_batch(payload)
            self.taken = position
            found.append(batch)
        return found

    def take_cut(self, cut: Cut) -> list[Batch] | None:
        """Exactly the batches of a recorded cut, None when they are not all here. What waits before them is dropped: that cut's predecessor skipped it."""
        while self._waiting and self._waiting[0][0] < (cut.epoch, cut.first_seq):
            self._waiting.popleft()
        wanted = cut.last_seq - cut.first_seq + 1
        if len(self._waiting) < wanted or self._waiting[wanted - 1][0] != (cut.epoch, cut.last_seq):
            return None
        return [self._next() for _ in range(wanted)]

    def _next(self) -> Batch:
        position, payload = self._waiting.popleft()
        self.taken = position
        return decode_batch(payload)
