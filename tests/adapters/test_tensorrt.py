"""An engine is built as it is planned, asked before it is published, and every answer of TensorRT has a consequence. With a stand-in: no GPU took part."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from tests.adapters.gpu_stand_in import VERSION, Machine, Verbosity, cupy, tensorrt
from tradingsystem.adapters import cuda
from tradingsystem.adapters.engine_folder import FolderEngineStore
from tradingsystem.adapters.onnxruntime import open_session, run
from tradingsystem.adapters.tensorrt import TensorRtEngine, target
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_files import ENGINE, ENGINE_FILE
from tradingsystem.bundles.engine_plan import LAYERS_NAME, WORKSPACE_BYTES, EngineRecord, Target, engine_name, engine_plan
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import BUCKETS, bucket_of
from tradingsystem.cli.application import application
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.models.store import Trusted
from tradingsystem.process.engines import build_engine
from tradingsystem.process.serving import SHIPPED_MODELS, bundle_in

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = Trusted(own=(KEY.public_key().public_bytes_raw(),))
A100 = Target(tensorrt=VERSION, gpu="NVIDIA A100-SXM4-40GB", compute_capability="8.0", multiprocessors=108)


@pytest.fixture(name="machine")
def machine_fixture(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with an A100, as far as its words go."""
    machine = Machine()
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt(machine))
    monkeypatch.setitem(sys.modules, "cupy", cupy(machine))
    return machine


@pytest.fixture(scope="module", name="bundle")
def bundle_fixture() -> Bundle:
    """The package's own."""
    return bundle_in(None, 1)


def into(folder: Path, bundle: Bundle, *, int8: bool = True, key: Ed25519PrivateKey = KEY) -> tuple[EngineRecord, bool]:
    """As the command builds: the record, and whether it was there."""
    return asyncio.run(build_engine(FolderEngineStore(folder), bundle, lambda _: None, int8=int8, key=key, trusted=TRUSTED))


def built(bundle: Bundle, folder: Path, *, int8: bool = True) -> bytes:
    """The engine that a build leaves."""
    record, _ = into(folder, bundle, int8=int8)
    return (folder / engine_name(record.plan, record.target) / ENGINE_FILE).read_bytes()


def engines(out: Path) -> list[str]:
    """What could be taken for an engine."""
    return [path.name for path in out.iterdir() if path.is_dir()] if out.exists() else []


