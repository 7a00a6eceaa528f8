"""Both stores of model versions keep the promises; the message server is the real one, and each user may do there what is his."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import nats
import pytest

from tests.promises.model_store import ModelStorePromises, files
from tests.promises.server import RunningServer
from tests.promises.waiting import run, until
from tradingsystem.adapters.jetstream import call
from tradingsystem.adapters.model_folder import FolderModelStore
from tradingsystem.adapters.nats import NatsConnection, NatsSettings
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.adapters.nats_objects import CHUNK_BYTES
from tradingsystem.bundles.archive import VERSION, pack, unpack
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.interfaces import ModelStore
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import models_bucket, object_stream
from tradingsystem.process.nats_server import free_ports, program

SYSTEM = "testing"


class TestFolder(ModelStorePromises):
    """On a disk."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "store"

    @asynccontextmanager
    async def store(self) -> AsyncIterator[ModelStore]:
        """One that does not exist yet."""
        yield FolderModelStore(self.folder)


class _Both(NatsModelStore):
    """Put as a learning job, removed as a person: nobody is allowed both."""

    def __init__(self, learning: NatsConnection, person: NatsConnection) -> None:
        super().__init__(learning)
        self._person = NatsModelStore(person)

    async def remove(self, version: int) -> bool:
        """As a person."""
        return await self._person.remove(version)


@asynccontextmanager
async def opened(server: RunningServer, user: str) -> AsyncIterator[NatsConnection]:
    """A connection as that user."""
    connection = NatsConnection(server.as_user(user), "models")
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def server(nats_server: RunningServer) -> RunningServer:
    """The module's server with an empty object store."""
    asyncio.run(emptied(nats_server))
    return nats_server


async def emptied(server: RunningServer) -> None:
    """Purge it whole, as only a person may."""
    async with opened(server, PERSON) as person:
        await NatsModelStore(person).ensure()
        await call(person, f"STREAM.PURGE.{object_stream(models_bucket(SYSTEM))}")


async def say_another_digest(learning: NatsConnection, version: int) -> None:
    """The word about a version no longer fits its chunks."""
    objects = NatsModelStore(learning).objects
    info = await objects.info(f"{version}.tar")
    assert info is not None
    wrong = msgspec.structs.replace(info, digest="SHA-256=AAAA")
    await learning.request(objects._meta(info.name), msgspec.json.encode(wrong), 5.0, {"Nats-Rollup": "sub"})


async def messages_in(connection: NatsConnection) -> int:
    """How many messages the object store holds: chunks, and one about each version."""
    return int((await call(connection, f"STREAM.INFO.{object_stream(models_bucket(SYSTEM))}"))["state"]["messages"])


