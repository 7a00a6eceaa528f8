"""Market time has one owner. The pacer maps the machine's monotonic clock to market time and may slow it down.

It refuses to run backwards, to pass the end of the data and to catch up after a hold: market time that was held back
is simply later, so a slow consumer never meets a burst it did not have time for.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradingsystem.simulator.feed import SECOND_NS


@dataclass(frozen=True, slots=True)
class Pace:
    """How consumers' lag slows market time: below `ease_seconds` full speed, above `hold_seconds` a stand-still.

    Lag is wall-clock seconds, as consumers measure it; between the limits speed falls in a straight line.
    """

    ease_seconds: float = 0.25
    hold_seconds: float = 2.0

    def factor(self, lag_seconds: float) -> float:
        """The share of full speed at a lag, in [0, 1]; a lag that is not a number holds."""
        if lag_seconds <= self.ease_seconds:
            return 1.0
        if not lag_seconds < self.hold_seconds:
            return 0.0
        return (self.hold_seconds - lag_seconds) / (self.hold_seconds - self.ease_seconds)


class Pacer:
    """Market time as a function of monotonic time: `first_ns` at start, `speed` market seconds a second, up to `last_ns`."""

    def __init__(self, first_ns: int, last_ns: int, speed: float, pace: Pace | None = None) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed} must be above 0")
        if last_ns < first_ns:
            raise ValueError(f"last_ns {last_ns} lies before first_ns {first_ns}")
        self.speed = float(speed)
        self._pace = pace or Pace()
        self._last_ns = last_ns
        self._market_ns = float(first_ns)
        self._monotonic_ns: int | None = None
        self._factor = 1.0
        self._held = False

    @property
    def market_ns(self) -> int:
        """Market time at the last `step`."""
        return int(self._market_ns)

    @property
    def finished(self) -> bool:
        """True once market time stands at the end of the data."""
        return self.market_ns >= self._last_ns

    @property
    def factor(self) -> float:
        """The share of full speed in force now: 1 when consumers keep up, 0 when held."""
        return 0.0 if self._held else self._factor

    def step(self, monotonic_ns: int) -> int:
        """Move market time by the machine time since the last step; the first step only starts the clock."""
        previous = self._monotonic_ns
        if previous is not None and monotonic_ns > previous:
            moved = (monotonic_ns - previous) * self.speed * self.factor
            self._market_ns = min(self._market_ns + moved, float(self._last_ns))
        if previous is None or monotonic_ns > previous:
            self._monotonic_ns = monotonic_ns
        return self.market_ns

    def jump(self, market_ns: int) -> None:
        """Skip forward, as a test or an unpaced replay does; raises ValueError when asked to go back."""
        if market_ns < self.market_ns:
            raise ValueError(f"market time {self.market_ns} cannot go back to {market_ns}")
        self._market_ns = float(min(market_ns, self._last_ns))

    def pace(self, lag_seconds: float) -> float:
        """Tell how far the slowest consumer lags (wall seconds); returns the share of full speed now in force."""
        self._factor = self._pace.factor(lag_seconds)
        return self.factor

    def hold(self) -> None:
        """Stand still until `release`."""
        self._held = True

    def release(self) -> None:
        """Go on after `hold`; the time spent holding is not caught up."""
        self._held = False

    def seconds_until(self, market_ns: int) -> float:
        """Machine seconds until that market time at the present speed; infinity while held."""
        speed = self.speed * self.factor
        return float("inf") if speed == 0 else max(0.0, (market_ns - self._market_ns) / SECOND_NS / speed)
