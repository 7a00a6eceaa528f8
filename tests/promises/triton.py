"""A real tritonserver for tests, as ``make triton`` set it up: one per module, started once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.promises.model_server import Shelf
from tradingsystem.adapters.triton import TritonModelServer
from tradingsystem.adapters.triton_calls import TritonSettings
from tradingsystem.process.nats_server import free_ports
from tradingsystem.process.private_files import read_password
from tradingsystem.process.triton_server import TritonServer, TritonServerSettings


def prepared(folder: Path, libraries: tuple[Path, ...] = ()) -> TritonServer:
    """A server in that folder, not started."""
    ports = free_ports(3)
    return TritonServer(TritonServerSettings(folder / "repository", folder / "server", *ports, libraries=libraries))


@contextmanager
def started(folder: Path) -> Iterator[TritonServer]:
    """Such a server, started in an event loop of its own."""
    server = prepared(folder)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            yield server
        finally:
            runner.run(server.stop())


def settings_of(server: TritonServer) -> TritonSettings:
    """How clients reach it."""
    key_file = server.settings.key_file
    return TritonSettings(server.settings.address, lambda: read_password(key_file))


@asynccontextmanager
async def model_server(server: TritonServer, shelf: Shelf) -> AsyncIterator[TritonModelServer]:
    """A model server over that shelf, nothing loaded."""
    served = TritonModelServer(settings_of(server), shelf.read)
    try:
        await served.load(())
        yield served
    finally:
        await served.close()
