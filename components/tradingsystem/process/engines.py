"""The GPU of this machine, and TensorRT's engines on it, for whoever is told to build or to measure: neither is loaded before.

Beside ``assembling`` one of the few doors to the adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_plan import Target, engine_plan
from tradingsystem.bundles.engine_store import engine_for
from tradingsystem.bundles.triton_config import Backend
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Scores

if TYPE_CHECKING:
    from tradingsystem.adapters.cuda import Gpu
    from tradingsystem.adapters.tensorrt_build import BuiltEngine


def gpu_here() -> Gpu:
    """The GPU. Raises ``InvalidInput`` where there is none, or CuPy is not installed."""
    from tradingsystem.adapters.cuda import present

    return present()


def arrays_on_gpu() -> Any:
    """CuPy, whose arrays lie on the GPU. Raises as ``gpu_here`` does."""
    from tradingsystem.adapters.cuda import cupy

    return cupy()


def target_here() -> Target:
    """What an engine that is built here is tied to. Raises ``InvalidInput`` with all that is missing: TensorRT, CuPy, a GPU."""
    from tradingsystem.adapters.tensorrt import target

    return target()


def build_engine(bundle: Bundle, out: Path, told: Callable[[str], None], *, int8: bool) -> BuiltEngine:
    """As ``adapters.tensorrt_build`` does. Raises ``InvalidInput``, ``ModelRefused``, ``OSError``."""
    from tradingsystem.adapters.tensorrt_build import build

    try:
        return build(bundle, out, told, int8=int8)
    except InvalidInput as error:
        raise InvalidInput(
            f"no engine can be built here: {error}\nIt is built where it will serve; --plan says what would be built."
        ) from error


def engine_reader(folder: Path | None, backend: Backend, *, int8: bool) -> Callable[[Bundle], bytes]:
    """What gives the engine of a bundle from ``folder`` where TensorRT runs the graphs, and nothing where it does not. Raises ``InvalidInput`` for TensorRT
    without a folder; what it gives raises ``ModelRefused`` (EngineMismatch), before the server is asked."""
    if backend is not Backend.TENSORRT:
        return lambda _: b""
    if folder is None:
        raise InvalidInput(
            "--triton-backend tensorrt: --triton-engines must name the folder that `tradingsystem models build-engine --out` writes"
        )
    out = folder
    return lambda bundle: engine_for(out, engine_plan(bundle, int8=int8), Target())  # which GPU the server has, this process cannot see


def engine_runner(engine: bytes, version: int) -> Callable[[F32], Scores]:
    """An engine of this machine ready to run: features F32[n, 50] of this memory to scores in it. Raises ``InvalidInput``, ``ModelRefused``."""
    from tradingsystem.adapters.tensorrt import TensorRtEngine

    return TensorRtEngine(engine, version).score
