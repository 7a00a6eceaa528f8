"""An engine is built as Triton will use it, and is loaded only where it was built for: every difference is refused by name, without a GPU."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bundles.test_bundle import manifest
from tests.bundles.test_graph import some_weights
from tradingsystem.adapters.onnxruntime import OnnxRuntimeInference, open_session
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_plan import (
    EnginePlan,
    EngineRecord,
    Layers,
    Target,
    engine_name,
    engine_plan,
    key_of,
    layers_of,
    mismatches,
    read_record,
    require_match,
    version_in,
)
from tradingsystem.bundles.graph import build
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import BUCKETS, FUSED, Backend, bucket_of, configuration
from tradingsystem.process.serving import bundle_in

A100 = Target(tensorrt="10.16.1.11", gpu="NVIDIA A100-SXM4-40GB", compute_capability="8.0", multiprocessors=108)
OTHER = {"tensorrt": "11.1.0.106", "gpu": "NVIDIA A100-SXM4-80GB", "compute_capability": "9.0", "multiprocessors": 14}
ENGINE = b"an engine"
DIGEST = hashlib.sha256(ENGINE).hexdigest()
OTHER_PLAN: dict[str, Any] = {
    "plan_version": 2,
    "model": "blend",
    "bundle_version": 2,
    "bundle_sha256": "b" * 64,
    "graph_sha256": "c" * 64,
    "int8": False,
    "strongly_typed": False,
    "inputs": {"features": 64},
    "profiles": (),
    "workspace_bytes": 1,
    "optimisation_level": 5,
    "flags_off": (),
}


@pytest.fixture(scope="module", name="bundle")
def bundle_fixture() -> Bundle:
    """The package's own."""
    return bundle_in(None, 1)


@pytest.fixture(scope="module", name="plan")
def plan_fixture(bundle: Bundle) -> EnginePlan:
    """Its plan."""
    return engine_plan(bundle)


def record_of(plan: EnginePlan, target: Target = A100) -> EngineRecord:
    """What a build would leave beside ``ENGINE``."""
    layers = Layers(count=2, int8=("linear_product",))
    return EngineRecord(
        key=key_of(plan, target),
        plan=plan,
        target=target,
        engine_sha256=DIGEST,
        engine_bytes=len(ENGINE),
        timings_sha256=DIGEST,
        layers=layers,
        golden_difference=1e-6,
    )


def test_a_plan_names_the_graphs_own_inputs(bundle: Bundle, plan: EnginePlan) -> None:
    """A profile for an input that the graph has not, or none for one that it has, fails after minutes on the one machine with a GPU."""
    (given_input,) = open_session(bundle.int8_graph).get_inputs()
    assert plan.inputs == {given_input.name: given_input.shape[1]}
    assert plan.graph_sha256 == hashlib.sha256(bundle.int8_graph).hexdigest() != engine_plan(bundle, int8=False).graph_sha256


def test_a_plan_has_the_profiles_that_triton_is_told_of(plan: EnginePlan) -> None:
    """Triton names profiles by their place and captures a graph for each bucket; it refuses an engine that holds fewer rows than it was promised."""
    config = configuration(FUSED, Backend.TENSORRT, [1])
    assert config["instance_group"][0]["profile"] == [str(place) for place in range(len(plan.profiles))]
    assert tuple(profile.rows_best for profile in plan.profiles) == BUCKETS
    assert max(profile.rows_max for profile in plan.profiles) == config["max_batch_size"]
    assert [each["name"] for each in config["input"]] == list(plan.inputs)


@given(st.integers(1, BUCKETS[-1]))
def test_any_number_of_rows_meets_one_profile_the_one_of_its_bucket(plan: EnginePlan, rows: int) -> None:
    """A gap between two profiles would be rows that no kernel takes."""
    (met,) = (profile for profile in plan.profiles if profile.rows_min <= rows <= profile.rows_max)
    assert met.rows_best == met.rows_max == bucket_of(rows)


def test_precision_is_the_graphs(plan: EnginePlan) -> None:
    """A network that is not strongly typed ignores Q/DQ on TensorRT 10, and TF32 would lose what parity is measured by."""
    assert plan.strongly_typed
    assert plan.flags_off == ("TF32",)


@pytest.mark.parametrize("name", OTHER)
def test_an_engine_of_another_place_is_refused_by_name(plan: EnginePlan, name: str) -> None:
    """Whatever part of the place differs is said, and changes the key."""
    here = msgspec.structs.replace(A100, **{name: OTHER[name]})
    (difference,) = mismatches(record_of(plan), plan, here, DIGEST)
    assert difference.startswith(f"{name}: built with {getattr(A100, name)}")
    assert key_of(plan, here) != key_of(plan, A100)
    assert engine_name(plan, here) != engine_name(plan, A100)


