"""``step`` is a function: same batches, same cuts, same bytes; and it lets nothing through that may not be traded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.filter.days import OPEN_NS, Formula, TapeMaker, manifest, serving, spec_of
from tests.market.histories import row
from tradingsystem.domain.control import ModelsAssigned, SourceState, SpecSwitched
from tradingsystem.domain.rows import F64, RowKind
from tradingsystem.domain.signals import CutOutcome, Regime
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.filter import tradability
from tradingsystem.filter.deciding import Decider
from tradingsystem.filter.step import FilterState, Swept, create, may_enter, step
from tradingsystem.filter.tradability import Stage
from tradingsystem.market import columns
from tradingsystem.messages.batch import Batch, decode_batch, encode_batch
from tradingsystem.messages.codec import encode

COUNT = 8
LIFTED = {1: 103.0, 2: 104.0, 5: 102.5}


def bytes_of(swept: Swept) -> bytes:
    return b"".join(
        (
            swept.features.values.tobytes(),
            swept.features.missing.tobytes(),
            swept.features.rows.tobytes(),
            swept.counts.tobytes(),
            repr(
                (swept.epoch, swept.first_seq, swept.last_seq, swept.sealed_at_ns, swept.full, swept.regime, swept.vix, swept.entries)
            ).encode(),
        )
    )


def run(batches: list[Batch], boundaries: list[int], fulls: list[bool] | None = None) -> tuple[list[bytes], list[bool], list[bytes]]:
    """Cut at the boundaries; what was swept, which sweeps were full, and cuts and signals as they are encoded."""
    spec = spec_of()
    state, decider = create(spec), Decider(spec, serving())
    inference = decider.serving.inference
    assert isinstance(inference, Formula)
    swept_bytes, full, spoken = [], [], []
    for index, (start, stop) in enumerate(zip([0, *boundaries], boundaries, strict=False)):
        swept = step(state, batches[start:stop], full=None if fulls is None else fulls[index])
        asks = decider.asks_model(swept)
        scores = inference.score(swept.features.values) if asks else None
        cut, signals = decider.decide(state, swept, scores, CutOutcome.OK if asks else CutOutcome.NONE)
        swept_bytes.append(bytes_of(swept))
        full.append(swept.full)
        spoken.append(encode(cut) + encode(signals))
    return swept_bytes, full, spoken


@settings(max_examples=15)
@given(seed=st.integers(0, 1_000), data=st.data())
def test_replaying_recorded_cuts_gives_the_same_bytes(seed: int, data: st.DataObject) -> None:
    """Invariant 12: batches as live and as decoded from their messages, cut where the record says, give equal sweeps, cuts and signals."""
    batches = TapeMaker(COUNT).day(100, LIFTED, seed)
    boundaries = sorted(data.draw(st.sets(st.integers(1, len(batches) - 1), max_size=60)) | {len(batches)})
    live = run(batches, boundaries)
    again = run([decode_batch(encode_batch(batch)) for batch in batches], boundaries, live[1])
    assert live == again
    assert any(b"S000" in spoken for spoken in live[2]), "the day has signals, or this test proves little"


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000))
def test_state_after_a_cut_does_not_depend_on_earlier_splits(seed: int) -> None:
    """Cutting the same batches more or less finely before a full sweep changes nothing in that sweep's features."""
    batches = TapeMaker(COUNT).day(30, LIFTED, seed)
    last = TapeMaker(COUNT)
    last.seq, last.now_ns = batches[-1].seq, batches[-1].sealed_at_ns
    batches.append(last.batch(seconds=1.1))
    coarse, fine = create(spec_of()), create(spec_of())
    step(coarse, batches[:-1], full=False)
    for batch in batches[:-1]:
        step(fine, [batch], full=False)
    assert bytes_of(step(coarse, batches[-1:], full=True)) == bytes_of(step(fine, batches[-1:], full=True))


def warm_state() -> tuple[FilterState, TapeMaker]:
    """After 100 seconds in which some symbols were lifted."""
    state, tape = create(spec_of()), TapeMaker(COUNT)
    for batch in tape.day(100, LIFTED):
        step(state, [batch])
    return state, tape


