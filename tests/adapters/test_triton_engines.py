"""A real tritonserver is given an engine only where its own word about its GPU fits the engine's signed record; inference goes on whatever comes of it.

The driver and TensorRT that the server finds are stand-ins of a few lines, compiled here, so that it says what a server with an A100 would say; it has no
backend that could run an engine, which is how a server that does not take one is shown. No GPU took part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.adapters.gpu_libraries import A100, compiled
from tests.bundles.test_engine_files import KEY, REPORT, TRUSTED
from tests.conftest import program
from tests.promises.model_server import Shelf, good_bundle
from tests.promises.triton import prepared, settings_of
from tests.promises.waiting import run
from tradingsystem.adapters import triton
from tradingsystem.adapters.engine_folder import FolderEngineStore
from tradingsystem.adapters.triton import TritonModelServer
from tradingsystem.adapters.triton_calls import connected
from tradingsystem.adapters.triton_engines import TritonEngines
from tradingsystem.adapters.triton_target import target_of
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_files import contents_of
from tradingsystem.bundles.engine_plan import Target, engine_name, engine_plan
from tradingsystem.bundles.triton_config import Backend
from tradingsystem.interfaces import EngineStore
from tradingsystem.process.triton_server import TritonServer

pytestmark = [pytest.mark.triton, pytest.mark.compiler]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a server with a GPU finds, by name."""
    return compiled(program("compiler"), tmp_path_factory.mktemp("libraries"), A100)


@pytest.fixture(scope="module")
def server(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server that says it has an A100."""
    made = prepared(tmp_path_factory.mktemp("triton"), libraries=(libraries,))
    with asyncio.Runner() as runner:
        runner.run(made.start())
        try:
            yield made
        finally:
            runner.run(made.stop())


@pytest.fixture
def store(tmp_path: Path) -> FolderEngineStore:
    """Engines, none yet."""
    return FolderEngineStore(tmp_path / "engines")


@asynccontextmanager
async def served(server: TritonServer, store: EngineStore) -> AsyncIterator[TritonModelServer]:
    """Versions 1 and 2, nothing loaded."""
    shelf = Shelf({version: good_bundle(version) for version in (1, 2)})
    made = TritonModelServer(settings_of(server), shelf.read, engines=TritonEngines(store, lambda _: TRUSTED))
    try:
        await made.load(())
        yield made
    finally:
        await made.close()


async def put(store: EngineStore, bundle: Bundle, key: Ed25519PrivateKey = KEY, *, target: Target = A100, under: Target = A100) -> str:
    """An engine for ``target`` under the name of one for ``under``."""
    plan = engine_plan(bundle)
    name = engine_name(plan, under)
    await store.put(name, contents_of(plan, target, b"an engine", b"", REPORT, 0.0, key))
    return name


def test_a_server_says_what_an_engine_must_have_been_built_for(server: TritonServer) -> None:
    """By its own driver and its own TensorRT, whichever node it has come to; afterwards it has loaded nothing more than before."""

    async def main() -> None:
        client = connected(server.settings.address)
        assert await target_of(client, settings_of(server)) == A100
        assert not await client.is_model_ready("target")
        await client.close()

    run(main())


def test_a_server_without_a_gpu_says_nothing_and_is_given_no_engine(store: FolderEngineStore, tmp_path: Path) -> None:
    """It serves by its own backend, and the reason is told."""

    async def main() -> None:
        server = prepared(tmp_path)
        await server.start()
        try:
            await put(store, good_bundle(1))
            async with served(server, store) as made:
                await made.load((1,))
                assert (await made.probe(1)).worst_difference < 1e-3
                running = made.running()
                assert (running.backend, running.wanted) == ("python", ())
                assert "does not say which GPU" in running.lacking[1]
        finally:
            await server.stop()

    run(main())


def test_without_an_engine_the_graph_is_served_and_one_is_asked_for(server: TritonServer, store: FolderEngineStore) -> None:
    """A version without an engine is a version all the same: what is missing is said by name, for whoever can build it."""

    async def main() -> None:
        async with served(server, store) as made:
            await made.load((1, 2))
            await put(store, good_bundle(1))
            await made.load((1, 2))  # one of two: one model has one backend
            assert (await made.probe(2)).worst_difference < 1e-3
            running = made.running()
            assert (running.backend, running.wanted, list(running.lacking)) == ("python", (2,), [2])
            assert running.lacking[2].startswith("EngineMissing: none for NVIDIA A100-SXM4-40GB and TensorRT 10.16.1.11: no fused-2-int8-")

    run(main())


@pytest.mark.parametrize(
    ("key", "target", "says"),
    [
        (Ed25519PrivateKey.generate(), A100, "not signed by a key that may sign version 1"),
        (
            KEY,
            Target(tensorrt="10.16.1.11", gpu="NVIDIA H100", compute_capability="9.0", multiprocessors=132),
            "wanted NVIDIA A100-SXM4-40GB",
        ),
    ],
    ids=["unsigned", "of another GPU"],
)
def test_an_engine_that_does_not_fit_is_never_sent(
    server: TritonServer, store: FolderEngineStore, key: Ed25519PrivateKey, target: Target, says: str
) -> None:
    """EngineMismatch before any load: an engine is code, and the server that reads it could only say that it cannot."""

    async def main() -> None:
        name = await put(store, good_bundle(1), key, target=target)
        async with served(server, store) as made:
            await made.load((1,))
            running = made.running()
            assert (running.backend, running.wanted) == ("python", (1,))
            assert running.lacking[1].startswith("EngineMismatch: ")
            assert says in running.lacking[1]
            assert (await made.probe(1)).worst_difference < 1e-3
            assert await store.get(name) is not None

    run(main())


def test_a_server_that_takes_no_engine_serves_the_graph_and_is_not_asked_again(
    server: TritonServer, store: FolderEngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the graph serves and is sent with the configuration for TensorRT, once; the refusal is told and changes nothing else."""

    async def main() -> None:
        sent: list[Backend] = []
        configure = triton.configuration
        monkeypatch.setattr(
            triton, "configuration", lambda model, backend, versions: (sent.append(backend), configure(model, backend, versions))[1]
        )
        monkeypatch.setattr(triton, "ENGINES_LOOK_SECONDS", 0.0)
        async with served(server, store) as made:
            await made.load((1,))
            assert not await made.reconcile()
            await put(store, good_bundle(1))
            assert await made.reconcile()
            assert not await made.reconcile()
            assert sent == [Backend.PYTHON, Backend.TENSORRT, Backend.PYTHON]
            running = made.running()
            assert (running.backend, running.wanted) == ("python", ())
            assert running.lacking[1].startswith("NotLoaded: fused-1-int8-")
            assert (await made.probe(1)).worst_difference < 1e-3

    run(main())
