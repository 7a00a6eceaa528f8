"""The driver and TensorRT as libraries of a few lines, compiled here: what a real tritonserver finds when it is asked for its GPU."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tradingsystem.bundles.engine_plan import Target

A100 = Target(tensorrt="10.16.1.11", gpu="NVIDIA A100-SXM4-40GB", compute_capability="8.0", multiprocessors=108)
_DRIVER = """
#include <string.h>
int cuInit(unsigned flags) {{ return 0; }}
int cuDeviceGet(int *device, int ordinal) {{ *device = 0; return 0; }}
int cuDeviceGetName(char *name, int length, int device) {{ strncpy(name, "{gpu}", length); return 0; }}
int cuDeviceGetAttribute(int *value, int attribute, int device) {{
    *value = attribute == 16 ? {multiprocessors} : attribute == 75 ? {major} : {minor};
    return 0;
}}
"""


def compiled(compiler: str, folder: Path, target: Target) -> Path:
    """The folder with both, saying ``target``."""
    folder.mkdir(parents=True, exist_ok=True)
    major, minor = target.compute_capability.split(".")
    driver = _DRIVER.format(gpu=target.gpu, multiprocessors=target.multiprocessors, major=major, minor=minor)
    numbers = target.tensorrt.split(".")
    versions = zip(("Major", "Minor", "Patch", "Build"), numbers, strict=True)
    infer = "\n".join(f"int getInferLib{part}Version(void) {{ return {number}; }}" for part, number in versions)
    for name, source in (("libcuda.so.1", driver), (f"libnvinfer.so.{numbers[0]}", infer)):
        subprocess.run([compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / name)], input=source.encode(), check=True)
    return folder
