"""Many generated days without sockets: what the shipped model's signals would have met, as a distribution over seeds and never as one curve.

Each day is fed to the filter's own step and decider, second by second. A signal is bought at the next second's ask and sold at the bid: at the target, at
the stop, or when the horizon or the session ends; fees in, at most five at once and twenty a day. It is an upper-level check of the model on the
declared edge: execution, queues and latency are not in it, the demo has those. Where no edge is planted, nothing may be earned.
"""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import math
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from tradingsystem.domain.rows import F32
from tradingsystem.domain.signals import CutOutcome
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.filter import step as filter_step
from tradingsystem.filter.deciding import Decider
from tradingsystem.learning.dataset import DayCollector
from tradingsystem.market import columns as c
from tradingsystem.messages.batch import Batch
from tradingsystem.process import generated_day
from tradingsystem.process.generated_day import generate
from tradingsystem.process.serving import in_process_serving
from tradingsystem.world.recipe import DATE, filter_slice

NOTIONAL = 3_000.0
OPEN_MAX = 5
DAYS_TO_JUDGE = 50
ENTRIES_MAX = 20
RULE = LabelRule()


class SeedDay(msgspec.Struct, frozen=True, kw_only=True):
    """One day: signals made, trades entered, how many reached the target first, net result in dollars, and what the oracle hits on the same day."""

    seed: int
    edge: float
    signals: int
    trades: int
    hits: int
    net: float
    oracle_hits: int
    oracle_entries: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """All days of one edge."""

    edge: float
    days: tuple[SeedDay, ...]

    @property
    def trades(self) -> int:
        """Trades of all days."""
        return sum(day.trades for day in self.days)

    @property
    def hit_rate(self) -> float:
        """Share of trades that reached the target first; NaN without trades."""
        return sum(day.hits for day in self.days) / self.trades if self.trades else math.nan

    @property
    def hit_rate_error(self) -> float:
        """Its standard error, as if trades were independent."""
        return math.sqrt(self.hit_rate * (1.0 - self.hit_rate) / self.trades) if self.trades else math.nan

    @property
    def oracle(self) -> float:
        """The oracle's hit rate over all days; NaN when it never entered."""
        entries = sum(day.oracle_entries for day in self.days)
        return sum(day.oracle_hits for day in self.days) / entries if entries else math.nan

    @property
    def net_mean(self) -> float:
        """Mean net result of a day."""
        return float(np.mean([day.net for day in self.days]))

    @property
    def signals(self) -> int:
        """Signals of all days."""
        return sum(day.signals for day in self.days)

    @property
    def net_error(self) -> float:
        """Its standard error over days; NaN for one day."""
        return float(np.std([day.net for day in self.days], ddof=1) / math.sqrt(len(self.days))) if len(self.days) > 1 else math.nan


def play(seed: int, symbols: int, edge: float) -> SeedDay:
    """One seeded day through filter and model."""
    day = generate(seed, DATE, symbols, edge)
    session = day.market.session
    count = len(day.market.symbols)
    spec = filter_slice(max(symbols, count))
    state = filter_step.create(spec)
    serving, score = in_process_serving(spec, None)
    decider = Decider(spec, serving)
    quotes = DayCollector.start(count, session.open_ns, session.close_ns)
    wishes: list[tuple[int, int]] = []
    place = {symbol: at for at, symbol in enumerate(day.market.symbols)}
    for seq, (at_ns, rows) in enumerate(day.seconds(), start=1):
        batch = Batch(epoch=1, seq=seq, sealed_at_ns=at_ns, gap=False, notes=day.notes if seq == 1 else (), rows=rows)
        swept = filter_step.step(state, [batch])
        quotes.quotes(at_ns, state.market.columns.now[c.BID, :count], state.market.columns.now[c.ASK, :count])
        asked = decider.asks_model(swept)
        scores = score(swept.features.values) if asked else None
        _, signals = decider.decide(state, swept, scores, CutOutcome.OK if asked else CutOutcome.NONE)
        wishes += [(quotes.second_of(at_ns) + 1, place[signal.symbol]) for signal in signals]
    trades = list(_trades(wishes, quotes.bid, quotes.ask))
    oracle_hits, oracle_entries = generated_day.oracle_hits(seed, DATE, symbols, edge)
    return SeedDay(
        seed=seed,
        edge=edge,
        signals=len(wishes),
        trades=len(trades),
        hits=sum(hit for hit, _ in trades),
        net=round(sum(net for _, net in trades), 2),
        oracle_hits=oracle_hits,
        oracle_entries=oracle_entries,
    )


