"""The models' service with the server that holds the versions."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.interfaces import Running
from tradingsystem.messages.server import StoreSizes
from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.connecting import store_of
from tradingsystem.process.engine_stores import engines_in, engines_of
from tradingsystem.process.lifecycle import Service
from tradingsystem.process.private_files import read_password
from tradingsystem.process.serving import trusted_in
from tradingsystem.spec.inference import Precision, Runtime
from tradingsystem.spec.slices import ModelsSlice

if TYPE_CHECKING:
    from tradingsystem.adapters.triton import TritonModelServer
    from tradingsystem.bundles.bundle import Bundle
    from tradingsystem.interfaces import EngineStore, ModelServer


async def assemble(parts: Parts) -> Service:
    """The service. Raises ``InvalidInput``, ``TryAgain``."""
    from tradingsystem.models.online import OnlineWeights
    from tradingsystem.models.promoting import Promoting, rules_of
    from tradingsystem.models.service import ModelsService
    from tradingsystem.process.serving import SHIPPED, bundle_in, choose_in, versions_in

    piece, folder = cast(ModelsSlice, parts.slice), parts.assignment.models_folder

    engines = await _engine_store(parts) if piece.inference.runtime is Runtime.TRITON else None
    triton = _triton(parts, piece, engines) if piece.inference.runtime is Runtime.TRITON else None

    def in_process() -> ModelServer:
        from tradingsystem.adapters.onnxruntime import InProcessModelServer  # a service without candidates pays for no runtime

        return InProcessModelServer(lambda version: bundle_in(folder, version), int8=piece.inference.precision is Precision.INT8)

    promoting = Promoting(
        rules=rules_of(piece.learning.promotion),
        better_probability_min_percent=piece.learning.promotion.better_probability_min_percent,
        latency_us_max=piece.inference.deadline_milliseconds * 1e3,
        present=lambda: versions_in(folder),
        read=lambda version: bundle_in(folder, version),
        server=functools.cache(in_process) if triton is None else lambda: triton,
        elsewhere=triton is not None,
        store=store_of(parts.connection if parts.mirror is not None else None, folder),
        versions_kept=piece.learning.versions_kept,
        shipped=frozenset(SHIPPED),
        engines=engines,
        running=triton.running if triton is not None else Running,
    )
    return ModelsService(
        system=piece.system,
        pinned=piece.live.models.pinned_version,
        choose=lambda pinned: choose_in(folder, pinned),
        promoting=promoting,
        online=OnlineWeights(enabled=piece.learning.online, members=piece.ensemble.members),
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
    )


async def _engine_store(parts: Parts) -> EngineStore | None:
    """Where engines come from, None where TensorRT runs nothing. Raises ``InvalidInput``."""
    given = parts.assignment
    if given.engines_from_nats:
        return await engines_of(parts.connection, StoreSizes.on_volume(given.journal_volume_bytes).engines_bytes)
    return engines_in(given.triton_engines) if given.triton_engines is not None else None


def _vouching(folder: Path | None, bundle: Bundle) -> tuple[bytes, ...]:
    """Whose signature an engine of that bundle may have: whoever may sign the bundle."""
    return trusted_in(folder).of(simulated=bundle.manifest.simulated)


def _triton(parts: Parts, piece: ModelsSlice, store: EngineStore | None) -> TritonModelServer:
    """What Triton has loaded, kept as it should be while this process runs. Raises ``InvalidInput``."""
    from tradingsystem.adapters.triton import TritonModelServer
    from tradingsystem.adapters.triton_calls import TritonSettings
    from tradingsystem.adapters.triton_engines import TritonEngines
    from tradingsystem.bundles.triton_config import Backend
    from tradingsystem.process.serving import bundle_in

    given = parts.assignment
    if not given.triton:
        raise InvalidInput("spec.inference.runtime: Triton, and this process was not told where it is (--triton HOST:PORT)")
    key_file = given.triton_key_file
    try:
        backend = Backend(given.triton_backend)
    except ValueError:
        raise InvalidInput(f"--triton-backend {given.triton_backend!r}: {Backend.ONNXRUNTIME} or {Backend.PYTHON}") from None
    if backend is Backend.TENSORRT:
        raise InvalidInput(
            "--triton-backend tensorrt: TensorRT runs a version that has an engine; say where engines are with --triton-engines"
        )
    settings = TritonSettings(given.triton, lambda: read_password(key_file) if key_file else "", backend)
    int8 = piece.inference.precision is Precision.INT8
    engines = TritonEngines(store, functools.partial(_vouching, given.models_folder), int8=int8) if store is not None else None
    server = TritonModelServer(settings, lambda version: bundle_in(given.models_folder, version), int8=int8, engines=engines)
    parts.later.push_async_callback(server.close)
    keeping = asyncio.create_task(server.run(), name="keep Triton's index")
    parts.later.callback(keeping.cancel)
    return server
