"""A real tritonserver under a steady rate of questions: bad candidates come, versions change, the server is killed, and every question is answered."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc.aio import InferenceServerClient

from tests.promises.model_server import Shelf, good_bundle, shelf
from tests.promises.server import stall
from tests.promises.triton import model_server, prepared, settings_of, started
from tests.promises.waiting import run, until
from tradingsystem.adapters import triton_shared_memory
from tradingsystem.adapters.fallback import FallbackInference
from tradingsystem.adapters.onnxruntime import GOLDEN_TOLERANCE, OnnxRuntimeInference, golden_difference
from tradingsystem.adapters.triton import TritonEnsemble, TritonInference, TritonModelServer
from tradingsystem.adapters.triton_calls import TritonSettings, connected
from tradingsystem.adapters.triton_shared_memory import FOLDER, SLOTS, SharedMemoryInference, sweep
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import FUSED
from tradingsystem.bundles.triton_files import SENT_TO
from tradingsystem.domain.errors import NotAuthorized, TryAgain
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.interfaces import Inference, Scores
from tradingsystem.process import triton_server
from tradingsystem.process.triton_server import TritonServer

pytestmark = pytest.mark.triton

RATE_SECONDS = 0.02
DEADLINE_SECONDS = 0.25
SLOW_SIDE = 4_000  # of a square of numbers whose sines the slow graph computes: some 40 ms on a quiet machine, far beyond the limit
SLOW, CORRUPT, NOT_FINITE, WRONG = 7, 6, 4, 5
LATENCY_MAX_US = 10_000.0


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """One server for the module."""
    with started(tmp_path_factory.mktemp("triton")) as server:
        yield server


def slowed(graph: bytes) -> bytes:
    """The same answers, after sines that nobody needs."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        if "blend" in node.output:
            node.output[0] = "quick"
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([SLOW_SIDE, SLOW_SIDE], np.int64), "square"),
            numpy_helper.from_array(np.float32(0.0), "nothing"),
            numpy_helper.from_array(np.array([0], np.int64), "first"),
            numpy_helper.from_array(np.array([1], np.int64), "first_shape"),
        ]
    )
    model.graph.node.extend(
        [
            helper.make_node("Gather", ["quick", "first"], ["one"], axis=0),
            helper.make_node("Expand", ["one", "square"], ["many"]),
            helper.make_node("Sin", ["many"], ["many_sines"]),
            helper.make_node("Gather", ["many_sines", "first"], ["row"], axis=0),
            helper.make_node("Gather", ["row", "first"], ["sine"], axis=1),
            helper.make_node("Reshape", ["sine", "first_shape"], ["flat_sine"]),
            helper.make_node("Mul", ["flat_sine", "nothing"], ["naught"]),
            helper.make_node("Add", ["quick", "naught"], ["blend"]),
        ]
    )
    assert model.graph.output[1].type.tensor_type.elem_type == TensorProto.FLOAT
    payload: bytes = model.SerializeToString()
    return payload


def stocked() -> Shelf:
    """The shelf of the promises, and a version that is right and slow."""
    full = shelf()
    good = good_bundle(SLOW)
    full.bundles[SLOW] = Bundle(good.manifest, slowed(good.int8_graph), good.float_graph, good.golden)
    return full


