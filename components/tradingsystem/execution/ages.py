"""How long execution has not heard what gives it the right to open: the resource, where an operator watches over it, and market data.

Exists because a system that nobody can reach must not go on as it was told for ever. It latches nothing: what is heard again counts again at once, without
hands. Ages are machine time, since a message server or an API server that is away does not know of a scaled clock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.domain.trading import TradingState

PRICES = frozenset({"trade", "quote", "second_bar", "minute_bar"})
"""Ingestion's feeds that tell a price."""


class Heard(enum.Enum):
    """What is listened for."""

    RESOURCE = "Resource"
    MARKET_DATA = "MarketData"


class Patience(NamedTuple):
    """How long each may be silent, machine seconds, and what a person should look at."""

    reducing_seconds: int
    halted_seconds: int
    means: str
    remedy: str


PATIENCE = {
    Heard.RESOURCE: Patience(
        15 * 60,
        60 * 60,
        "nobody has told that the TradingSystem resource still stands",
        "look at the operator and the Kubernetes API server",
    ),
    Heard.MARKET_DATA: Patience(
        60,
        5 * 60,
        "no feed of prices has been fresh",
        "look at ingestion, its sources and their keys",
    ),
}
"""The resource: a person who cannot reach the API server cannot change its spec, so what it says is believed for a quarter of an hour. Market data: single
symbols are refused after five seconds; when all are old together it is no longer a matter of symbols."""


class _Feed(msgspec.Struct, frozen=True):
    kind: str
    age_seconds: float | None
    stale: bool


class FeedsTold(msgspec.Struct, frozen=True, kw_only=True):
    """Of ingestion's status, what is needed here."""

    feeds: tuple[_Feed, ...]

    @property
    def fresh(self) -> bool:
        """Whether any feed of prices is; outside the session nothing is expected, so nothing is stale."""
        return any(feed.kind in PRICES and not feed.stale for feed in self.feeds)


class Judged(NamedTuple):
    """What a silence forces, Active: nothing any more."""

    heard: Heard
    state: TradingState
    reason: str


class Ages:
    """When each was last heard. ``now_ns`` is machine time throughout; what is expected counts as heard when the watch begins."""

    def __init__(self, expected: Iterable[Heard], now_ns: int, patience: Mapping[Heard, Patience] = PATIENCE) -> None:
        self._patience = patience
        self._last_ns = dict.fromkeys(expected, now_ns)
        self._told = dict.fromkeys(self._last_ns, TradingState.ACTIVE)

    def hear(self, heard: Heard, now_ns: int) -> None:
        """It was heard; what nobody expects is none of our business."""
        if heard in self._last_ns:
            self._last_ns[heard] = now_ns

    def changes(self, now_ns: int) -> list[Judged]:
        """What has changed since this was last asked."""
        found = []
        for heard, last_ns in self._last_ns.items():
            judged = judge(heard, (now_ns - last_ns) / NS_PER_SECOND, self._patience)
            if judged.state is not self._told[heard]:
                self._told[heard] = judged.state
                found.append(judged)
        return found


def judge(heard: Heard, age_seconds: float, patiences: Mapping[Heard, Patience] = PATIENCE) -> Judged:
    """What an age forces."""
    patience = patiences[heard]
    if age_seconds < patience.reducing_seconds:
        return Judged(heard, TradingState.ACTIVE, "")
    state = TradingState.REDUCING if age_seconds < patience.halted_seconds else TradingState.HALTED
    limit = patience.reducing_seconds if state is TradingState.REDUCING else patience.halted_seconds
    return Judged(heard, state, f"{patience.means} for {limit // 60} min: {patience.remedy}")
