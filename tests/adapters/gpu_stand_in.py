"""TensorRT and CuPy where there is no GPU: their words, as TensorRT's bindings 11.4 and CuPy 14 have them, over this memory and onnxruntime.

It shows that what we say to them is said in order and completely, and what we do with each of their answers. It shows nothing about TensorRT: no kernel is
chosen, nothing is fused, and an engine is the graph under another name.
"""

from __future__ import annotations

import ctypes
import enum
import types
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from tradingsystem.adapters.onnxruntime import open_session

VERSION = "11.4.0.106"
REPORT = (
    '{"Layers": [{"Name": "product", "Inputs": [{"Format/Datatype": "Int8"}], "Outputs": [{"Format/Datatype": "Float"}]}], "Bindings": []}'
)


@dataclass
class Machine:
    """What a test sets, and what it sees. ``said`` are the builder's settings by name."""

    version: str = VERSION
    gpus: int = 1
    parses: bool = True
    builds: bool = True
    starts: bool = True
    off_by: float = 0.0  # what is added to every answer
    timings_fit: bool = True
    report: str = REPORT
    said: dict[str, Any] = field(default_factory=dict)
    profiles: list[tuple[Any, ...]] = field(default_factory=list)
    timings: list[bytes] = field(default_factory=list)
    used: list[tuple[int, int]] = field(default_factory=list)  # profile and rows of each run


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    Severity = Severity


class Flag(enum.IntEnum):
    STRONGLY_TYPED = 0


class BuilderFlag(enum.IntEnum):
    TF32 = 6


class Pool(enum.IntEnum):
    WORKSPACE = 0


class Verbosity(enum.IntEnum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


class Format(enum.IntEnum):
    ONELINE = 0
    JSON = 1


class _Cache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+measured"


class _Profile:
    def __init__(self) -> None:
        self.shapes: list[Any] = []

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes.append((name, low, best, high))


class _Config:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.builder_optimization_level = -1
        self.profiling_verbosity = Verbosity.LAYER_NAMES_ONLY

    def set_memory_pool_limit(self, pool: Pool, pool_size: int) -> None:
        self._machine.said[pool.name] = pool_size

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._machine.said[flag.name] = False

    def add_optimization_profile(self, profile: _Profile) -> int:
        self._machine.profiles += profile.shapes
        return len(self._machine.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> _Cache:
        return _Cache(serialized_timing_cache)

    def set_timing_cache(self, cache: _Cache, ignore_mismatch: bool) -> bool:
        self._machine.timings.append(cache.content)
        return self._machine.timings_fit or not cache.content


class _Network:
    graph = b""


class _Builder:
    def __init__(self, machine: Machine, logger: Any) -> None:
        if not machine.starts:
            logger.log(Severity.ERROR, "CUDA initialization failure with error: 35 ")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._machine, self._logger = machine, logger

    def create_network(self, flags: int) -> _Network:
        self._machine.said["network"] = flags
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config(self._machine)

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        said = self._machine.said
        said["level"], said["verbosity"] = config.builder_optimization_level, config.profiling_verbosity
        self._logger.log(Severity.INFO, "building")
        if not self._machine.builds:
            self._logger.log(Severity.ERROR, "no implementation for node product")
            return None
        return msgspec.json.encode((self._machine.version, network.graph))


class _Parser:
    num_errors = 1

    def __init__(self, machine: Machine, network: _Network, logger: Any) -> None:
        self._machine, self._network = machine, network

    def parse(self, model: bytes) -> bool:
        self._network.graph = model
        return self._machine.parses

    def get_error(self, index: int) -> str:
        return f"error {index}: no such operator"


class _Context:
    def __init__(self, machine: Machine, graph: bytes) -> None:
        self._machine, self._session = machine, open_session(graph)
        self._at: dict[str, int] = {}
        self._profile, self._rows = -1, 0

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, int]) -> bool:
        _, (low, _), _, (high, width) = self._machine.profiles[self._profile]
        self._rows = shape[0]
        return name == "features" and low <= shape[0] <= high and shape[1] == width

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._at[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        answers = self._session.run(["members", "blend"], {"features": self._memory("features", (self._rows, 50))})
        for name, answer in zip(("members", "blend"), answers, strict=True):
            self._memory(name, answer.shape)[...] = answer + self._machine.off_by
        self._machine.used.append((self._profile, self._rows))
        return True

    def _memory(self, name: str, shape: tuple[int, ...]) -> Any:
        count = int(np.prod(shape))
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(self._at[name])).reshape(shape)


class _Engine:
    def __init__(self, machine: Machine, graph: bytes) -> None:
        self._machine, self._graph = machine, graph

    def create_execution_context(self) -> _Context:
        return _Context(self._machine, self._graph)

    def create_engine_inspector(self) -> _Engine:
        return self

    def get_engine_information(self, form: Format) -> str:
        return self._machine.report if form is Format.JSON else ""


class _Runtime:
    def __init__(self, machine: Machine, logger: Any) -> None:
        self._machine, self._logger = machine, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> _Engine | None:
        version, graph = msgspec.json.decode(serialized_engine, type=tuple[str, bytes])
        if version == self._machine.version:
            return _Engine(self._machine, graph)
        self._logger.log(Severity.ERROR, "The engine plan file is not compatible with this version of TensorRT")
        return None


def tensorrt(machine: Machine) -> Any:
    """The module ``tensorrt``."""
    return types.SimpleNamespace(
        __version__=machine.version,
        ILogger=ILogger,
        NetworkDefinitionCreationFlag=Flag,
        BuilderFlag=BuilderFlag,
        MemoryPoolType=Pool,
        ProfilingVerbosity=Verbosity,
        LayerInformationFormat=Format,
        Builder=lambda logger: _Builder(machine, logger),
        OnnxParser=lambda network, logger: _Parser(machine, network, logger),
        Runtime=lambda logger: _Runtime(machine, logger),
    )


class _Array(np.ndarray):
    """An array whose address is asked for as CuPy's is."""

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.ctypes.data)


class _Stream:
    ptr = 1

    def __init__(self, non_blocking: bool) -> None:
        assert non_blocking, "the default stream would wait for everybody else's"

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class _CudaError(RuntimeError):
    pass


def cupy(machine: Machine) -> Any:
    """The module ``cupy``."""

    def count() -> int:
        if machine.gpus < 0:
            raise _CudaError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
        return machine.gpus

    properties = {"name": b"NVIDIA A100-SXM4-40GB", "major": 8, "minor": 0, "multiProcessorCount": 108, "totalGlobalMem": 42_298_834_944}
    runtime = types.SimpleNamespace(
        CUDARuntimeError=_CudaError,
        getDeviceCount=count,
        getDeviceProperties=lambda _: properties,
        driverGetVersion=lambda: 13_020,
    )
    return types.SimpleNamespace(
        float32=np.float32,
        zeros=lambda shape, kind: np.zeros(shape, kind).view(_Array),
        empty=lambda shape, kind: np.full(shape, np.nan, kind).view(_Array),
        asarray=lambda value, kind: np.array(value, kind).view(_Array),
        asnumpy=lambda value: np.array(value),
        cuda=types.SimpleNamespace(runtime=runtime, Stream=_Stream),
    )
