"""Row 3: the fused graph in process, one, 512 and 11,500 rows, both precisions. Where INT8 loses, a note says that it loses."""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.process import measured
from tradingsystem.process.serving import choose_in
from tradingsystem.world.bench.offering import offered
from tradingsystem.world.bench.result import SEED, Effort, Line, Row, latencies

GOALS_US = {1: (15.0, 2_000), 512: (60.0, 1_000), 11_500: (500.0, 100)}
"""Rows of one inference: the goal for the median, and how many a second are offered."""


def measure(effort: Effort) -> Row:
    """Both graphs of the bundle that serves."""
    bundle = choose_in(None, 0).bundle
    runners = {"INT8": measured.graph_runner(bundle.int8_graph), "FP32": measured.graph_runner(bundle.float_graph)}
    random, lines = np.random.default_rng(SEED), []
    for count, (goal, rate) in GOALS_US.items():
        features = random.normal(size=(count, FEATURE_COUNT)).astype(np.float32)
        for precision, run in runners.items():
            effort.tell(f"ensemble {precision}, {count:,} rows")
            took = offered(lambda run=run, features=features: run(features), rate, effort.part(0.4))  # type: ignore[misc]
            claim = "founding claim 85 us" if count == 1 else ""
            words = f"{rate:,}/s"
            lines.append(latencies(f"{precision}, {count:,} rows", took, "us", offered=words, limits=(goal, np.inf), beside=claim))
    return Row(name="ensemble", title="Ensemble in process", lines=tuple(lines), notes=tuple(_losses(lines)))


def _losses(lines: list[Line]) -> list[str]:
    """Where INT8 is slower than FP32 in the median."""
    found = []
    for int8, fp32 in zip(lines[::2], lines[1::2], strict=True):
        if int8.p50 > fp32.p50:
            found.append(f"INT8 loses: {int8.name} {int8.p50:.3g} us, FP32 {fp32.p50:.3g} us")
    return [*found, "on the CPU only: what a GPU would say was not measured"]
