"""The fused graph: both precisions answer what plain arithmetic answers, and nothing that TensorRT refuses gets in."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tradingsystem.bundles.graph import ForbiddenGraph, build, lint
from tradingsystem.bundles.weights import FusedWeights, Stump
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32, F64


def some_weights(seed: int = 3) -> FusedWeights:
    """Random but plausible weights."""
    random = np.random.default_rng(seed)
    return FusedWeights(
        low=random.uniform(-3.0, -0.5, FEATURE_COUNT).astype(np.float32),
        high=random.uniform(0.5, 3.0, FEATURE_COUNT).astype(np.float32),
        mean=random.normal(size=FEATURE_COUNT).astype(np.float32),
        scale=random.uniform(0.5, 2.0, FEATURE_COUNT).astype(np.float32),
        clip=4.0,
        linear=random.normal(scale=0.2, size=(FEATURE_COUNT, 2)).astype(np.float32),
        bias=np.array([-0.1, 0.2], np.float32),
        stump=Stump(feature=7, threshold=0.3, below=-0.4, above=0.5),
        blend=np.array([0.5, 0.3, 0.2], np.float32),
        slope=1.2,
        intercept=-0.3,
    )


def plain(weights: FusedWeights, features: F32) -> tuple[F64, F64]:
    """The same numbers without any graph: members F64[n, 3], blend F64[n]."""
    bounded = np.clip(features.astype(np.float64), weights.low, weights.high)
    standardised = np.clip((bounded - weights.mean) / weights.scale, -weights.clip, weights.clip)
    linear = standardised @ weights.linear + weights.bias
    stump = np.where(features[:, weights.stump.feature] < weights.stump.threshold, weights.stump.below, weights.stump.above)
    logits = np.column_stack([linear, stump])
    mixed = np.clip(logits, -8, 8) @ weights.blend * weights.slope + weights.intercept
    return 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-mixed))


@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-5), (True, 0.05)])
def test_graph_answers_what_plain_arithmetic_answers(int8: bool, tolerance: float) -> None:
    """Each precision stays within its tolerance of the formula, at one row and at many."""
    weights = some_weights()
    session = onnxruntime.InferenceSession(build(weights, int8=int8), providers=["CPUExecutionProvider"])
    for rows in (1, 64, 512):
        features = np.random.default_rng(rows).normal(scale=2.0, size=(rows, FEATURE_COUNT)).astype(np.float32)
        members, blend = session.run(None, {"features": features})
        expected_members, expected_blend = plain(weights, features)
        assert members.shape == (rows, 3)
        assert blend.shape == (rows,)
        np.testing.assert_allclose(members, expected_members, atol=tolerance)
        np.testing.assert_allclose(blend, expected_blend, atol=tolerance)


def test_building_twice_gives_the_same_bytes() -> None:
    """A bundle can be rebuilt and compared byte by byte."""
    assert build(some_weights(), int8=True) == build(some_weights(), int8=True)


def test_int8_graph_really_holds_int8_weights() -> None:
    """The INT8 graph would be a lie if its matrix were stored in float."""
    model = onnx.load_from_string(build(some_weights(), int8=True))
    stored = {constant.name: constant.data_type for constant in model.graph.initializer}
    assert stored["linear_int8"] == onnx.TensorProto.INT8
    assert "linear" not in stored


@pytest.mark.parametrize("operator", ["MatMulInteger", "DynamicQuantizeLinear"])
def test_lint_refuses_what_tensorrt_refuses(operator: str) -> None:
    """An operator that one runtime lacks is refused by name."""
    node = helper.make_node(operator, ["a"], ["b"])
    graph = helper.make_graph([node], "bad", [], [])
    with pytest.raises(ForbiddenGraph, match=operator):
        lint(helper.make_model(graph).SerializeToString())


def test_lint_refuses_asymmetric_quantisation() -> None:
    """A zero point other than zero does not run on TensorRT."""
    zero = helper.make_tensor("zero", onnx.TensorProto.INT8, [], [3])
    scale = helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.1])
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"], name="shifted")
    graph = helper.make_graph([node], "bad", [], [], [zero, scale])
    with pytest.raises(ForbiddenGraph, match="shifted"):
        lint(helper.make_model(graph).SerializeToString())
