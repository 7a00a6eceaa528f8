"""The model servers keep the promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.promises.model_server import ModelServerPromises, Shelf
from tests.promises.triton import model_server, started
from tradingsystem.adapters.onnxruntime import InProcessModelServer
from tradingsystem.interfaces import ModelServer
from tradingsystem.process.triton_server import TritonServer


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """One server for the module: what a test loads, the next one unloads."""
    with started(tmp_path_factory.mktemp("triton")) as server:
        yield server


class TestInProcessModelServer(ModelServerPromises):
    """Sessions of onnxruntime in this process."""

    @asynccontextmanager
    async def server(self, shelf: Shelf) -> AsyncIterator[ModelServer]:
        """A new one."""
        yield InProcessModelServer(shelf.read)


@pytest.mark.triton
class TestTritonModelServer(ModelServerPromises):
    """Versions of ``fused`` on a real tritonserver."""

    @pytest.fixture(autouse=True)
    def _served_by(self, triton: TritonServer) -> None:
        self.triton = triton

    def server(self, shelf: Shelf) -> AbstractAsyncContextManager[ModelServer]:
        return model_server(self.triton, shelf)
