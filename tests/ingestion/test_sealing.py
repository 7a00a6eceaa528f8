"""Sealing decides the order of all input: nothing is reordered, no trade is lost, and the last quote always survives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain.control import SourceState
from tradingsystem.domain.rows import RowKind, Rows, empty
from tradingsystem.ingestion.sealing import Moment, Sealed, SealedBy, Sealer
from tradingsystem.messages.batch import ROWS_MAX, decode_batch, encode_batch

MS = 1_000_000
START = 1_795_186_800_000 * MS


def rows(*kinds_and_symbols: tuple[int, int], first: float = 0.0) -> Rows:
    """Rows whose v0 numbers them."""
    made = empty(len(kinds_and_symbols))
    for position, (kind, symbol) in enumerate(kinds_and_symbols):
        made.kind[position], made.symbol[position], made.at_ns[position], made.v0[position] = kind, symbol, START, first + position
    return made


def at(machine_ms: float, market_ms: float | None = None) -> Moment:
    return Moment(START + int((machine_ms if market_ms is None else market_ms) * MS), int(machine_ms * MS))


def reasons(sealed: list[Sealed]) -> list[SealedBy]:
    return [item.by for item in sealed]


def test_a_row_after_a_quiet_moment_is_sealed_at_once() -> None:
    """The first row and any row that comes 1 ms or more after the last seal waits for nothing."""
    sealer = Sealer(1, 10)
    assert reasons(sealer.add(rows((1, 0)), at(0))) == [SealedBy.TIME]
    assert reasons(sealer.add(rows((1, 0)), at(1))) == [SealedBy.TIME]


def test_a_row_within_the_interval_waits_for_its_end_and_no_longer() -> None:
    """Rows within 1 ms of the last seal go together at the moment it is 1 ms old."""
    sealer = Sealer(1, 10)
    sealer.add(rows((1, 0)), at(0))
    assert sealer.add(rows((1, 1)), at(0.2)) == []
    assert sealer.add(rows((1, 2)), at(0.9)) == []
    assert sealer.due_machine_ns() == 1 * MS
    assert sealer.advance(at(0.99)) == []
    (sealed,) = sealer.advance(at(1))
    assert sealed.batch.rows.symbol.tolist() == [1, 2]
    assert sealer.due_machine_ns() is None


def test_a_full_batch_does_not_wait() -> None:
    """At 256 rows the batch goes; what is over begins the next."""
    sealer = Sealer(1, 10)
    sealer.add(rows((1, 0)), at(0))
    sealed = sealer.add(rows(*[(1, 0)] * 600), at(0.1))
    assert [len(item.batch.rows) for item in sealed] == [ROWS_MAX, ROWS_MAX]
    assert reasons(sealed) == [SealedBy.FULL, SealedBy.FULL]
    assert sealer.pending == 600 - 2 * ROWS_MAX


def test_silence_is_told_by_an_empty_batch() -> None:
    """Time passes without rows: each 100 ms of market time, but never more often than each 10 ms of machine time."""
    sealer = Sealer(1, 10)
    sealer.add(rows((1, 0)), at(0))
    assert sealer.advance(at(99)) == []
    (sealed,) = sealer.advance(at(100))
    assert (sealed.by, len(sealed.batch.rows), sealed.batch.sealed_at_ns) == (SealedBy.SILENCE, 0, START + 100 * MS)
    assert sealer.advance(at(105, market_ms=500)) == []
    assert reasons(sealer.advance(at(110, market_ms=800))) == [SealedBy.SILENCE]


def test_a_clock_that_steps_back_does_not_turn_the_tape() -> None:
    """``sealed_at_ns`` never falls within an epoch."""
    sealer = Sealer(1, 10)
    first = sealer.add(rows((1, 0)), at(0, market_ms=50))
    second = sealer.add(rows((1, 0)), at(5, market_ms=20))
    assert second[0].batch.sealed_at_ns == first[0].batch.sealed_at_ns


def test_notes_and_gaps_ride_on_the_next_batch_once() -> None:
    """A note leaves at once, with the rows before it; the gap flag stands on exactly one batch."""
    sealer = Sealer(7, 10)
    sealer.add(rows((1, 0)), at(0))
    sealer.add(rows((1, 3)), at(0.1))
    note = SourceState(source="polygon", healthy=False, reason="closed")
    sealer.note(note)
    sealer.mark_gap()
    (sealed,) = sealer.advance(at(0.2))
    assert (sealed.batch.notes, sealed.batch.gap, sealed.batch.rows.symbol.tolist()) == ((note,), True, [3])
    (following,) = sealer.add(rows((1, 0)), at(2))
    assert (following.batch.notes, following.batch.gap) == ((), False)


def test_conflation_keeps_the_last_quote_and_every_trade() -> None:
    """Of several quotes of a symbol only the last stays, in its own place."""
    quote, trade = RowKind.QUOTE, RowKind.TRADE
    (sealed,) = Sealer(1, 10).add(rows((quote, 0), (trade, 0), (quote, 1), (quote, 0), (trade, 0)), at(0))
    assert sealed.batch.rows.v0.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert sealed.conflated == 1


_pieces = st.lists(
    st.tuples(st.integers(0, 3_000), st.lists(st.tuples(st.sampled_from([1, 2, 3, 5, 8]), st.integers(0, 3)), min_size=1, max_size=40)),
    max_size=25,
)


@given(_pieces)
def test_no_order_is_changed_and_only_replaced_quotes_are_missing(pieces: list[tuple[int, list[tuple[int, int]]]]) -> None:
    """Over any arrival pattern: seq without holes, rows in arrival order, every non-quote present, each batch holding the last quote per symbol."""
    sealer, sealed, machine_us, number = Sealer(1, 4), [], 0, 0
    arrived: list[tuple[int, int]] = []
    for wait_us, piece in pieces:
        machine_us += wait_us
        sealed += sealer.advance(at(machine_us / 1_000))
        sealed += sealer.add(rows(*piece, first=float(number)), at(machine_us / 1_000))
        number += len(piece)
        arrived += piece
    sealed += sealer.finish(at(machine_us / 1_000 + 5))
    batches = [decode_batch(encode_batch(item.batch)) for item in sealed]
    assert [batch.seq for batch in batches] == list(range(1, len(batches) + 1))
    numbers = np.concatenate([batch.rows.v0 for batch in batches]).astype(int).tolist() if batches else []
    assert numbers == sorted(numbers)
    missing = set(range(number)) - set(numbers)
    assert all(arrived[position][0] == RowKind.QUOTE for position in missing)
    assert len(missing) == sealer.conflated
    for batch in batches:
        quotes = batch.rows.symbol[batch.rows.kind == RowKind.QUOTE].tolist()
        assert len(quotes) == len(set(quotes))
    for position in missing:
        later = [other for other in numbers if other > position and arrived[other] == arrived[position]]
        assert later, "a quote is only dropped for a newer one of its symbol"
