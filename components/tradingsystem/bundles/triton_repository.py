"""What of a bundle lies in Triton's model repository, as bytes by path. Pure: ``adapters.triton_repository`` writes it.

``fused`` is versioned by the bundle's number and so are the parts of ``ensemble``, whose folders a server loads only when it is told to.
"""

from __future__ import annotations

from pathlib import Path

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.member_graphs import blend_graph, member_graph
from tradingsystem.bundles.triton_config import ALL, BLEND, ENSEMBLE, FILE_OF, GRAPH_FILE, MEMBERS, Backend, as_pbtxt, configuration

WRAPPER = Path(__file__).with_name("triton_wrapper.py")
NO_CACHE = "__pycache__"
"""A file in the place of a folder. Python keeps what it compiled beside the wrapper, whatever its environment says, and Triton takes a folder that is newer
than its load for a new model: the next load would start that version again."""
KEPT = ".kept"  # an ensemble's version is an empty folder, which not every store keeps


def configs() -> dict[str, bytes]:
    """``MODEL/configs/BACKEND.pbtxt`` for every model and backend, naming version 1; a load names the versions that count."""
    return {
        f"{model}/configs/{backend.value}.pbtxt": as_pbtxt(configuration(model, backend, [1])).encode()
        for model in ALL
        for backend in Backend
    }


def fused_files(bundle: Bundle, *, int8: bool = True) -> dict[str, bytes]:
    """The files of ``fused`` at the bundle's version, by name. The plan of TensorRT is added where the engine is built."""
    return _with_wrapper(bundle.int8_graph if int8 else bundle.float_graph)


def ensemble_files(bundle: Bundle, *, int8: bool = True) -> dict[str, dict[str, bytes]]:
    """The files of each part of the ensemble at the bundle's version. Raises ``InvalidBundle`` or what onnx says of a graph that cannot be taken apart."""
    graph = bundle.int8_graph if int8 else bundle.float_graph
    parts = {member: _with_wrapper(member_graph(graph, place)) for place, member in enumerate(MEMBERS)}
    return {**parts, BLEND: _with_wrapper(blend_graph(graph)), ENSEMBLE: {KEPT: b""}}


def _with_wrapper(graph: bytes) -> dict[str, bytes]:
    return {GRAPH_FILE: graph, FILE_OF[Backend.PYTHON]: WRAPPER.read_bytes(), NO_CACHE: b""}
