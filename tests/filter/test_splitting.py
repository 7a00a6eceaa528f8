"""A canary's part of the symbols is the same everywhere, of the promised size, and only grows with its percentage."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.filter.splitting import Split, share_of

SYMBOLS = tuple(f"S{number:05d}" for number in range(12_000))
ROWS = np.arange(len(SYMBOLS), dtype=np.int32)


def test_a_tenth_is_a_tenth() -> None:
    """Of the founding universe ten percent are ten percent, within what chance allows, and another version meets other symbols."""
    first, second = (Split(version, 10).mine(SYMBOLS, ROWS) for version in (4, 5))
    assert 0.09 < first.mean() < 0.11
    assert 0.005 < (first & second).mean() < 0.015


def test_the_split_is_written_down() -> None:
    """A replay years later must split alike: these places are what the documented formula gives."""
    assert [share_of(symbol, 4) for symbol in ("AAPL", "BRK.B", "SPY")] == [9568, 8393, 2254]


@given(st.integers(1, 10**9), st.integers(0, 100), st.integers(0, 100), st.permutations(range(50)))
def test_more_percent_only_adds(version: int, one: int, other: int, order: list[int]) -> None:
    """Raising the percentage takes no symbol away, and neither the table's order nor what was asked before matters."""
    low, high = sorted((one, other))
    table = tuple(SYMBOLS[at] for at in order)
    rows = np.arange(50, dtype=np.int32)
    small, large = Split(version, low), Split(version, high)
    small.mine(SYMBOLS, ROWS[:7])
    mine = small.mine(table, rows)
    assert not (mine & ~large.mine(table, rows)).any()
    assert {table[at] for at in np.flatnonzero(mine)} == {name for name in table if share_of(name, version) < 100 * low}
