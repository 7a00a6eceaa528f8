"""What every model server promises. The bundles are real; each kind of bad one is made from a good one."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.bundles.test_bundle import manifest
from tests.bundles.test_graph import some_weights
from tests.promises.waiting import run
from tradingsystem.adapters.onnxruntime import GOLDEN_TOLERANCE, open_session
from tradingsystem.adapters.onnxruntime import run as scores_of
from tradingsystem.bundles.bundle import Bundle, Golden, InvalidBundle
from tradingsystem.bundles.graph import build
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.interfaces import ModelServer


def good_bundle(version: int, seed: int = 3) -> Bundle:
    """A bundle whose golden vectors are its own graph's answers."""
    weights = some_weights(seed)
    int8_graph = build(weights, int8=True)
    features = np.random.default_rng(1).normal(size=(16, FEATURE_COUNT)).astype(np.float32)
    scores = scores_of(open_session(int8_graph), features)
    golden = Golden(features=features, members=scores.members, blend=scores.blend)
    return Bundle(msgspec.structs.replace(manifest(), version=version), int8_graph, build(weights, int8=False), golden)


def poisoned(graph: bytes) -> bytes:
    """The same graph with an intercept that is not a number: it loads and runs, and answers NaN."""
    model = onnx.load_from_string(graph)
    for constant in model.graph.initializer:
        if constant.name == "intercept":
            constant.CopyFrom(numpy_helper.from_array(np.asarray(np.float32("nan")), "intercept"))
    payload: bytes = model.SerializeToString()
    return payload


def wrong_bundle(version: int) -> Bundle:
    """Answers something else than what was signed."""
    good = good_bundle(version)
    golden = Golden(features=good.golden.features, members=good.golden.members, blend=good.golden.blend + np.float32(0.01))
    return Bundle(good.manifest, good.int8_graph, good.float_graph, golden)


@dataclass
class Shelf:
    """Versions by number; what is not here cannot be read."""

    bundles: dict[int, Bundle] = field(default_factory=dict)

    def read(self, version: int) -> Bundle:
        """As a store answers."""
        if version not in self.bundles:
            raise InvalidBundle(f"no version {version}", Refusal.VERSION_NOT_FOUND)
        return self.bundles[version]


def shelf() -> Shelf:
    """1 to 3 are good; 4 answers NaN, 5 answers something else than it should, 6 is no graph."""
    bundles = {version: good_bundle(version, seed=version) for version in (1, 2, 3)}
    good = good_bundle(4)
    bundles[4] = Bundle(good.manifest, poisoned(good.int8_graph), poisoned(good.float_graph), good.golden)
    bundles[5] = wrong_bundle(5)
    bundles[6] = Bundle(good_bundle(6).manifest, b"garbage", b"garbage", good.golden)
    return Shelf(bundles)


class ModelServerPromises:
    """One suite, as many servers as ship."""

    def server(self, shelf: Shelf) -> AbstractAsyncContextManager[ModelServer]:
        """A server over that shelf, nothing loaded."""
        raise NotImplementedError

    def test_a_loaded_version_answers_its_golden_vectors(self) -> None:
        """Two versions side by side, each with its own answers, and a latency that is a time."""

        async def main() -> None:
            async with self.server(shelf()) as server:
                await server.load((1, 2))
                for version in (1, 2):
                    probe = await server.probe(version)
                    assert probe.worst_difference <= GOLDEN_TOLERANCE
                    assert 0 < probe.latency_us < 1_000_000

        run(main())

    def test_exactly_the_given_versions_are_loaded(self) -> None:
        """One that is no longer named is gone, one that stays goes on answering."""

        async def main() -> None:
            async with self.server(shelf()) as server:
                await server.load((1, 2))
                await server.load((2, 3))
                await server.probe(2)
                await server.probe(3)
                with pytest.raises(ModelRefused) as refused:
                    await server.probe(1)
                assert (refused.value.version, refused.value.refusal) == (1, Refusal.NOT_LOADED)

        run(main())

    @pytest.mark.parametrize("bad", [4, 5, 6, 9], ids=["not finite", "wrong answers", "no graph", "not there"])
    def test_a_bad_version_leaves_what_served(self, bad: int) -> None:
        """Found when it is loaded or when it is probed; the version before it answers as before."""

        async def main() -> None:
            async with self.server(shelf()) as server:
                await server.load((1,))
                found: Refusal | None = None
                try:
                    await server.load((1, bad))
                    if (await server.probe(bad)).worst_difference > GOLDEN_TOLERANCE:
                        found = Refusal.WRONG_ANSWERS
                except ModelRefused as refused:
                    found = refused.refusal if refused.version == bad else None
                assert (
                    found
                    in {
                        4: (Refusal.NOT_FINITE,),
                        5: (Refusal.WRONG_ANSWERS,),
                        6: (Refusal.CORRUPT, Refusal.NOT_LOADED),
                        9: (Refusal.VERSION_NOT_FOUND,),
                    }[bad]
                )
                assert (await server.probe(1)).worst_difference <= GOLDEN_TOLERANCE

        run(main())