@dataclass
class Steady:
    """Questions at a steady rate to whoever ``inference`` is at the moment."""

    inference: Inference
    features: np.ndarray
    answers: list[tuple[int, Scores, float]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def ask_for_ever(self) -> None:
        """One question each ``RATE_SECONDS``; what fails is kept, never raised."""
        while True:
            began, asked = time.monotonic(), self.inference
            try:
                scores = await asked.infer(self.features)
                self.answers.append((asked.version, scores, time.monotonic() - began))
            except TryAgain as error:
                self.failures.append(error)
            due = asyncio.Event()
            asyncio.get_running_loop().call_later(max(0.0, RATE_SECONDS - (time.monotonic() - began)), due.set)
            await due.wait()


async def refusal_of(server: TritonModelServer, version: int) -> Refusal | None:
    """Why that version is not loaded beside version 1, or not right."""
    try:
        await server.load((1, version))
        await server.probe(version)
    except ModelRefused as refused:
        return refused.refusal if refused.version == version else None
    return None


@asynccontextmanager
async def asking(steady: Steady) -> AsyncIterator[Steady]:
    """While this is open, questions are asked."""
    task = asyncio.create_task(steady.ask_for_ever())
    try:
        yield steady
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_every_way_to_a_version_gives_its_golden_answers(triton: TritonServer) -> None:
    """In process, over gRPC, through shared memory and by the members' ensemble, at sizes that fill a bucket and that do not; a wrong key changes nothing."""

    async def main() -> None:
        bundles = stocked()
        bundle = bundles.read(1)
        own, client = OnnxRuntimeInference(bundle), connected(triton.settings.address)
        shared = SharedMemoryInference(client, settings_of(triton), 1, DEADLINE_SECONDS)
        async with model_server(triton, bundles) as server:
            await server.load((1,))
            await server.follow(1)
            remote, ensemble = TritonInference(client, 1, DEADLINE_SECONDS), TritonEnsemble(client, 1, DEADLINE_SECONDS)
            for each in (own, remote, shared, ensemble):
                assert golden_difference(await each.infer(bundle.golden.features), bundle.golden) <= GOLDEN_TOLERANCE
            for count in (1, 64, 65, 600):
                features = np.random.default_rng(count).normal(size=(count, FEATURE_COUNT)).astype(np.float32)
                expected = own.score(features)
                for inference in (remote, shared, ensemble):
                    scores = await inference.infer(features)
                    np.testing.assert_allclose(scores.blend, expected.blend, rtol=0, atol=GOLDEN_TOLERANCE)
                    np.testing.assert_allclose(scores.members, expected.members, rtol=0, atol=GOLDEN_TOLERANCE)
            with pytest.raises(TryAgain):
                await TritonInference(client, 2, DEADLINE_SECONDS).infer(features)
            stranger = TritonModelServer(TritonSettings(triton.settings.address, lambda: "guessed"), bundles.read)
            with pytest.raises(NotAuthorized, match="triton key"):
                await stranger.load((2,))
            await stranger.close()
        await shared.close()
        await client.close()
        assert not list(FOLDER.glob(f"tradingsystem-{os.getpid()}-*")), "its shared memory is given back"

    run(main())


def test_bad_candidates_cost_no_request_and_rollback_is_a_pointer(triton: TritonServer) -> None:
    """Corrupt, poisoned, wrong and slow versions under a steady rate: each is refused with its reason, and the rate never meets a failure."""

    async def main() -> None:
        bundles, client = stocked(), connected(triton.settings.address)
        one, two = (TritonInference(client, version, DEADLINE_SECONDS * 4) for version in (1, 2))
        async with model_server(triton, bundles) as server:
            await server.load((1,))
            golden = bundles.read(1).golden
            async with asking(Steady(one, golden.features)) as steady:
                await until(lambda: len(steady.answers) > 5)
                for bad, reason in ((CORRUPT, Refusal.NOT_LOADED), (NOT_FINITE, Refusal.NOT_FINITE)):
                    assert await refusal_of(server, bad) is reason
                await server.load((1, WRONG))
                assert (await server.probe(WRONG)).worst_difference > GOLDEN_TOLERANCE
                await server.load((1, SLOW))
                slow = await server.probe(SLOW)
                assert slow.worst_difference <= GOLDEN_TOLERANCE
                assert slow.latency_us > LATENCY_MAX_US
                assert (await server.probe(1)).latency_us < slow.latency_us
                await server.load((1, 2))
                steady.inference = two
                await until(lambda: steady.answers[-1][0] == 2)
                began = time.monotonic()
                steady.inference = one
                await until(lambda: steady.answers[-1][0] == 1)
                assert time.monotonic() - began < 1.0
            assert not steady.failures
            right = {1: golden.blend, 2: OnnxRuntimeInference(bundles.read(2)).score(golden.features).blend}
            for version, scores, _ in steady.answers:
                np.testing.assert_allclose(scores.blend, right[version], rtol=0, atol=GOLDEN_TOLERANCE)
        await client.close()

    run(main())


def test_a_load_beside_a_version_does_not_start_it_again(triton: TritonServer) -> None:
    """What Triton has counted of it goes on: through a version that joins it, one that cannot be loaded, and the same load twice."""

    async def main() -> None:
        bundles, client = stocked(), connected(triton.settings.address)
        async with model_server(triton, bundles) as server:
            await server.load((1,))
            before = (await server.probe(1)) and await counted(client, 1)
            await server.load((1, 2))
            with pytest.raises(ModelRefused):
                await server.load((1, CORRUPT))
            await server.load((1, 2))
            assert await counted(client, 1) >= before, "the last question may be counted after it was answered"
            await server.load((2,))
            await server.load((1, 2))
            assert await counted(client, 1) < before, "one that was let go begins anew, so the count tells the two apart"
        await client.close()

    run(main())


async def counted(client: InferenceServerClient, version: int) -> int:
    """Rows that the server says the version has judged since it was loaded."""
    return int((await client.get_inference_statistics(FUSED, str(version))).model_stats[0].inference_count)


def test_a_late_answer_writes_where_nobody_reads(triton: TritonServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled server: each question whose answer did not come keeps its slot, without one the question fails at once, and afterwards all are right."""
    monkeypatch.setattr(triton_shared_memory, "LEFT_ALONE_SECONDS", 3.0)

    async def main() -> None:
        bundles, client = stocked(), connected(triton.settings.address)
        golden = bundles.read(1).golden
        shared = SharedMemoryInference(client, settings_of(triton), 1, 0.05)
        async with model_server(triton, bundles) as server:
            await server.load((1,))
            await shared.infer(golden.features)
            assert triton.process is not None
            stall(triton.process.pid)
            stalled = time.monotonic()
            try:
                for _ in range(SLOTS):
                    with pytest.raises(TryAgain, match=r"DEADLINE|CANCELLED"):
                        await shared.infer(golden.features)
                with pytest.raises(TryAgain, match="every slot"):
                    await shared.infer(golden.features)
            finally:
                os.kill(triton.process.pid, signal.SIGCONT)
            with pytest.raises(TryAgain, match="every slot"):
                await shared.infer(golden.features)
            await until(lambda: time.monotonic() - stalled > 5.0)
            for _ in range(2 * SLOTS):
                assert golden_difference(await shared.infer(golden.features), golden) <= GOLDEN_TOLERANCE
        await shared.close()
        await client.close()

    run(main())


def test_regions_of_processes_that_are_gone_are_swept() -> None:
    """Also of one with this process's number, as a container has that starts anew; a living one's stay."""
    gone = next(number for number in range(4_000_000, 5_000_000) if not Path(f"/proc/{number}").exists())
    made = {number: FOLDER / f"tradingsystem-{number}-0" for number in (gone, os.getpid(), 1)}
    for path in made.values():
        path.touch()
    try:
        sweep()
        assert [number for number, path in made.items() if path.exists()] == [1]
    finally:
        for path in made.values():
            path.unlink(missing_ok=True)


def test_a_killed_server_costs_one_deadline_and_comes_back_with_its_versions(tmp_path: Path) -> None:
    """The same bundle answers in process meanwhile; the index is as it was; the server is asked again without anybody's doing."""

    async def main() -> None:
        triton = prepared(tmp_path)
        await triton.start()
        bundles, client = stocked(), connected(triton.settings.address)
        golden = bundles.read(2).golden
        primary = SharedMemoryInference(client, settings_of(triton), 2, DEADLINE_SECONDS * 0.8)
        inference = FallbackInference(primary, OnnxRuntimeInference(bundles.read(2)), DEADLINE_SECONDS)
        async with model_server(triton, bundles) as server:
            await server.load((1, 2))
            async with asking(Steady(inference, golden.features)) as steady:
                await until(lambda: any(not scores.fallback for _, scores, _ in steady.answers))
                await triton.kill()
                killed = len(steady.answers)
                await until(lambda: len(steady.answers) > killed + 3)
                await triton.start()
                keeping = asyncio.create_task(server.run())
                await until(lambda: server.reconciled == 1)
                await until(lambda: not steady.answers[-1][1].fallback)
                keeping.cancel()
            assert not steady.failures
            assert any(scores.fallback for _, scores, _ in steady.answers[killed:])
            assert max(took for _, _, took in steady.answers) <= DEADLINE_SECONDS
            for _, scores, _ in steady.answers:
                np.testing.assert_allclose(scores.blend, golden.blend, rtol=0, atol=GOLDEN_TOLERANCE)
            for version in (1, 2):
                assert (await server.probe(version)).worst_difference <= GOLDEN_TOLERANCE
            await inference.close()
        await primary.close()
        await client.close()
        await triton.stop()

    run(main())


def test_a_killed_server_s_files_are_removed_and_nobody_else_s(tmp_path: Path) -> None:
    """Each load lies in a folder of /tmp that Triton names itself; whoever starts the server again removes those that were sent to it."""
    server, other = prepared(tmp_path), Path(tempfile.mkdtemp(prefix="folder", suffix="", dir=triton_server.TEMPORARY))
    (other / "1").mkdir()
    (other / "1" / SENT_TO).write_text("127.0.0.1:1")

    def left() -> set[Path]:
        marks = triton_server.TEMPORARY.glob(f"folder*/*/{SENT_TO}")
        return {mark.parents[1] for mark in marks if mark.read_text() == server.settings.address}

    async def main() -> None:
        await server.start()
        async with model_server(server, shelf()) as served:
            await served.load((1, 2))
        assert left()
        await server.kill()
        assert left()
        await server.launch()
        assert not left()
        await server.stop()
        assert not left()

    try:
        run(main())
        assert other.exists()
    finally:
        shutil.rmtree(other)
