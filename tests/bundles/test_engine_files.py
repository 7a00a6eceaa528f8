"""An engine is vouched for and is exactly the one that is asked for, or nobody gives it to a server."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bundles.test_engine_plan import A100, ENGINE
from tradingsystem.bundles.engine_files import ENGINE_FILE, SIGNATURE_NAME, TIMINGS_NAME, contents_of, timings_in, verified
from tradingsystem.bundles.engine_plan import LAYERS_NAME, RECORD_NAME, EnginePlan, engine_plan, key_of
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.models.store import Trusted
from tradingsystem.process.serving import bundle_in

REPORT = b'{"Layers": [{"Name": "product", "Inputs": [{"Format/Datatype": "Int8"}]}], "Bindings": []}'
SLICE = msgspec.structs.replace(A100, gpu="NVIDIA A100-SXM4-40GB MIG 1g.5gb", multiprocessors=14)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = (KEY.public_key().public_bytes_raw(),)


@pytest.fixture(scope="module", name="plan")
def plan_fixture() -> EnginePlan:
    """Of the package's own bundle."""
    return engine_plan(bundle_in(None, 1))


@pytest.fixture(name="contents")
def contents_fixture(plan: EnginePlan) -> dict[str, bytes]:
    """An engine as a build leaves it."""
    return contents_of(plan, A100, ENGINE, b"measured", REPORT, 1e-6, KEY)


def refused(contents: dict[str, bytes], plan: EnginePlan, trusted: tuple[bytes, ...] = TRUSTED) -> str:
    """Why it may not be loaded."""
    with pytest.raises(ModelRefused) as found:
        verified(contents, plan, A100, trusted)
    assert found.value.refusal is Refusal.ENGINE_MISMATCH
    return found.value.detail


def test_an_engine_that_was_signed_for_this_gpu_may_be_loaded(contents: dict[str, bytes], plan: EnginePlan) -> None:
    """Its record says what it computes in, and how far its answers were from those that were signed."""
    record = verified(contents, plan, A100, TRUSTED)
    assert (record.key, record.layers.int8, record.golden_difference) == (key_of(plan, A100), ("product",), 1e-6)
    assert contents[LAYERS_NAME] == REPORT


@pytest.mark.parametrize("name", [ENGINE_FILE, RECORD_NAME, SIGNATURE_NAME])
@pytest.mark.parametrize("damage", ["absent", "cut", "other"])
def test_a_damaged_engine_is_refused_before_it_is_loaded(contents: dict[str, bytes], plan: EnginePlan, name: str, damage: str) -> None:
    """TensorRT is given no bytes that no record vouches for: an engine is code that runs on the GPU."""
    whole = contents.pop(name)
    if damage != "absent":
        contents[name] = whole[:-1] if damage == "cut" else b"another"
    refused(contents, plan)


def test_whoever_may_not_sign_the_version_may_not_sign_its_engine(contents: dict[str, bytes], plan: EnginePlan) -> None:
    """The release's key, which everybody can derive, vouches for what was trained on simulated data alone."""
    assert "not signed by a key that may sign version 1" in refused(contents, plan, ())
    release = Trusted(simulated=TRUSTED)
    assert verified(contents, plan, A100, release.of(simulated=True)).target == A100
    refused(contents, plan, release.of(simulated=False))


def test_an_engine_under_another_s_name_is_refused(plan: EnginePlan) -> None:
    """A name is no proof: what is compared is the signed record."""
    assert "multiprocessors: built with 14, wanted 108" in refused(contents_of(plan, SLICE, ENGINE, b"", REPORT, 0.0, KEY), plan)
    other = msgspec.structs.replace(plan, graph_sha256="c" * 64)
    assert "graph_sha256: built with" in refused(contents_of(other, A100, ENGINE, b"", REPORT, 0.0, KEY), plan)


def test_timings_are_shared_by_engines_for_one_gpu_and_by_nothing_else(contents: dict[str, bytes]) -> None:
    """Measured kernels make the next bundle's engine a matter of seconds; another slice has its own, and forged ones are nobody's."""
    assert timings_in(contents, A100, 7, TRUSTED) == b"measured"
    assert timings_in(contents, SLICE, 7, TRUSTED) == b""
    assert timings_in(contents, A100, 7, ()) == b""
    assert timings_in({**contents, TIMINGS_NAME: b"forged"}, A100, 7, TRUSTED) == b""


def test_what_is_not_known_to_compute_in_int8_is_not_signed(plan: EnginePlan) -> None:
    """Without the inspector's report nobody can claim it."""
    with pytest.raises(ValueError, match="engine inspector"):
        contents_of(plan, A100, ENGINE, b"", b"no report", 0.0, KEY)
