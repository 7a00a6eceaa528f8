"""Runs rows by name and collects them. A row whose parts are not there says so by name; one that fails ends the run, since half a number is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from tradingsystem.world.bench import decision, decode, ensemble, gpu, memory, orders, outcomes, replay, sweep, tick_to_order, triton
from tradingsystem.world.bench.machine import describe
from tradingsystem.world.bench.result import SEED, Effort, Report, Row

ROWS: dict[str, Callable[[Effort], Row]] = {
    "decode": decode.measure,
    "sweep": sweep.measure,
    "ensemble": ensemble.measure,
    "triton": triton.measure,
    "outcomes": outcomes.measure,
    "decision": decision.measure,
    "orders": orders.measure,
    "tick_to_order": tick_to_order.measure,
    "replay": replay.measure,
    "memory": memory.measure,
}
"""What can be measured, in the order of the table of goals."""

GPU_ROWS: dict[str, Callable[[Effort], Row]] = {
    "gpu_features": gpu.measure_features,
    "gpu_fit": gpu.measure_fit,
    "gpu_engine": gpu.measure_engine,
}
"""What a GPU is measured on, when it is asked for."""

SECONDS = 5.0


def run(
    names: Sequence[str],
    seconds: float,
    told: Callable[[str, str], None],
    done: Callable[[Row], None],
    symbols: int = 11_500,
    on: str = "",
) -> Report:
    """Measure the named rows. ``told`` hears the row and what it is doing, ``done`` each finished row; ``on`` names the GPU where one is measured."""
    machine, rows = describe(on), []
    for name in names:
        begun = time.monotonic()
        row = {**ROWS, **GPU_ROWS}[name](Effort(seconds, lambda doing, name=name: told(name, doing), symbols))  # type: ignore[misc]
        rows.append(msgspec.structs.replace(row, seconds=round(time.monotonic() - begun, 1)))
        done(rows[-1])
    return Report(command=_command(), seed=SEED, machine=machine, rows=tuple(rows))


def _command() -> str:
    """As a person would type it."""
    return " ".join(["tradingsystem", *sys.argv[1:]])