def test_a_full_sweep_comes_with_each_second_and_only_then() -> None:
    """Within a second only touched symbols are looked at."""
    state, tape = warm_state()
    tape.now_ns = (tape.now_ns // NS_PER_SECOND + 1) * NS_PER_SECOND
    first = step(state, [tape.batch(tape.lift(1, 103.0), seconds=0.1)])
    second = step(state, [tape.batch(tape.lift(2, 104.0), seconds=0.1)])
    assert (first.full, second.full) == (True, False)
    assert len(first.looked_at) == COUNT
    assert second.looked_at.tolist() == [2]
    assert first.features.rows.tolist() == [1, 2, 5]
    assert second.features.rows.tolist() == [2]


@settings(max_examples=30)
@given(seed=st.integers(0, 1_000))
def test_funnel_counts_add_up(seed: int) -> None:
    """Every symbol looked at stops at exactly one stage."""
    state = create(spec_of())
    for batch in TapeMaker(COUNT).day(8, LIFTED, seed):
        swept = step(state, [batch])
        assert int(swept.counts.sum()) == len(swept.looked_at)
        assert int(swept.counts[Stage.PASSED]) == len(swept.features.rows)


def last_stage(state: FilterState, tape: TapeMaker, symbol: int, *parts: object) -> Stage:
    step(state, [tape.batch(*parts, seconds=1.0)])  # type: ignore[arg-type]
    return Stage(int(state.stages[symbol]))


def test_each_bound_stops_its_symbol() -> None:
    """Halt, missing quote, wide spread, crossed quote, small change, quiet day: each stops a candidate at its own stage."""
    state, tape = warm_state()
    symbol = 1
    assert last_stage(state, tape, symbol, tape.lift(symbol, 103.0)) is Stage.PASSED
    assert last_stage(state, tape, symbol, row(RowKind.HALT, symbol, tape.now_ns)) is Stage.HALTED
    assert last_stage(state, tape, symbol, row(RowKind.RESUME, symbol, tape.now_ns)) is Stage.PASSED
    assert last_stage(state, tape, symbol, tape.quote(symbol, 103.0, spread=1.0)) is Stage.SPREAD
    assert last_stage(state, tape, symbol, row(RowKind.QUOTE, symbol, tape.now_ns, 103.0, 102.0, 1.0, 1.0)) is Stage.NBBO
    assert last_stage(state, tape, symbol, row(RowKind.QUOTE, symbol, tape.now_ns, np.nan, 102.0, 1.0, 1.0)) is Stage.NBBO
    assert last_stage(state, tape, symbol, tape.lift(symbol, 90.0)) is Stage.PRICE_CHANGE
    assert last_stage(state, tape, symbol, tape.lift(symbol, 4.0)) is Stage.PRICE
    assert last_stage(state, tape, 6, tape.quote(6, 103.0)) is Stage.PRICE, "never traded"
    assert last_stage(state, tape, 7, tape.lift(7, 103.0, 1.0)) is Stage.VOLUME_RATIO
    assert last_stage(state, tape, 2, tape.lift(2, 125.0)) is Stage.VOLATILITY


def test_a_stale_quote_is_no_quote() -> None:
    """A quote older than the limit stops a symbol however good it was."""
    state, tape = warm_state()
    step(state, [tape.batch(tape.lift(1, 103.0), seconds=1.0)])
    step(state, [tape.batch(seconds=31.0)])
    assert Stage(int(state.stages[1])) is Stage.NBBO


def test_nothing_is_opened_until_windows_are_filled() -> None:
    """Entries wait 60 s after an epoch's start, after a gap that the tape tells of, and after a batch that is missing."""
    state, tape = warm_state()
    assert may_enter(state)
    step(state, [tape.batch(gap=True)])
    assert not may_enter(state)
    step(state, [tape.batch(seconds=60.0)])
    assert may_enter(state)
    tape.seq += 1
    step(state, [tape.batch()])
    assert not may_enter(state)
    assert state.gaps == 2


def test_no_candidates_outside_the_session() -> None:
    """Before the open and from the close on nothing is looked at."""
    for start_ns in (OPEN_NS - 200 * NS_PER_SECOND, OPEN_NS + 390 * 60 * NS_PER_SECOND):
        state, tape = create(spec_of()), TapeMaker(COUNT, start_ns)
        for batch in tape.day(90, LIFTED):
            assert len(step(state, [batch]).looked_at) == 0


def test_notes_take_effect_in_order() -> None:
    """Model, settings and source health travel on the tape; with every price source down nothing is opened."""
    state, tape = warm_state()
    step(state, [tape.batch(notes=(ModelsAssigned(7), SpecSwitched(3, b"{}"), SourceState("polygon", healthy=False, reason="stale")))])
    assert (state.assigned.serving, state.generation) == (7, 3)
    assert not may_enter(state), "flow alone is no price"
    step(state, [tape.batch(notes=(SourceState("polygon", healthy=True, reason=""),))])
    assert may_enter(state)


def test_batches_that_are_no_cut_are_refused() -> None:
    """Nothing, two epochs, or a batch from the past cannot be applied."""
    state, tape = warm_state()
    other = TapeMaker(COUNT, tape.now_ns, epoch=tape.epoch + 1).batch()
    for wrong in ([], [tape.batch(), other], [TapeMaker(COUNT).batch()]):
        with pytest.raises(ValueError, match=r"cut|forward"):
            step(state, wrong)


def test_at_most_512_rows_are_asked_and_they_are_the_strongest() -> None:
    """With too many candidates those with the highest volume ratio are shown to the model."""
    state, tape = warm_state()
    rows = [tape.lift(symbol, 103.0, 1_000_000.0 * symbol) for symbol in range(1, 8)]
    swept = step(state, [tape.batch(*rows, seconds=1.0)], most=2)
    assert swept.features.rows.tolist() == [6, 7]
    assert swept.counts[Stage.PASSED] == 7


def test_the_model_named_is_the_bundle_that_spoke() -> None:
    """A cut carries version and runtime of its bundle, and the regime it was judged in."""
    state, tape = warm_state()
    spec = spec_of()
    decider = Decider(spec, serving(3))
    swept = step(state, [tape.batch(tape.lift(1, 103.0), seconds=1.0)])
    cut, _ = decider.decide(state, swept, None, CutOutcome.LATE)
    assert (cut.model, cut.runtime, cut.outcome, cut.signals) == (manifest(3).version, "formula", CutOutcome.LATE, 0)
    assert cut.regime in (Regime.BULL, Regime.NEUTRAL, Regime.BEAR)


def _asked_in_order(state: FilterState, i: int, bounds: F64, ratio: float) -> Stage:
    """The funnel as its documentation says it: one question after the other, NaN refuses."""
    a, one = state.market.columns, np.float32(1)
    last, previous, bid, ask = (a.now[column, i] for column in (columns.LAST, columns.PREVIOUS_CLOSE, columns.BID, columns.ASK))
    with np.errstate(all="ignore"):
        questions = (
            (Stage.TYPE, a.flags[columns.TRADABLE_TYPE, i] != 0),
            (Stage.PRICE, last >= bounds[0]),
            (Stage.DOLLAR_VOLUME, a.now[columns.AVERAGE_VOLUME, i] * previous >= bounds[1]),
            (Stage.HALTED, a.flags[columns.HALTED, i] == 0),
            (Stage.VOLUME_RATIO, ratio >= bounds[3]),
            (Stage.PRICE_CHANGE, last / previous - one >= bounds[4]),
            (Stage.VOLATILITY, (a.now[columns.DAY_HIGH, i] - a.now[columns.DAY_LOW, i]) / last <= bounds[5]),
            (Stage.NBBO, bid > 0 and ask >= bid and a.clock[columns.NOW] - a.times[columns.QUOTE_AT, i] <= bounds[6]),
            (Stage.SPREAD, (ask - bid) / (np.float32(0.5) * (ask + bid)) <= bounds[2]),
        )
    return next((stage for stage, fine in questions if not fine), Stage.PASSED)


def test_a_symbol_is_counted_where_the_first_question_refuses_it() -> None:
    """Whatever mixture of absent, odd and fine figures a symbol has, the compiled funnel says what asking in order says; all ten stages occur."""
    count, chance = 4_000, np.random.default_rng(11)
    state, tape = create(spec_of(symbols_max=count)), TapeMaker(count)
    step(state, [tape.batch(), tape.batch(seconds=60.0)])
    a = state.market.columns
    ordinary = ((columns.LAST, 103.0), (columns.PREVIOUS_CLOSE, 100.0), (columns.DAY_HIGH, 104.0), (columns.DAY_LOW, 102.0))
    for column, usual in (*ordinary, (columns.BID, 102.99), (columns.ASK, 103.0), (columns.AVERAGE_VOLUME, 1e6)):
        odd = chance.choice(np.array([np.nan, 0.0, -1.0, 90.0, 130.0, np.inf], np.float32), count)
        a.now[column, :count] = np.where(chance.random(count) < 0.12, odd, np.float32(usual))
    a.totals[columns.DAY_VOLUME, :count] = chance.choice([0.0, 1e6, 1e8], count, p=[0.1, 0.1, 0.8])
    a.times[columns.QUOTE_AT, :count] = a.clock[columns.NOW] - chance.choice([0, 31_000_000_000], count, p=[0.9, 0.1])
    a.flags[columns.HALTED, :count] = chance.random(count) < 0.1
    a.flags[columns.TRADABLE_TYPE, :count] = chance.random(count) > 0.1
    bounds = tradability.limits_of(state.spec.universe, state.spec.filter.rules[0])
    stages, ratios = np.zeros(count, np.uint8), np.zeros(count, np.float32)
    counts = tradability.classify(state.market, np.arange(count, dtype=np.int32), bounds, stages, ratios)
    expected = [_asked_in_order(state, i, bounds, float(ratios[i])) for i in range(count)]
    assert stages.tolist() == expected
    assert (counts > 0).all()
    assert counts.sum() == count
