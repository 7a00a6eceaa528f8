"""After the warm-up nothing compiles any more: a live batch and a built one are the same types to every kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

A_DAY_AFTER_THE_WARM_UP = """
import numpy as np

from tests.filter.days import TapeMaker, serving, spec_of
from tradingsystem.bundles.manifest import Calibration
from tradingsystem.ensemble import kernel as scores
from tradingsystem.ensemble import outcomes
from tradingsystem.ensemble.blend import assess
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.features import kernel
from tradingsystem.domain.signals import CutOutcome
from tradingsystem.filter import tradability
from tradingsystem.filter.deciding import Decider
from tradingsystem.filter.step import create, step
from tradingsystem.filter.trials import Trials
from tradingsystem.filter.warming import warm_up
from tradingsystem.market.applying import apply_rows
from tradingsystem.messages.batch import decode_batch, encode_batch

warm_up()
judging = (scores.usable_rows, scores.agreements, scores.lower_bounds, scores.ranks, scores.sort_window)
kernels = (apply_rows, kernel.compute, tradability._classify, *judging, outcomes._mark, outcomes._barriers)
before = [len(each.signatures) for each in kernels]
state, decider, trials = create(spec_of()), Decider(spec_of(), serving()), Trials(3)
for index, batch in enumerate(TapeMaker(8).day(25, {1: 103.0})):
    swept = step(state, [decode_batch(encode_batch(batch)) if index % 2 else batch])
    asked = decider.asks_model(swept)
    scores = decider.serving.inference.score(swept.features.values) if asked else None
    decider.decide(state, swept, scores, CutOutcome.OK if asked else CutOutcome.NONE)
    trials.swept(state.market, swept)
    trials.judged(state.market, swept, decider)
assert len(trials.held) == 1
zero = dict.fromkeys(("intercept", "variance_slope", "variance_intercept", "covariance", "brier"), 0.0)
warmed = Calibration(slope=1.0, rows=9, **zero)
for count in (1, 40):
    members = np.linspace(0, 1.01, 3 * count, dtype=np.float32).reshape(count, 3)
    assess(members, np.ascontiguousarray(members[:, 0]), ConfidenceWindow((0.0, 1.0)), warmed)
print(before, [len(each.signatures) for each in kernels])
"""


def test_a_warm_filter_does_not_compile() -> None:
    """Compiling takes seconds; it must not happen at the first live batch, the first touched row or the first full sweep.

    In an interpreter of its own: what other tests compiled would hide it.
    """
    told = subprocess.run([sys.executable, "-c", A_DAY_AFTER_THE_WARM_UP], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[-2] == "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1] [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", told.stdout + told.stderr
