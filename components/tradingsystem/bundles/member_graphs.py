"""The fused graph taken apart: one graph per member, and one that blends their logits. Pure, and exact: the nodes are the fused graph's own.

They are for Triton's ``ensemble``, which does in four scheduled requests what ``fused`` does in one; it is never asked on the way to an order.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tradingsystem.bundles.triton_config import BLEND, MEMBERS

MEMBER_LOGITS = "member_logits"
_FORM = TensorProto.FLOAT


def member_graph(fused: bytes, place: int) -> bytes:
    """features F32[n, 50] -> probability F32[n, 1], logit F32[n, 1] of the member in that place. ``fused`` is what ``graph.build`` made."""
    model = onnx.load_from_string(fused)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([place], np.int64), "member_place"))
    graph.node.append(helper.make_node("Gather", [MEMBER_LOGITS, "member_place"], ["by_row"], axis=0))
    graph.node.append(helper.make_node("Transpose", ["by_row"], ["logit"]))
    graph.node.append(helper.make_node("Sigmoid", ["logit"], ["probability"]))
    return _only(model, list(graph.input), ["probability", "logit"])


def blend_graph(fused: bytes) -> bytes:
    """The members' logits F32[n, 1] each -> blend F32[n, 1]."""
    model = onnx.load_from_string(fused)
    graph = model.graph
    for node in [node for node in graph.node if MEMBER_LOGITS in node.output]:
        graph.node.remove(node)
    names = [f"{member}_logit" for member in MEMBERS]
    first = [
        helper.make_node("Concat", names, ["by_row"], axis=1),
        helper.make_node("Transpose", ["by_row"], [MEMBER_LOGITS]),
    ]
    rest = list(graph.node)
    for node in rest:
        if BLEND in node.output:
            node.output[0] = "blend_flat"
    graph.ClearField("node")
    graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], np.int64), "blend_shape"))
    graph.node.extend([*first, *rest, helper.make_node("Reshape", ["blend_flat", "blend_shape"], [BLEND])])
    return _only(model, [helper.make_tensor_value_info(name, _FORM, ["rows", 1]) for name in names], [BLEND])


def _only(model: onnx.ModelProto, inputs: list[onnx.ValueInfoProto], outputs: list[str]) -> bytes:
    """What the outputs need, and no more."""
    wanted, kept = set(outputs), []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    constants = [constant for constant in model.graph.initializer if constant.name in wanted]
    found = [helper.make_tensor_value_info(name, _FORM, ["rows", 1]) for name in outputs]
    graph = helper.make_graph(kept[::-1], "part", inputs, found, constants)
    part = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version, producer_name="tradingsystem")
    onnx.checker.check_model(part, full_check=True)
    payload: bytes = part.SerializeToString(deterministic=True)
    return payload
