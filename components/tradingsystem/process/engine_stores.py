"""Where versions and engines are kept, for who builds engines and for who loads them: folders, or the object stores of a message server.

Beside ``assembling`` one of the few doors to the adapters; it builds no engine and verifies none.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tradingsystem.adapters.engine_folder import FolderEngineStore
from tradingsystem.adapters.model_folder import FolderModelStore
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.adapters.nats_engine_store import NatsEngineStore
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.interfaces import EngineStore, ModelStore
from tradingsystem.messages.permissions import ENGINE
from tradingsystem.messages.server import ServerAddress, StoreSizes
from tradingsystem.process.connecting import connection_settings, ensured
from tradingsystem.process.serving import SHIPPED, prepare_folder

CONNECT_SECONDS = 30.0  # a job waits for the message server so long; then it is started again


def engines_in(folder: Path) -> EngineStore:
    """The engines that lie in a folder, which need not exist."""
    return FolderEngineStore(folder)


async def engines_of(connection: NatsConnection, bytes_max: int) -> NatsEngineStore:
    """The object store of engines, which is there when this returns, however long the server takes to answer."""
    return await ensured(NatsEngineStore(connection, bytes_max=bytes_max))


@dataclass(frozen=True, slots=True)
class ObjectStores:
    """A message server's versions and engines. ``folder`` is where a version is laid to be read."""

    models: ModelStore
    engines: EngineStore
    folder: Path

    async def folder_with(self, version: int) -> Path:
        """A folder with the release's versions and that one, or every one for 0. Raises ``ModelRefused``, ``RequestRefused``, ``TryAgain``."""
        near = FolderModelStore(self.folder)
        for each in (version,) if version else await self.models.versions():
            if each not in SHIPPED:
                await near.put(each, await self.models.get(each))
        return self.folder


@contextlib.asynccontextmanager
async def object_stores(
    server: ServerAddress, system: str, password: str, volume_bytes: int, keys_file: Path | None
) -> AsyncIterator[ObjectStores]:
    """Those of a system, as its user ``engine``; made where they are missing. ``keys_file`` verifies versions beside the release's key. Raises ``TryAgain``,
    ``NotAuthorized``, ``RequestRefused``."""
    sizes = StoreSizes.on_volume(volume_bytes)
    connection = NatsConnection(connection_settings(server, system, ENGINE, password), "engine")
    await connection.open(CONNECT_SECONDS)
    try:
        models = NatsModelStore(connection, bytes_max=sizes.models_bytes)
        engines = NatsEngineStore(connection, bytes_max=sizes.engines_bytes)
        await models.ensure()
        await engines.ensure()
        with tempfile.TemporaryDirectory(prefix="tradingsystem-models-") as folder:
            prepare_folder(Path(folder), keys_file)
            yield ObjectStores(models, engines, Path(folder))
    finally:
        await connection.close()
