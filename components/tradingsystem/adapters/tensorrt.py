"""TensorRT on the GPU of this machine: what it is, and an engine that answers questions there.

TensorRT is no dependency of this project and is imported when somebody asks for it; its memory and its stream are CuPy's. None of it has been run on a
GPU yet: there was none. Each call is one that TensorRT's bindings 11.4 have under that name with those arguments, and the tests answer it in their place.
"""

from __future__ import annotations

import importlib
from typing import Any

from tradingsystem.adapters import cuda
from tradingsystem.bundles.engine_plan import Target
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import BLEND, BUCKETS, MEMBERS, bucket_of
from tradingsystem.domain.errors import InvalidInput, TryAgain
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Scores


def tensorrt() -> Any:
    """The module. Raises ``InvalidInput`` where it cannot be loaded."""
    try:
        return importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:  # bindings without their libraries fail either way
        raise InvalidInput(
            f"TensorRT for Python cannot be loaded ({error}): install the version of the Triton server that will read the engine"
        ) from error


def target() -> Target:
    """What an engine that is built here is tied to. Raises ``InvalidInput`` with all that is missing."""
    missing = []
    try:
        version = str(tensorrt().__version__)
    except InvalidInput as error:
        missing.append(str(error))
    try:
        gpu = cuda.present()
    except InvalidInput as error:
        missing.append(str(error))
    if missing:
        raise InvalidInput("; ".join(missing))
    return Target(tensorrt=version, gpu=gpu.name, compute_capability=gpu.compute_capability, multiprocessors=gpu.multiprocessors)


def listener(trt: Any, said: list[str]) -> Any:
    """A logger for TensorRT that keeps what it warns of, since an answer of it is None and no more. Must outlive what it is given to."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.WARNING):  # errors come before it
                said.append(msg.strip())

    return Listener()


def started(kind: Any, said: list[str], logger: Any) -> Any:
    """A builder or a runtime. Raises ``InvalidInput`` with TensorRT's own words where it cannot start."""
    try:
        return kind(logger)
    except TypeError as error:  # how the bindings say that there is none
        raise InvalidInput(f"TensorRT does not start: {'; '.join(said) or error}") from error


class TensorRtEngine:
    """One engine of ``fused`` ready to run, one question at a time. Raises ``ModelRefused`` for one that TensorRT does not read, ``InvalidInput``."""

    def __init__(self, engine: bytes, version: int) -> None:
        trt, said = tensorrt(), list[str]()
        self._trt, self._cupy = trt, cuda.cupy()
        self._logger = listener(trt, said)
        self._runtime = started(trt.Runtime, said, self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise ModelRefused(
                version, Refusal.NOT_LOADED, f"TensorRT does not read the engine: {'; '.join(said) or 'it does not say why'}"
            )
        self._context = self._engine.create_execution_context()
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._profile = -1

    def score(self, features: F32) -> Scores:
        """Scores of features F32[n, 50], from this memory and back to it. Raises ``TryAgain`` when TensorRT does not run, ``ValueError`` above 12,288."""
        count, xp, context = len(features), self._cupy, self._context
        bucket = bucket_of(count)
        with self._stream:
            rows = xp.zeros((bucket, features.shape[1]), xp.float32)
            rows[:count] = xp.asarray(features, xp.float32)
            members, blend = xp.empty((bucket, len(MEMBERS)), xp.float32), xp.empty(bucket, xp.float32)
            ready = self._use(BUCKETS.index(bucket)) and context.set_input_shape("features", rows.shape)
            for name, array in (("features", rows), ("members", members), (BLEND, blend)):
                ready = ready and context.set_tensor_address(name, array.data.ptr)
            if not (ready and context.execute_async_v3(self._stream.ptr)):
                raise TryAgain(f"TensorRT does not run {bucket} rows")
            return Scores(members=xp.asnumpy(members)[:count], blend=xp.asnumpy(blend)[:count])  # waits for the stream

    def _use(self, profile: int) -> bool:
        if profile == self._profile:
            return True
        self._profile = profile
        return bool(self._context.set_optimization_profile_async(profile, self._stream.ptr))

    def layers(self) -> bytes:
        """The engine inspector's JSON."""
        report: str = self._engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON)
        return report.encode()
