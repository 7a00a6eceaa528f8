"""Builds the fused graph twice from the same weights: FP32, and INT8 with explicit symmetric Q/DQ.

One artefact for two runtimes: only operators of ai.onnx opset 13 that onnxruntime and TensorRT both have, zero points zero, weights per channel,
activations per tensor. Features are bounded and standardised first, so that the scale of the activations is a constant and not a guess; the stump
stays in float because comparing quantised values moves its threshold. ``lint`` refuses what TensorRT would refuse.

Inside, a row is a feature and a column a symbol: onnxruntime broadcasts a number along a row in one vectorised pass, but takes a vector of 50 apart for
every symbol, which was four fifths of the time. The FP32 twin standardises inside its matrix; the INT8 one cannot, since it quantises what is standardised.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tradingsystem.bundles.weights import LOGIT_MAX, FusedWeights
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32

OPSET = 13
IR_VERSION = 8
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

    def column(self, name: str, value: npt.NDArray[np.floating]) -> str:
        """One number per row."""
        return self.constant(name, np.ascontiguousarray(value, np.float32).reshape(-1, 1))

    def node(self, operator: str, inputs: list[str], output: str, axis: int | None = None) -> str:
        node = helper.make_node(operator, inputs, [output], name=output)
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        return output


def build(weights: FusedWeights, *, int8: bool) -> bytes:
    """The graph features F32[n, 50] -> members F32[n, 3] (probabilities), blend F32[n] (calibrated probability)."""
    builder = _Builder()
    features = builder.node("Transpose", ["features"], "by_feature")
    bounded = _bounded(builder, weights, features)
    linear = _linear_int8(builder, weights, bounded) if int8 else _linear_float(builder, weights, bounded)
    logits = builder.node("Concat", [linear, _stump(builder, weights, features)], "member_logits", axis=0)
    builder.node("Transpose", [builder.node("Sigmoid", [logits], "by_member")], "members")
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
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2 and np.any(constants.get(node.input[2], 1) != 0)
    )
    if foreign or forbidden or shifted:
        raise ForbiddenGraph(f"foreign domains {foreign}, forbidden operators {forbidden}, asymmetric quantisation {shifted}")


def _bounded(builder: _Builder, weights: FusedWeights, features: str) -> str:
    """Within the feature's own bounds and within what is ``clip`` once standardised: one pair of bounds says both."""
    # Max and Min and not Clip: the bounds are one per feature, and Clip takes scalars.
    reach = weights.clip * weights.scale.astype(np.float64)
    raised = builder.node("Max", [features, builder.column("low", np.maximum(weights.low, weights.mean - reach))], "raised")
    return builder.node("Min", [raised, builder.column("high", np.minimum(weights.high, weights.mean + reach))], "bounded")


def _linear_int8(builder: _Builder, weights: FusedWeights, bounded: str) -> str:
    centred = builder.node("Sub", [bounded, builder.column("mean", weights.mean)], "centred")
    standardised = builder.node("Mul", [centred, builder.column("inverse_scale", 1.0 / weights.scale)], "standardised")
    scale, zero = builder.constant("activation_scale", np.float32(weights.clip / 127.0)), builder.constant("activation_zero", np.int8(0))
    quantised = builder.node("QuantizeLinear", [standardised, scale, zero], "activation_int8")
    activation = builder.node("DequantizeLinear", [quantised, scale, zero], "activation")
    matrix = weights.linear.astype(np.float32)
    channel_scales = _channel_scales(matrix)
    stored = np.clip(np.rint(matrix / channel_scales), -127, 127).astype(np.int8)
    names = [
        builder.constant("linear_int8", np.ascontiguousarray(stored.T)),
        builder.constant("linear_scale", channel_scales),
        builder.constant("linear_zero", np.zeros(matrix.shape[1], np.int8)),
    ]
    return _times(builder, builder.node("DequantizeLinear", names, "linear", axis=0), activation, weights.bias)


def _linear_float(builder: _Builder, weights: FusedWeights, bounded: str) -> str:
    """(x - mean) / scale @ w + b as x @ (w / scale) + (b - mean / scale @ w), put together in float64."""
    matrix = weights.linear.astype(np.float64) / weights.scale.astype(np.float64)[:, None]
    linear = builder.constant("linear", np.ascontiguousarray(matrix.T, np.float32))
    return _times(builder, linear, bounded, weights.bias - weights.mean.astype(np.float64) @ matrix)


def _times(builder: _Builder, linear: str, values: str, bias: npt.NDArray[np.floating]) -> str:
    product = builder.node("MatMul", [linear, values], "linear_product")
    return builder.node("Add", [product, builder.column("bias", bias)], "linear_logits")


def _channel_scales(matrix: F32) -> F32:
    """One scale per column; a column of zeros keeps scale 1 so that nothing divides by zero."""
    largest = np.abs(matrix).max(axis=0)
    return np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)


def _stump(builder: _Builder, weights: FusedWeights, features: str) -> str:
    stump = weights.stump
    value = builder.node(
        "Gather", [features, builder.constant("stump_feature", np.array([stump.feature], np.int64))], "stump_value", axis=0
    )
    below = builder.node("Less", [value, builder.constant("stump_threshold", np.float32(stump.threshold))], "stump_below")
    low = builder.constant("stump_logit_below", np.float32(stump.below))
    high = builder.constant("stump_logit_above", np.float32(stump.above))
    return builder.node("Where", [below, low, high], "stump_logits")


def _blend(builder: _Builder, weights: FusedWeights, logits: str) -> None:
    low = builder.constant("logit_low", np.float32(-LOGIT_MAX))
    high = builder.constant("logit_high", np.float32(LOGIT_MAX))
    bounded = builder.node("Clip", [logits, low, high], "bounded_logits")
    row = (weights.blend.astype(np.float64) * weights.slope).astype(np.float32).reshape(1, 3)
    mixed = builder.node("MatMul", [builder.constant("blend_weights", row), bounded], "mixed")
    shifted = builder.node("Add", [mixed, builder.constant("intercept", np.float32(weights.intercept))], "shifted")
    flat = builder.node("Reshape", [shifted, builder.constant("flat", np.array([-1], np.int64))], "blend_logits")
    builder.node("Sigmoid", [flat], "blend")
