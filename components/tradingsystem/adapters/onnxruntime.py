"""Inference in process: one bundle's fused graph on onnxruntime, CPU only.

One thread and no spinning: a graph this small is done before a second thread has woken up, and a spinning pool would take the core from the socket.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime

from tradingsystem.bundles.bundle import Bundle, Golden, InvalidBundle
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Probe, Scores

GOLDEN_TOLERANCE = 1e-4
PROBE_RUNS = 21


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """A session for one graph. Raises ``InvalidBundle``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen kinds of its own for one cause: this graph cannot run
        raise InvalidBundle(f"onnxruntime refuses the graph: {type(error).__name__}") from error


def run(session: onnxruntime.InferenceSession, features: F32) -> Scores:
    """Scores of features F32[n, 50]."""
    members, blend = session.run(["members", "blend"], {"features": np.ascontiguousarray(features, np.float32)})
    return Scores(members=members, blend=blend)


class OnnxRuntimeInference:
    """Runs one bundle; refuses to be built when the golden vectors do not come out as they were signed."""

    runtime = "onnxruntime"

    def __init__(self, bundle: Bundle, *, int8: bool = True) -> None:
        self._session = open_session(bundle.int8_graph if int8 else bundle.float_graph)
        self.version = bundle.manifest.version
        self.bundle = bundle
        if int8:
            self._check_golden(bundle)

    def score(self, features: F32) -> Scores:
        """Scores of features F32[n, 50], at once."""
        return run(self._session, features)

    async def infer(self, features: F32) -> Scores:
        """The same as a coroutine, because other runtimes have to wait."""
        return self.score(features)

    def _check_golden(self, bundle: Bundle) -> None:
        worst = golden_difference(self.score(bundle.golden.features), bundle.golden)
        if math.isnan(worst):
            raise InvalidBundle(f"bundle {self.version}: a golden vector's answer is no probability", Refusal.NOT_FINITE)
        if worst > GOLDEN_TOLERANCE:
            text = f"bundle {self.version}: golden vectors differ by {worst:.2e}, at most {GOLDEN_TOLERANCE:.0e} is allowed"
            raise InvalidBundle(text, Refusal.WRONG_ANSWERS)


class InProcessModelServer:
    """Versions loaded into this process, each with a session of its own. ``read`` gives the verified bundle of a version, raising ``InvalidBundle``."""

    def __init__(self, read: Callable[[int], Bundle], *, int8: bool = True) -> None:
        self._read = read
        self._int8 = int8
        self._loaded: dict[int, OnnxRuntimeInference] = {}

    async def load(self, versions: tuple[int, ...]) -> None:
        """All of them, or nothing changes."""
        loaded: dict[int, OnnxRuntimeInference] = {}
        for version in versions:
            try:
                loaded[version] = self._loaded.get(version) or OnnxRuntimeInference(self._read(version), int8=self._int8)
            except InvalidBundle as error:
                raise ModelRefused(version, error.refusal, str(error)) from error
        self._loaded = loaded

    async def probe(self, version: int) -> Probe:
        """The golden vectors, again and again: the first run warms up, the median of the rest is the latency."""
        inference = self._loaded.get(version)
        if inference is None:
            raise ModelRefused(version, Refusal.NOT_LOADED, "it is not loaded")
        golden = inference.bundle.golden
        worst = golden_difference(inference.score(golden.features), golden)
        if math.isnan(worst):
            raise ModelRefused(version, Refusal.NOT_FINITE, "a golden vector's answer is no probability")
        taken = []
        for _ in range(PROBE_RUNS):
            began_ns = time.perf_counter_ns()
            inference.score(golden.features)
            taken.append(time.perf_counter_ns() - began_ns)
        return Probe(worst_difference=worst, latency_us=statistics.median(taken) / 1_000)


def golden_difference(scores: Scores, golden: Golden) -> float:
    """Largest absolute difference from the signed answers, over members and blend; NaN when any answer is no probability."""
    for answers in (scores.members, scores.blend):
        if not ((answers >= 0.0) & (answers <= 1.0)).all():
            return math.nan
    members = float(np.abs(scores.members - golden.members).max(initial=0.0))
    return max(members, float(np.abs(scores.blend - golden.blend).max(initial=0.0)))
