"""Engines for whoever is told to build one: the door to TensorRT and the GPU, neither of which is loaded before.

Beside ``wiring`` one of the few doors to the adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_plan import EngineRecord, Target
from tradingsystem.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Made:
    """An engine's folder and record; ``existed``: it was there already."""

    folder: Path
    record: EngineRecord
    existed: bool


def target_here() -> Target:
    """What an engine that is built here is tied to. Raises ``InvalidInput`` with all that is missing: TensorRT, CuPy, a GPU."""
    from tradingsystem.adapters.tensorrt import target

    return target()


def build_engine(bundle: Bundle, out: Path, told: Callable[[str], None], *, int8: bool) -> Made:
    """As ``adapters.tensorrt_build`` does. Raises ``InvalidInput``, ``ModelRefused``, ``OSError``."""
    from tradingsystem.adapters.tensorrt_build import build

    try:
        built = build(bundle, out, told, int8=int8)
    except InvalidInput as error:
        raise InvalidInput(
            f"no engine can be built here: {error}\nIt is built where it will serve; --plan says what would be built."
        ) from error
    return Made(built.folder, built.record, built.existed)
