"""The national best of per-exchange quotes, against the obvious way to compute it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingsystem.simulator.nbbo import best_quotes

ROW = st.tuples(
    st.integers(0, 4), st.integers(0, 5), st.integers(0, 3), st.integers(0, 5), st.integers(0, 3)
)  # exchange, bid, bid size, ask, ask size


def obvious(rows: list[tuple[int, ...]], *, one_sided: bool) -> list[tuple[int, float, float, float, float]]:
    """Keep every exchange's sides in dictionaries and look for the best after each row."""
    bids: dict[int, tuple[int, int]] = {}
    asks: dict[int, tuple[int, int]] = {}
    last, found = (0.0, 0.0, 0.0, 0.0), []
    for row, (exchange, bid, bid_size, ask, ask_size) in enumerate(rows):
        if bid > 0 or not one_sided:
            bids[exchange] = (bid, bid_size)
        if ask > 0 or not one_sided:
            asks[exchange] = (ask, ask_size)
        shown_bids = [(price, size) for price, size in bids.values() if price > 0 and size > 0]
        shown_asks = [(price, size) for price, size in asks.values() if price > 0 and size > 0]
        best_bid = max((price for price, _ in shown_bids), default=0)
        best_ask = min((price for price, _ in shown_asks), default=0)
        now = (
            float(best_bid),
            float(sum(size for price, size in shown_bids if price == best_bid)),
            float(best_ask),
            float(sum(size for price, size in shown_asks if price == best_ask)),
        )
        if now != last:
            found.append((row, *now))
            last = now
    return found


@settings(deadline=None, print_blob=True)
@given(st.lists(ROW, max_size=40), st.booleans())
def test_best_quotes_are_the_best_of_what_exchanges_show(rows: list[tuple[int, ...]], one_sided: bool) -> None:
    """Price, summed size and the row at which they changed, for any sequence of updates."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    best = best_quotes(table[:, 0].astype(np.int64), *(table[:, column].copy() for column in range(1, 5)), one_sided=one_sided)
    made = list(zip(*(column.tolist() for column in (best.row, best.bid, best.bid_size, best.ask, best.ask_size)), strict=True))
    assert made == obvious(rows, one_sided=one_sided)


def test_an_exchange_code_out_of_range_is_refused() -> None:
    """A code beyond the table would silently overwrite another exchange."""
    one = np.ones(1)
    with pytest.raises(ValueError, match=r"0\.\.31"):
        best_quotes(np.array([40]), one, one, one, one, one_sided=True)
