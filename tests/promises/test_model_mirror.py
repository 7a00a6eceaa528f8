"""A folder is as the object store is, from before a pod is ready and while it runs; on the real message server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.promises.model_store import files
from tests.promises.server import RunningServer
from tests.promises.test_model_stores import _Both, opened, say_another_digest
from tests.promises.test_model_stores import server as server
from tests.promises.waiting import run, until
from tradingsystem.adapters.model_folder import FolderModelStore
from tradingsystem.adapters.model_mirror import PATIENCE_SECONDS, ModelMirror
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.domain.errors import TryAgain
from tradingsystem.messages.permissions import PERSON

pytestmark = pytest.mark.nats


@asynccontextmanager
async def mirrored(server: RunningServer, folder: Path) -> AsyncIterator[ModelMirror]:
    """The folder of a filter that runs: filled, and followed."""
    async with opened(server, "filter") as connection:
        mirror = ModelMirror(NatsModelStore(connection), FolderModelStore(folder), kept=frozenset({1}))
        await mirror.fill()
        following = asyncio.create_task(mirror.run())
        try:
            yield mirror
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def test_what_is_there_comes_first_and_what_comes_later_follows(server: RunningServer, tmp_path: Path) -> None:
    """Before it is ready, and without a restart; what was removed goes, what the image brought stays."""

    async def main() -> None:
        async with opened(server, "learning") as learning, opened(server, PERSON) as person:
            store, folder = _Both(learning, person), FolderModelStore(tmp_path)
            await folder.put(1, files(1))
            await store.put(1, files(9))
            await store.put(2, files(2))
            async with mirrored(server, tmp_path):
                assert version_numbers(tmp_path) == [1, 2]
                await store.put(3, files(3))
                await until(lambda: version_numbers(tmp_path) == [1, 2, 3])
                for version in (1, 2):
                    await store.remove(version)
                await until(lambda: version_numbers(tmp_path) == [1, 3])
                assert [dict(await folder.get(version)) for version in (1, 3)] == [files(1), files(3)]

    run(main())


def test_what_cannot_be_brought_keeps_nothing_else_away(server: RunningServer, tmp_path: Path) -> None:
    """A version whose bytes are not what was put is told and left out; the next one comes."""

    async def main() -> None:
        async with opened(server, "learning") as learning:
            store = NatsModelStore(learning)
            await store.put(2, files(2))
            await say_another_digest(learning, 2)
            async with mirrored(server, tmp_path):
                await store.put(3, files(3))
                await until(lambda: version_numbers(tmp_path) == [3])

    run(main())


def test_it_gets_over_the_loss_of_the_server(tmp_path: Path) -> None:
    """Killed and back: a version that was put afterwards comes."""
    server = RunningServer(tmp_path / "nats")
    server.start()

    async def main() -> None:
        async with opened(server, "learning") as learning:
            store = NatsModelStore(learning)
            await store.ensure()
            async with mirrored(server, tmp_path / "store"):
                await store.put(2, files(2))
                await until(lambda: version_numbers(tmp_path / "store") == [2])
                server.kill()
                server.launch()
                await until(lambda: learning.up)
                await put_in_time(store, 3)
                await until(lambda: version_numbers(tmp_path / "store") == [2, 3])

    try:
        run(main())
    finally:
        server.stop()


async def put_in_time(store: NatsModelStore, version: int) -> None:
    """Put as a job does that is started again until it succeeds."""
    async with asyncio.timeout(20):
        while True:
            try:
                await store.put(version, files(version))
            except TryAgain:
                continue
            return


def test_an_assigned_version_may_be_on_its_way_but_not_for_ever(server: RunningServer, tmp_path: Path) -> None:
    """Who promotes may have it earlier than who decides; that is no reason to refuse it. After a minute it is missing."""

    async def main() -> None:
        now = [0.0]
        async with opened(server, "learning") as learning:
            mirror = ModelMirror(NatsModelStore(learning), FolderModelStore(tmp_path), monotonic=lambda: now[0])
            await mirror.fill()
            with pytest.raises(TryAgain, match="on its way"):
                mirror.expect(2)
            now[0] = PATIENCE_SECONDS
            mirror.expect(2)
            await NatsModelStore(learning).put(3, files(3))
            await mirror.fill()
            mirror.expect(3)

    run(main())
