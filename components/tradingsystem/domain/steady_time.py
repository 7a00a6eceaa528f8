"""Market time from a machine's clock that people and programs may set: it never goes back, and does not believe a leap at once.

Exists because a clock that is an hour ahead for a few seconds would stand still for an hour once it is right again: closes would be missed. A small step is
followed. A leap is doubted while the monotonic clock says otherwise; when it lasts it is believed, since a machine that slept has leapt for good. It
reads no clock itself.
"""

from __future__ import annotations

from tradingsystem.domain.time import NS_PER_MINUTE

LEAP_NS = NS_PER_MINUTE  # a difference to the time that has passed; what sets clocks in good order steps by less
PATIENCE_NS = NS_PER_MINUTE


class SteadyTime:
    """One machine's. ``doubted``: whether the clock shows a leap now that is not followed."""

    def __init__(self) -> None:
        self.doubted = False
        self._latest_ns = 0
        self._believed_ns: tuple[int, int] | None = None  # wall and monotonic, when last believed
        self._doubted_since_ns = 0

    def now(self, wall_ns: int, monotonic_ns: int) -> int:
        """The market's time when the machine's clocks show these."""
        if self._believed_ns is None:
            self._believed_ns = (wall_ns, monotonic_ns)
        expected_ns = self._believed_ns[0] + monotonic_ns - self._believed_ns[1]
        leapt = abs(wall_ns - expected_ns) > LEAP_NS
        if leapt and not self.doubted:
            self._doubted_since_ns = monotonic_ns
        self.doubted = leapt and monotonic_ns - self._doubted_since_ns < PATIENCE_NS
        if not self.doubted:
            self._believed_ns = (wall_ns, monotonic_ns)
        self._latest_ns = max(self._latest_ns, expected_ns if self.doubted else wall_ns)
        return self._latest_ns
