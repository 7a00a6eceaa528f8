"""The filter with the models that it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.assembling.parts import Parts
from tradingsystem.process.lifecycle import Service
from tradingsystem.spec.inference import Runtime
from tradingsystem.spec.slices import FilterSlice

if TYPE_CHECKING:
    from tradingsystem.filter.deciding import Serving


async def assemble(parts: Parts) -> Service:
    """The service. Raises ``InvalidInput``, ``NotAuthorized``, ``TryAgain``."""
    from tradingsystem.filter.service import FilterService
    from tradingsystem.process.serving import TritonServing, in_process_serving

    piece, assignment = cast(FilterSlice, parts.slice), parts.assignment
    triton: TritonServing | None = None
    if piece.inference.runtime is Runtime.TRITON:
        if not assignment.triton:
            raise InvalidInput("spec.inference.runtime: Triton, and this process was not told where it is (--triton HOST:PORT)")
        triton = TritonServing(piece, assignment.models_folder, assignment.triton, assignment.triton_key_file)
        parts.later.push_async_callback(triton.close)

    def load(version: int) -> Serving:
        """Exactly the bundle of that version, 0: the one that may serve. Raises ``TryAgain`` while it is on its way."""
        if parts.mirror is not None and version:
            parts.mirror.expect(version)
        return triton.serving(version) if triton else in_process_serving(piece, assignment.models_folder, version)[0]

    return FilterService(
        system=piece.system,
        spec=piece,
        clock=parts.clock,
        bus=parts.bus,
        journal=parts.journal,
        tape=parts.tape,
        serving=load(0),
        load=load,
        unload=triton.unload if triton else lambda _: None,
        folder=assignment.state_folder,
    )
