"""Alpaca's requests per minute, shared by everything with the key: a part is kept back for exits, cancels and questions.

It reads the headers and counts what is under way; it refuses an entry rather than a stop.
"""

from __future__ import annotations

from collections.abc import Mapping

RESERVE = 60  # of 200: two minutes of reconciliation, and exits for every position twice over


class Budget:
    """What is left of the current window, by the broker's word less what was sent since."""

    def __init__(self) -> None:
        self.remaining: int | None = None
        self.reset_seconds = 0.0
        self.held_back = 0

    def allows(self, now_seconds: float, *, entry: bool) -> bool:
        """Whether a request may go. Without a word of the broker, or after its reset, everything may."""
        if self.remaining is None or now_seconds >= self.reset_seconds:
            return True
        allowed = self.remaining > (RESERVE if entry else 0)
        self.held_back += not allowed
        return allowed

    def sent(self) -> None:
        """A request left."""
        if self.remaining is not None:
            self.remaining -= 1

    def told(self, headers: Mapping[str, str]) -> None:
        """Read an answer's headers; absent or unreadable ones change nothing."""
        try:
            remaining, reset = int(headers["X-RateLimit-Remaining"]), float(headers["X-RateLimit-Reset"])
        except (KeyError, ValueError):
            return
        if reset != self.reset_seconds or self.remaining is None:
            self.remaining, self.reset_seconds = remaining, reset
        else:
            self.remaining = min(self.remaining, remaining)
