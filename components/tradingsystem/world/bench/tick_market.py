"""The market of tick to order: ordinary symbols that no rule lets pass, and tickers that pass at their first trade, which is the tick that is timed.

``python -m tradingsystem.world.bench.tick_market EVENTS_PER_SECOND SECONDS PENDING OFFSET_NS`` serves it as Polygon's socket; market time is the
machine's plus the offset, and leaps after the first frame: a source that has just come back makes the filter wait for a minute, which is not waited for.
It is made up, and nothing follows from its prices.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Sequence
from datetime import date

import msgspec
import numpy as np

from tradingsystem.domain import calendar
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import SymbolFact
from tradingsystem.domain.rows import Rows, empty
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.filter.step import WARM_NS
from tradingsystem.process import measured
from tradingsystem.world.bench.frame_server import FrameServer, serve_frames
from tradingsystem.world.bench.result import SEED

PER_FRAME = 50
PENDING_MAX = 90  # two orders each, and the gate lets 200 orders a minute pass
IDLE_SHARE = 0.2  # of the time, before the first tick that is timed
SETTLE_NS = 1_900_000_000  # under the two seconds of silence after which a source reconnects
LEAP_AFTER_NS = 400_000_000
LEAP_NS = WARM_NS + NS_PER_SECOND
PRICE, SPREAD = 100.0, 0.01
ORDINARY_VOLUME, PENDING_VOLUME, BURST = 1e9, 1e6, 2_000_000  # shares of a usual day, and of the one trade
DUE, DUE_BEFORE = "1111111111111", "1111111111112"  # where a frame's milliseconds are written; the latter is a second earlier


def pending(count: int) -> tuple[str, ...]:
    """The tickers that wait for their first trade."""
    return tuple(f"Z{number:03d}" for number in range(count))


def frames_at(count: int, ticks: int) -> list[int]:
    """In which of ``count`` frames each tick's trade is: seeded, in order, none in the first part."""
    first = int(count * IDLE_SHARE)
    edges = np.linspace(first, count, ticks + 1)
    chance = np.random.default_rng(SEED)
    return [int(chance.uniform(start, stop)) for start, stop in itertools.pairwise(edges)]


def frames(count: int, ticks: int) -> list[bytes]:
    """All frames with places for their time: 60 % quotes, 30 % trades, 10 % second bars, and the timed trade last in its frame. The first ones quote
    every ticker that will be timed."""
    chance = random.Random(SEED)
    ordinary, waiting = measured.symbols(), pending(ticks)
    quoted = (*ordinary, *waiting)
    quotes = [msgspec.json.encode(_quote(symbol)) for symbol in quoted]
    trades = [msgspec.json.encode(_trade(symbol, 100)) for symbol in ordinary]
    bars = [msgspec.json.encode(_bar(symbol)) for symbol in ordinary]
    timed: dict[int, list[bytes]] = {}
    for symbol, at in zip(waiting, frames_at(count, ticks), strict=True):
        timed.setdefault(at, []).append(msgspec.json.encode(_trade(symbol, BURST)))
    first = quotes[len(ordinary) :]
    made = []
    for number in range(count):
        if number * PER_FRAME < len(first):
            made.append(b"[" + b",".join(first[number * PER_FRAME : (number + 1) * PER_FRAME]) + b"]")
            continue
        last = timed.get(number, [])
        kinds = chance.choices((quotes, trades, bars), (0.6, 0.3, 0.1), k=PER_FRAME - len(last))
        made.append(b"[" + b",".join([*(chance.choice(kind) for kind in kinds), *last]) + b"]")
    return made


def stamped(frame: bytes, market_ns: int) -> bytes:
    """The frame with its time written in."""
    now_ms = market_ns // 1_000_000
    return frame.replace(DUE_BEFORE.encode(), str(now_ms - 1_000).encode()).replace(DUE.encode(), str(now_ms).encode())


def _quote(symbol: str) -> dict[str, object]:
    sides = {"bx": 4, "bp": PRICE - SPREAD, "bs": 200, "ax": 7, "ap": PRICE, "as": 300}
    return {"ev": "Q", "sym": symbol, **sides, "c": 1, "t": int(DUE), "q": 7_000, "z": 3}


def _trade(symbol: str, shares: int) -> dict[str, object]:
    return {
        "ev": "T",
        "sym": symbol,
        "x": 4,
        "i": "90001744",
        "z": 3,
        "p": PRICE,
        "s": shares,
        "ds": f"{shares}.0",
        "t": int(DUE),
        "q": 7_000,
    }


def _bar(symbol: str) -> dict[str, object]:
    prices = dict.fromkeys(("op", "vw", "o", "c", "h", "l", "a"), PRICE)
    return {"ev": "A", "sym": symbol, "v": 1_234, "av": 567_890, **prices, "z": 55, "s": int(DUE_BEFORE), "e": int(DUE)}


class MadeHistory:
    """``interfaces.History`` of this market: every day like the others, no minutes."""

    def __init__(self, ticks: int) -> None:
        self._volumes = {**dict.fromkeys((*measured.symbols(), "SPY"), ORDINARY_VOLUME), **dict.fromkeys(pending(ticks), PENDING_VOLUME)}

    async def symbols(self) -> tuple[SymbolFact, ...]:
        """See ``interfaces.History``."""
        unknown = float("nan")
        return tuple(SymbolFact(symbol, "CS", "XNAS", unknown, unknown, unknown) for symbol in self._volumes)

    async def daily(self, sessions: Sequence[Session]) -> dict[str, tuple[tuple[float, float, float, float], ...]]:  # noqa: ARG002  the interface's
        """See ``interfaces.History``."""
        return {symbol: ((PRICE + 1, PRICE - 1, PRICE, volume),) for symbol, volume in self._volumes.items()}

    async def minutes(self, symbol: str, from_ns: int, to_ns: int) -> Rows:  # noqa: ARG002  the interface's
        """See ``interfaces.History``: none."""
        return empty(0)

    async def session(self, day: date) -> Session | None:
        """See ``interfaces.History``."""
        return calendar.session(day)


def _server(per_second: float, seconds: float, ticks: int, offset_ns: int) -> FrameServer:
    count = max(1, int(per_second * seconds / PER_FRAME))
    made = frames(count, ticks)
    return FrameServer(
        made,
        int(1e9 * PER_FRAME / per_second),
        count,
        lambda frame, due_ns: stamped(frame, due_ns + offset_ns + LEAP_NS),
        ahead=lambda now_ns: stamped(made[0], now_ns + offset_ns),
        settle_ns=SETTLE_NS,
    )


if __name__ == "__main__":
    asyncio.run(serve_frames(_server(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
