"""The fused graph asked of a real tritonserver on this machine, beside the same graph in process: gRPC, shared memory and
Triton's own ensemble of the members, from one row to the universe.

Triton's own numbers stand beside the client's: how long it says a request took inside, queue and execution. Its server for a CPU runs the graph in its
python backend, so this is the price of the hop, not what TensorRT would answer.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.process import measured
from tradingsystem.process.serving import choose_in
from tradingsystem.process.triton_server import home
from tradingsystem.world.bench.offering import offered, offered_later
from tradingsystem.world.bench.result import SEED, Absent, Effort, Line, Row, latencies

RATES = {1: 200, 64: 200, 512: 100, 2_048: 50, 11_500: 20}
"""Rows of one request: how many a second are offered."""


def measure(effort: Effort) -> Row:
    """Every way at every size; named as absent where there is no tritonserver."""
    title = "Inference by Triton"
    try:
        home()
    except InvalidInput as error:
        return Row(name="triton", title=title, lines=(), absent=(Absent(name="tritonserver", reason=str(error)),))
    with tempfile.TemporaryDirectory(prefix="tradingsystem-bench-") as folder:
        lines, notes = asyncio.run(_measured(effort, Path(folder)))
    return Row(name="triton", title=title, lines=tuple(lines), notes=tuple(notes))


async def _measured(effort: Effort, folder: Path) -> tuple[list[Line], list[str]]:
    bundle = choose_in(None, 0).bundle
    own = measured.graph_runner(bundle.int8_graph)
    random, lines, notes = np.random.default_rng(SEED), [], []
    async with measured.triton(folder, bundle) as served:
        for count, rate in RATES.items():
            features = random.normal(size=(count, FEATURE_COUNT)).astype(np.float32)
            effort.tell(f"triton, {count:,} rows")
            took = await asyncio.to_thread(offered, lambda features=features: own(features), rate, effort.part(0.2))  # type: ignore[misc]
            lines.append(latencies(f"in process, {count:,} rows", took, "us", offered=f"{rate:,}/s"))
            for name, inference in served.ways.items():
                before = await served.inside(name)
                took = await offered_later(lambda inference=inference, features=features: inference.infer(features), rate, effort.part(0.3))  # type: ignore[misc]
                after = await served.inside(name)
                each = (after[1] - before[1]) / max(1, after[0] - before[0])
                queue = (after[2] - before[2]) / max(1, after[0] - before[0])
                beside = f"Triton's own mean: {each:,.0f} us, {queue:,.0f} us of it queued"
                lines.append(latencies(f"{name}, {count:,} rows", took, "us", offered=f"{rate:,}/s", beside=beside))
    notes.append("tritonserver for a CPU, python backend around onnxruntime: the price of the hop; TensorRT on a GPU was not measured")
    return lines, notes
