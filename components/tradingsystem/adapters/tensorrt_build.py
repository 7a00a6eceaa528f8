"""Builds a bundle's engine: carries out what ``bundles.engine_plan`` says, on the GPU and with the TensorRT of this machine.

It has not been run on a GPU yet, as ``adapters.tensorrt`` says: the tests put words in the place of TensorRT and CuPy, and onnxruntime in that of the engine.
An engine is signed after it answered the golden vectors as they were signed. Where it is kept is somebody else's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.adapters import onnxruntime
from tradingsystem.adapters.tensorrt import TensorRtEngine, listener, started, target, tensorrt
from tradingsystem.bundles.bundle import Bundle, Golden
from tradingsystem.bundles.engine_files import contents_of
from tradingsystem.bundles.engine_plan import PARITY_TOLERANCE, RECORD_NAME, EnginePlan, EngineRecord, engine_name, engine_plan, read_record
from tradingsystem.bundles.refusal import ModelRefused, Refusal


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """An engine's name, what is recorded of it, and its files."""

    name: str
    record: EngineRecord
    contents: dict[str, bytes]


def build(bundle: Bundle, told: Callable[[str], None], *, int8: bool, key: Ed25519PrivateKey, timings: bytes = b"") -> BuiltEngine:
    """Build the engine of a bundle and sign it with ``key``; ``timings`` are kernels that were measured here before, ``told`` hears what is being done.
    Raises ``InvalidInput`` without GPU or TensorRT, and ``ModelRefused``."""
    here, plan = target(), engine_plan(bundle, int8=int8)
    told(f"building for {here.gpu}")
    graph = bundle.int8_graph if int8 else bundle.float_graph
    engine, measured = _compiled(plan, graph, timings)
    told("asking it the golden vectors")
    runnable = TensorRtEngine(engine, plan.bundle_version)
    difference = _difference(runnable, _golden(bundle, graph, int8=int8), plan.bundle_version)
    try:
        contents = contents_of(plan, here, engine, measured, runnable.layers(), difference, key)
    except ValueError as error:  # what the engine computes in is not known then, and not claimed
        raise ModelRefused(plan.bundle_version, Refusal.NOT_LOADED, f"TensorRT {here.tensorrt}: {error}") from error
    return BuiltEngine(engine_name(plan, here), read_record(contents[RECORD_NAME], plan.bundle_version), contents)


def _golden(bundle: Bundle, graph: bytes, *, int8: bool) -> Golden:
    """What the engine must answer: what was signed for the INT8 graph, what onnxruntime says of the FP32 one."""
    if int8:
        return bundle.golden
    scores = onnxruntime.run(onnxruntime.open_session(graph), bundle.golden.features)
    return Golden(bundle.golden.features, scores.members, scores.blend)


def _difference(engine: TensorRtEngine, golden: Golden, version: int) -> float:
    """The largest one. Raises ``ModelRefused`` above the tolerance, and for an answer that is no probability."""
    difference = onnxruntime.golden_difference(engine.score(golden.features), golden)
    if difference != difference:
        raise ModelRefused(version, Refusal.NOT_FINITE, "the engine's answer to a golden vector is no probability")
    if difference > PARITY_TOLERANCE:
        text = f"the engine's answers to the golden vectors differ by {difference:.2e}, at most {PARITY_TOLERANCE:.0e} is allowed"
        raise ModelRefused(version, Refusal.WRONG_ANSWERS, text)
    return difference


def _compiled(plan: EnginePlan, graph: bytes, timings: bytes) -> tuple[bytes, bytes]:
    """The engine, and the kernels measured for it. Raises ``ModelRefused`` with what TensorRT says."""
    trt, said = tensorrt(), list[str]()
    logger = listener(trt, said)
    builder = started(trt.Builder, said, logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if plan.strongly_typed else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = "; ".join(str(parser.get_error(place)) for place in range(parser.num_errors))
        raise ModelRefused(plan.bundle_version, Refusal.NOT_LOADED, f"TensorRT does not read the graph: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.workspace_bytes)
    config.builder_optimization_level = plan.optimisation_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the report names no types
    for flag in plan.flags_off:
        config.clear_flag(getattr(trt.BuilderFlag, flag))
    for rows in plan.profiles:
        profile = builder.create_optimization_profile()
        for name, width in plan.inputs.items():
            profile.set_shape(name, (rows.rows_min, width), (rows.rows_best, width), (rows.rows_max, width))
        config.add_optimization_profile(profile)
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):  # another driver's, say: measured anew
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ModelRefused(
            plan.bundle_version, Refusal.NOT_LOADED, f"TensorRT builds no engine: {'; '.join(said) or 'it does not say why'}"
        )
    return bytes(engine), bytes(cache.serialize())