@pytest.mark.parametrize("name", OTHER_PLAN)
def test_an_engine_of_another_plan_is_refused_by_name(plan: EnginePlan, name: str) -> None:
    """Another graph, bundle, precision, bucket or build option is another engine."""
    wanted = msgspec.structs.replace(plan, **{name: OTHER_PLAN[name]})
    with pytest.raises(ModelRefused, match=f"EngineMismatch: {name}: built with") as refused:
        require_match(record_of(plan), wanted, A100, DIGEST)
    assert refused.value.refusal is Refusal.ENGINE_MISMATCH
    assert key_of(wanted, A100) != key_of(plan, A100)


def test_every_part_of_plan_and_place_is_compared() -> None:
    """A field that is added later and compared nowhere would let a wrong engine through."""
    assert set(OTHER_PLAN) == set(EnginePlan.__struct_fields__)
    assert set(OTHER) == set(Target.__struct_fields__)


def test_what_is_not_known_of_a_place_is_not_compared(plan: EnginePlan) -> None:
    """Who has no GPU still tells by graph and compute capability."""
    require_match(record_of(plan), plan, Target(compute_capability="8.0"), DIGEST)
    require_match(record_of(plan), plan, Target(), DIGEST)


def test_all_differences_are_said_at_once(plan: EnginePlan) -> None:
    """Mending one after the other would be a build each."""
    record = msgspec.structs.replace(record_of(plan), engine_sha256="0" * 64, key="0" * 64)
    found = mismatches(record, msgspec.structs.replace(plan, int8=False), msgspec.structs.replace(A100, gpu="another"), DIGEST)
    assert [difference.split(":")[0] for difference in found] == [
        "int8",
        "gpu",
        f"the engine's sha256 is {DIGEST}, its record says {'0' * 64}",
        found[-1],
    ]
    assert found[-1].startswith("the record's key")


def test_a_record_reads_back_and_a_torn_one_is_a_mismatch(plan: EnginePlan) -> None:
    """An engine whose record says nothing is an engine of nowhere."""
    raw = msgspec.json.encode(record_of(plan))
    assert read_record(raw, 1) == record_of(plan)
    for torn in (b"", raw[:-1], b"{}", b"\xff\xfe", raw.replace(b'"plan_version":1', b'"plan_version":1,"more":2')):
        with pytest.raises(ModelRefused, match=r"engine\.json") as refused:
            read_record(torn, 1)
        assert refused.value.refusal is Refusal.ENGINE_MISMATCH


def test_a_place_that_is_half_known_has_no_key(plan: EnginePlan) -> None:
    """Two GPUs under one key would share an engine."""
    for name in OTHER:
        with pytest.raises(ValueError, match="no key without"):
            key_of(plan, msgspec.structs.replace(A100, **{name: type(OTHER[name])()}))


def test_bundles_with_the_same_number_and_other_weights_have_other_engines() -> None:
    """A store that was made anew counts from one again."""
    first, second = (_bundle(seed) for seed in (1, 2))
    assert OnnxRuntimeInference(first, int8=False).version == OnnxRuntimeInference(second, int8=False).version
    assert engine_name(engine_plan(first), A100) != engine_name(engine_plan(second), A100)


def _bundle(seed: int) -> Bundle:
    weights, golden = some_weights(seed), bundle_in(None, 1).golden
    return Bundle(manifest(), build(weights, int8=True), build(weights, int8=False), golden)


def test_int8_is_claimed_only_of_layers_that_show_it() -> None:
    """TensorRT may run a Q/DQ pair in float; the report says which layers it did not."""
    # Both ways in which TensorRT writes a tensor's form, before and since version 10.
    report = b"""{"Layers": [
      {"Name": "quantise", "LayerType": "kgen", "Inputs": [{"Name": "a", "Format/Datatype": "Float"}], "Outputs": [{"Format/Datatype": "Int8"}]},
      {"Name": "product", "Inputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}], "Outputs": []},
      {"Name": "sigmoid", "Inputs": [{"Format/Datatype": "Row major linear FP32"}], "Outputs": [{"Format/Datatype": "Float"}]}],
      "Bindings": ["features", "members", "blend"]}"""
    assert layers_of(report) == Layers(count=3, int8=("quantise", "product"))
    with pytest.raises(ValueError, match="detailed verbosity"):
        layers_of(b'{"Layers": ["quantise", "product"]}')


@pytest.mark.parametrize(
    "name", ["", "fused-1", "fused-0-int8-0123456789abcdef", "fused-1-int4-0123456789abcdef", "fused-1-int8-0123456789abcdef/x", "2.tar"]
)
def test_what_is_no_engine_s_name_names_no_version(name: str, plan: EnginePlan) -> None:
    """A store may hold anything; a name of ours says of which version it is, and nothing else does."""
    assert version_in(name) == 0
    assert version_in(engine_name(plan, A100)) == plan.bundle_version
