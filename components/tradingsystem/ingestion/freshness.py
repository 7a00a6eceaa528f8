"""How old the data is, per feed and per symbol. Outside the session nothing is expected, so nothing is stale.

It only tells: what follows from stale data is decided where orders are (the risk gate) and where sources are chosen (failover).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.rows import I64, RowKind
from tradingsystem.domain.time import NS_PER_MILLISECOND, NS_PER_MINUTE, NS_PER_SECOND, at_speed

WINDOW_NS = {RowKind.SECOND_BAR: NS_PER_SECOND, RowKind.MINUTE_BAR: NS_PER_MINUTE}
LIMIT_NS = {
    RowKind.TRADE: 10 * NS_PER_SECOND,
    RowKind.QUOTE: 10 * NS_PER_SECOND,
    RowKind.SECOND_BAR: 10 * NS_PER_SECOND,
    RowKind.MINUTE_BAR: 130 * NS_PER_SECOND,  # a bar's window, one without trades, and delivery
    RowKind.INDEX: 120 * NS_PER_SECOND,  # from here on the regime is Unknown
}


class FeedAge(msgspec.Struct, frozen=True):
    """One feed: the age of its newest event, seconds of market time (None: nothing yet), and whether that is too old now."""

    kind: str
    age_seconds: float | None
    stale: bool


def limit_ns(kind: RowKind, speed: float) -> int:
    """The age that is still fresh, in market time: max(limit, speed x 10 ms)."""
    return at_speed(LIMIT_NS[kind], speed, 10 * NS_PER_MILLISECOND)


def feeds(last_at_ns: I64, now_ns: int, session: Session, speed: float) -> tuple[FeedAge, ...]:
    """The state of each feed whose age means something. ``last_at_ns`` is the validator's: [kind, symbol], 0 where nothing came."""
    return tuple(_feed(kind, int(last_at_ns[kind].max()), now_ns, session, speed) for kind in LIMIT_NS)


def _feed(kind: RowKind, newest_ns: int, now_ns: int, session: Session, speed: float) -> FeedAge:
    known_ns = newest_ns + WINDOW_NS.get(kind, 0) if newest_ns else 0
    allowed_ns = limit_ns(kind, speed)
    since_ns = max(known_ns, session.open_ns)
    stale = session.contains(now_ns) and now_ns - since_ns > allowed_ns
    return FeedAge(kind.name.lower(), (now_ns - known_ns) / NS_PER_SECOND if known_ns else None, stale)


def stale_symbols(last_at_ns: I64, symbols: Iterable[int], now_ns: int, session: Session, speed: float) -> tuple[int, ...]:
    """Those of ``symbols`` without a fresh quote while the session runs: for symbols subscribed in detail, where quotes are expected."""
    positions = np.fromiter(symbols, np.int64)
    if not session.contains(now_ns) or positions.size == 0:
        return ()
    since = np.maximum(last_at_ns[RowKind.QUOTE, positions], session.open_ns)
    return tuple(int(position) for position in positions[now_ns - since > limit_ns(RowKind.QUOTE, speed)])
