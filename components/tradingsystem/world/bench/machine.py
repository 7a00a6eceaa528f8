"""What a measurement ran on, as the system tells it. It measures nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tradingsystem.world.bench.result import Machine

PACKAGES = (
    "tradingsystem",
    "numpy",
    "numba",
    "msgspec",
    "pyarrow",
    "onnxruntime",
    "nats-py",
    "aiohttp",
    "httptools",
    "uvloop",
    "alpaca-py",
    "orjson",
)
GPU_PACKAGES = ("cupy-cuda13x", "torch", "tensorrt")


def describe(gpu: str = "") -> Machine:
    """Processor, cores, memory, versions, and how busy the machine is already; ``gpu`` in words where one is measured."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={name: found for name in (*PACKAGES, *(GPU_PACKAGES if gpu else ())) if (found := _version(name))},
        load=round(os.getloadavg()[0], 2),
        gpu=gpu,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
