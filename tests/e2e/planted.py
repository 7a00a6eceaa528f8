"""A candidate that is bad in a way no file shows: it ranks like the version that serves, is signed and answers its golden vectors, and is far too sure."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from tradingsystem.bundles.bundle import Golden, read_bundle
from tradingsystem.bundles.evidence import Block, Evidence
from tradingsystem.bundles.publishing import Draft, Published, publish
from tradingsystem.process.serving import score_graph, shipped_key
from tradingsystem.world.recipe import recipe_key

TOO_SURE = 2.5  # logits added to every p
BLOCKS = 200
BLOCK_SECONDS = 1_800


def publish_overconfident(store: Path) -> Published:
    """Publish it as the next version, with evidence that somebody has made too good. The store's version 1 is the shipped bundle."""
    shipped = read_bundle(store / "1", shipped_key())
    calibration = msgspec.structs.replace(shipped.manifest.calibration, intercept=shipped.manifest.calibration.intercept + TOO_SURE)
    int8, float32 = _shifted(shipped.int8_graph), _shifted(shipped.float_graph)
    scores = score_graph(int8, shipped.golden.features)
    draft = Draft(
        manifest=msgspec.structs.replace(shipped.manifest, version=0, files={}, calibration=calibration),
        int8_graph=int8,
        float_graph=float32,
        golden=Golden(features=shipped.golden.features, members=scores.members, blend=scores.blend),
        evidence=_evidence(),
        identity="planted",
    )
    return publish(store, draft, recipe_key())


def _shifted(graph: bytes) -> bytes:
    model = onnx.load_from_string(graph)
    (intercept,) = [each for each in model.graph.initializer if each.name == "intercept"]
    intercept.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(intercept) + np.float32(TOO_SURE)).astype(np.float32), "intercept"))
    return model.SerializeToString()


def _evidence() -> Evidence:
    """Every block better than the champion's by about ten basis points."""
    chance, start = np.random.default_rng(1), datetime.datetime(2026, 1, 5, 14, 30, tzinfo=datetime.UTC)
    blocks = tuple(
        Block(
            session=(start + datetime.timedelta(days=number)).date().isoformat(),
            start_ns=int((start + datetime.timedelta(days=number)).timestamp()) * 10**9,
            trades=2,
            champion_return_basis_points=0.0,
            challenger_return_basis_points=float(chance.normal(10.0, 5.0)),
        )
        for number in range(BLOCKS)
    )
    return Evidence(champion=1, data_kind="simulated", block_seconds=BLOCK_SECONDS, blocks=blocks, trials=1, deflated_sharpe=1.0)