def test_tensorrt_is_told_what_is_planned(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """Types, memory, level, report and every profile arrive; a build that forgot one would still give an engine."""
    record, existed = into(tmp_path, bundle)
    plan = engine_plan(bundle)
    assert machine.said == {"network": 1, "WORKSPACE": WORKSPACE_BYTES, "TF32": False, "level": 3, "verbosity": Verbosity.DETAILED}
    rows = [(one.rows_min, one.rows_best, one.rows_max) for one in plan.profiles]
    assert machine.profiles == [
        ("features", (low, FEATURE_COUNT), (best, FEATURE_COUNT), (high, FEATURE_COUNT)) for low, best, high in rows
    ]
    assert (existed, record.plan, record.target) == (False, plan, A100)
    assert record.golden_difference == pytest.approx(0.0, abs=1e-6)
    [folder] = engines(tmp_path)
    assert sorted(path.name for path in (tmp_path / folder).iterdir()) == sorted(ENGINE.names)
    assert json.loads((tmp_path / folder / LAYERS_NAME).read_text())["Layers"][0]["Name"] == record.layers.int8[0]


def test_an_engine_that_is_there_is_not_built_again(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """A job that runs twice costs the second time a look; another bundle's engine is built with the timings of the first."""
    first, _ = into(tmp_path, bundle)
    machine.builds = False
    assert into(tmp_path, bundle) == (first, True)
    machine.builds = True
    built(bundle, tmp_path, int8=False)
    assert machine.timings == [b"", b"+measured"]
    assert len(engines(tmp_path)) == 2


def test_an_engine_that_nobody_vouches_for_is_built_anew(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """Its kernels are not believed either."""
    into(tmp_path, bundle, key=Ed25519PrivateKey.generate())
    record, existed = into(tmp_path, bundle)
    assert not existed
    assert into(tmp_path, bundle) == (record, True)
    assert machine.timings == [b"", b""]


def test_timings_that_do_not_fit_are_measured_anew(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """Of another driver, say: they are no reason to fail, nor to be believed."""
    built(bundle, tmp_path)
    machine.timings_fit = False
    machine.timings.clear()
    built(bundle, tmp_path, int8=False)
    assert machine.timings == [b"+measured", b""]


@pytest.mark.parametrize(
    ("what", "refusal", "says"),
    [
        ({"off_by": 2e-4}, Refusal.WRONG_ANSWERS, "golden vectors differ by 2.00e-04"),
        ({"off_by": float("nan")}, Refusal.NOT_FINITE, "no probability"),
        ({"builds": False}, Refusal.NOT_LOADED, "builds no engine: no implementation for node product"),
        ({"parses": False}, Refusal.NOT_LOADED, "does not read the graph: error 0: no such operator"),
        ({"report": '{"Layers": ["product"]}'}, Refusal.NOT_LOADED, "engine inspector at detailed verbosity"),
    ],
    ids=["other answers", "no answers", "no engine", "no graph", "no report"],
)
def test_what_tensorrt_gets_wrong_is_not_published(
    machine: Machine, bundle: Bundle, tmp_path: Path, what: dict[str, object], refusal: Refusal, says: str
) -> None:
    """Named, in TensorRT's own words, and no folder for a server to find."""
    for name, value in what.items():
        setattr(machine, name, value)
    with pytest.raises(ModelRefused, match=says) as refused:
        into(tmp_path, bundle)
    assert refused.value.refusal is refusal
    assert engines(tmp_path) == []


def test_an_engine_of_another_version_is_not_read(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """TensorRT answers None; what it wrote to its log is the reason."""
    engine = built(bundle, tmp_path)
    machine.version = "10.16.1.11"
    with pytest.raises(ModelRefused, match="not compatible with this version"):
        TensorRtEngine(engine, 1)


def test_any_number_of_rows_is_answered_by_the_profile_of_its_bucket(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """Rows are padded, answered as onnxruntime answers, and the padding is cut off; a shape outside the profile would be refused."""
    engine = TensorRtEngine(built(bundle, tmp_path), 1)
    session, random = open_session(bundle.int8_graph), np.random.default_rng(3)
    machine.used.clear()
    asked = (1, 2, 64, 65, 512, 600, 12_288, 1)
    for rows in asked:
        features = random.normal(size=(rows, FEATURE_COUNT)).astype(np.float32)
        expected, scores = run(session, features), engine.score(features)
        np.testing.assert_allclose(scores.members, expected.members, rtol=0, atol=1e-6)
        np.testing.assert_allclose(scores.blend, expected.blend, rtol=0, atol=1e-6)
    assert machine.used == [(BUCKETS.index(bucket_of(rows)), bucket_of(rows)) for rows in asked]
    with pytest.raises(ValueError, match="at most 12288"):
        engine.score(np.zeros((12_289, FEATURE_COUNT), np.float32))


@pytest.mark.parametrize(("gpus", "says"), [(0, "sees none"), (-1, "no GPU that CUDA can use here: cudaErrorInsufficientDriver")])
def test_a_machine_without_a_gpu_says_so(machine: Machine, bundle: Bundle, tmp_path: Path, gpus: int, says: str) -> None:
    """Whether the driver is missing or the GPU."""
    machine.gpus = gpus
    with pytest.raises(InvalidInput, match=says):
        into(tmp_path / "engines", bundle)
    assert not (tmp_path / "engines").exists()


def test_tensorrt_that_does_not_start_says_why(machine: Machine, bundle: Bundle, tmp_path: Path) -> None:
    """Its bindings raise what nobody would understand; its log is the reason."""
    machine.starts = False
    with pytest.raises(InvalidInput, match=r"does not start: CUDA initialization failure with error: 35\n"):
        into(tmp_path, bundle)


def test_a_gpu_is_named_with_what_an_engine_is_tied_to(machine: Machine) -> None:
    """By the driver's own words."""
    assert target() == A100
    assert cuda.present().words == "NVIDIA A100-SXM4-40GB (compute capability 8.0, 40,339 MiB, CUDA driver 13.2)"


def test_the_command_says_what_was_built_and_where(machine: Machine, tmp_path: Path) -> None:
    """And, with a GPU, what a plan's key is before."""
    words = ["models", "build-engine", "--models", str(SHIPPED_MODELS), "--version", "1", "--out", str(tmp_path)]
    told = [
        CliRunner().invoke(application("models"), [*words, *more], catch_exceptions=False).output
        for more in (["--plan"], [], [], ["--json"])
    ]
    assert f"would be           {tmp_path}/fused-1-int8-" in told[0]
    assert told[1].startswith("built: fused-1-int8-")
    assert told[1].splitlines()[0].endswith(f" in {tmp_path}")
    assert "for NVIDIA A100-SXM4-40GB, TensorRT 11.4.0.106; 1 of 1 layers are INT8" in told[1]
    assert told[2].startswith("there already: ")
    assert json.loads(told[3])["record"]["key"][:16] == told[1].split("fused-1-int8-")[1][:16]
