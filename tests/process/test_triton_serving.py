"""A version that is asked no more leaves nothing running, whether its server is there or not."""

from __future__ import annotations

import asyncio

import numpy as np

from tests.promises.waiting import run, until
from tests.spec.documents import system
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.process.nats_server import free_ports
from tradingsystem.process.serving import TritonServing
from tradingsystem.spec.slices import FilterSlice, slice_of


def test_an_unloaded_version_is_probed_no_more() -> None:
    """A filter that runs for weeks sees many versions: each would ask a server that is away four times a second, for ever."""

    async def main() -> None:
        piece = slice_of("filter", system({"spec.inference": {"runtime": "Triton", "deadlineMilliseconds": 1000}}))
        assert isinstance(piece, FilterSlice)
        (port,) = free_ports(1)
        triton = TritonServing(piece, None, f"127.0.0.1:{port}", None)
        before = asyncio.all_tasks()
        serving = triton.serving()
        while asyncio.all_tasks() == before:  # until so many questions in a row were answered by the fallback that probing begins
            assert (await serving.inference.infer(np.zeros((1, FEATURE_COUNT), np.float32))).fallback
        triton.unload(serving.version)
        await until(lambda: asyncio.all_tasks() == before)
        await triton.close()

    run(main())
