"""The current market of chosen symbols, for whoever values, collars and exits."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tradingsystem.domain.trading import Mark
from tradingsystem.filter.signals import SignalBook, price
from tradingsystem.filter.step import FilterState, Swept
from tradingsystem.market import columns as c
from tradingsystem.market.state import MarketState


def marks_of(market: MarketState, rows: Iterable[int]) -> list[Mark]:
    """Marks of the symbols at ``rows``; one without price or quote has none, because NaN values nothing. ``at_ns`` is the newer of trade and quote."""
    a = market.columns
    found = []
    for row in rows:
        bid, ask, last = (price(a.now[column, row]) for column in (c.BID, c.ASK, c.LAST))
        if math.isnan(bid) or math.isnan(ask) or math.isnan(last):
            continue
        lower, upper = price(a.now[c.LOWER_BAND, row]), price(a.now[c.UPPER_BAND, row])
        found.append(
            Mark(
                symbol=market.symbols[row],
                at_ns=int(max(a.times[c.QUOTE_AT, row], a.times[c.LAST_AT, row])),
                bid=bid,
                ask=ask,
                last=last,
                lower_band=None if math.isnan(lower) else lower,
                upper_band=None if math.isnan(upper) else upper,
                halted=bool(a.flags[c.HALTED, row]),
            )
        )
    return found


def rows_to_mark(state: FilterState, swept: Swept, held: frozenset[str], book: SignalBook, *, regular: bool) -> list[int]:
    """Whose marks to publish after a cut: held symbols that were touched; at the ``regular`` moments all that are held, spoken of or candidates."""
    places = state.market.places
    mine = {places[name] for name in held if name in places}
    if not regular:
        if not mine:
            return []
        return sorted(mine.intersection(swept.touched.tolist()))
    spoken = {places[name] for name, known in book.spoken.items() if name in places and known.quiet_until_ns > swept.sealed_at_ns}
    return sorted(mine | spoken | set(swept.features.rows.tolist()))
