"""How Alpaca spells market data: letters instead of Polygon's numbers, start of bar instead of end, Timestamp extension or RFC 3339.

One spelling for stream and REST. Conditions without a letter in the table are left out rather than guessed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tradingsystem.simulator.alpaca_views import rfc3339
from tradingsystem.simulator.conditions import CONDITIONS, EXCHANGE_CODES
from tradingsystem.simulator.feed import MINUTE_NS, REASON_LULD, SECOND_NS, Feed, Kind, MinuteBars, Slice, quote_lot

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
CHANNEL_OF: dict[str, list[int]] = {
    "trades": [Kind.TRADE],
    "quotes": [Kind.QUOTE],
    "bars": [Kind.MINUTE_BAR],
    "statuses": [Kind.HALT, Kind.RESUME],
    "lulds": [Kind.LULD],
}
TIMESTAMP_EXTENSION = -1
TAPES = {1: "A", 2: "B", 3: "C"}
_CTA = {condition.id: condition.cta for condition in CONDITIONS}
_UTP = {condition.id: condition.utp for condition in CONDITIONS}
_EXCHANGES = {code.id: code.letter for code in EXCHANGE_CODES}


class RowSpeller:
    """Turns a row of a slice into the stream's object; `t` is nanoseconds until it is encoded."""

    def __init__(self, feed: Feed) -> None:
        self._symbols = feed.symbols
        self._tapes = [TAPES.get(facts.tape, "A") for facts in feed.reference()]
        self._lot = quote_lot(feed.session.date)
        self._trade_id = 0

    def spell(self, part: Slice, row: int) -> dict[str, Any]:
        kind = int(part.kind[row])
        symbol = int(part.symbol[row])
        at = timestamp(int(part.at_ns[row]))
        head = {"S": self._symbols[symbol], "z": self._tapes[symbol], "t": at}
        if kind == Kind.TRADE:
            return {"T": "t", "i": self._next_id(), "c": self._conditions(part, row), **self._print(part, row), **head}
        if kind == Kind.QUOTE:
            return {"T": "q", "c": ["R"], **_quote(part, row, self._lot), **head}
        if kind == Kind.MINUTE_BAR:
            return {"T": "b", **_bar(part, row), "S": head["S"], "t": timestamp(int(part.at_ns[row]) - MINUTE_NS)}
        if kind == Kind.LULD:
            return {"T": "l", "u": float(part.price2[row]), "d": float(part.price[row]), "i": "B", **head}
        return {"T": "s", **self._status(part, row, halted=kind == Kind.HALT), **head}

    def _next_id(self) -> int:
        self._trade_id += 1
        return self._trade_id

    def _conditions(self, part: Slice, row: int) -> list[str]:
        nasdaq = self._tapes[int(part.symbol[row])] == "C"
        letter = (_UTP if nasdaq else _CTA).get(int(part.condition[row]), "")
        if letter in ("", "@"):
            return ["@"] if nasdaq else [" "]
        return ["@", letter] if nasdaq else [letter]

    def _print(self, part: Slice, row: int) -> dict[str, Any]:
        return {"x": _EXCHANGES.get(int(part.exchange[row]), "D"), "p": float(part.price[row]), "s": int(part.size[row])}

    def _status(self, part: Slice, row: int, *, halted: bool) -> dict[str, str]:
        band = int(part.condition[row]) == REASON_LULD
        if self._tapes[int(part.symbol[row])] == "C":
            code, reason = ("H", "LUDP" if band else "T1") if halted else ("T", "LUDP" if band else "T2")
        else:
            code, reason = "2" if halted else "3", "M" if band else "D"
        words = ("Trading Halt" if halted else "Trading Resumption", "Volatility Trading Pause" if band else "News")
        return {"sc": code, "sm": words[0], "rc": reason, "rm": words[1]}


def timestamp(at_ns: int) -> msgspec.msgpack.Ext:
    """MessagePack's timestamp 96: 4 bytes of nanoseconds, 8 of seconds."""
    seconds, fraction = divmod(at_ns, SECOND_NS)
    return msgspec.msgpack.Ext(TIMESTAMP_EXTENSION, fraction.to_bytes(4, "big") + seconds.to_bytes(8, "big", signed=True))


def json_ready(message: dict[str, Any]) -> dict[str, Any]:
    """The same object with RFC 3339 text for its time."""
    at = message.get("t")
    if not isinstance(at, msgspec.msgpack.Ext):
        return message
    packed = bytes(at.data)
    seconds = int.from_bytes(packed[4:], "big", signed=True)
    return {**message, "t": rfc3339(seconds * SECOND_NS + int.from_bytes(packed[:4], "big"))}


def bar_rows(bars: MinuteBars) -> list[dict[str, Any]]:
    """Bars as REST lists them, oldest first."""
    return [
        {
            "t": rfc3339(int(bars.start_ns[row])),
            "o": float(bars.open[row]),
            "h": float(bars.high[row]),
            "l": float(bars.low[row]),
            "c": float(bars.close[row]),
            "v": int(bars.volume[row]),
            "n": int(bars.trades[row]),
            "vw": round(float(bars.vwap[row]), 6),
        }
        for row in range(len(bars.start_ns))
    ]


def _quote(part: Slice, row: int, lot: int) -> dict[str, Any]:
    letter = _EXCHANGES.get(int(part.exchange[row]), "N")
    return {
        "bx": letter,
        "bp": float(part.price[row]),
        "bs": int(part.size[row]) // lot,
        "ax": letter,
        "ap": float(part.price2[row]),
        "as": int(part.size2[row]) // lot,
    }


def _bar(part: Slice, row: int) -> dict[str, Any]:
    return {
        "o": float(part.price[row]),
        "h": float(part.price2[row]),
        "l": float(part.price3[row]),
        "c": float(part.price4[row]),
        "v": int(part.size[row]),
        "n": int(part.condition[row]),
        "vw": round(float(part.size2[row]), 6),
    }
