"""What Triton is told of each model: one set of values, written as the files of ``triton_models`` and sent whole with every load.

Three backends, chosen once per server by ``--model-config-name``: TensorRT and onnxruntime on a GPU, python (a thin wrapper around onnxruntime) on a CPU.
Every field that Triton would fill in by itself is given: two loads that differ in the versions alone then leave a version that is loaded untouched.
Nothing waits to be batched: one request is one tick's rows.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradingsystem.domain.features import FEATURE_COUNT

FUSED = "fused"
ENSEMBLE = "ensemble"
BLEND = "blend"
MEMBERS = ("momentum_linear", "mean_reversion", "volatility_tree")
ONE_GRAPH = (FUSED, *MEMBERS, BLEND)
ALL = (*ONE_GRAPH, ENSEMBLE)
BUCKETS = (1, 64, 512, 2_048, 12_288)
"""Rows of one request are padded to the next of these: each is warmed up, and has its own profile and graph in TensorRT."""

Config = dict[str, Any]


class Backend(enum.StrEnum):
    """Who runs the graphs; the name of the configuration files."""

    TENSORRT = "tensorrt"
    ONNXRUNTIME = "onnxruntime"
    PYTHON = "python"


GRAPH_FILE = "model.onnx"
FILE_OF = {Backend.TENSORRT: "model.plan", Backend.ONNXRUNTIME: GRAPH_FILE, Backend.PYTHON: "model.py"}


def bucket_of(rows: int) -> int:
    """The smallest bucket that holds so many rows. Raises ``ValueError`` above the largest."""
    for bucket in BUCKETS:
        if rows <= bucket:
            return bucket
    raise ValueError(f"{rows} rows: one inference takes at most {BUCKETS[-1]}")


def configuration(model: str, backend: Backend, versions: Sequence[int]) -> Config:
    """The whole configuration of ``model`` with exactly those versions, lowest first. Raises ``KeyError`` for a model that is not ours."""
    policy = {"version_policy": {"specific": {"versions": sorted(versions)}}}
    if model == ENSEMBLE:
        return {
            "name": ENSEMBLE,
            "platform": "ensemble",
            "max_batch_size": BUCKETS[-1],
            **policy,
            **_tensors(ENSEMBLE, backend),
            **_steps(),
        }
    platform: Config = {"platform": "tensorrt_plan"} if backend is Backend.TENSORRT else {}
    return {
        "name": model,
        **platform,
        "backend": backend.value,
        "default_model_filename": FILE_OF[backend],
        "max_batch_size": BUCKETS[-1],
        **policy,
        **_tensors(model, backend),
        **_instances(model, backend),
        "model_warmup": [_warm_up(model, rows) for rows in _warm(model, backend)],
    }


REPORTER = "target"


def reporter_configuration() -> Config:
    """The configuration of the model that says which GPU and which TensorRT a server has."""
    return {
        "name": REPORTER,
        "backend": Backend.PYTHON.value,
        "default_model_filename": FILE_OF[Backend.PYTHON],
        "max_batch_size": 0,
        "version_policy": {"specific": {"versions": [1]}},
        "input": [{"name": "ask", "data_type": "TYPE_FP32", "dims": [1]}],
        "output": [{"name": "target", "data_type": "TYPE_STRING", "dims": [1]}],
        "instance_group": [{"name": REPORTER, "count": 1, "kind": "KIND_CPU"}],
    }


def _tensors(model: str, backend: Backend) -> Config:
    inputs, outputs = _SIGNATURES[model]
    flat = model == FUSED and backend is not Backend.PYTHON  # that graph's blend is F32[n]; the wrapper gives it a second axis itself
    return {
        "input": [{"name": name, "data_type": "TYPE_FP32", "dims": [width]} for name, width in inputs.items()],
        "output": [
            {"name": name, "data_type": "TYPE_FP32", "dims": [width], **({"reshape": {"shape": []}} if flat and name == BLEND else {})}
            for name, width in outputs.items()
        ],
    }


def _instances(model: str, backend: Backend) -> Config:
    """One instance: what a second one would win is lost to the scheduler for graphs this small."""
    if backend is Backend.PYTHON:
        return {"instance_group": [{"name": model, "count": 1, "kind": "KIND_CPU"}]}
    group: Config = {"name": model, "count": 1, "kind": "KIND_GPU", "gpus": [0]}
    if backend is Backend.ONNXRUNTIME:
        return {"instance_group": [group]}
    group["profile"] = [str(place) for place in range(len(BUCKETS))]
    inputs = _SIGNATURES[model][0]
    graphs = [
        {"batch_size": rows, "input": [{"key": name, "value": {"dim": [width]}} for name, width in inputs.items()]} for rows in BUCKETS
    ]
    return {"instance_group": [group], "optimization": {"cuda": {"graphs": True, "graph_spec": graphs}}}


def _warm(model: str, backend: Backend) -> tuple[int, ...]:
    """Buckets that are warmed up. Triton warms a batch up with as many requests of one row, which TensorRT and onnxruntime put together and the wrapper
    would run one by one: thousands of runs, for a runtime that has nothing to prepare by size."""
    return BUCKETS if model == FUSED and backend is not Backend.PYTHON else BUCKETS[:1]


def _warm_up(model: str, rows: int) -> Config:
    given = {"data_type": "TYPE_FP32", "zero_data": True}
    inputs = [{"key": name, "value": {**given, "dims": [width]}} for name, width in _SIGNATURES[model][0].items()]
    return {"name": f"rows_{rows}", "batch_size": rows, "inputs": inputs}


def _steps() -> Config:
    """Features to each member, their logits to the blend: Triton's own scheduler over what ``fused`` does at once."""
    steps: list[Config] = [
        _step(member, {"features": "features"}, {"probability": member, "logit": f"{member}_logit"}) for member in MEMBERS
    ]
    steps.append(_step(BLEND, {f"{member}_logit": f"{member}_logit" for member in MEMBERS}, {BLEND: BLEND}))
    return {"ensemble_scheduling": {"step": steps}}


