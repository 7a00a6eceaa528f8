"""The filter as a function: ``step(state, batches) -> Swept``. Live, replay and learning call this and nothing else.

What is queued is applied in order, then judged once. Whether a sweep is full follows from market time alone: a whole second began since the last full
one. The same batches at the same cut boundaries give the same bytes, whoever calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tradingsystem.domain.control import ModelsAssigned, SessionOpened, SourceState, SpecSwitched, SymbolTable, TapeNote, WeightsUpdated
from tradingsystem.domain.rows import F32, I32, I64, U8
from tradingsystem.domain.signals import Regime
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.features.kernel import FeatureRows, features_of
from tradingsystem.features.ranks import update_ranks
from tradingsystem.filter import regimes, tradability
from tradingsystem.filter.regimes import RegimeState
from tradingsystem.filter.rules import rule_of
from tradingsystem.filter.statistics import FilterStatistics
from tradingsystem.filter.tradability import Stage
from tradingsystem.market import state as market_state
from tradingsystem.market.state import MarketState
from tradingsystem.messages.batch import Batch
from tradingsystem.spec.slices import FilterSlice
from tradingsystem.spec.sources import SourceType

BATCHES_MAX = 64
ROWS_MAX = 512  # of one inference
WARM_NS = 60 * NS_PER_SECOND
_NO_ROWS: I32 = np.empty(0, np.int32)


@dataclass(slots=True)
class FilterState:
    """Everything a sweep depends on."""

    spec: FilterSlice
    market: MarketState
    stages: U8
    ratios: F32
    regime: RegimeState = field(default_factory=RegimeState)
    epoch: int = 0
    seq: int = 0
    full_second: int = 0  # market second of the last full sweep
    warm_from_ns: int = 0
    gaps: int = 0
    assigned: ModelsAssigned = field(default_factory=lambda: ModelsAssigned(0))  # what the tape said last; serving 0 while it said nothing
    weights: WeightsUpdated | None = None  # what the tape said last of anybody's weights
    generation: int = 0
    unhealthy: frozenset[str] = frozenset()
    statistics: FilterStatistics = field(default_factory=FilterStatistics)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one cut saw: the batches, the market, the candidates' features. ``entries`` is false while nothing may be opened, whatever the models say."""

    epoch: int
    first_seq: int
    last_seq: int
    sealed_at_ns: int
    full: bool
    regime: Regime
    vix: float | None
    entries: bool
    features: FeatureRows
    counts: I64  # rows by stage
    looked_at: I32
    touched: I32


def create(spec: FilterSlice) -> FilterState:
    """An empty state for ``universe.symbolsMax`` symbols."""
    return over(spec, market_state.allocate(spec.universe.symbols_max))


def over(spec: FilterSlice, market: MarketState) -> FilterState:
    """A state over a market that exists already, restored or built by somebody else."""
    most = market.capacity
    return FilterState(spec=spec, market=market, stages=np.zeros(most, np.uint8), ratios=np.full(most, np.nan, np.float32))


def step(state: FilterState, batches: Sequence[Batch], *, full: bool | None = None, most: int = ROWS_MAX) -> Swept:
    """Apply the batches (one epoch, rising seq, at least one), then sweep. ``full`` forces what a recorded cut says; live it is None.

    Raises ``ValueError`` when the batches cannot be one cut.
    """
    _check(state, batches)
    for batch in batches:
        _apply(state, batch)
    second = state.market.now_ns // NS_PER_SECOND
    is_full = second > state.full_second if full is None else full
    if is_full:
        state.full_second = second
    return _sweep(state, batches, full=is_full, most=most)


def _check(state: FilterState, batches: Sequence[Batch]) -> None:
    if not batches:
        raise ValueError("a cut of no batch")
    epochs = {batch.epoch for batch in batches}
    if len(epochs) > 1:
        raise ValueError(f"a cut of the epochs {sorted(epochs)}: a cut has one")
    if batches[0].epoch < state.epoch or (batches[0].epoch == state.epoch and batches[0].seq <= state.seq):
        raise ValueError(f"batch {batches[0].epoch}/{batches[0].seq} after {state.epoch}/{state.seq}: the tape goes forward")


def _apply(state: FilterState, batch: Batch) -> None:
    lost = batch.gap or (batch.epoch == state.epoch and batch.seq != state.seq + 1)
    if lost or batch.epoch != state.epoch:
        state.gaps += int(lost)
        state.warm_from_ns = batch.sealed_at_ns + WARM_NS
    state.epoch = batch.epoch
    state.seq = batch.seq
    for note in batch.notes:
        _note(state, note)
    market_state.advance(state.market, batch.sealed_at_ns)
    market_state.apply(state.market, batch.rows)
    state.statistics.applied(len(batch.rows))


def _note(state: FilterState, note: TapeNote) -> None:
    if isinstance(note, SymbolTable):
        market_state.set_symbols(state.market, note.facts)
        state.stages[:] = 0
        state.ratios[:] = np.nan
    elif isinstance(note, SessionOpened):
        market_state.open_session(state.market, note)
    elif isinstance(note, ModelsAssigned):
        state.assigned = note
    elif isinstance(note, WeightsUpdated):
        state.weights = note
    elif isinstance(note, SpecSwitched):
        state.generation = note.generation
    elif isinstance(note, SourceState):
        without = state.unhealthy - {note.source}
        state.unhealthy = without if note.healthy else without | {note.source}


def may_enter(state: FilterState) -> bool:
    """Whether anything may be opened: session running, windows filled since the last gap, a market-data source alive."""
    market = state.market
    running = market.session is not None and market.session.contains(market.now_ns)
    sources = {source.name for source in state.spec.sources if source.type is not SourceType.UNUSUAL_WHALES}
    alive = not sources or not sources <= state.unhealthy
    return running and alive and market.now_ns >= state.warm_from_ns


def _sweep(state: FilterState, batches: Sequence[Batch], *, full: bool, most: int) -> Swept:
    market = state.market
    touched = market_state.take_touched(market)
    running = market.session is not None and market.session.contains(market.now_ns)
    rows = (np.arange(market.count, dtype=np.int32) if full else touched) if running else _NO_ROWS
    if full:
        update_ranks(market)
        state.regime = regimes.next_regime(state.regime, regimes.view(market), market.now_ns)
    rule = rule_of(state.regime.regime, state.spec.filter)
    limits = tradability.limits_of(state.spec.universe, rule)
    counts = tradability.classify(market, rows, limits, state.stages, state.ratios)
    passed = rows[state.stages[rows] == Stage.PASSED]
    chosen = tradability.strongest(passed, state.ratios, most)
    features = features_of(market, chosen)
    copied = features.values.nbytes + features.missing.nbytes + rows.nbytes + passed.nbytes
    state.statistics.swept(counts, full=full, copied=copied)
    return Swept(
        epoch=state.epoch,
        first_seq=batches[0].seq,
        last_seq=batches[-1].seq,
        sealed_at_ns=market.now_ns,
        full=full,
        regime=state.regime.regime,
        vix=market_state.vix(market, regimes.VIX_AGE_MAX_NS),
        entries=may_enter(state),
        features=features,
        counts=counts,
        looked_at=rows,
        touched=touched,
    )
