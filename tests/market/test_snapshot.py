"""A state restored from its snapshots is the same to the byte, and goes on the same way."""

from __future__ import annotations

import numpy as np
import pytest

from tests.market.histories import fresh, history, opened, play
from tradingsystem.market import columns as c
from tradingsystem.market import snapshot
from tradingsystem.market.state import MarketState

OPEN_NS = opened().session.open_ns


def assert_same(one: MarketState, other: MarketState) -> None:
    """Everything that can be read later is equal, bit for bit."""
    assert (one.symbols, one.facts, one.session, one.places) == (other.symbols, other.facts, other.session, other.places)
    a, b = one.columns, other.columns
    for name in ("now", "totals", "times", "flags", "clock", "levels", "profile"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    second, started = int(a.clock[c.SECOND]), int(a.clock[c.STARTED_SECOND])
    slots = [at % c.SECONDS for at in range(max(started, second - c.SECONDS + 1), second + 1)]
    assert a.second_close[slots].tobytes() == b.second_close[slots].tobytes()
    assert a.second_volume[slots].tobytes() == b.second_volume[slots].tobytes()
    minutes = int(a.clock[c.MINUTE]) + 1
    assert a.minute[:, :minutes].tobytes() == b.minute[:, :minutes].tobytes()


@pytest.mark.parametrize("seconds", [0, 1, 59, 700, 2300])
def test_round_trip_is_byte_exact(seconds: int) -> None:
    """One whole snapshot restores everything, before and after the ring has gone round."""
    state = play(fresh(4), list(history(seconds, 4, seconds, OPEN_NS, per_second=4)))
    taken = snapshot.take(state, whole=True)
    assert_same(state, snapshot.restore(taken.figures, [taken.seconds], [taken.minutes]))


def test_a_chain_restores_like_a_whole_one() -> None:
    """Small parts each minute add up to the same state, which then continues to the same bytes."""
    state = fresh(4)
    batches = list(history(11, 4, 1500, OPEN_NS, per_second=4))
    parts = []
    for index, sealed in enumerate(batches[:2800]):
        play(state, [sealed])
        if index % 120 == 0:
            parts.append(snapshot.take(state, whole=not parts))
    parts.append(snapshot.take(state))
    other = snapshot.restore(parts[-1].figures, [part.seconds for part in parts], [part.minutes for part in parts])
    assert_same(state, other)
    assert_same(play(state, batches[2800:]), play(other, batches[2800:]))


def test_later_parts_are_small() -> None:
    """After the first, a snapshot holds a minute of the ring, not all of it."""
    state = play(fresh(200), list(history(2, 200, 900, OPEN_NS, per_second=4)))
    whole = snapshot.take(state, whole=True)
    play(state, list(history(3, 200, 60, state.now_ns)))
    assert len(snapshot.take(state).seconds) < len(whole.seconds) / 10


@pytest.mark.parametrize("damage", [b"", b"\x00garbage", b"cut"])
def test_a_damaged_snapshot_is_refused(damage: bytes) -> None:
    """A truncated or foreign file raises Unreadable, nothing else."""
    taken = snapshot.take(fresh(2), whole=True)
    content = taken.figures[: len(taken.figures) // 2] if damage == b"cut" else damage
    with pytest.raises(snapshot.Unreadable):
        snapshot.restore(content, [taken.seconds], [taken.minutes])


def test_times_before_the_first_batch() -> None:
    """An empty state can be stored too."""
    taken = snapshot.take(fresh(2), whole=True)
    restored = snapshot.restore(taken.figures, [taken.seconds], [taken.minutes])
    np.testing.assert_array_equal(restored.columns.clock, fresh(2).columns.clock)
