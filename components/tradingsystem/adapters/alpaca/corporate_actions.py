"""Alpaca's corporate actions into splits. Pure.

It refuses to guess at a rate: one that is missing, not a number or not above zero raises ``Unreadable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from tradingsystem.adapters.alpaca.models import WireCorporateActions, WireSplit
from tradingsystem.adapters.alpaca.parse import Unreadable, money
from tradingsystem.adapters.alpaca.symbols import from_alpaca, to_alpaca
from tradingsystem.domain.splits import Split

PAGE_ROWS = 1_000


def query(symbols: Sequence[str], first: date, last: date) -> dict[str, str]:
    """The parameters that ask for splits of these symbols that are processed on the days from ``first`` to ``last``."""
    return {
        "symbols": ",".join(to_alpaca(symbol) for symbol in symbols),
        "types": "forward_split,reverse_split",
        "start": first.isoformat(),
        "end": last.isoformat(),
        "limit": str(PAGE_ROWS),
    }


def splits(page: WireCorporateActions) -> tuple[Split, ...]:
    """One page's splits. Raises ``Unreadable``."""
    kinds = page.corporate_actions
    return tuple(_split(wire) for wire in [*(kinds.forward_splits or ()), *(kinds.reverse_splits or ())])


def _split(wire: WireSplit) -> Split:
    new_rate, old_rate = money(wire.new_rate), money(wire.old_rate)
    if new_rate is None or old_rate is None:
        raise Unreadable(f"split of {wire.symbol}: {wire.old_rate!r} into {wire.new_rate!r}")
    try:
        return Split(symbol=from_alpaca(wire.symbol), ex_date=date.fromisoformat(wire.ex_date), old_rate=old_rate, new_rate=new_rate)
    except ValueError as error:
        raise Unreadable(f"split of {wire.symbol}: {error}") from error
