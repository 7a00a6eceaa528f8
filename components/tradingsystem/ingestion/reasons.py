"""Why a row is refused: the words that counters, logs and statistics use."""

from __future__ import annotations

import enum


class Reason(enum.IntEnum):
    """One reason per refused row: the first that applies. ``label`` is its name in metrics."""

    ACCEPTED = 0
    UNKNOWN_KIND = 1
    UNKNOWN_SYMBOL = 2
    BAD_TIME = 3  # outside 2000 to 2100: a unit was misread
    FROM_FUTURE = 4  # later than our clock by more than the skew that is allowed
    LATE = 5  # a delayed feed, or our own backlog
    OUT_OF_ORDER = 6  # older than what was accepted for the symbol
    DUPLICATE = 7  # a bar that was there before
    NOT_FINITE = 8
    NOT_POSITIVE = 9
    BAD_SIZE = 10  # negative, or a trade of nothing
    ONE_SIDED = 11  # nobody bids or nobody offers: not a market
    CROSSED = 12  # bid above ask
    LOCKED = 13  # bid equal to ask for longer than a market stays locked
    BAD_BAR = 14  # high below, low above, or VWAP outside the bar
    BAD_BAND = 15
    BAD_INDEX = 16
    JUMP = 17  # too far from the last believed price, not yet confirmed by others like it

    @property
    def label(self) -> str:
        """Lower-case name."""
        return self.name.lower()
