"""What a GPU is measured by says whether it agrees with the processor; tried here with libraries that run anywhere, since the GPU brings only another one."""

from __future__ import annotations

import io
import sys

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.adapters.gpu_stand_in import Machine, cupy, tensorrt
from tests.features import device
from tradingsystem.cli.main import app
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import F32, F64
from tradingsystem.interfaces import Scores
from tradingsystem.learning.fit import Arithmetic, by_numpy
from tradingsystem.process import measured
from tradingsystem.process.serving import choose_in
from tradingsystem.world.bench import gpu, main
from tradingsystem.world.bench.machine import describe
from tradingsystem.world.bench.result import Effort, Report
from tradingsystem.world.bench.table import rendered

LITTLE = Effort(seconds=0.05, tell=lambda _: None, symbols=200)


def test_features_are_computed_in_an_array_library_that_takes_nothing_of_numpys() -> None:
    """CuPy refuses arrays of the host: a formula that slipped one in would fail on the one machine that has a GPU."""
    row = gpu.features_row(LITTLE, device)
    agreements = [line for line in row.lines if line.met is not None]
    assert [line.met for line in agreements] == [True, True]
    assert all(line.samples == 200 * 50 for line in agreements)
    assert [line.name.split(",")[0] for line in row.lines[2:]] == ["tests.features.device", "numpy", "numba kernel"]


def test_features_that_differ_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that rounds away digits is MISSED, however fast."""
    monkeypatch.setattr(device, "asnumpy", lambda value: np.array(value).astype(np.float16).astype(np.float64))
    with np.errstate(over="ignore"):
        assert gpu.features_row(LITTLE, device).lines[0].met is False


def test_a_fit_by_another_arithmetic_is_held_against_numpys() -> None:
    """Within the tolerance it is met, a parameter that moved more is not."""
    same = gpu.fit_row(LITTLE, Arithmetic("the same", by_numpy))
    assert (same.lines[0].met, same.lines[0].largest, same.lines[0].samples) == (True, 0.0, 102)
    assert [line.name for line in same.lines[1:]] == ["the same", "numpy"]

    def moved(design: F64, labels: F64) -> F64:
        return by_numpy(design, labels) + 1e-3

    assert gpu.fit_row(LITTLE, Arithmetic("moved", moved)).lines[0].met is False


def test_an_engine_is_held_against_onnxruntime_and_timed_for_every_bucket() -> None:
    """Golden answers first; then its own time and the processor's for the same rows."""
    bundle = choose_in(None, 0).bundle
    run = measured.graph_runner(bundle.int8_graph)
    golden, *times = gpu.engine_lines(LITTLE, "itself", bundle, run, int8=True)
    assert (golden.met, golden.largest) == (True, 0.0)
    assert [line.name.rpartition(", ")[2] for line in times[::2]] == ["1 rows", "64 rows", "512 rows", "2,048 rows", "12,288 rows"]

    def wrong(features: F32) -> Scores:
        return Scores(members=run(features).members, blend=1.0 - run(features).blend)

    assert gpu.engine_lines(LITTLE, "wrong", bundle, wrong, int8=True)[0].met is False


def test_what_is_not_installed_is_named_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU without PyTorch or TensorRT is measured on the rest."""
    for name in ("torch", "tensorrt", "cupy"):
        monkeypatch.setitem(sys.modules, name, None)
    for row, says in (
        (gpu.measure_fit(LITTLE), "PyTorch cannot be loaded"),
        (gpu.measure_engine(LITTLE), "TensorRT for Python cannot be loaded"),
    ):
        assert row.lines == ()
        assert says in row.absent[0].reason


def test_a_device_that_fails_costs_its_own_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour of a borrowed GPU is not lost to one error of CUDA."""

    def failing() -> None:
        raise RuntimeError("cudaErrorMemoryAllocation: out of memory")

    monkeypatch.setattr(gpu.engines, "arrays_on_gpu", failing)
    report = main.run(["gpu_features", "gpu_fit"], 0.05, lambda *_: None, lambda _: None, symbols=200, on="a GPU")
    assert "out of memory" in report.rows[0].absent[0].reason
    assert report.rows[1].lines or report.rows[1].absent


def test_an_engine_is_measured_as_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both precisions, with what the build says of itself; words stand in TensorRT's place."""
    machine = Machine()
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt(machine))
    monkeypatch.setitem(sys.modules, "cupy", cupy(machine))
    row = gpu.measure_engine(LITTLE)
    assert not row.absent
    assert [line.met for line in row.lines if line.met is not None] == [True, True]
    assert [note.split(":")[0] for note in row.notes] == ["INT8 engine", "FP32 engine"]
    assert len(row.lines) == 2 * (1 + 2 * len(machine.profiles) // 2)


def test_without_a_gpu_nothing_is_measured_and_one_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a processor under the title of a GPU would be worse than none."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    refused = CliRunner().invoke(app, ["bench", "--gpu"])
    assert isinstance(refused.exception, InvalidInput)
    assert "CuPy cannot be loaded" in str(refused.exception)
    refused = CliRunner().invoke(app, ["bench", "--gpu", "--row", "decode"])
    assert "choose from gpu_features, gpu_fit, gpu_engine" in str(refused.exception)


def test_a_report_names_its_gpu() -> None:
    """Numbers without the GPU that gave them say nothing."""
    report = Report(command="", seed=7, machine=describe("NVIDIA A100-SXM4-40GB (compute capability 8.0)"), rows=())
    console = Console(file=io.StringIO(), width=200)
    console.print(rendered(report))
    assert isinstance(console.file, io.StringIO)
    assert "NVIDIA A100-SXM4-40GB" in console.file.getvalue()
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
