"""One tree of errors, by what the caller must do.

    TradingSystemError
    ├── TryAgain(after_seconds)      a passing fault: retried with a limit
    ├── OutcomeUnknown               the request may have been carried out: ask by id, never send again under a new one
    ├── RequestRefused(code)         this one request is given up; the reason is published and counted
    ├── NotAuthorized(what)          a key is missing, wrong or not entitled: stop asking, name it, never print it
    ├── InvalidInput                 a person's input: every problem at once, exit code 2
    └── BrokenInvariant              what must hold does not: the process stops, restarts and reconciles

Foreign exceptions end at the adapters, chained as the cause; no text here carries a secret or a payload.
"""

from __future__ import annotations

import enum


class TradingSystemError(Exception):
    """Root of the tree."""


class TryAgain(TradingSystemError):
    """A passing fault; ``after_seconds`` is the earliest useful moment, from the other side's word or our own backoff."""

    def __init__(self, reason: str, after_seconds: float = 1.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class OutcomeUnknown(TradingSystemError):
    """Nobody knows whether the request took effect: time-out, cut connection, 5xx on a write, an answer that cannot be read."""


class RequestRefused(TradingSystemError):
    """The other side said no to this request, for good. ``code`` is ours or the venue's, ``status`` the HTTP status if any."""

    def __init__(self, code: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.status = status


class NotAuthorized(TradingSystemError):
    """A credential is missing, wrong or not entitled. ``credential`` names it; its value never appears."""

    def __init__(self, credential: str, reason: str) -> None:
        super().__init__(f"{credential}: {reason}")
        self.credential = credential


class InvalidInput(TradingSystemError):
    """Input of a person that cannot be used; the text says what, where and what would be right. ``code`` tells kinds apart for a program, empty: any."""

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


class Unplayable(enum.StrEnum):
    """Why a recorded day cannot be played; codes of ``InvalidInput``."""

    NO_DAY = "NoRecordedDay"
    DAMAGED = "DamagedRecording"
    UNREADABLE = "UnreadableRecording"


class BrokenInvariant(TradingSystemError):
    """A promise of the design does not hold. Never caught to carry on."""
