"""What a GPU is measured on: the features by CuPy, the fit by PyTorch, the ensemble by TensorRT, each beside what the processor does and held against it.

Nothing here is a goal of speed. What is judged is that the GPU says the same; what it cannot run for want of a library is named as absent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_plan import PARITY_TOLERANCE, EngineRecord
from tradingsystem.bundles.triton_config import BUCKETS
from tradingsystem.domain.errors import TradingSystemError
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32, F64
from tradingsystem.ensemble.calibration import sigmoid
from tradingsystem.features import bench as feature_bench
from tradingsystem.features import kernel, oracle
from tradingsystem.interfaces import Scores
from tradingsystem.learning import torch_newton
from tradingsystem.learning.fit import NUMPY, Arithmetic, Rows50, fit
from tradingsystem.process import engines, measured
from tradingsystem.process.serving import choose_in
from tradingsystem.world.bench.offering import offered
from tradingsystem.world.bench.result import SEED, Absent, Effort, Line, Row, latencies
from tradingsystem.world.recipe import member_features

FEATURES_TOLERANCE = 1e-9  # float64 on both sides, a division or a root rounded otherwise at most
FIT_ROWS = 40_000
"""A second of effort: 200,000 for the usual five."""

PER_SECOND = {1: 1_000, 64: 1_000, 512: 500, 2_048: 200, 12_288: 50}
SWEEPS_PER_SECOND = 10
FEATURES_TITLE = "Features of every symbol, float64: one source, on CuPy and on numpy"
FIT_TITLE = "A fit, float64: the linear members by PyTorch and by numpy"
ENGINE_TITLE = "The fused graph by TensorRT, from this memory and back, and by onnxruntime"


def measure_features(effort: Effort) -> Row:
    """By CuPy on the GPU."""
    return _or_absent("gpu_features", FEATURES_TITLE, lambda: features_row(effort, engines.arrays_on_gpu()))


def measure_fit(effort: Effort) -> Row:
    """By PyTorch on what it finds."""
    return _or_absent("gpu_fit", FIT_TITLE, lambda: fit_row(effort, torch_newton.arithmetic()))


def measure_engine(effort: Effort) -> Row:
    """Both graphs of the bundle that serves, built by TensorRT and run."""
    return _or_absent("gpu_engine", ENGINE_TITLE, lambda: _engine_row(effort))


def _or_absent(name: str, title: str, measure: Callable[[], Row]) -> Row:
    """The row, or why there is none: a library that is missing, or CUDA's word. The other rows are measured all the same."""
    try:
        return measure()
    except (TradingSystemError, RuntimeError, ImportError, OSError) as error:  # what CUDA raises by CuPy and by PyTorch are RuntimeErrors
        return Row(name=name, title=title, lines=(), absent=(Absent(name=name, reason=f"{type(error).__name__}: {error}"),))


def features_row(effort: Effort, xp: Any) -> Row:
    """With any array library that has numpy's words."""
    effort.tell(f"filling the windows of {effort.symbols:,} symbols")
    state = feature_bench.busy_market(effort.symbols)
    every = np.arange(effort.symbols, dtype=np.int32)
    to_host: Callable[[Any], Any] = getattr(xp, "asnumpy", np.asarray)
    expected, absent = oracle.features_of(state, every)

    def on_device() -> tuple[F64, Any]:
        found, missing = oracle.features_of(state, every, xp)
        return to_host(found), to_host(missing)  # waits for the device

    found, missing = on_device()
    memory = kernel.features_of(state, every)
    ways: dict[str, Callable[[], object]] = {
        f"{xp.__name__}, upload and download included": on_device,
        "numpy": lambda: oracle.features_of(state, every),
        "numba kernel, float32, which serves": lambda: kernel.features_of(state, every, memory),
    }
    lines = [_agreement(f"a feature by {xp.__name__} from numpy's", np.abs(found - expected).ravel(), FEATURES_TOLERANCE)]
    lines.append(_agreement("an absence from numpy's", (missing != absent).astype(np.float64).ravel(), 0.0))
    for name, way in ways.items():
        effort.tell(f"features, {name}")
        took = offered(way, SWEEPS_PER_SECOND, effort.part(0.5)) / 1e3
        lines.append(latencies(name, took, "ms", offered=f"{SWEEPS_PER_SECOND}/s"))
    return Row(name="gpu_features", title=FEATURES_TITLE, lines=tuple(lines), notes=(f"{effort.symbols:,} symbols",))


