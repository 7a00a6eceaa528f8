"""The GPU of this machine, and TensorRT's engines on it, for whoever is told to build or to measure: neither is loaded before.

Beside ``assembling`` one of the few doors to the adapters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_files import ENGINE_FILE, timings_in, verified
from tradingsystem.bundles.engine_plan import EngineRecord, Target, engine_name, engine_plan, version_in
from tradingsystem.bundles.refusal import ModelRefused
from tradingsystem.domain.errors import InvalidInput, RequestRefused
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import EngineStore, Scores
from tradingsystem.models.store import Trusted

if TYPE_CHECKING:
    from tradingsystem.adapters.cuda import Gpu

TIMINGS_LOOKED_AT = 5
"""Engines whose measured kernels are looked at, newest version first: without any a build measures anew, which is minutes and no loss."""


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


async def build_engine(
    store: EngineStore, bundle: Bundle, told: Callable[[str], None], *, int8: bool, key: Ed25519PrivateKey, trusted: Trusted
) -> tuple[EngineRecord, bool]:
    """The engine of a bundle for this machine's GPU in ``store``, built and signed with ``key`` unless one that ``trusted`` vouches for is there; its record,
    and whether it was there. One that may not be loaded makes room. Raises ``InvalidInput``, ``ModelRefused``, ``RequestRefused``, ``TryAgain``."""
    from tradingsystem.adapters.tensorrt_build import build

    plan, version, keys = engine_plan(bundle, int8=int8), bundle.manifest.version, trusted.of(simulated=bundle.manifest.simulated)
    try:
        here = target_here()
        name = engine_name(plan, here)
        try:
            if (there := await store.get(name)) is not None:
                return verified(there, plan, here, keys), True
        except ModelRefused as error:
            told(f"building anew: {error.detail}")
            await store.remove(name)
        timings = await _timings(store, here, version, keys)
        made = await asyncio.to_thread(lambda: build(bundle, told, int8=int8, key=key, timings=timings))  # the connection lives meanwhile
    except InvalidInput as error:
        raise InvalidInput(
            f"no engine can be built here: {error}\nIt is built where it will serve; --plan says what would be built."
        ) from error
    try:
        await store.put(name, made.contents)
    except RequestRefused as refused:
        if refused.code != "exists":
            raise
        there = await store.get(name)  # somebody else was faster: builds of one key differ in their bytes, not in what they may be used for
        return verified(there or {}, plan, here, keys), True
    return made.record, False


async def _timings(store: EngineStore, here: Target, version: int, keys: tuple[bytes, ...]) -> bytes:
    """The kernels that the newest engine for this GPU was built with, empty without one."""
    for name in sorted(await store.names(), key=version_in, reverse=True)[:TIMINGS_LOOKED_AT]:
        try:
            found = timings_in(await store.get(name) or {}, here, version, keys)
        except ModelRefused:
            continue
        if found:
            return found
    return b""


def engine_here(bundle: Bundle, told: Callable[[str], None], *, int8: bool) -> tuple[EngineRecord, bytes]:
    """An engine that is built to be measured and then forgotten, signed by nobody whom anybody trusts. Raises ``InvalidInput``, ``ModelRefused``."""
    from tradingsystem.adapters.tensorrt_build import build

    made = build(bundle, told, int8=int8, key=Ed25519PrivateKey.generate())
    return made.record, made.contents[ENGINE_FILE]


def engine_runner(engine: bytes, version: int) -> Callable[[F32], Scores]:
    """An engine of this machine ready to run: features F32[n, 50] of this memory to scores in it. Raises ``InvalidInput``, ``ModelRefused``."""
    from tradingsystem.adapters.tensorrt import TensorRtEngine

    return TensorRtEngine(engine, version).score
