"""What a model would have done on rows it has never seen, and what that would have earned after everything is paid.

Decisions are the filter's: confidence ranked in its trailing window, the lower bound of p above break-even, one position per symbol, then a cooldown and
a confidence that has fallen in between. Rows stand twenty seconds apart per symbol where the filter looks every second: it decides a little later here,
never on something else. Queues, partial fills and limits on money are not in it; that is what shadow and canary are for. Costs: the spread is paid at
both ends, fees on top; ``times`` makes both dearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradingsystem.bundles.evidence import Block
from tradingsystem.bundles.manifest import Manifest
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.rows import F32, F64
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.blend import assess, break_even
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.learning.rows import LearningRows

BLOCK_SECONDS = 300
"""78 blocks a session: a gate asks for dozens of blocks with trades. What one position spreads over several the block bootstrap allows for."""
REARM_BELOW = 0.10  # as the filter's signal book


@dataclass(frozen=True, slots=True)
class Rules:
    """When the filter speaks: confidence at least ``threshold`` (0 to 1), and how long a symbol is quiet afterwards, seconds."""

    threshold: float = 0.70
    quiet_seconds: int = 900


@dataclass(slots=True)
class _Spoken:
    quiet_until_ns: int
    armed: bool = False


def entries(rows: LearningRows, members: F32, blend: F32, manifest: Manifest, rules: Rules) -> npt.NDArray[np.bool_]:
    """Which rows the model would have bought: bool[n] for its answers members F32[n, m] and blend F32[n]."""
    window = ConfidenceWindow(manifest.confidence_reference)
    least = break_even(manifest.target_basis_points, manifest.stop_basis_points)
    bought = np.zeros(len(rows), np.bool_)
    spoken: dict[int, _Spoken] = {}
    begins = np.flatnonzero(np.diff(rows.at_ns, prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
        cut = slice(int(begin), int(end))
        assessed = assess(members[cut], blend[cut], window, manifest.calibration)
        _rearm(spoken, rows, cut, assessed.confidence < rules.threshold - REARM_BELOW)
        for place in np.flatnonzero(assessed.usable & (assessed.confidence >= rules.threshold) & (assessed.p_low > least)) + begin:
            symbol, now_ns = int(rows.symbol[place]), int(rows.at_ns[place])
            known = spoken.get(symbol)
            if known is not None and not (known.armed and now_ns >= known.quiet_until_ns):
                continue
            bought[place] = True
            spoken[symbol] = _Spoken(max(now_ns + rules.quiet_seconds * NS_PER_SECOND, int(rows.closed_ns[place])))
    return bought


def _rearm(spoken: dict[int, _Spoken], rows: LearningRows, cut: slice, fallen: npt.NDArray[np.bool_]) -> None:
    if not spoken:
        return
    for symbol in rows.symbol[cut][fallen].tolist():
        if symbol in spoken:
            spoken[symbol].armed = True


def blocks(
    sessions: Sequence[Session],
    rows: LearningRows,
    returns: F64,
    champion: npt.NDArray[np.bool_],
    challenger: npt.NDArray[np.bool_],
    block_seconds: int = BLOCK_SECONDS,
) -> tuple[Block, ...]:
    """The sessions in blocks, oldest first, each with what both models' positions that were closed in it returned, basis points.

    ``returns`` F64[n] are net of costs. A last block that would reach past the close is part of the one before; blocks without a position are 0.
    Blocks before the first row are left out: nothing was judged there.
    """
    found: list[Block] = []
    first_ns = int(rows.at_ns[0]) if len(rows) else 0
    for session in sessions:
        count = max(1, (session.close_ns - session.open_ns) // (block_seconds * NS_PER_SECOND))
        inside = (rows.closed_ns > session.open_ns) & (rows.closed_ns <= session.close_ns)
        place = np.minimum((rows.closed_ns - 1 - session.open_ns) // (block_seconds * NS_PER_SECOND), count - 1)
        sums = []
        for bought in (champion, challenger):
            chosen = inside & bought
            sums.append(np.bincount(place[chosen], weights=returns[chosen], minlength=count))
        trades = np.bincount(place[inside & champion], minlength=count) + np.bincount(place[inside & challenger], minlength=count)
        for block in range(count):
            start_ns = session.open_ns + block * block_seconds * NS_PER_SECOND
            if start_ns + block_seconds * NS_PER_SECOND <= first_ns:
                continue
            found.append(
                Block(
                    session=str(session.day),
                    start_ns=start_ns,
                    trades=int(trades[block]),
                    champion_return_basis_points=float(sums[0][block]),
                    challenger_return_basis_points=float(sums[1][block]),
                )
            )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Result:
    """One model's trades: how many, share that reached the target, mean and sum of net returns in basis points (NaN without trades)."""

    trades: int
    hit_rate: float
    mean_basis_points: float
    sum_basis_points: float


def result(rows: LearningRows, returns: F64, bought: npt.NDArray[np.bool_]) -> Result:
    """What the bought rows came to."""
    if not bought.any():
        return Result(0, float("nan"), float("nan"), 0.0)
    earned = returns[bought]
    return Result(len(earned), float(rows.labels[bought].mean()), float(earned.mean()), float(earned.sum()))