@pytest.mark.nats
class TestObjectStore(ModelStorePromises):
    """On the message server."""

    @pytest.fixture(autouse=True)
    def _server(self, server: RunningServer) -> None:
        self.server = server

    @asynccontextmanager
    async def store(self) -> AsyncIterator[ModelStore]:
        """The module's, empty."""
        async with opened(self.server, "learning") as learning, opened(self.server, PERSON) as person:
            yield _Both(learning, person)

    def test_a_removed_number_is_never_given_again(self) -> None:
        """Whoever remembers version 2 must not meet another one under that number."""

        async def main() -> None:
            async with opened(self.server, "learning") as learning, opened(self.server, PERSON) as person:
                store = _Both(learning, person)
                await store.put(2, files(2))
                await store.remove(2)
                with pytest.raises(RequestRefused, match="it is given once"):
                    await store.put(2, files(2))
                assert await store.numbers() == {2: False}

        run(main())

    def test_an_upload_that_was_cut_off_is_nowhere_and_goes_on(self) -> None:
        """After the first chunk nobody sees anything; put again, no chunk is there twice."""

        async def main() -> None:
            async with opened(self.server, "learning") as learning, opened(self.server, "models") as reader:
                store, sent = NatsModelStore(learning), []

                async def cut_off(subject: str, payload: bytes, *rest: object) -> bytes:
                    if sent:
                        raise TryAgain("cut off")
                    sent.append(payload)
                    return await learning_request(subject, payload, *rest)  # type: ignore[arg-type]

                learning_request = learning.request
                learning.request = lambda subject, payload, *rest: (  # type: ignore[assignment]
                    cut_off(subject, payload, *rest) if ".C." in subject else learning_request(subject, payload, *rest)  # type: ignore[arg-type]
                )
                with pytest.raises(TryAgain, match="cut off"):
                    await store.put(2, files(2))
                assert len(sent) == 1
                assert await NatsModelStore(reader).versions() == ()
                with pytest.raises(ModelRefused):
                    await NatsModelStore(reader).get(2)
                del learning.request
                await store.put(2, files(2))
                assert dict(await NatsModelStore(reader).get(2)) == files(2)
                assert await messages_in(reader) == -(-len(pack(files(2), VERSION)) // CHUNK_BYTES) + 1

        run(main())

    def test_two_who_put_at_once_put_one(self) -> None:
        """The same job started twice: both succeed, nothing is stored twice."""

        async def main() -> None:
            async with opened(self.server, "learning") as first, opened(self.server, "learning") as second:
                await asyncio.gather(*(NatsModelStore(each).put(2, files(2)) for each in (first, second)))
                assert dict(await NatsModelStore(first).get(2)) == files(2)
                assert await messages_in(first) == -(-len(pack(files(2), VERSION)) // CHUNK_BYTES) + 1

        run(main())

    def test_what_is_not_what_was_put_is_refused(self) -> None:
        """A chunk that somebody added: the digest says so, nothing is unpacked."""

        async def main() -> None:
            async with opened(self.server, "learning") as learning:
                store = NatsModelStore(learning)
                await store.put(2, files(2))
                await say_another_digest(learning, 2)
                with pytest.raises(ModelRefused) as refused:
                    await store.get(2)
                assert refused.value.refusal is Refusal.CORRUPT

        run(main())

    def test_who_promotes_makes_room(self) -> None:
        """Models removes what is no longer needed, and cannot put what would serve."""

        async def main() -> None:
            async with opened(self.server, "learning") as learning, opened(self.server, "models") as promotes:
                await NatsModelStore(learning).put(2, files(2))
                assert await NatsModelStore(promotes).remove(2)
                assert await NatsModelStore(learning).numbers() == {2: False}
                assert await messages_in(promotes) == 1
                ask = promotes.request
                promotes.request = lambda subject, payload, _, headers=None: ask(subject, payload, 0.2, headers)  # type: ignore[assignment,misc]
                with pytest.raises(TryAgain):
                    await NatsModelStore(promotes).put(3, files(3))

        run(main())

    def test_who_loads_may_read_and_no_more(self) -> None:
        """Models and filter see what there is and what comes; they cannot put, nor can the job purge."""

        async def main() -> None:
            async with opened(self.server, "learning") as learning, opened(self.server, "filter") as loads:
                heard: list[tuple[int, bool]] = []
                await NatsModelStore(learning).put(2, files(2))
                reader = await NatsModelStore(loads).follow(lambda version, there: heard.append((version, there)))
                await until(lambda: heard == [(2, True)])
                await NatsModelStore(learning).put(3, files(3))
                await until(lambda: heard == [(2, True), (3, True)])
                await reader.close()
                ask = loads.request
                loads.request = lambda subject, payload, _, headers=None: ask(subject, payload, 0.2, headers)  # type: ignore[assignment,misc]
                with pytest.raises(TryAgain):
                    await NatsModelStore(loads).put(4, files(4))
                with pytest.raises(TryAgain):
                    await call(learning, f"STREAM.PURGE.{object_stream(models_bucket(SYSTEM))}", timeout_seconds=0.2)
                assert await NatsModelStore(learning).versions() == (2, 3)

        run(main())


@pytest.mark.nats
def test_a_store_without_room_says_so(tmp_path: Path) -> None:
    """Named, nothing new; what was removed makes room again."""
    server = RunningServer(tmp_path)
    server.start()

    async def main() -> None:
        async with opened(server, "learning") as learning, opened(server, PERSON) as person:
            store = NatsModelStore(learning, bytes_max=700_000)
            await store.ensure()
            await store.put(2, files(2))
            with pytest.raises(RequestRefused, match="full"):
                await store.put(3, files(3, 600_000))
            assert await store.versions() == (2,)
            await NatsModelStore(person).remove(2)
            await store.put(3, files(3, 400_000))
            assert await store.versions() == (3,)

    try:
        run(main())
    finally:
        server.stop()


@pytest.mark.nats
def test_other_clients_read_it(tmp_path: Path) -> None:
    """NATS's own client lists and gets the object, its digest checked; what it holds is a tar of the version."""
    (port,) = free_ports(1)
    process = subprocess.Popen([program(), "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(tmp_path), "-l", str(tmp_path / "log")])

    async def main() -> None:
        settings = NatsSettings(f"nats://127.0.0.1:{port}", SYSTEM, "learning")
        ours = NatsConnection(settings, "models")
        await ours.open()
        store = NatsModelStore(ours)
        await store.ensure()
        await store.put(7, files(7))
        client = await nats.connect(settings.url)
        theirs = await client.jetstream().object_store(models_bucket(SYSTEM))
        assert [(info.name, info.chunks) for info in await theirs.list()] == [("7.tar", 3)]
        assert unpack((await theirs.get("7.tar")).data or b"", VERSION) == files(7)
        await client.close()
        await store.remove(7)
        await ours.close()

    try:
        run(main())
    finally:
        process.terminate()
        process.wait()
