"""An engine on a disk is whole or absent, is never changed, and is looked at again before anybody loads it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tests.bundles.test_engine_plan import A100, ENGINE
from tradingsystem.bundles import engine_store as store
from tradingsystem.bundles.engine_plan import LAYERS_NAME, RECORD_NAME, EnginePlan, Target, engine_name, engine_plan, key_of
from tradingsystem.bundles.publishing import alone
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import Backend
from tradingsystem.bundles.triton_files import fused_files
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.engines import engine_reader
from tradingsystem.process.serving import bundle_in

REPORT = b'{"Layers": [{"Name": "product", "Inputs": [{"Format/Datatype": "Int8"}]}], "Bindings": []}'
SLICE = msgspec.structs.replace(A100, gpu="NVIDIA A100-SXM4-40GB MIG 1g.5gb", multiprocessors=14)


@pytest.fixture(scope="module", name="plan")
def plan_fixture() -> EnginePlan:
    """Of the package's own bundle."""
    return engine_plan(bundle_in(None, 1))


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path, plan: EnginePlan) -> Path:
    """An engine as a build leaves it."""
    with alone(tmp_path):
        return store.put(tmp_path, plan, A100, ENGINE, REPORT, 1e-6)


def test_an_engine_is_found_by_its_key_and_by_no_other(folder: Path, plan: EnginePlan) -> None:
    """The same bundle on another GPU is another engine, in a folder of its own."""
    record = store.find(folder.parent, plan, A100)
    assert record is not None
    assert record.key == key_of(plan, A100)
    assert record.layers.int8 == ("product",)
    assert (folder / store.ENGINE_FILE).read_bytes() == ENGINE
    assert (folder / LAYERS_NAME).read_bytes() == REPORT
    assert store.find(folder.parent, plan, SLICE) is None


@pytest.mark.parametrize("name", [store.ENGINE_FILE, RECORD_NAME])
@pytest.mark.parametrize("damage", ["absent", "cut", "other"])
def test_a_damaged_engine_is_refused_before_it_is_loaded(folder: Path, plan: EnginePlan, name: str, damage: str) -> None:
    """TensorRT is given no bytes that no record vouches for: an engine is code that runs on the GPU."""
    file = folder / name
    if damage == "absent":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else b"another")
    with pytest.raises(ModelRefused) as refused:
        store.find(folder.parent, plan, A100)
    assert refused.value.refusal is Refusal.ENGINE_MISMATCH


def test_an_engine_that_was_carried_to_another_gpu_is_refused(folder: Path, plan: EnginePlan) -> None:
    """A folder's name is no proof: what is asked is the record in it."""
    carried = folder.rename(folder.parent / engine_name(plan, SLICE))
    with pytest.raises(ModelRefused, match="multiprocessors: built with 108, wanted 14"):
        store.read(carried, plan, SLICE)


def test_a_server_is_sent_the_engine_of_its_bundle(folder: Path, plan: EnginePlan) -> None:
    """Who loads it may have no GPU: the graph and the plan decide then, and an engine of another version is none."""
    bundle = bundle_in(None, 1)
    give = engine_reader(folder.parent, Backend.TENSORRT, int8=True)
    assert fused_files(bundle, Backend.TENSORRT, engine=give(bundle)) == {"model.plan": ENGINE}
    with pytest.raises(ModelRefused, match=r"EngineMismatch: .*fused-1-int8-\w+: graph_sha256: built with") as refused:
        engine_reader(folder.parent, Backend.TENSORRT, int8=False)(bundle)
    assert refused.value.version == 1
    assert store.engine_for(folder.parent, plan, A100) == ENGINE
    with pytest.raises(ModelRefused, match="multiprocessors"):
        store.engine_for(folder.parent, plan, SLICE)
    assert engine_reader(None, Backend.ONNXRUNTIME, int8=True)(bundle) == b""


def test_without_one_engine_to_choose_the_server_is_sent_none(folder: Path, plan: EnginePlan) -> None:
    """None at all, or two for two GPUs: which one the server could read is not guessed."""
    with pytest.raises(InvalidInput, match="--triton-engines"):
        engine_reader(None, Backend.TENSORRT, int8=True)
    with pytest.raises(ModelRefused, match="models build-engine --version 1"):
        store.engine_for(folder.parent / "elsewhere", plan, A100)
    with alone(folder.parent):
        store.put(folder.parent, plan, SLICE, ENGINE, REPORT, 0.0)
    with pytest.raises(ModelRefused, match="engines for NVIDIA A100"):
        store.engine_for(folder.parent, plan, Target(tensorrt=A100.tensorrt))
    assert store.engine_for(folder.parent, plan, Target(multiprocessors=14)) == ENGINE


def test_an_engine_is_never_written_over(folder: Path, plan: EnginePlan) -> None:
    """A server may be reading it."""
    with alone(folder.parent), pytest.raises(FileExistsError, match="never changed"):
        store.put(folder.parent, plan, A100, b"another", REPORT, 0.0)
    assert (folder / store.ENGINE_FILE).read_bytes() == ENGINE


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, plan: EnginePlan) -> None:
    """Neither half an engine for a server to find nor rubbish beside it."""
    (tmp_path / store.STAGING / engine_name(plan, A100)).mkdir(parents=True)  # what a killed build left
    with alone(tmp_path), pytest.raises(ValueError, match="engine inspector"):
        store.put(tmp_path, plan, A100, ENGINE, b"no report", 0.0)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert store.find(tmp_path, plan, A100) is None


def test_timings_are_kept_for_the_next_build_on_that_gpu(tmp_path: Path) -> None:
    """Measured kernels make the next bundle's engine a matter of seconds; another slice has its own."""
    assert store.timings(tmp_path, A100) == b""
    with alone(tmp_path):
        store.put_timings(tmp_path, A100, b"first")
        store.put_timings(tmp_path, A100, b"second")
    assert store.timings(tmp_path, A100) == b"second"
    assert store.timings(tmp_path, SLICE) == b""
    assert not (tmp_path / store.STAGING).exists()


def test_a_disk_that_refuses_leaves_the_timings_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file of timings would be believed or cost the whole build."""
    with alone(tmp_path):
        store.put_timings(tmp_path, A100, b"first")

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with alone(tmp_path), pytest.raises(OSError, match="No space left"):
        store.put_timings(tmp_path, A100, b"second")
    monkeypatch.undo()
    assert store.timings(tmp_path, A100) == b"first"
