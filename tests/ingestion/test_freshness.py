"""Age means something only while the session runs."""

from __future__ import annotations

from datetime import date

import numpy as np

from tradingsystem.domain.calendar import session
from tradingsystem.domain.rows import RowKind
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.ingestion import freshness
from tradingsystem.ingestion.validation import KINDS

DAY = session(date(2026, 11, 27))  # a half-day
NOON = DAY.open_ns + 150 * NS_PER_MINUTE


def last(kind: RowKind, *at_ns: int) -> np.ndarray:
    made = np.zeros((KINDS, 4), np.int64)
    made[kind, : len(at_ns)] = at_ns
    return made


def age(kind: RowKind, at_ns: int, now_ns: int, speed: float = 1.0) -> freshness.FeedAge:
    return next(feed for feed in freshness.feeds(last(kind, at_ns), now_ns, DAY, speed) if feed.kind == kind.name.lower())


def test_an_old_feed_is_stale_during_the_session_only() -> None:
    """Ten seconds without a quote is a fault at noon and none after a half-day's close."""
    assert age(RowKind.QUOTE, NOON - 11 * NS_PER_SECOND, NOON).stale
    assert not age(RowKind.QUOTE, NOON - 9 * NS_PER_SECOND, NOON).stale
    assert not age(RowKind.QUOTE, NOON, DAY.close_ns + NS_PER_MINUTE).stale


def test_the_open_gives_time() -> None:
    """A feed that was silent all night is not stale in the session's first seconds."""
    assert not age(RowKind.TRADE, DAY.open_ns - 3_600 * NS_PER_SECOND, DAY.open_ns + 5 * NS_PER_SECOND).stale
    assert age(RowKind.TRADE, 0, DAY.open_ns + 11 * NS_PER_SECOND).stale
    assert age(RowKind.TRADE, 0, NOON).age_seconds is None


def test_a_bar_is_as_old_as_its_end() -> None:
    """A minute bar that began 70 s ago is 10 s old."""
    assert age(RowKind.MINUTE_BAR, NOON - 70 * NS_PER_SECOND, NOON).age_seconds == 10.0


def test_scaled_time_widens_the_limit() -> None:
    """At speed 3000, 30 s of market time are 10 ms of the machine's."""
    assert not age(RowKind.QUOTE, NOON - 29 * NS_PER_SECOND, NOON, speed=3_000).stale


def test_symbols_without_a_fresh_quote_are_named() -> None:
    """Of the detailed symbols, those whose quotes stopped or never came."""
    quotes = last(RowKind.QUOTE, NOON, NOON - NS_PER_MINUTE, 0)
    assert freshness.stale_symbols(quotes, (0, 1, 2), NOON, DAY, 1.0) == (1, 2)
    assert freshness.stale_symbols(quotes, (0, 1, 2), DAY.close_ns, DAY, 1.0) == ()
    assert freshness.stale_symbols(quotes, (), NOON, DAY, 1.0) == ()
