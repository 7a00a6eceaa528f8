"""The recorder knows which batches it has, whatever order they come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.recorder.sequence import TapeSequence


@given(st.permutations(range(1, 12)), st.lists(st.integers(1, 11), max_size=20))
def test_every_batch_is_taken_once(order: list[int], repeats: list[int]) -> None:
    """Each batch counts as new exactly once, repeated or reordered, and nothing stays missing when all have come."""
    sequence = TapeSequence(0, 0)
    taken = [seq for seq in [*order, *repeats] if sequence.take(5, seq)]
    assert sorted(taken) == list(range(1, 12))
    assert not sequence.missing


def test_holes_are_known_and_given_up_once() -> None:
    """A lost batch is reported once, and then it is over."""
    sequence = TapeSequence(5, 3)
    assert sequence.take(5, 6)
    assert sequence.give_up() == [(5, 4), (5, 5)]
    assert sequence.give_up() == []


def test_a_new_epoch_starts_at_one() -> None:
    """After ingestion restarts, its first batches are expected from 1, and stragglers of the old epoch are repeats."""
    sequence = TapeSequence(5, 3)
    assert sequence.take(6, 2)
    assert sequence.missing == {(6, 1)}
    assert not sequence.take(5, 3)
