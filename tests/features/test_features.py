"""The table, the kernel and the oracle say the same; nothing looks ahead."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.market.histories import Sealed, fresh, history, opened, play, row, trade
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import RowKind
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.features import kernel, oracle
from tradingsystem.features.catalogue import FEATURES, NAMES, schema_hash
from tradingsystem.features.ranks import update_ranks
from tradingsystem.market import columns as c
from tradingsystem.market import state as market_state
from tradingsystem.market.state import MarketState

OPEN_NS = opened().session.open_ns
COUNT = 9


def all_rows(state: MarketState) -> np.ndarray:
    return np.arange(state.count, dtype=np.int32)


def bits(missing: np.ndarray) -> np.ndarray:
    return ((missing[:, None] >> np.arange(FEATURE_COUNT, dtype=np.uint64)) & np.uint64(1)).astype(bool)


def assert_agrees(state: MarketState) -> None:
    """Kernel and oracle within float32's reach: relative 1e-4, absolute 2e-6 for differences of near-equal prices, scaled where a formula scales them."""
    found = kernel.features_of(state, all_rows(state))
    expected, absent = oracle.features_of(state, all_rows(state))
    np.testing.assert_array_equal(bits(found.missing), absent)
    for index, name in enumerate(NAMES):
        absolute = 2e-2 if name.startswith("scaled") else 1e-4 if name.startswith(("volume", "range_position")) else 2e-6
        np.testing.assert_allclose(found.values[:, index], expected[:, index], rtol=1e-4, atol=absolute, err_msg=name)


def test_the_table_is_complete_and_its_hash_is_pinned() -> None:
    """Fifty features; a change of the table changes the hash that bundles are bound to, so it must be made on purpose."""
    assert len(FEATURES) == FEATURE_COUNT == 50
    assert all(feature.formula and feature.window_seconds >= -1 for feature in FEATURES)
    assert len(schema_hash()) == 64
    assert max(feature.window_seconds for feature in FEATURES if feature.window_seconds < 1000) < c.SECONDS


def test_the_kernel_writes_each_feature_under_its_name() -> None:
    """The kernel's row numbers follow the table."""
    named = {
        "change_5s": kernel.CHANGE_5S,
        "scaled_change_300s": kernel.SCALED_300S,
        "range_day_ratio": kernel.RANGE_DAY_RATIO,
        "liquidity": kernel.LIQUIDITY,
        "trade_sign_slow": kernel.SIGN_SLOW,
        "breakout_30m": kernel.BREAKOUT_30M,
        "market_change_300s": kernel.MARKET_300S,
        "luld_room": kernel.LULD_ROOM,
    }
    assert {name: NAMES.index(name) for name in named} == named


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), seconds=st.integers(0, 2_600), start=st.integers(-120, 22_000))
def test_kernel_and_oracle_agree(seed: int, seconds: int, start: int) -> None:
    """On random histories before, during and after the session."""
    state = play(fresh(COUNT), list(history(seed, COUNT, seconds, OPEN_NS + start * NS_PER_SECOND, per_second=5)))
    update_ranks(state)
    assert_agrees(state)
    for name, expected in oracle.ranks_of(state).items():
        column = {"rank_change": c.RANK_CHANGE, "rank_volume": c.RANK_VOLUME, "rank_momentum": c.RANK_MOMENTUM}[name]
        np.testing.assert_allclose(state.columns.now[column, : state.count], expected, atol=1e-6, err_msg=name)


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), seconds=st.integers(1, 1_500))
def test_nothing_looks_ahead(seed: int, seconds: int) -> None:
    """A feature at a moment is the same bytes whatever comes after that moment."""
    batches = list(history(seed, COUNT, seconds, OPEN_NS, per_second=5))
    cut = len(batches) // 2
    seen: list[bytes] = []
    for later in (batches[cut:], list(history(seed + 1, COUNT, 30, batches[cut].at_ns, per_second=20)), []):
        state = fresh(COUNT)
        recorded = b""
        for index, sealed in enumerate([*batches[:cut], *later]):
            play(state, [sealed])
            if index + 1 == cut:
                found = kernel.features_of(state, all_rows(state))
                recorded = found.values.tobytes() + found.missing.tobytes()
        seen.append(recorded)
    assert seen[0] == seen[1] == seen[2]


