"""Who answered the cuts of a running day, and what a killed inference server cost: heard from the cuts, as they are journaled.

The kill window begins with the kill and ends with the first cut that the server answers again. It says nothing of a cut that asked nobody.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from tradingsystem.domain.signals import Cut, CutOutcome
from tradingsystem.interfaces import Bus, Delivery
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.subjects import Subjects

SHARE_MIN_PERCENT = 95.0


@dataclass(slots=True)
class InferenceWatch:
    """Outcomes by phase of the day. Times are the machine's, seconds."""

    outside: Counter[CutOutcome] = field(default_factory=Counter)
    window: Counter[CutOutcome] = field(default_factory=Counter)
    killed_at: float = 0.0
    fell_back_at: float = 0.0
    back_at: float = 0.0
    malformed: int = 0

    async def listen(self, bus: Bus, subjects: Subjects) -> None:
        """Hear the cuts."""
        await bus.subscribe(subjects.journal_cut, self._on_cuts)

    def killed(self) -> None:
        """The server was killed now."""
        self.killed_at = time.monotonic()

    def _on_cuts(self, delivery: Delivery) -> None:
        try:
            cuts: list[Cut] = decode(delivery.payload, list[Cut])
        except Malformed:
            self.malformed += 1
            return
        for cut in cuts:
            self.hear(cut.outcome, time.monotonic())

    def hear(self, outcome: CutOutcome, at: float) -> None:
        """One cut's outcome, heard at that time."""
        if outcome is CutOutcome.NONE:
            return
        if not self.killed_at or self.back_at:
            self.outside[outcome] += 1
            return
        if outcome is CutOutcome.OK and self.fell_back_at:
            self.back_at = at
            self.outside[outcome] += 1
            return
        if outcome is not CutOutcome.OK and not self.fell_back_at:
            self.fell_back_at = at
        (self.window if self.fell_back_at else self.outside)[outcome] += 1

    @property
    def share_percent(self) -> float:
        """What part of the asking cuts outside the kill window the server answered."""
        total = sum(self.outside.values())
        return 100.0 * self.outside[CutOutcome.OK] / total if total else 0.0

    def problems(self) -> list[str]:
        """What was promised and did not hold."""
        found = []
        if self.share_percent < SHARE_MIN_PERCENT:
            found.append(
                f"Triton answered {self.share_percent:.1f} % of the cuts outside the kill window, at least {SHARE_MIN_PERCENT:g} % is asked for"
            )
        if not self.killed_at:
            found.append("Triton was not killed: the day was too short")
        elif not self.fell_back_at:
            found.append("no cut was judged while Triton was away")
        elif self.window[CutOutcome.LATE]:
            found.append(f"{self.window[CutOutcome.LATE]} cuts of the kill window had no answer within their deadline")
        if self.killed_at and not self.back_at:
            found.append("Triton did not come back")
        return found

    def lines(self, deadline_milliseconds: int) -> list[str]:
        """What a person is told."""
        told = [
            f"Triton answered {self.share_percent:.2f} % of {sum(self.outside.values()):,} cuts outside the kill window "
            f"({self.outside[CutOutcome.FALLBACK]:,} fell back, {self.outside[CutOutcome.LATE]:,} late)."
        ]
        if self.killed_at and self.back_at:
            told.append(
                f"Killed in mid-day: {self.window[CutOutcome.FALLBACK]:,} cuts answered in process, {self.window[CutOutcome.LATE]:,} late "
                f"(deadline {deadline_milliseconds} ms); Triton answers again {self.back_at - self.killed_at:.1f} s after the kill, by itself."
            )
        return told
