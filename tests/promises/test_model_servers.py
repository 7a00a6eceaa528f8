"""The model servers keep the promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.promises.model_server import ModelServerPromises, Shelf
from tradingsystem.adapters.onnxruntime import InProcessModelServer
from tradingsystem.interfaces import ModelServer


class TestInProcessModelServer(ModelServerPromises):
    """Sessions of onnxruntime in this process."""

    @asynccontextmanager
    async def server(self, shelf: Shelf) -> AsyncIterator[ModelServer]:
        """A new one."""
        yield InProcessModelServer(shelf.read)
