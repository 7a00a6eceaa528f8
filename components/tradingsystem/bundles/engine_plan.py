"""What TensorRT is told when it compiles a bundle's ``fused`` graph for one GPU, what the engine is called, and where an engine may be loaded.

Pure: ``adapters.tensorrt`` carries it out where a GPU and TensorRT are. An engine is tied to the graph's bytes, to TensorRT's version, to the GPU and to
this plan; all of that is its key, and the key lies signed beside it (``engine_files``), so that a wrong one is refused before TensorRT is asked. Weights
are never refitted into an engine: their scales are folded into its kernels, so another bundle is another engine, which the timing cache makes cheap.

Precision comes from the graph alone. It says in Q/DQ pairs what is INT8, the network is strongly typed, and neither a calibrator nor a precision flag is
used: TensorRT 11 has none of them any more.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import BUCKETS, FUSED
from tradingsystem.domain.features import FEATURE_COUNT

PLAN_VERSION = 1
"""Raised when the same graph on the same GPU must be built anew, because what is done with it has changed."""

WORKSPACE_BYTES = 256 * 1024 * 1024
"""Scratch memory of one kernel. The largest tensor of the largest bucket is 2.5 MB; the bound is there for a GPU that somebody else is using."""

OPTIMISATION_LEVEL = 3  # TensorRT's own default of 0 to 5: more tactics are not worth their time for a graph this small
TF32 = "TF32"
PARITY_TOLERANCE = 1e-4
"""By how much an engine's probabilities may differ from the signed golden vectors: what onnxruntime is held to as well."""

_NAME = re.compile(rf"{FUSED}-([1-9][0-9]{{0,9}})-(?:int8|float)-[0-9a-f]{{16}}")

RECORD_NAME = "engine.json"
LAYERS_NAME = "layers.json"


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine runs on. An empty text or 0 is not known, and then not compared. ``gpu`` is the driver's name, which names a MIG slice too."""

    tensorrt: str = ""  # the whole version: an engine is read by no other
    gpu: str = ""
    compute_capability: str = ""  # "8.0"
    multiprocessors: int = 0  # a slice has fewer than the GPU that it is cut from

    @property
    def known(self) -> bool:
        """Whether an engine can be built for it."""
        return bool(self.tensorrt and self.gpu and self.compute_capability and self.multiprocessors)


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bucket: the rows that it takes. Kernels are chosen for ``rows_best``, which is what requests are padded to."""

    rows_min: int
    rows_best: int
    rows_max: int


class EnginePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is decided before a GPU is seen. Inputs are float32 [rows, width], by name; flags are TensorRT's names."""

    plan_version: int
    model: str
    bundle_version: int
    bundle_sha256: str  # of the manifest, which vouches for every file of the bundle
    graph_sha256: str
    int8: bool
    strongly_typed: bool
    inputs: dict[str, int]
    profiles: tuple[Profile, ...]
    workspace_bytes: int
    optimisation_level: int
    flags_off: tuple[str, ...]


class Layers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What TensorRT's engine inspector says: only where it names INT8 tensors is the engine one that computes in INT8."""

    count: int
    int8: tuple[str, ...]  # names of layers that read or write INT8


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lies beside an engine."""

    key: str
    plan: EnginePlan
    target: Target
    engine_sha256: str
    engine_bytes: int
    timings_sha256: str  # of the kernels that were measured meanwhile: another engine for the same target is built with them
    layers: Layers
    golden_difference: float  # largest difference from the golden vectors, as measured right after the build


def engine_plan(bundle: Bundle, *, int8: bool = True) -> EnginePlan:
    """The plan for ``fused`` of that bundle, from its INT8 graph or its FP32 twin."""
    graph = bundle.int8_graph if int8 else bundle.float_graph
    return EnginePlan(
        plan_version=PLAN_VERSION,
        model=FUSED,
        bundle_version=bundle.manifest.version,
        bundle_sha256=_sha256(msgspec.json.encode(bundle.manifest, order="sorted")),
        graph_sha256=_sha256(graph),
        int8=int8,
        strongly_typed=True,
        inputs={"features": FEATURE_COUNT},
        profiles=_profiles(BUCKETS),
        workspace_bytes=WORKSPACE_BYTES,
        optimisation_level=OPTIMISATION_LEVEL,
        flags_off=(TF32,),  # on unless it is turned off; FP32 products would then lose 13 bits, and parity with them
    )


def _profiles(buckets: tuple[int, ...]) -> tuple[Profile, ...]:
    """One a bucket, without a gap: what is padded meets its bucket's best, and a request that was not padded is slower and not refused."""
    above = (0, *buckets[:-1])
    return tuple(Profile(rows_min=below + 1, rows_best=rows, rows_max=rows) for below, rows in zip(above, buckets, strict=True))