def fit_row(effort: Effort, arithmetic: Arithmetic) -> Row:
    """By any arithmetic, held against numpy's on rows from a seed."""
    count = max(1_000, int(FIT_ROWS * effort.seconds))
    training, later = _rows(count, SEED), _rows(count // 2, SEED + 1)
    few = _rows(1_000, SEED)
    fit(few, few, *member_features(), arithmetic)  # a device wakes up and loads its kernels once
    lines, weights = [], []
    for one in (arithmetic, NUMPY):
        effort.tell(f"fit of {count:,} rows, {one.name}")
        begun_ns = time.perf_counter_ns()
        weights.append(fit(training, later, *member_features(), one).weights)
        lines.append(latencies(one.name, np.array([(time.perf_counter_ns() - begun_ns) / 1e6]), "ms"))
    theirs, ours = ((np.append(each.linear.ravel(), each.bias)).astype(np.float64) for each in weights)
    agreement = _agreement(f"a parameter by {arithmetic.name} from numpy's", np.abs(theirs - ours), torch_newton.TOLERANCE)
    notes = (f"{count:,} rows; bounds, tree, weights and calibration are numpy's in both",)
    return Row(name="gpu_fit", title=FIT_TITLE, lines=(agreement, *lines), notes=notes)


def _engine_row(effort: Effort) -> Row:
    bundle, lines, notes = choose_in(None, 0).bundle, list[Line](), list[str]()
    for int8 in (True, False):
        begun = time.monotonic()
        record, engine = engines.engine_here(bundle, effort.tell, int8=int8)
        notes.append(_told(record, time.monotonic() - begun))
        lines += engine_lines(effort, "TensorRT", bundle, engines.engine_runner(engine, bundle.manifest.version), int8=int8)
    return Row(name="gpu_engine", title=ENGINE_TITLE, lines=tuple(lines), notes=tuple(notes))


def engine_lines(effort: Effort, name: str, bundle: Bundle, runner: Callable[[F32], Scores], *, int8: bool) -> list[Line]:
    """One graph of a bundle by ``runner``, held against onnxruntime on golden and on random rows, and both timed for every bucket."""
    precision, random = "INT8" if int8 else "FP32", np.random.default_rng(SEED)
    beside = measured.graph_runner(bundle.int8_graph if int8 else bundle.float_graph)
    golden = bundle.golden.features
    lines = [_agreement(f"{precision} by {name}: a golden answer", _differences(runner(golden), beside(golden)), PARITY_TOLERANCE)]
    for rows in BUCKETS:
        features = random.normal(size=(rows, FEATURE_COUNT)).astype(np.float32)
        for who, run in ((name, runner), ("onnxruntime", beside)):
            effort.tell(f"{precision} by {who}, {rows:,} rows")
            took = offered(lambda run=run, features=features: run(features), PER_SECOND[rows], effort.part(0.1))  # type: ignore[misc]
            lines.append(latencies(f"{precision} by {who}, {rows:,} rows", took, "us", offered=f"{PER_SECOND[rows]:,}/s"))
    return lines


def _told(record: EngineRecord, seconds: float) -> str:
    shown = f"{len(record.layers.int8)} of {record.layers.count} layers INT8" if record.layers.int8 else "no layer is INT8"
    precision = "INT8" if record.plan.int8 else "FP32"
    return f"{precision} engine: TensorRT {record.target.tensorrt}, built in {seconds:.1f} s, {record.engine_bytes:,} bytes, {shown}"


def _differences(one: Scores, other: Scores) -> F64:
    found: F64 = np.abs(np.concatenate([(one.members - other.members).ravel(), one.blend - other.blend])).astype(np.float64)
    return found


def _agreement(name: str, differences: F64, tolerance: float) -> Line:
    """How far two differ, and whether the largest is within the tolerance; a NaN is not."""
    p50, p99, p999 = (float(value) for value in np.quantile(differences, (0.5, 0.99, 0.999)))
    largest = float(differences.max())
    return Line(
        name=f"difference of {name}",
        unit="",
        samples=len(differences),
        p50=p50,
        p99=p99,
        p999=p999,
        largest=largest,
        goal=f"at most {tolerance:g}",
        met=largest <= tolerance,
    )


def _rows(count: int, seed: int) -> Rows50:
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, FEATURE_COUNT)).astype(np.float32)
    reached = random.random(count) < sigmoid((features[:, 3] - features[:, 30]).astype(np.float64))
    return Rows50(features=features, labels=reached.astype(np.float64))