def _step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Config:
    return {"model_name": model, "model_version": -1, "input_map": _entries(inputs), "output_map": _entries(outputs)}


def _entries(mapping: Mapping[str, str]) -> list[Config]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


_SIGNATURES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    FUSED: ({"features": FEATURE_COUNT}, {"members": len(MEMBERS), BLEND: 1}),
    **{member: ({"features": FEATURE_COUNT}, {"probability": 1, "logit": 1}) for member in MEMBERS},
    BLEND: ({f"{member}_logit": 1 for member in MEMBERS}, {BLEND: 1}),
    ENSEMBLE: ({"features": FEATURE_COUNT}, {**dict.fromkeys(MEMBERS, 1), BLEND: 1}),
}
"""Names and widths of each model's inputs and outputs; the first axis is the rows."""

_MAPS = frozenset({"inputs", "input_map", "output_map"})
_WORDS = ("TYPE_", "KIND_")


def as_json(config: Config) -> str:
    """As the repository API takes it: protobuf's JSON, in which a map is an object."""
    return msgspec.json.encode(_unfolded(config)).decode()


def _unfolded(value: object, name: str = "") -> object:
    if isinstance(value, dict):
        return {key: _unfolded(each, key) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    maps = name in _MAPS or (bool(value) and isinstance(value[0], dict) and value[0].keys() == {"key", "value"})
    if maps:
        return {entry["key"]: _unfolded(entry["value"]) for entry in value}
    return [_unfolded(each) for each in value]


def as_pbtxt(config: Config) -> str:
    """As protobuf's text format, two spaces a level."""
    return "\n".join(_lines(config, "")) + "\n"


def _lines(config: Mapping[str, object], indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in config.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                inner = _lines(each, indent + "  ")
                lines += [f"{indent}{name} {{", *inner, f"{indent}}}"] if inner else [f"{indent}{name} {{ }}"]
            else:
                lines.append(f"{indent}{name}: {_scalar(each)}")
    return lines


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_WORDS):
        return value
    return msgspec.json.encode(value).decode()
