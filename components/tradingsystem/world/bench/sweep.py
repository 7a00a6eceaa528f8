"""Row 2: one full sweep as the filter makes it when a market second begins - ranks, rules, features, ensemble, blend - with every symbol a candidate.

A live sweep asks the ensemble for 512 rows at most; here all are asked, since that is what the goal says. Stages are timed too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tradingsystem.ensemble.blend import assess
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.features import bench as feature_bench
from tradingsystem.features import kernel
from tradingsystem.features.ranks import update_ranks
from tradingsystem.filter import tradability
from tradingsystem.process.serving import in_process_serving
from tradingsystem.world.bench.offering import offered
from tradingsystem.world.bench.result import Effort, Row, latencies
from tradingsystem.world.recipe import filter_slice

PER_SECOND = 25
LIVE_ROWS = 512


def measure(effort: Effort) -> Row:
    """The sweep whole, as live, and its stages one by one."""
    symbols = effort.symbols
    effort.tell(f"filling the windows of {symbols:,} symbols")
    sweep, live, stages = _sweeps(symbols)
    rate = f"{PER_SECOND}/s"
    effort.tell(f"full sweep of {symbols:,} symbols")
    took = offered(sweep, PER_SECOND, effort.seconds) / 1e3
    claim = "founding claim 2.1 ms on an A100"
    lines = [latencies(f"full sweep, {symbols:,} symbols", took, "ms", offered=rate, limits=(1.0, 2.1), beside=claim)]
    lines.append(latencies(f"as live: {LIVE_ROWS} candidates", offered(live, PER_SECOND, effort.part(0.4)) / 1e3, "ms", offered=rate))
    for name, stage in stages.items():
        lines.append(latencies(f"... {name}", offered(stage, PER_SECOND, effort.part(0.25)) / 1e3, "ms", offered=rate))
    return Row(name="sweep", title="Full sweep: rules, 50 features, ensemble", lines=tuple(lines))


def _sweeps(symbols: int) -> tuple[Callable[[], object], Callable[[], object], dict[str, Callable[[], object]]]:
    spec = filter_slice(symbols)
    state = feature_bench.busy_market(symbols)
    every = np.arange(symbols, dtype=np.int32)
    some = np.sort(np.random.default_rng(3).choice(every, min(LIVE_ROWS, symbols), replace=False))
    memory = kernel.features_of(state, every)
    limits = tradability.limits_of(spec.universe, spec.filter.rules[0])
    codes, ratios = np.zeros(symbols, np.uint8), np.full(symbols, np.nan, np.float32)
    serving, score = in_process_serving(spec, None)
    window = ConfidenceWindow(serving.manifest.confidence_reference)
    scores = score(memory.values)

    def rules() -> None:
        tradability.classify(state, every, limits, codes, ratios)

    def whole() -> None:
        update_ranks(state)
        rules()
        found = score(kernel.features_of(state, every, memory).values)
        assess(found.members, found.blend, window, serving.manifest.calibration)

    def live() -> None:
        update_ranks(state)
        rules()
        found = score(kernel.features_of(state, some).values)
        assess(found.members, found.blend, window, serving.manifest.calibration)

    stages: dict[str, Callable[[], object]] = {
        "ranks": lambda: update_ranks(state),
        "rules": rules,
        "50 features": lambda: kernel.features_of(state, every, memory),
        "ensemble": lambda: score(memory.values),
        "blend and confidence": lambda: assess(scores.members, scores.blend, window, serving.manifest.calibration),
    }
    return whole, live, stages
