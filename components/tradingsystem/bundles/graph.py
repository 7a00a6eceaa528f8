"""Builds the fused graph twice from the same weights: FP32, and INT8 with explicit symmetric Q/DQ.

One artefact for two runtimes: only operators of ai.onnx opset 13 that onnxruntime and TensorRT both have, zero points zero, weights per channel,
activations per tensor. Features are standardised and clipped first, so that the scale of the activations is a constant and not a guess; the stump
stays in float because comparing quantised values moves its threshold. ``lint`` refuses what TensorRT would refuse.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tradingsystem.bundles.weights import FusedWeights
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32

OPSET = 13
IR_VERSION = 8
LOGIT_MAX = 8.0
FORBIDDEN = frozenset({"MatMulInteger", "QLinearMatMul", "DynamicQuantizeLinear", "TreeEnsembleRegressor", "TreeEnsembleClassifier"})


class ForbiddenGraph(ValueError):
    """The graph holds an operator or a form that one of the two runtimes would refuse."""


class _Builder:
    """Collects nodes and constants under readable names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.NDArray[np.generic] | np.generic) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, axis: int | None = None) -> str:
        node = helper.make_node(operator, inputs, [output], name=output)
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        return output


def build(weights: FusedWeights, *, int8: bool) -> bytes:
    """The graph features F32[n, 50] -> members F32[n, 3] (probabilities), blend F32[n] (calibrated probability)."""
    builder = _Builder()
    standardised = _standardise(builder, weights)
    linear = _linear(builder, weights, standardised, int8=int8)
    stump = _stump(builder, weights)
    logits = builder.node("Concat", [linear, stump], "member_logits", axis=1)
    builder.node("Sigmoid", [logits], "members")
    _blend(builder, weights, logits)
    graph = helper.make_graph(
        builder.nodes,
        "fused",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", FEATURE_COUNT])],
        [
            helper.make_tensor_value_info("members", TensorProto.FLOAT, ["rows", 3]),
            helper.make_tensor_value_info("blend", TensorProto.FLOAT, ["rows"]),
        ],
        builder.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="tradingsystem")
    onnx.checker.check_model(model, full_check=True)
    payload: bytes = model.SerializeToString(deterministic=True)
    lint(payload)
    return payload


def lint(payload: bytes) -> None:
    """Raises ``ForbiddenGraph`` for operators outside ai.onnx, forbidden ones, or a zero point that is not zero."""
    model = onnx.load_from_string(payload)
    foreign = sorted({node.domain for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    forbidden = sorted({node.op_type for node in model.graph.node} & FORBIDDEN)
    constants = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
    shifted = sorted(
        node.name
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2 and np.any(constants[node.input[2]] != 0)
    )
    if foreign or forbidden or shifted:
        raise ForbiddenGraph(f"foreign domains {foreign}, forbidden operators {forbidden}, asymmetric quantisation {shifted}")


def _standardise(builder: _Builder, weights: FusedWeights) -> str:
    # Max and Min and not Clip: the bounds are one per feature, and Clip takes scalars.
    raised = builder.node("Max", ["features", builder.constant("low", weights.low.astype(np.float32))], "raised")
    bounded = builder.node("Min", [raised, builder.constant("high", weights.high.astype(np.float32))], "bounded")
    centred = builder.node("Sub", [bounded, builder.constant("mean", weights.mean.astype(np.float32))], "centred")
    inverse = builder.constant("inverse_scale", (1.0 / weights.scale).astype(np.float32))
    scaled = builder.node("Mul", [centred, inverse], "scaled")
    low = builder.constant("clip_low", np.float32(-weights.clip))
    high = builder.constant("clip_high", np.float32(weights.clip))
    return builder.node("Clip", [scaled, low, high], "standardised")


def _linear(builder: _Builder, weights: FusedWeights, standardised: str, *, int8: bool) -> str:
    matrix = weights.linear.astype(np.float32)
    if int8:
        scale = builder.constant("activation_scale", np.float32(weights.clip / 127.0))
        zero = builder.constant("activation_zero", np.int8(0))
        quantised = builder.node("QuantizeLinear", [standardised, scale, zero], "activation_int8")
        standardised = builder.node("DequantizeLinear", [quantised, scale, zero], "activation")
        channel_scales = _channel_scales(matrix)
        stored = np.clip(np.rint(matrix / channel_scales), -127, 127).astype(np.int8)
        names = [
            builder.constant("linear_int8", stored),
            builder.constant("linear_scale", channel_scales),
            builder.constant("linear_zero", np.zeros(matrix.shape[1], np.int8)),
        ]
        right = builder.node("DequantizeLinear", names, "linear", axis=1)
    else:
        right = builder.constant("linear", matrix)
    product = builder.node("MatMul", [standardised, right], "linear_product")
    return builder.node("Add", [product, builder.constant("bias", weights.bias.astype(np.float32))], "linear_logits")


def _channel_scales(matrix: F32) -> F32:
    """One scale per column; a column of zeros keeps scale 1 so that nothing divides by zero."""
    largest = np.abs(matrix).max(axis=0)
    return np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)


def _stump(builder: _Builder, weights: FusedWeights) -> str:
    stump = weights.stump
    column = builder.node(
        "Gather", ["features", builder.constant("stump_feature", np.array([stump.feature], np.int64))], "stump_value", axis=1
    )
    below = builder.node("Less", [column, builder.constant("stump_threshold", np.float32(stump.threshold))], "stump_below")
    low = builder.constant("stump_logit_below", np.float32(stump.below))
    high = builder.constant("stump_logit_above", np.float32(stump.above))
    return builder.node("Where", [below, low, high], "stump_logits")


def _blend(builder: _Builder, weights: FusedWeights, logits: str) -> None:
    low = builder.constant("logit_low", np.float32(-LOGIT_MAX))
    high = builder.constant("logit_high", np.float32(LOGIT_MAX))
    bounded = builder.node("Clip", [logits, low, high], "bounded_logits")
    column = (weights.blend.astype(np.float64) * weights.slope).astype(np.float32).reshape(3, 1)
    mixed = builder.node("MatMul", [bounded, builder.constant("blend_weights", column)], "mixed")
    shifted = builder.node("Add", [mixed, builder.constant("intercept", np.float32(weights.intercept))], "shifted")
    flat = builder.node("Reshape", [shifted, builder.constant("flat", np.array([-1], np.int64))], "blend_logits")
    builder.node("Sigmoid", [flat], "blend")
