"""Folds in which everything learned from is over before anything judged begins: walk forward, purged and embargoed.

Purged: a row's label looks ahead by the horizon, so a row is learned from only if that future had ended when the test begins. Embargo: a feature looks
back by its window, so between the last future learned from and the first row judged lies at least the longest window; what both would share is in
neither. Source: M. Lopez de Prado, "Advances in Financial Machine Learning" (2018), chapter 7; in a walk forward nothing is learned from after a test, so
that the embargo stands before it. Nothing here is shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import I64
from tradingsystem.domain.time import NS_PER_SECOND

EMBARGO_SECONDS = 1_800
"""The longest window of a feature that does not span the day (``breakout_30m``, ``change_30m``)."""

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Gap:
    """What lies between rows learned from and rows judged, in seconds: the label's horizon (purge), then the embargo."""

    horizon_seconds: int
    embargo_seconds: int = EMBARGO_SECONDS

    @property
    def whole_ns(self) -> int:
        """Both, in ns."""
        return (self.horizon_seconds + self.embargo_seconds) * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions of the rows to learn from and to be judged on, both rising; the test's first moment."""

    training: Places
    test: Places
    test_from_ns: int


def walk_forward(at_ns: I64, gap: Gap, count: int, first_share: float = 0.5) -> list[Fold]:
    """``count`` folds over rows at ``at_ns`` I64[n] (rising): the tests share the last part of the rows evenly, each is judged by all that lies before it.

    ``first_share`` of the rows is only learned from. A fold of which one side would be empty is left out. Raises ``ValueError`` for times that fall.
    """
    _require_rising(at_ns)
    shares = np.linspace(first_share, 1.0, count + 1)
    folds = []
    for begin, end in pairwise(_moments(at_ns, shares)):
        training = np.flatnonzero(at_ns + gap.whole_ns <= begin)
        test = np.flatnonzero((at_ns >= begin) & (at_ns < end))
        if len(training) and len(test):
            folds.append(Fold(training, test, begin))
    return folds


def in_parts(at_ns: I64, gap: Gap, shares: Sequence[float]) -> list[Places]:
    """Positions of rows in consecutive parts of about those shares (which sum to one), with the gap taken from the end of each part but the last.

    Raises ``ValueError`` for times that fall or shares that do not sum to one.
    """
    _require_rising(at_ns)
    if abs(sum(shares) - 1.0) > 1e-9:
        raise ValueError(f"shares {tuple(shares)} sum to {sum(shares)}, not to 1")
    moments = _moments(at_ns, np.concatenate([[0.0], np.cumsum(shares)]))
    found = []
    for place, (begin, end) in enumerate(pairwise(moments)):
        reach = gap.whole_ns if place < len(shares) - 1 else 0
        found.append(np.flatnonzero((at_ns >= begin) & (at_ns < end) & (at_ns + reach < end if reach else True)))
    return found


def _moments(at_ns: I64, shares: npt.NDArray[np.float64]) -> list[int]:
    """The moments before which those shares of the rows lie; rows of one moment are never parted."""
    if not len(at_ns):
        return [0] * len(shares)
    places = np.minimum((shares * len(at_ns)).round().astype(np.intp), len(at_ns))
    return [int(at_ns[place]) if place < len(at_ns) else int(at_ns[-1]) + 1 for place in places]


def _require_rising(at_ns: I64) -> None:
    if bool(np.any(np.diff(at_ns) < 0)):
        raise ValueError("rows are not in the order of time")
