"""Inference in process: one bundle's fused graph on onnxruntime, CPU only.

One thread and no spinning: a graph this small is done before a second thread has woken up, and a spinning pool would take the core from the socket.
"""

from __future__ import annotations

import numpy as np
import onnxruntime

from tradingsystem.bundles.bundle import Bundle, InvalidBundle
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Scores

GOLDEN_TOLERANCE = 1e-4


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
        scores = self.score(bundle.golden.features)
        worst = max(
            float(np.abs(scores.members - bundle.golden.members).max(initial=0.0)),
            float(np.abs(scores.blend - bundle.golden.blend).max(initial=0.0)),
        )
        if not worst <= GOLDEN_TOLERANCE:
            raise InvalidBundle(f"bundle {self.version}: golden vectors differ by {worst:.2e}, at most {GOLDEN_TOLERANCE:.0e} is allowed")
