"""Both stores of engines keep the promises; the message server is the real one, and each user may do there what is his."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.promises.engine_store import EngineStorePromises, files, name
from tests.promises.model_store import files as version_files
from tests.promises.server import RunningServer
from tests.promises.test_model_stores import SYSTEM, opened
from tests.promises.waiting import run
from tradingsystem.adapters.engine_folder import FolderEngineStore
from tradingsystem.adapters.jetstream import call
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.adapters.nats_engine_store import NatsEngineStore
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.domain.errors import TryAgain
from tradingsystem.interfaces import EngineStore
from tradingsystem.messages.permissions import ENGINE, PERSON
from tradingsystem.messages.subjects import Subjects, engines_bucket, object_stream


class TestFolder(EngineStorePromises):
    """On a disk."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "engines"

    @asynccontextmanager
    async def store(self) -> AsyncIterator[EngineStore]:
        """One that does not exist yet."""
        yield FolderEngineStore(self.folder)


@pytest.fixture
def server(nats_server: RunningServer) -> RunningServer:
    """The module's server with an empty store of engines."""

    async def emptied() -> None:
        async with opened(nats_server, PERSON) as person:
            await NatsEngineStore(person).ensure()
            await call(person, f"STREAM.PURGE.{object_stream(engines_bucket(SYSTEM))}")

    asyncio.run(emptied())
    return nats_server


@pytest.mark.nats
class TestObjectStore(EngineStorePromises):
    """On the message server, as the job that builds."""

    @pytest.fixture(autouse=True)
    def _server(self, server: RunningServer) -> None:
        self.server = server

    @asynccontextmanager
    async def store(self) -> AsyncIterator[EngineStore]:
        """The module's, empty."""
        async with opened(self.server, ENGINE) as engine:
            yield NatsEngineStore(engine)

    def test_the_job_reads_versions_and_puts_engines_and_no_more(self) -> None:
        """It has compiled what somebody else has trained: it cannot publish a version, nor say anything in the system's name."""

        async def main() -> None:
            async with opened(self.server, ENGINE) as engine, opened(self.server, "learning") as learning:
                await NatsModelStore(learning).ensure()
                await NatsModelStore(learning).put(2, version_files(2))
                assert await NatsModelStore(engine).get(2) == version_files(2)
                await NatsEngineStore(engine).put(name(2), files(2))
                hastily(engine)
                with pytest.raises(TryAgain):
                    await NatsModelStore(engine).put(3, version_files(3))
                for subject in (Subjects(SYSTEM).journal_promotion, Subjects(SYSTEM).command):
                    with pytest.raises(TryAgain):
                        await engine.request(subject, b"{}", 0.2)

        run(main())

    def test_who_loads_removes_and_cannot_put(self) -> None:
        """Models brings no engine of its own before the server; it makes room for others'."""

        async def main() -> None:
            async with opened(self.server, ENGINE) as engine, opened(self.server, "models") as models:
                await NatsEngineStore(engine).put(name(2), files(2))
                assert await NatsEngineStore(models).get(name(2)) == files(2)
                assert await NatsEngineStore(models).remove(name(2))
                hastily(models)
                with pytest.raises(TryAgain):
                    await NatsEngineStore(models).put(name(3), files(3))

        run(main())


def hastily(connection: NatsConnection) -> None:
    """Requests of that connection wait a fifth of a second: what is not permitted is answered by nobody."""
    ask = connection.request
    connection.request = lambda subject, payload, _, headers=None: ask(subject, payload, 0.2, headers)  # type: ignore[assignment,misc]
