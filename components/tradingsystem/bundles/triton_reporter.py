"""Says which GPU and which TensorRT a Triton server has: a model of its python backend, loaded to be asked once.

It is sent to the server and run by the server's Python, never imported here. What it finds is what an engine is tied to (``engine_plan.Target``), by the same
driver and library that would read the engine; what it does not find it leaves out.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np
import triton_python_backend_utils as backend

MULTIPROCESSORS, MAJOR, MINOR = 16, 75, 76  # the driver's numbers of these attributes
NAME_BYTES = 256
LIBRARIES = ("libnvinfer.so.11", "libnvinfer.so.10")
PARTS = ("Major", "Minor", "Patch", "Build")


class TritonPythonModel:
    """One answer, whatever is asked."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """The target as JSON."""
        told = json.dumps({**gpu(), **tensorrt()}).encode()
        return [backend.InferenceResponse(output_tensors=[backend.Tensor("target", np.array([told], np.object_))]) for _ in requests]


def gpu() -> dict[str, Any]:
    """The first GPU that this process sees, by the driver's own words."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {}
    device, name = ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetName(name, NAME_BYTES, device):
        return {}
    found = {}
    for attribute in (MULTIPROCESSORS, MAJOR, MINOR):
        value = ctypes.c_int()
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return {}
        found[attribute] = value.value
    return {
        "gpu": name.value.decode(errors="replace"),
        "compute_capability": f"{found[MAJOR]}.{found[MINOR]}",
        "multiprocessors": found[MULTIPROCESSORS],
    }


def tensorrt() -> dict[str, Any]:
    """The whole version of the library that reads engines."""
    for library in LIBRARIES:
        try:
            infer = ctypes.CDLL(library)
            return {"tensorrt": ".".join(str(getattr(infer, f"getInferLib{part}Version")()) for part in PARTS)}
        except (OSError, AttributeError):
            continue
    return {}
