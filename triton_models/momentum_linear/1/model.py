"""Runs the ``model.onnx`` that lies beside it, on one thread of a CPU: what Triton's python backend loads where it has no onnxruntime of its own.

It is copied into each version's folder and run by the server's Python, never imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """One graph. Inputs and outputs go by the graph's own names."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Read the graph; an exception here is the load's failure."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer per request, in order; the first axis is the rows."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        given = {name: backend.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        answers = self._session.run(self._outputs, given)
        tensors = [
            backend.Tensor(name, np.ascontiguousarray(answer.reshape(len(answer), -1)))
            for name, answer in zip(self._outputs, answers, strict=True)
        ]
        return backend.InferenceResponse(output_tensors=tensors)
