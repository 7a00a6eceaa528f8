"""The vendor's list of tickers: what trades here, padded with names that never do, in pages with opaque cursors.

A client that stops after the first page, or subscribes to everything it finds, must notice here and not in production.
"""

from __future__ import annotations

import base64
import bisect
from typing import Any

import msgspec
import numpy as np

from tradingsystem.simulator.feed import SymbolFacts
from tradingsystem.simulator.polygon_refusal import Refusal
from tradingsystem.simulator.universe import make_tickers

PAGE_ROWS, PAGE_ROWS_MAX = 100, 1_000
SUFFIXES = (("", "CS"), ("", "FUND"), ("pA", "PFD"), (".WS", "WARRANT"), (".U", "UNIT"), ("r", "RIGHT"), ("", "OTHER"))


def padding(facts: list[SymbolFacts], listed: int) -> list[SymbolFacts]:
    """Names that are listed and do not trade here, so that the list holds at least `listed`."""
    missing = max(0, listed - len(facts))
    generator = np.random.default_rng([missing, 0x115])
    taken = {fact.symbol for fact in facts}
    made: list[SymbolFacts] = []
    # Unique because stems are and no stem holds a suffix's small letter or dot.
    for stem in make_tickers(generator, missing, frozenset(taken)):
        suffix, kind = SUFFIXES[int(generator.integers(len(SUFFIXES)))]
        ticker = stem + suffix
        name = f"{ticker} (listed, does not trade here)"
        made.append(SymbolFacts(ticker, name, kind, "XNAS", 3, 0.0, 0.0, 2, 1_000_000, active=bool(generator.random() < 0.97)))
    return made


class Listing:
    """All listed tickers, sorted; case matters."""

    def __init__(self, facts: list[SymbolFacts], listed: int) -> None:
        self.rows = sorted([*facts, *padding(facts, listed)], key=lambda fact: fact.symbol)
        self._symbols = [fact.symbol for fact in self.rows]

    def page(self, query: dict[str, str], rows_max: int) -> tuple[list[dict[str, Any]], str]:
        """One page and the cursor of the next ("" at the end). Raises Refusal on a bad cursor, limit or flag."""
        if "cursor" in query:
            query = _decode(query["cursor"])
        limit = _limit(query.get("limit", str(PAGE_ROWS)))
        if rows_max:
            limit = min(limit, rows_max)
        rows: list[dict[str, Any]] = []
        start = bisect.bisect_right(self._symbols, query.get("after", ""))
        for fact in self.rows[start:]:
            if not _matches(fact, query):
                continue
            if len(rows) == limit:
                return rows, _encode({**query, "after": rows[-1]["ticker"]})
            rows.append(_row(fact))
        return rows, ""

    def details(self, ticker: str) -> dict[str, Any] | None:
        """Everything known about one ticker."""
        place = bisect.bisect_left(self._symbols, ticker)
        if place == len(self._symbols) or self._symbols[place] != ticker:
            return None
        fact = self.rows[place]
        return {
            **_row(fact),
            "market_cap": round(fact.shares_outstanding * fact.previous_close, 2),
            "share_class_shares_outstanding": fact.shares_outstanding,
            "weighted_shares_outstanding": fact.shares_outstanding,
            "round_lot": 100,
            "list_date": "2010-01-04",
            "ticker_root": ticker,
        }


def _row(fact: SymbolFacts) -> dict[str, Any]:
    return {
        "ticker": fact.symbol,
        "name": fact.name,
        "market": "stocks",
        "locale": "us",
        "primary_exchange": fact.primary_exchange,
        "type": fact.type,
        "active": fact.active,
        "currency_name": "usd",
        "last_updated_utc": "2026-01-02T00:00:00Z",
    }


def _matches(fact: SymbolFacts, query: dict[str, str]) -> bool:
    if fact.active != (query.get("active", "true").lower() != "false"):
        return False
    for key, value in (("ticker", fact.symbol), ("type", fact.type), ("exchange", fact.primary_exchange)):
        if query.get(key) not in (None, "", value):
            return False
    if query.get("market", "stocks") != "stocks":
        return False
    return query.get("ticker.gte", "") <= fact.symbol and not ("ticker.lt" in query and fact.symbol >= query["ticker.lt"])


def _limit(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= PAGE_ROWS_MAX:
        raise Refusal(400, "ERROR", f"limit {text!r} must be a number from 1 to {PAGE_ROWS_MAX}")
    return int(text)


def _encode(query: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(query)).decode().rstrip("=")


def _decode(cursor: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=dict[str, str])
    except ValueError:  # msgspec.DecodeError and binascii.Error are both
        raise Refusal(400, "ERROR", "cursor is not one of ours") from None
