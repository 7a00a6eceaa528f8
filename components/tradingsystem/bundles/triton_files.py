"""What of a bundle a Triton server is given with a load, as bytes by path. Pure: ``adapters.triton`` sends it.

``fused`` is versioned by the bundle's number and so are the parts of ``ensemble``. The server's own repository stays empty: no folder is shared with it, so
it may run on any machine, and no file's date decides what a load does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.member_graphs import blend_graph, member_graph
from tradingsystem.bundles.triton_config import ALL, BLEND, ENSEMBLE, FILE_OF, GRAPH_FILE, MEMBERS, Backend, as_pbtxt, configuration

WRAPPER = Path(__file__).with_name("triton_wrapper.py")
REPORTER_SOURCE = Path(__file__).with_name("triton_reporter.py")
SENT_TO = "sent-to.txt"
KEPT = ".kept"  # an ensemble's version has no file of its own, and a folder is sent by what lies in it


def configs() -> dict[str, bytes]:
    """``MODEL/configs/BACKEND.pbtxt`` for every model and backend, naming version 1; a load names the versions that count."""
    return {
        f"{model}/configs/{backend.value}.pbtxt": as_pbtxt(configuration(model, backend, [1])).encode()
        for model in ALL
        for backend in Backend
    }


def engine_files(engine: bytes) -> dict[str, bytes]:
    """The files of ``fused`` where TensorRT runs it."""
    return {FILE_OF[Backend.TENSORRT]: engine}


def reporter_files() -> dict[str, bytes]:
    """The files of the model that says which GPU and which TensorRT a server has."""
    return {FILE_OF[Backend.PYTHON]: REPORTER_SOURCE.read_bytes()}


def fused_files(bundle: Bundle, backend: Backend = Backend.PYTHON, *, int8: bool = True) -> dict[str, bytes]:
    """The files of ``fused`` at the bundle's version, by name. Raises ``ValueError`` for TensorRT, which runs no graph."""
    return _runnable(bundle.int8_graph if int8 else bundle.float_graph, backend)


def ensemble_files(bundle: Bundle, backend: Backend = Backend.PYTHON, *, int8: bool = True) -> dict[str, dict[str, bytes]]:
    """The files of each part of the ensemble at the bundle's version. Raises as ``fused_files``, or what onnx says of a graph that cannot be taken apart."""
    graph = bundle.int8_graph if int8 else bundle.float_graph
    parts = {member: _runnable(member_graph(graph, place), backend) for place, member in enumerate(MEMBERS)}
    return {**parts, BLEND: _runnable(blend_graph(graph), backend), ENSEMBLE: {KEPT: b"\n"}}


def as_sent(files: Mapping[int, Mapping[str, bytes]], address: str) -> dict[str, bytes]:
    """Files of several versions, by version and name, under the names that the repository API takes them by; and in the first one's folder the address of the
    server, by which whoever started it knows what it leaves behind when it is killed."""
    sent = {f"file:{version}/{name}": content for version, each in sorted(files.items()) for name, content in each.items()}
    return {**sent, f"file:{min(files)}/{SENT_TO}": address.encode()}


def _runnable(graph: bytes, backend: Backend) -> dict[str, bytes]:
    match backend:
        case Backend.PYTHON:
            return {GRAPH_FILE: graph, FILE_OF[backend]: WRAPPER.read_bytes()}
        case Backend.ONNXRUNTIME:
            return {GRAPH_FILE: graph}
        case Backend.TENSORRT:
            raise ValueError("TensorRT runs the engine that is built from a graph, not the graph")
