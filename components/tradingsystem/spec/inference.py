"""Where the models run and which version may serve. A version is chosen by promotion; a pin is the one-line rollback."""

import enum
from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import Section, about


class Runtime(enum.StrEnum):
    """InProcess: onnxruntime inside the filter. Triton: a Triton server with TensorRT engines."""

    IN_PROCESS = "InProcess"
    TRITON = "Triton"


class Precision(enum.StrEnum):
    """Which graph of the bundle serves."""

    INT8 = "Int8"
    FLOAT32 = "Float32"


class TritonPlacement(enum.StrEnum):
    """SameNode: the filter runs on Triton's node where it can, so that a question stays on the machine; elsewhere rather than not at all. AnyNode: no wish.
    Sidecar: Triton runs in the filter's pod, where rows and answers go through shared memory; without a node for both the filter does not start."""

    SIDECAR = "Sidecar"
    SAME_NODE = "SameNode"
    ANY_NODE = "AnyNode"


class Gpu(Section, frozen=True, kw_only=True):
    """Which GPU is asked for; read only when runtime is Triton. One GPU per system, held by Triton."""

    count: Annotated[
        int,
        Meta(ge=0, le=1),
        about(
            "1: a GPU of the kind below. 0: Triton on a CPU, for a cluster without one; it shows the hop and is never faster than InProcess."
        ),
    ] = 1

    resource_name: Annotated[
        str,
        Meta(max_length=40, pattern="^nvidia[.]com/(gpu|mig-[1-7]g[.][1-9][0-9]{0,2}gb)$"),
        about(
            "What a node offers it as. nvidia.com/gpu: a whole one; nvidia.com/mig-3g.20gb and its like: a slice, whose own memory then counts."
        ),
    ] = "nvidia.com/gpu"
    memory_mib_min: Annotated[
        int,
        Meta(ge=1_000, le=1_000_000),
        about("Memory the GPU must have, MiB. 39,000: an A100 with 40 GB, the founding document's, reports a little less than 40,960."),
    ] = 39_000
    compute_capability: Annotated[
        str,
        Meta(max_length=5, pattern="^[0-9]{1,2}[.][0-9]$"),
        about("Lowest compute capability. 8.0: Ampere, the A100's."),
    ] = "8.0"


class Inference(Section, frozen=True, kw_only=True):
    """Runtime, precision and deadline of one inference."""

    runtime: Annotated[Runtime, about("InProcess needs no GPU and no hop, so it is the default.")] = Runtime.IN_PROCESS
    precision: Annotated[Precision, about("Int8: the founding document's; the bundle holds both.")] = Precision.INT8
    placement: Annotated[TritonPlacement, about("Where the filter runs relative to Triton; read only when runtime is Triton.")] = (
        TritonPlacement.SAME_NODE
    )
    deadline_milliseconds: Annotated[
        int,
        Meta(ge=1, le=1_000),
        about("An answer later than this is a late cut and makes no signals. 10: the full sweep takes 2.1 at its 99th percentile."),
    ] = 10
    gpu: Annotated[Gpu, about("The GPU; read only when runtime is Triton.")] = Gpu()


class Models(Section, frozen=True, kw_only=True):
    """Which bundle serves."""

    pinned_version: Annotated[
        int,
        Meta(ge=0, le=1_000_000_000),
        about("Bundle that must serve. 0: not pinned, promotion decides. Setting it to the previous number is the rollback."),
    ] = 0
