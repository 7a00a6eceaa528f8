"""Frames like Polygon's from a seed, for measuring how fast they are read. Never a source of market data: nothing is traded on these."""

from __future__ import annotations

import random

import msgspec

START_MS = 1_795_186_800_000


def symbols(count: int) -> tuple[str, ...]:
    """Tickers of the made-up market."""
    return tuple(f"S{position:04d}" for position in range(count))


def frames(seed: int, *, symbol_count: int, events: int, events_per_frame: int) -> list[bytes]:
    """``events`` events in frames of that size: 60 % quotes, 30 % trades, 10 % second bars; prices wander, times rise, all keys present."""
    chance = random.Random(seed)
    tickers = symbols(symbol_count)
    cents = [chance.randrange(500, 40_000) for _ in tickers]
    made: list[bytes] = []
    for number in range(events):
        position = chance.randrange(symbol_count)
        cents[position] = max(100, cents[position] + chance.randrange(-1, 2))
        made.append(_event(chance.random(), tickers[position], cents[position] / 100, number))
    parts = [made[start : start + events_per_frame] for start in range(0, len(made), events_per_frame)]
    return [b"[" + b",".join(part) + b"]" for part in parts]


def _event(draw: float, ticker: str, price: float, number: int) -> bytes:
    at_ms = START_MS + number // 1_000
    if draw < 0.6:
        quote = {"ev": "Q", "sym": ticker, "bx": 4, "bp": price, "bs": 200, "ax": 7, "ap": round(price + 0.01, 2), "as": 300}
        return msgspec.json.encode({**quote, "c": 1, "t": at_ms, "q": 7_000 + number, "z": 3})
    if draw < 0.9:
        trade = {"ev": "T", "sym": ticker, "x": 4, "i": str(90_001_744 + number), "z": 3, "p": price, "s": 100, "ds": "100.0"}
        return msgspec.json.encode({**trade, **({"c": [37]} if number % 3 == 0 else {}), "t": at_ms, "q": 7_000 + number})
    start_ms = START_MS + number * 1_000
    bar = {"ev": "A", "sym": ticker, "v": 1_234, "av": 567_890, "op": price, "vw": price, "o": price, "c": price, "h": price, "l": price}
    return msgspec.json.encode({**bar, "a": price, "z": 55, "s": start_ms, "e": start_ms + 1_000, "dv": "1234.5", "dav": "567890.25"})
