"""Tickers: ours are Polygon's. Alpaca spells share classes alike (``BRK.B``) and preferred shares its own way (``ABCpA`` is ``ABC.PRA``)."""

from __future__ import annotations

import re

_PREFERRED_OURS = re.compile(r"^([A-Z]+)p([A-Z]?)$")
_PREFERRED_THEIRS = re.compile(r"^([A-Z]+)\.PR([A-Z]?)$")


def to_alpaca(symbol: str) -> str:
    """Our ticker as Alpaca spells it; case is meaning, so nothing is upper-cased."""
    found = _PREFERRED_OURS.match(symbol)
    return f"{found[1]}.PR{found[2]}" if found else symbol


def from_alpaca(symbol: str) -> str:
    """Alpaca's ticker as we spell it."""
    found = _PREFERRED_THEIRS.match(symbol)
    return f"{found[1]}p{found[2]}" if found else symbol
