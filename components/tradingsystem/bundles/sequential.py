"""Whether live predictions of one version are worse than another's, asked after every window and answered wrongly at most once in ``1 / FALSE_ALARM``.

Both scored the same rows. Per window of one horizon the mean difference of their log losses, watched less compared, is cut to +-``DIFFERENCE_MAX`` nats
and divided by it: x in [-1, 1]. Under "not worse", the mean of x given the past is at most 0, so betting a share of one's wealth on x > 0 cannot be
expected to win, and the wealth ever reaches 1 / a with probability a at most (Ville 1939; as a test: I. Waudby-Smith and A. Ramdas, "Estimating means of
bounded random variables by betting", 2024). That needs windows that share nothing: predictions at the end of one are closed in the next, so odd and even
windows bet apart, and the mean of both wealths is held against the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

FALSE_ALARM = 0.05
"""Probability that a version which is not worse is ever called so, however long it is watched."""

DIFFERENCE_MAX = 0.2
P_MIN = 0.01
ROWS_MIN = 50  # of a window; a thinner one says nothing
_BET_FIRST = 0.3
_BET_MAX = 0.9
_PRIOR_WINDOWS = 2.0


def log_loss(p: float, label: int) -> float:
    """Of one prediction, nats; p is kept away from certainty so that one row cannot decide."""
    bounded = min(max(p, P_MIN), 1.0 - P_MIN)
    return -math.log(bounded if label else 1.0 - bounded)


@dataclass(slots=True)
class _Bettor:
    """One bettor's wealth, and what it has seen: the next bet depends on the past alone."""

    log_wealth: float = 0.0
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def see(self, x: float) -> None:
        self.log_wealth += math.log1p(self._bet() * x)
        self.count, self.total, self.squares = self.count + 1, self.total + x, self.squares + x * x

    def _bet(self) -> float:
        """Mean over second moment, the wealth's growth-optimal share to second order, between nothing and ``_BET_MAX``."""
        mean = (self.total + _PRIOR_WINDOWS * _BET_FIRST) / (self.count + _PRIOR_WINDOWS)
        second = (self.squares + _PRIOR_WINDOWS) / (self.count + _PRIOR_WINDOWS)
        return min(max(mean / second, 0.0), _BET_MAX)


@dataclass(slots=True)
class LossTest:
    """One version watched against one other. ``horizon_ns`` is how long a prediction stays open."""

    horizon_ns: int
    _open: dict[int, tuple[int, float]] = field(default_factory=dict)  # window -> rows, sum of differences
    _closed_before: int = -(2**62)
    _bettors: tuple[_Bettor, _Bettor] = field(default_factory=lambda: (_Bettor(), _Bettor()))

    def hear(self, rows: Iterable[tuple[int, float, float, int]]) -> None:
        """Closed predictions of both: (when it was made, p of the watched, p of the compared, label)."""
        for at_ns, watched, compared, label in rows:
            window = at_ns // self.horizon_ns
            if window < self._closed_before:
                continue  # later than its horizon allows: its window has spoken
            count, total = self._open.get(window, (0, 0.0))
            self._open[window] = (count + 1, total + log_loss(watched, label) - log_loss(compared, label))

    def pass_to(self, now_ns: int) -> None:
        """Let every window speak whose last prediction has been closed by then."""
        self._closed_before = max(self._closed_before, now_ns // self.horizon_ns - 1)
        for window in sorted(window for window in self._open if window < self._closed_before):
            count, total = self._open.pop(window)
            if count >= ROWS_MIN:
                self._bettors[window % 2].see(min(max(total / count / DIFFERENCE_MAX, -1.0), 1.0))

    @property
    def windows(self) -> int:
        """How many windows have spoken."""
        return sum(bettor.count for bettor in self._bettors)

    @property
    def wealth(self) -> float:
        """The evidence; 1 at the start."""
        return sum(math.exp(min(bettor.log_wealth, 600.0)) for bettor in self._bettors) / 2.0

    @property
    def worse(self) -> bool:
        """Whether the watched version is worse, with the stated rate of false alarms."""
        return self.wealth >= 1.0 / FALSE_ALARM
