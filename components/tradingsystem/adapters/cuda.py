"""The GPU of this machine as CUDA sees it, and what is needed to use it. CuPy is an extra, and nothing here loads it before somebody asks for a GPU.

It runs nothing. It has not been run with a GPU yet: what it says where there is none is tested.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from tradingsystem.domain.errors import InvalidInput

FIRST = 0  # one GPU a system, and a container sees its own as the first


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU, or the slice of one that this process was given. ``compute_capability`` as "8.0"; ``driver`` is the CUDA version that it can run."""

    name: str
    compute_capability: str
    multiprocessors: int
    memory_mib: int
    driver: str

    @property
    def words(self) -> str:
        """For a person."""
        return f"{self.name} (compute capability {self.compute_capability}, {self.memory_mib:,} MiB, CUDA driver {self.driver})"


def cupy() -> Any:
    """The module. Raises ``InvalidInput`` where it is not installed or finds no GPU."""
    try:
        module = importlib.import_module("cupy")
    except ImportError as error:
        raise InvalidInput(f"CuPy cannot be loaded ({error}): install tradingsystem[gpu], locked in requirements/gpu.txt") from error
    runtime = module.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise InvalidInput(f"no GPU that CUDA can use here: {error}") from error
    if not count:
        raise InvalidInput("no GPU here: CUDA's driver is there and sees none")
    return module


def present() -> Gpu:
    """The GPU. Raises ``InvalidInput`` as ``cupy`` does."""
    runtime = cupy().cuda.runtime
    told, driver = runtime.getDeviceProperties(FIRST), runtime.driverGetVersion()
    return Gpu(
        name=told["name"].decode(),
        compute_capability=f"{told['major']}.{told['minor']}",
        multiprocessors=int(told["multiProcessorCount"]),
        memory_mib=int(told["totalGlobalMem"]) // 2**20,
        driver=f"{driver // 1000}.{driver % 1000 // 10}",
    )