def _trades(wishes: Iterable[tuple[int, int]], bid: F32, ask: F32) -> Iterator[tuple[bool, float]]:
    """Whether each trade hit its target, and its net result in dollars."""
    ends: list[int] = []
    entered = 0
    for second, symbol in wishes:
        ends = [end for end in ends if end > second]
        if entered >= ENTRIES_MAX or len(ends) >= OPEN_MAX or second >= bid.shape[1] or not ask[symbol, second] > 0:
            continue
        entered += 1
        end, hit, change = _trade(bid[symbol], float(ask[symbol, second]), second)
        ends.append(end)
        yield hit, NOTIONAL * (change - RULE.fee_basis_points / 10_000.0)


def _trade(bid: F32, entry: float, second: int) -> tuple[int, bool, float]:
    """When it ended, whether at the target, and the relative change from entry to exit at the bid."""
    last = min(second + RULE.horizon_seconds, len(bid) - 1)
    path = bid[second + 1 : last + 1].astype(np.float64) / entry - 1.0
    path = path[np.isfinite(path)]
    if not len(path):
        return last, False, 0.0
    up = np.flatnonzero(path >= (RULE.target_basis_points + RULE.fee_basis_points) / 10_000.0)
    down = np.flatnonzero(path <= -(RULE.stop_basis_points - RULE.fee_basis_points) / 10_000.0)
    first_up = int(up[0]) if len(up) else len(path)
    first_down = int(down[0]) if len(down) else len(path)
    at = min(first_up, first_down, len(path) - 1)
    return second + 1 + at, first_up < first_down, float(path[at])


def play_all(jobs: Iterable[tuple[int, float]], symbols: int, processes: int) -> Iterator[SeedDay]:
    """The days of (seed, edge), as they are finished."""
    one = functools.partial(_play, symbols=symbols)
    if processes == 1:
        yield from map(one, jobs)
        return
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: set[concurrent.futures.Future[SeedDay]] = set()
        jobs = iter(jobs)
        try:
            while True:  # no more under way than there are processes: who stops asking waits for no more than that
                waiting |= {pool.submit(one, job) for job in itertools.islice(jobs, processes - len(waiting))}
                if not waiting:
                    return
                done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
                for finished in done:
                    yield finished.result()
        finally:
            for job in waiting:
                job.cancel()


def _play(job: tuple[int, float], symbols: int) -> SeedDay:
    return play(job[0], symbols, job[1])


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """All days played so far, as they lie on disk. Days of another build or another size of market are other days."""

    build: str
    symbols: int
    days: tuple[SeedDay, ...] = ()

    def missing(self, seeds: Iterable[int], edges: Sequence[float]) -> list[tuple[int, float]]:
        """Seed and edge of the days still to be played; the edges take turns, so that wherever it ends they have equally many."""
        known = {(day.seed, day.edge) for day in self.days}
        return [(seed, edge) for seed in seeds for edge in edges if (seed, edge) not in known]

    def of(self, edge: float, seeds: Iterable[int]) -> Distribution:
        """The days of one edge, in the order of their seeds."""
        wanted = set(seeds)
        return Distribution(
            edge, tuple(sorted((day for day in self.days if day.edge == edge and day.seed in wanted), key=lambda day: day.seed))
        )


def findings(found: Iterable[Distribution]) -> list[str]:
    """What must not be: a hit rate of the planted edge outside what can be known, or a profit where nothing is planted. Too few days judge nothing."""
    problems: list[str] = []
    for one in found:
        if len(one.days) < DAYS_TO_JUDGE:
            continue
        if one.edge > 0 and not 0.5 < one.hit_rate <= one.oracle:
            problems.append(f"with the edge the hit rate is {one.hit_rate:.3f}, and must lie between 0.5 and the oracle's {one.oracle:.3f}")
        if one.edge == 0 and one.net_mean > 0:
            problems.append(f"without an edge the mean day earns {one.net_mean:+.2f}, and must not be above zero")
    return problems
