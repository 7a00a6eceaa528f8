"""What live feature rows say of each version: half a session's rows against the same half of the version's golden rows.

A half is judged when it is over, on its own: the morning trades otherwise than the afternoon, and a feed that breaks today is seen today. Left out are
features of all that has been since the open, and what is the same for all symbols: one session is one value of them. A change that takes weeks is not
seen here but by live losses, and by the date until which a version may serve. A restart begins the half again.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from tradingsystem.bundles.drift import Drift, Reference, drifted, reference
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.outcomes import FeatureSample
from tradingsystem.domain.rows import F32
from tradingsystem.features.catalogue import FEATURES, NAMES, Source

LOOKS = 2  # a session
OVER = 0.97  # share of a session after which its second half is judged: no candidates come in its last minutes
NAMED_MAX = 3
_SAME_FOR_ALL = {"vix", "market_change_300s"}
WATCHED = tuple(
    at
    for at, feature in enumerate(FEATURES)
    if feature.window_seconds >= 0 and feature.source is not Source.CALENDAR and feature.name not in _SAME_FOR_ALL
)
_ELAPSED = NAMES.index("session_elapsed")


class DriftWatch:
    """The versions that are asked live, by number."""

    def __init__(self) -> None:
        self._halves: dict[int, tuple[Reference | None, Reference | None]] = {}
        self._half: tuple[int, int] = (0, 0)  # session and half whose rows are gathered
        self._rows: list[F32] = []
        self._symbols: Counter[str] = Counter()
        self._judged: tuple[F32, float, int] | None = None  # the last half that was over: its rows, what they are worth, which half
        self._found: dict[int, list[Drift]] = {}

    def over(self, golden: dict[int, F32]) -> None:
        """Exactly these versions from now on, with their golden rows F32[n, 50]; a new one is judged by the last half that is over."""
        kept = {version: self._halves[version] for version in golden if version in self._halves}
        new = {version: _halves(rows) for version, rows in golden.items() if version not in kept}
        self._halves = kept | new
        self._found = {version: found for version, found in self._found.items() if version in kept}
        for version in new:
            self._judge(version)

    def hear(self, sample: FeatureSample) -> None:
        """Rows of one minute. Raises ``ValueError`` when they are not what they say. Rows that are not finite are left out: those no model is asked about."""
        values = np.frombuffer(sample.values, "<f4").reshape(len(sample.symbols), FEATURE_COUNT)
        half = (sample.session_open_ns, int(sample.elapsed > 1.0 / LOOKS))
        if half != self._half:
            self._look()
            self._half = half
        finite = np.isfinite(values).all(axis=1)
        self._rows.append(values[finite])
        self._symbols.update(symbol for symbol, usable in zip(sample.symbols, finite, strict=True) if usable)
        if sample.elapsed >= OVER:
            self._look()

    def told(self) -> dict[int, str]:
        """By version, what had drifted in the last half that was over."""
        return {version: _words(found) for version, found in sorted(self._found.items()) if found}

    def drifted(self, version: int) -> int:
        """How many features had drifted for that version."""
        return len(self._found.get(version, ()))

    def _look(self) -> None:
        rows, symbols = self._rows, self._symbols
        self._rows, self._symbols = [], Counter()
        total = sum(symbols.values())
        if not total:
            return
        # Kish, Survey Sampling, 1965: rows of one symbol are told as often as it was a candidate, and count as one symbol
        worth = total**2 / sum(count**2 for count in symbols.values())
        self._judged = np.concatenate(rows)[:, WATCHED], worth, self._half[1]
        for version in self._halves:
            self._judge(version)

    def _judge(self, version: int) -> None:
        if self._judged is None:
            return
        rows, worth, half = self._judged
        known = self._halves[version][half]
        self._found[version] = drifted(known, known.count(rows), independent_rows=worth, looks=LOOKS) if known is not None else []


def _halves(golden: F32) -> tuple[Reference | None, Reference | None]:
    early = golden[:, _ELAPSED] <= 1.0 / LOOKS
    found = [reference(golden[part][:, WATCHED]) if golden[part].any() else None for part in (early, ~early)]
    return found[0], found[1]


def _words(found: list[Drift]) -> str:
    named = ", ".join(f"{NAMES[WATCHED[one.column]]} {one.index:.2f} (at most {one.bound:.2f})" for one in found[:NAMED_MAX])
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return f"stability index over half a session: {named}{more}"