def key_of(plan: EnginePlan, target: Target) -> str:
    """The cache key: sha256 of plan and target, 64 hex digits. Raises ``ValueError`` for a target that is not wholly known."""
    if not target.known:
        raise ValueError(f"no key without TensorRT's version and the GPU's name, compute capability and multiprocessors: {target}")
    return _sha256(msgspec.json.encode((plan, target), order="sorted"))


def engine_name(plan: EnginePlan, target: Target) -> str:
    """What the engine is called wherever it lies: model, version, precision and the key's first 16 digits."""
    return f"{plan.model}-{plan.bundle_version}-{'int8' if plan.int8 else 'float'}-{key_of(plan, target)[:16]}"


def version_in(name: str) -> int:
    """The version of which an engine of that name is; 0 for what is no engine's name."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def layers_of(report: bytes) -> Layers:
    """The layers in the engine inspector's JSON, made with detailed verbosity. Raises ``ValueError`` for another text."""
    try:
        found = msgspec.json.decode(report, type=_Report)
    except msgspec.DecodeError as error:
        raise ValueError(f"not the JSON of TensorRT's engine inspector at detailed verbosity: {error}") from error
    names = [layer.name for layer in found.layers if any("int8" in tensor.form.lower() for tensor in (*layer.inputs, *layer.outputs))]
    return Layers(count=len(found.layers), int8=tuple(names))


class _Tensor(msgspec.Struct, frozen=True):
    form: str = msgspec.field(name="Format/Datatype", default="")


class _Layer(msgspec.Struct, frozen=True, rename="pascal"):
    name: str
    inputs: tuple[_Tensor, ...] = ()
    outputs: tuple[_Tensor, ...] = ()


class _Report(msgspec.Struct, frozen=True, rename="pascal"):
    layers: tuple[_Layer, ...]


def read_record(raw: bytes, version: int) -> EngineRecord:
    """The record beside an engine. Raises ``ModelRefused`` (EngineMismatch) for one that cannot be read."""
    try:
        return msgspec.json.decode(raw, type=EngineRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelRefused(version, Refusal.ENGINE_MISMATCH, f"{RECORD_NAME}: {error}; build the engine anew") from error


def mismatches(record: EngineRecord, plan: EnginePlan, target: Target, engine_sha256: str) -> tuple[str, ...]:
    """All that makes the engine of that record another one than ``plan`` and the known part of ``target`` ask for; empty when it may be loaded."""
    found = [
        f"{name}: built with {_text(built)}, wanted {_text(wanted)}"
        for name, built, wanted in _compared(record, plan, target)
        if built != wanted
    ]
    if record.engine_sha256 != engine_sha256:
        found.append(f"the engine's sha256 is {engine_sha256}, its record says {record.engine_sha256}")
    if not record.target.known or record.key != key_of(record.plan, record.target):
        found.append(f"the record's key {record.key or '(none)'} is not that of its own plan and target")
    return tuple(found)


def _compared(record: EngineRecord, plan: EnginePlan, target: Target) -> list[tuple[str, object, object]]:
    wanted = {name: value for name, value in msgspec.structs.asdict(target).items() if value}
    return [
        *((name, getattr(record.plan, name), value) for name, value in msgspec.structs.asdict(plan).items()),
        *((name, getattr(record.target, name), value) for name, value in wanted.items()),
    ]


def require_match(record: EngineRecord, plan: EnginePlan, target: Target, engine_sha256: str) -> None:
    """Raises ``ModelRefused`` (EngineMismatch) with every difference. What a server would say of the same engine is that it could not be read."""
    if found := mismatches(record, plan, target, engine_sha256):
        raise ModelRefused(plan.bundle_version, Refusal.ENGINE_MISMATCH, f"{'; '.join(found)}; build the engine anew where it serves")


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