@settings(max_examples=4)
@given(seed=st.integers(0, 10_000), chosen=st.sets(st.integers(0, 699), min_size=1))
def test_some_symbols_get_the_same_as_all(seed: int, chosen: set[int]) -> None:
    """A sweep over touched symbols gives the very bytes of the full sweep."""
    state = play(fresh(700), list(history(seed, 700, 20, OPEN_NS, per_second=200)))
    rows = np.array(sorted(chosen), np.int32)
    whole, part = kernel.features_of(state, all_rows(state)), kernel.features_of(state, rows)
    assert whole.values[rows].tobytes() == part.values.tobytes()
    assert whole.missing[rows].tobytes() == part.missing.tobytes()


def test_absent_inputs_are_neutral_and_marked() -> None:
    """Of a symbol never seen only what the table and the calendar say is present."""
    state = fresh(COUNT)
    market_state.advance(state, OPEN_NS + NS_PER_SECOND)
    found = kernel.features_of(state, all_rows(state))
    np.testing.assert_array_equal(found.values[3][bits(found.missing)[3]], kernel.NEUTRAL[bits(found.missing)[3]])
    present = {name for name, gone in zip(NAMES, bits(found.missing)[3], strict=True) if not gone}
    assert present == {"volume_ratio_day", "liquidity", "session_elapsed"}


def planted(burst: bool) -> MarketState:
    """Twenty quiet minutes of one symbol; then, or not, a burst with bids piling up and rising prices for half a minute."""
    state = fresh(3)
    batches = []
    for second in range(1230):
        at_ns = OPEN_NS + second * NS_PER_SECOND
        excited = burst and second >= 1200
        price = 100.0 + (0.01 * (second - 1200) if excited else 0.01 * (second % 2))
        bid_size = 900.0 if excited else 300.0
        batches.append(Sealed(at_ns, row(RowKind.QUOTE, 1, at_ns, price - 0.01, price, bid_size, 300.0)))
        batches.append(Sealed(at_ns, trade(1, at_ns, price if excited or second % 2 else price - 0.01, 2_000.0 if excited else 100.0)))
    return play(state, batches)


def test_an_episode_shows() -> None:
    """A volume burst, a quote imbalance and a drift move the features that are meant to see them."""
    calm, excited = (kernel.features_of(planted(burst), np.array([1], np.int32)).values[0] for burst in (False, True))
    moved = {name: float(excited[index] - calm[index]) for index, name in enumerate(NAMES)}
    assert moved["volume_burst_10s"] > 5
    assert moved["imbalance_fast"] > 0.4
    assert moved["change_30s"] > 0.002
    assert moved["scaled_change_60s"] > 2
    assert moved["trade_sign_fast"] > 0
    assert moved["breakout_30m"] > 0.002


def test_nan_is_not_optimised_away() -> None:
    """A crossed-out quote (no bid) leaves quote features absent, not zero by accident of fast math."""
    state = play(fresh(2), list(history(1, 2, 5, OPEN_NS)))
    market_state.apply(state, row(RowKind.QUOTE, 0, state.now_ns, 0.0, 100.0, 0.0, 1.0))
    gone = bits(kernel.features_of(state, np.array([0], np.int32)).missing)[0]
    assert gone[NAMES.index("spread")]
    assert gone[NAMES.index("microprice_offset")]


@pytest.mark.parametrize("count", [1, 255, 256, 257, 513])
def test_blocks_have_no_seams(count: int) -> None:
    """The number of symbols relative to the block's size does not matter."""
    state = play(fresh(count), list(history(count, count, 10, OPEN_NS, per_second=100)))
    assert_agrees(state)
